"""The baseline of a run in a process of its own; run as a module, it is that process.

Standard input holds the arguments of ``fit_baselines`` as JSON, standard output what it returns, or why it does not.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from paddlenlp_embtune.errors import HostError, MissingDependencyError
from paddlenlp_embtune.evaluation.baselines import FittedBaselines, fit_baselines

__all__ = ["fit_in_process"]


def fit_in_process(
    choice: str,
    texts: Sequence[str],
    labels: Sequence[str] | Sequence[Sequence[str]],
    dev_texts: Sequence[str],
    *,
    seed: int = 0,
) -> FittedBaselines:
    """Do what ``fit_baselines`` does, with scikit-learn and the interpreter's lock out of this process.

    Raises:
        MissingDependencyError: a package is not installed.
        HostError: the process fails; the message says how.
    """
    asked = {"choice": choice, "texts": list(texts), "labels": list(labels), "dev_texts": list(dev_texts), "seed": seed}
    command = [sys.executable, "-W", "ignore", "-m", __name__]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        raise HostError(f"the process of the baseline ended with exit code {done.returncode}: {last}") from None
    if "missing" in answer:
        raise MissingDependencyError(answer["missing"])
    if "failed" in answer:
        raise HostError(answer["failed"])
    answers = {name: tuple(found) for name, found in answer.pop("answers").items()}
    return FittedBaselines(answers=answers, **answer)


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Fit, and describe the result or the failure."""
    try:
        return dataclasses.asdict(fit_baselines(**asked))
    except MissingDependencyError as error:
        return {"missing": str(error)}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_answer(json.load(sys.stdin))))
