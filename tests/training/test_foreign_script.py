"""A script that was written without us: it runs as it is, and with two lines more it trains by a recipe."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aistudio_sdk.hub
import numpy as np
import numpy.typing as npt
import paddle
import pytest
from safetensors.numpy import load_file

import paddlenlp_embtune as embtune
from tests.helpers import ROWS, python, tsv
from tests.host import TrainerCallback
from tests.toy import States, ToyData, assert_equal, make_trainer, state_of
from tests.training.checkpoints import WEIGHTS, make_ernie

SCRIPT = Path(__file__).with_name("plain_script.py")
IMPORT = "import paddlenlp_embtune as embtune\n"
ATTACH = 'embtune.attach(trainer, embtune.Recipe.load("recipe.yaml"))\n'

EPOCHS, PATIENCE, STEPS = 12, 2, 12
EMBEDDING_RATE, HEAD_RATE = 5e-5, 1e-2
RECIPE = f"""\
groups:
  - {{name: embedding, parameters: ["ernie.embeddings.*"], rate: {EMBEDDING_RATE}}}
  - {{name: encoder, parameters: ["ernie.encoder.*", "ernie.pooler.*"], rate: 5e-3, weight_decay: 0.01}}
  - {{name: head, rate: {HEAD_RATE}, weight_decay: 0.01}}
freeze: {{groups: [embedding], unfreeze_at_epoch: 1}}
clip: {{global_norm: 1.0}}
early_stopping: {{metric: accuracy, mode: max, patience_evals: {PATIENCE}}}
"""
ARGUMENTS = """\
--model_name_or_path checkpoint --train_path train.tsv --dev_path dev.tsv --device cpu --do_train --do_eval
--per_device_train_batch_size 4 --per_device_eval_batch_size 8 --evaluation_strategy epoch --save_strategy epoch
--logging_steps 4 --learning_rate 2e-3 --report_to none --disable_tqdm True
"""
UNREACHABLE = "http://127.0.0.1:9"
OFFLINE = {name: UNREACHABLE for scheme in ("http", "https") for name in (f"{scheme}_proxy", f"{scheme}_proxy".upper())}

Weights = dict[str, npt.NDArray[Any]]


def with_two_lines(source: str) -> str:
    """Add the import above those of Paddle, as README.md advises, and attach directly before the Trainer trains."""
    lines = source.splitlines(keepends=True)
    first = min(number for number, line in enumerate(lines) if line.startswith(("import paddle", "from paddle")))
    (train,) = [number for number, line in enumerate(lines) if "trainer.train(" in line]
    indent = lines[train][: -len(lines[train].lstrip())]
    lines.insert(train, indent + ATTACH)
    lines.insert(first, IMPORT)
    return "".join(lines)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stranger's folder: rows, a checkpoint, a recipe, the script as it was and the script with two lines more."""
    folder = tmp_path_factory.mktemp("desk")
    make_ernie(folder / "checkpoint")
    (folder / "train.tsv").write_text(tsv([row for number, row in enumerate(ROWS) if number % 4]), encoding="utf-8")
    (folder / "dev.tsv").write_text(tsv(ROWS[::4]), encoding="utf-8")
    (folder / "recipe.yaml").write_text(RECIPE, encoding="utf-8")
    source = SCRIPT.read_text(encoding="utf-8")
    (folder / "plain.py").write_text(source, encoding="utf-8")
    (folder / "tuned.py").write_text(with_two_lines(source), encoding="utf-8")
    return folder


def importable_host(folder: Path) -> dict[str, str]:
    """Variables with which PaddleNLP can be imported without us, also beside an aistudio-sdk that dropped what it needs."""
    if not hasattr(aistudio_sdk.hub.download, "embtune_shim"):
        return {}
    package = folder / "aistudio_sdk"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from aistudio_sdk import hub\n", encoding="utf-8")
    (package / "hub.py").write_text("def download(*_, **__):\n    raise NotImplementedError\n", encoding="utf-8")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}


def fine_tune(desk: Path, script: str, *, epochs: int, out: str, env: Mapping[str, str] | None = None) -> list[float]:
    """Run a script in a process of its own; give the accuracy of every evaluation, the one after training last."""
    arguments = [*ARGUMENTS.split(), "--num_train_epochs", str(epochs), "--output_dir", out]
    done = python(script, *arguments, cwd=desk, env={**OFFLINE, **(env or {})})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    # The Trainer empties its log_history with every entry, so trainer_state.json does not know these.
    return [float(value) for value in re.findall(r"eval_accuracy: ([0-9.]+)", done.stdout + done.stderr)]


def weights(folder: Path) -> Weights:
    """Weights that PaddleNLP saved in a folder, or that stand in a checkpoint of a Trainer with a recipe, by name."""
    if (folder / "model.safetensors").is_file():
        read: Weights = load_file(folder / "model.safetensors")
        return dict(sorted(read.items()))
    loaded: Weights = paddle.load(str(folder / WEIGHTS), return_numpy=True)
    return dict(sorted(loaded.items()))


def weights_by_epoch(out: Path) -> list[Weights]:
    """Weights of every checkpoint, in the order of their steps."""
    steps = sorted(int(path.name.partition("-")[2]) for path in out.glob("checkpoint-*"))
    assert steps == [STEPS * (epoch + 1) for epoch in range(len(steps))]
    return [weights(out / f"checkpoint-{step}") for step in steps]


