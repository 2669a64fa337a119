"""The example plugins, installed as a stranger would install them, beside the package and not into it."""

from __future__ import annotations

import ast
import importlib
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers import QUICK, ROWS, tsv

ROOT = Path(__file__).parents[2]
PLUGINS = ROOT / "plugins"
NAMES = sorted(path.name for path in PLUGINS.iterdir() if (path / "setup.cfg").is_file())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    for name in NAMES:
        copy = tmp_path_factory.mktemp("source") / name
        subprocess.run(["cp", "-r", str(PLUGINS / name), str(copy)], check=True)
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--target",
            str(target),
        ]
        subprocess.run([*command, str(copy)], check=True, capture_output=True)
    return target


@pytest.mark.parametrize("path", sorted(PLUGINS.rglob("*.py")), ids=lambda path: path.relative_to(PLUGINS).as_posix())
def test_examples_use_public_names_only(path: Path) -> None:
    """Names of the package, of its errors, and of the faces of its rooms: what their ``__all__`` lists."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            assert all(alias.name in ("paddlenlp_embtune",) or "paddlenlp_embtune" not in alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "paddlenlp_embtune":
            module = importlib.import_module(str(node.module))
            assert hasattr(module, "__path__") or node.module == "paddlenlp_embtune.errors", f"{path}:{node.lineno}"
            public = {*module.__all__, "compat"} if node.module == "paddlenlp_embtune" else set(module.__all__)
            assert {alias.name for alias in node.names} <= public, f"{path}:{node.lineno}"


def embtune(site: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-W", "ignore", "-m", "paddlenlp_embtune", *arguments]
    return subprocess.run(command, check=check, text=True, capture_output=True, env=environment)


def run_code(site: Path, code: str, *arguments: str) -> None:
    """Run a script, which may import the plugins and ``tests.toy``, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), str(ROOT)])}
    command = [sys.executable, "-W", "ignore", "-c", code, *arguments]
    done = subprocess.run(command, check=False, text=True, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.slow
def test_plugins_are_listed_with_what_they_bring(site: Path) -> None:
    found = json.loads(embtune(site, "plugins", "--json").stdout)
    assert {(row["name"], row["source"]) for row in found["plugins"]} >= {
        ("reviews", "embtune-reviews 0.1.0"),
        ("discriminative", "embtune-discriminative 0.1.0"),
        ("sample_weights", "embtune-sample-weights 0.1.0"),
        ("e5", "embtune-e5 0.1.0"),
        ("trackers", "embtune-trackers 0.1.0"),
        ("use", "embtune-use 0.1.0"),
    }
    assert {"kind": "encoder", "name": "e5-small", "plugin": "e5"} in found["registered"]
    assert {"kind": "vector format", "name": "use", "plugin": "use"} in found["registered"]
    assert {"kind": "domain", "name": "reviews", "plugin": "reviews"} in found["registered"]
    for kind, name in (
        ("health metric", "centre_shift"),
        ("alarm", "off_centre"),
        ("report section", "Centre of the embedding"),
    ):
        assert {"kind": kind, "name": name, "plugin": "reviews"} in found["registered"]
    assert {"kind": "loss", "name": "small_loss", "plugin": "sample_weights"} in found["registered"]
    assert "sample_weights" in embtune(site, "plugins").stdout


@pytest.mark.slow
def test_a_run_uses_the_domain_the_measure_and_the_rates(site: Path, tmp_path: Path) -> None:
    rows = [f"{word}第{number}次\t{label}" for number in range(12) for word, label in (("差", "差评"), ("好", "好评"))]
    (tmp_path / "reviews.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        "domain: reviews\ndata: {train: reviews.tsv}\ntext: {extra_rows: 0}\nexport: {engines: []}\n"
        "model: {options: {filters: 8, ngram_buckets: 64}}\ntrain: {epochs: 2}\n",
        encoding="utf-8",
    )
    embtune(site, "train", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run"))
    events = [json.loads(line) for line in (tmp_path / "run" / "record.jsonl").read_text(encoding="utf-8").splitlines()]
    (table,) = [event["table"] for event in events if event["event"] == "groups"]
    rates = {row["name"]: row["rate"] for row in table}
    assert rates["head"] == pytest.approx(2.6 * rates["convolution"]) == pytest.approx(2.6**2 * rates["embedding"])
    assert all("centre_shift" in event for event in events if event["event"] == "health")
    embtune(site, "report", str(tmp_path / "run"))
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "Centre of the embedding" in page
    assert "In units of the mean norm at the start." in page
    bundle = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert bundle["labels"] == ["差评", "好评"]
    assert bundle["ordered"] is True


@pytest.mark.slow
def test_a_run_on_flipped_labels_records_the_growing_share(site: Path, tmp_path: Path) -> None:
    wrong = dict(zip(("利好", "利空", "中性"), ("利空", "中性", "利好"), strict=True))
    flipped = set(random.Random(0).sample(range(len(ROWS)), len(ROWS) * 3 // 10))
    rows = [(text, wrong[label] if number in flipped else label) for number, (text, label) in enumerate(ROWS)]
    (tmp_path / "train.tsv").write_text(tsv(rows), encoding="utf-8")
    recipe = QUICK.replace("epochs: 2", "epochs: 7, loss: small_loss") + "early_stopping: null\n"
    (tmp_path / "recipe.yaml").write_text(recipe, encoding="utf-8")
    embtune(site, "train", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run"))
    events = [json.loads(line) for line in (tmp_path / "run" / "record.jsonl").read_text(encoding="utf-8").splitlines()]
    shares = [(event["epoch"], event["share"]) for event in events if event["event"] == "small_loss"]
    assert shares == [(epoch, pytest.approx(0.2 * min(1, epoch / 5))) for epoch in range(7)]
    assert (tmp_path / "run" / "bundle" / "bundle.json").is_file()


WEIGHTS = """
import sys

import embtune_sample_weights

assert "paddle" not in sys.modules

import numpy as np
import paddle

from embtune_sample_weights.small_loss import SmallLoss

labels = paddle.to_tensor(np.arange(10) % 3)
logits = paddle.to_tensor(np.random.default_rng(0).normal(size=(10, 3)).astype(np.float32), stop_gradient=False)
class_weights = np.array([0.5, 1.0, 4.0], dtype=np.float32)
plain = paddle.nn.CrossEntropyLoss(weight=paddle.to_tensor(class_weights))
loss = SmallLoss(class_weights=class_weights)
np.testing.assert_allclose(loss(logits, labels).numpy(), plain(logits, labels).numpy(), rtol=1e-6)

losses = paddle.nn.functional.cross_entropy(logits, labels, reduction="none").numpy()
assert losses.shape == (10,)
for share, dropped in ((0.0, 0), (0.09, 0), (0.3 / 3, 1), (0.2, 2), (0.39, 3), (0.99, 9)):
    loss.share = share
    kept = np.sort(np.argsort(losses)[: 10 - dropped])
    expected = np.zeros(10, dtype=np.float32)
    expected[kept] = 1.0
    np.testing.assert_array_equal(loss.row_weights(paddle.to_tensor(losses)).numpy(), expected)
    value = loss(logits, labels)
    np.testing.assert_allclose(value.numpy(), plain(logits[kept], labels[kept]).numpy(), rtol=1e-6)
    (gradient,) = paddle.grad(value, [logits])
    assert set(np.flatnonzero(gradient.numpy().any(axis=1))) == set(kept)
with paddle.no_grad():
    np.testing.assert_allclose(loss(logits, labels).numpy(), plain(logits, labels).numpy(), rtol=1e-6)

loss.share = 0.9
one_row = loss(logits[:1], labels[:1])
np.testing.assert_allclose(one_row.numpy(), plain(logits[:1], labels[:1]).numpy(), rtol=1e-6)
"""


@pytest.mark.slow
def test_small_loss_weighs_rows_as_its_documentation_says(site: Path) -> None:
    run_code(site, WEIGHTS)


RUNS_APART = """
import sys

import numpy as np
import pytest

import paddlenlp_embtune as embtune
from embtune_sample_weights.small_loss import SmallLoss, SmallLossCallback
from tests.toy import make_trainer

RECIPE = embtune.Recipe.from_dict({"train": {"loss": "small_loss"}, "early_stopping": None})
weights = np.ones(3, dtype=np.float32)


def build(**options):
    trainer = make_trainer(sys.argv[1], **options)
    trainer.criterion = SmallLoss(class_weights=weights)
    return trainer


first, second = build(num_train_epochs=3), build(num_train_epochs=2)
records = [embtune.attach(trainer, RECIPE) for trainer in (first, second)]
first.train()
assert [event["share"] for event in records[0].of("small_loss")] == pytest.approx([0.0, 0.04, 0.08])
assert (first.criterion.share, second.criterion.share) == (pytest.approx(0.08), 0.0)
second.train()
assert (first.criterion.share, second.criterion.share) == (pytest.approx(0.08), pytest.approx(0.04))
assert [len(record.of("small_loss")) for record in records] == [3, 2]

# What the Trainer reports of an evaluation is the loss of all rows, whatever the share.
first.criterion.share = 0.5
assert first.evaluate()["eval_loss"] == pytest.approx(make_trainer(sys.argv[1], model=first.model).evaluate()["eval_loss"])

plain = make_trainer(sys.argv[1], num_train_epochs=2)
record = embtune.attach(plain, embtune.Recipe(early_stopping=None))
plain.train()
assert record.of("small_loss") == []

with pytest.raises(embtune.RecipeError, match="criterion is CrossEntropyLoss"):
    embtune.attach(make_trainer(sys.argv[1]), RECIPE)
for options in ({"forget_rate": 1.0}, {"forget_rate": -0.1}, {"ramp_epochs": 0}):
    with pytest.raises(embtune.RecipeError, match="expected"):
        SmallLossCallback(first.criterion, **options)
"""


@pytest.mark.slow
def test_runs_in_one_process_move_their_own_loss(site: Path, tmp_path: Path) -> None:
    run_code(site, RUNS_APART, str(tmp_path))


RESUME = """
import json
import sys

import numpy as np
import pytest

from paddlenlp_embtune import RecipeError
from paddlenlp_embtune.training.callbacks import ResumeCallback
from embtune_sample_weights.small_loss import SmallLoss, SmallLossCallback
from tests.toy import make_trainer, new_process


class Shares(SmallLossCallback):
    def __init__(self, loss, **schedule):
        super().__init__(loss, **schedule)
        self.seen = {}

    def on_train_begin(self, args, state, control, **kwargs):
        super().on_train_begin(args, state, control, **kwargs)
        self.first = self.loss.share

    def on_step_end(self, args, state, control, **kwargs):
        self.seen[state.global_step] = self.loss.share


def run(resume=None, ramp_epochs=2):
    with new_process():
        loss = SmallLoss(class_weights=np.ones(3, dtype=np.float32))
        callback = Shares(loss, forget_rate=0.5, ramp_epochs=ramp_epochs)
        trainer = make_trainer(sys.argv[1], ResumeCallback(), callback, save_strategy="steps", save_steps=2)
        trainer.criterion = loss
        trainer.train(resume_from_checkpoint=resume)
    return callback, {name: value.numpy() for name, value in trainer.model.named_parameters()}


whole, weights = run()
assert whole.seen == {step: (step - 1) // 4 * 0.25 for step in range(1, 13)}
# Within epoch 1, and on the last step of epoch 0.
for step, share in ((6, 0.25), (4, 0.0)):
    resumed, resumed_weights = run(f"{sys.argv[1]}/checkpoint-{step}")
    assert resumed.first == share
    assert resumed.seen == {later: whole.seen[later] for later in range(step + 1, 13)}
    for name, value in weights.items():
        np.testing.assert_array_equal(resumed_weights[name], value, err_msg=f"{name} from {step}")
with pytest.raises(RecipeError, match="ramp_epochs: 2 in the checkpoint, 3 now"):
    run(f"{sys.argv[1]}/checkpoint-6", ramp_epochs=3)
"""


@pytest.mark.slow
def test_a_resumed_run_leaves_out_the_same_share(site: Path, tmp_path: Path) -> None:
    run_code(site, RESUME, str(tmp_path))


@pytest.mark.slow
def test_a_plugin_can_be_blocked(site: Path) -> None:
    known, left = (
        {row["name"] for row in json.loads(embtune(site, *block, "plugins", "--json").stdout)["plugins"]}
        for block in ([], ["--block", "reviews"])
    )
    assert known - left == {"reviews"}
    assert "builtin" in left
    refused = embtune(site, "--block", "review", "plugins", check=False)
    assert refused.returncode == 1
    assert "did you mean 'reviews'" in refused.stderr
