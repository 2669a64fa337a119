"""Run as a script, with ``whole`` or ``part``: print as JSON what PaddleNLP's modules hold.

With ``part``, the Trainer is imported first as embtune imports it, and a line says which large packages that has brought.
"""

import json
import sys
import warnings

warnings.simplefilter("ignore")

from paddlenlp_embtune import compat  # noqa: E402

if sys.argv[1] == "part":
    compat.trainer_module()
    assert compat.host_attribute("paddlenlp.transformers", "BertModel").__name__ == "BertModel"
    print(json.dumps([name in sys.modules for name in ("pandas", "pyarrow", "datasets", "fastapi", "paddlenlp.taskflow")]))

import paddlenlp.trainer  # noqa: E402
from paddlenlp import Taskflow  # noqa: E402, F401

if sys.argv[1] == "part":
    import datasets

    assert paddlenlp.trainer.trainer.datasets.Dataset is datasets.Dataset
    assert paddlenlp.trainer.trainer.is_datasets_available()
    assert "domain_sentiment" in paddlenlp.taskflow.taskflow.TASKS
for package in ("transformers", "peft", "peft.reft", "metrics", "prompt"):
    dir(sys.modules[f"paddlenlp.{package}"])


def described(value: object) -> str:
    try:
        return f"{type(value).__name__} {getattr(value, '__module__', '')} {getattr(value, '__qualname__', '')}"
    except ValueError:
        return type(value).__name__


held = {
    name: {key: described(value) for key, value in vars(module).items() if not key.startswith("__")}
    for name, module in sys.modules.items()
    if name.partition(".")[0] == "paddlenlp"
}
print(json.dumps(held))