def moved(before: Weights, after: Weights) -> dict[str, float]:
    """The largest change of a value by name of the parameter."""
    assert list(before) == list(after)
    return {name: float(np.abs(after[name] - before[name]).max()) for name in before}


def test_the_scripts_differ_by_exactly_two_lines() -> None:
    source = SCRIPT.read_text(encoding="utf-8")
    assert "embtune" not in source
    rows = difflib.ndiff(source.splitlines(keepends=True), with_two_lines(source).splitlines(keepends=True))
    changed = [row for row in rows if not row.startswith("  ")]
    assert changed == ["+ " + IMPORT, "+ " + " " * 8 + ATTACH]


@pytest.mark.slow
def test_the_plain_script_works_without_us(desk: Path) -> None:
    accuracies = fine_tune(desk, "plain.py", epochs=1, out="plain", env=importable_host(desk / "stand_in"))
    assert len(accuracies) == 2
    assert json.loads((desk / "plain" / "eval_results.json").read_text(encoding="utf-8"))["eval_accuracy"] == accuracies[-1]
    assert min(moved(weights(desk / "checkpoint"), weights(desk / "plain")).values()) > 0
    assert not list((desk / "plain").rglob("*embtune*"))


def test_two_lines_bring_freezing_rates_and_early_stopping_to_it(desk: Path) -> None:
    accuracies = fine_tune(desk, "tuned.py", epochs=EPOCHS, out="tuned")
    start, epochs, final = weights(desk / "checkpoint"), weights_by_epoch(desk / "tuned"), weights(desk / "tuned")
    embedding = [name for name in start if name.startswith("ernie.embeddings.")]
    others = [name for name in start if name not in embedding]
    assert len(embedding) == 5

    # Epoch 0: the embedding is frozen, everything else trains.
    in_epoch_0 = moved(start, epochs[0])
    assert all(epochs[0][name].tobytes() == start[name].tobytes() for name in embedding)
    assert min(in_epoch_0[name] for name in others) > 0
    assert in_epoch_0["classifier.weight"] > HEAD_RATE

    # Epoch 1: released, at its own rate. One step of Adam goes no farther than its rate times 0.1 / sqrt(0.001).
    in_epoch_1 = moved(epochs[0], epochs[1])
    farthest = STEPS * EMBEDDING_RATE * 0.1 / 0.001**0.5
    assert all(EMBEDDING_RATE / 2 < in_epoch_1[name] < farthest for name in embedding)
    assert all(moved(start, epochs[-1])[name] > 0 for name in embedding)

    # Stopped when accuracy had not improved for so many evaluations, and the best epoch is what the script saved.
    *by_epoch, after_training = accuracies
    best = by_epoch.index(max(by_epoch))
    assert len(epochs) == len(by_epoch) == best + 1 + PATIENCE < EPOCHS
    assert best > 0
    assert max(moved(epochs[best], final).values()) == 0
    assert after_training == by_epoch[best] > by_epoch[0]


# --- idioms of the Trainer that a recipe breaks -----------------------------------------------------------------------


class Stream(paddle.io.IterableDataset):
    """Rows without a length, as ``load_dataset(..., lazy=True)`` gives them."""

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rows = ToyData()
        return (rows[number] for number in range(len(rows)))


def test_rows_without_a_length_can_be_trained_on(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=6)
    trainer.train_dataset = Stream()
    embtune.attach(trainer, embtune.Recipe(early_stopping=None))
    trainer.train()
    assert trainer.state.global_step == 6


class Evaluations(TrainerCallback):
    """The metrics of every evaluation, by its step."""

    def __init__(self) -> None:
        self.metrics: list[tuple[int, dict[str, float]]] = []

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.metrics.append((state.global_step, dict(kwargs["metrics"])))

    def of(self, name: str) -> dict[int, float]:
        return {step: metrics[name] for step, metrics in self.metrics if name in metrics}


def test_early_stopping_watches_one_of_several_evaluation_sets(tmp_path: Path) -> None:
    evaluations = Evaluations()
    trainer = make_trainer(tmp_path, evaluations)
    trainer.eval_dataset = {"a": ToyData(32), "b": ToyData(16)}
    record = embtune.attach(trainer, embtune.Recipe.from_dict({"early_stopping": {"metric": "a_accuracy"}}))
    trainer.train()
    found = evaluations.of("eval_a_accuracy")
    assert len(found) == 3
    assert {event["step"]: event["value"] for event in record.of("early_stopping")} == found


def test_the_trainer_still_finds_its_own_best_checkpoint(tmp_path: Path) -> None:
    steps = {"evaluation_strategy": "steps", "eval_steps": 4, "save_strategy": "steps", "save_steps": 4}
    states, evaluations = States(), Evaluations()
    trainer = make_trainer(
        tmp_path, states, evaluations, load_best_model_at_end=True, metric_for_best_model="accuracy", **steps
    )
    embtune.attach(trainer, embtune.Recipe(early_stopping=None))
    trainer.train()
    found = evaluations.of("eval_accuracy")
    best = int(Path(trainer.state.best_model_checkpoint).name.removeprefix("checkpoint-"))
    assert found[best] == max(found.values())
    assert_equal(state_of(trainer.model), states.states[best])
