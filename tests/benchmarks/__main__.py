"""``python -m tests.benchmarks [NAME ...] [-- OPTION ...]``: run the benchmarks, all of them by default, with options."""

from __future__ import annotations

import subprocess
import sys

_BENCHMARKS = {
    "step": "tests.benchmarks.step_time",
    "encoder_step": "tests.benchmarks.encoder_step",
    "roofline": "tests.benchmarks.roofline",
    "precision": "tests.benchmarks.precision",
    "control": "tests.benchmarks.control",
    "health": "tests.benchmarks.health",
    "tables": "tests.benchmarks.tables",
    "arms": "tests.benchmarks.arms",
    "experts": "tests.benchmarks.experts",
    "schedule": "tests.benchmarks.schedule",
    "distillation": "tests.benchmarks.distillation",
    "tokenizing": "tests.benchmarks.tokenizing",
    "serving": "tests.benchmarks.serving",
    "memory": "tests.benchmarks.memory",
    "calibration": "tests.benchmarks.calibration",
    "load": "tests.benchmarks.load",
    "fusion": "tests.benchmarks.fusion",
    "vectors": "tests.benchmarks.vectors",
    "agreement": "tests.benchmarks.agreement",
    "regularization": "tests.benchmarks.regularization",
    "skipgram": "tests.benchmarks.skipgram",
    "recipes": "tests.benchmarks.recipes",
    "rest_of_run": "tests.benchmarks.rest_of_run",
    "whole_runs": "tests.benchmarks.whole_runs",
    "losses": "tests.benchmarks.losses",
    "multilabel": "tests.benchmarks.multilabel",
    "search": "tests.benchmarks.search",
    "augmentation": "tests.benchmarks.augmentation",
    "check": "tests.benchmarks.check",
    "scoring": "tests.benchmarks.scoring",
    "few_labels": "tests.benchmarks.few_labels",
    "retrieval": "tests.benchmarks.retrieval",
    "continual": "tests.benchmarks.continual",
}


def main() -> None:
    at = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    names, options = sys.argv[1:at] or list(_BENCHMARKS), sys.argv[at + 1 :]
    for name in names:
        if name not in _BENCHMARKS:
            sys.exit(f"there is no benchmark {name!r}; expected {', '.join(_BENCHMARKS)}")
        # Each in a process of its own, so that none sees the threads and caches of another.
        subprocess.run([sys.executable, "-W", "ignore", "-m", _BENCHMARKS[name], *options], check=True)


main()
