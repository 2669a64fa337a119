"""Every file of a checkpoint damaged or replaced, with its seal, with a seal computed again, and with none: nothing runs.

``python -m pytest tests/hostile/test_attacked_checkpoints.py -m slow -s`` prints the counts.
"""

from __future__ import annotations

import collections
import shutil
from pathlib import Path
from typing import Any

import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.errors import EmbtuneError, HostError
from paddlenlp_embtune.utils.checkpoint_folders import SEAL
from tests.hostile.damages import DAMAGES, PICKLED, as_foreign, flips, payload, reseal
from tests.toy import make_trainer, new_process

# isort: split
from tests.host import TrainerCallback

RECIPE = embtune.Recipe.from_dict(
    {
        "groups": [
            {"name": "embedding", "parameters": ["embedding.*"], "rate": 0.02},
            {"name": "rest", "rate": 0.02, "weight_decay": 0.1},
        ],
        "freeze": {"groups": ["embedding"], "unfreeze_at_epoch": 1},
        "rows": {"protect": [3, 5]},
        "clip": {"global_norm": 0.5},
        "early_stopping": {"metric": "accuracy", "mode": "max", "patience_evals": 3},
        "average": {"every_steps": 2, "metric": "accuracy"},
    }
)
STEP = 6
BEFORE = 3


class AcceptedError(Exception):
    """Training went on from a checkpoint."""


class Stop(TrainerCallback):  # type: ignore[misc]
    """Ends a training that continues, before its first step or after its last."""

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise AcceptedError


def run(folder: Path, *callbacks: Any, resume: Path | None = None, **arguments: Any) -> Any:
    with new_process():
        trainer = make_trainer(folder, *callbacks, save_strategy="steps", save_steps=3, num_train_epochs=2, **arguments)
        embtune.attach(trainer, RECIPE, tokens=["[PAD]", *(f"t{number}" for number in range(29))])
        trainer.train(resume_from_checkpoint=str(resume) if resume is not None else None)
    return trainer


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the checkpoints of steps 3 and 6."""
    folder = tmp_path_factory.mktemp("trained")
    run(folder)
    return folder


class Attack:
    """Tries to continue from copies of a checkpoint, and counts what becomes of it."""

    def __init__(self, trained: Path, scratch: Path) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []
        self.marker = scratch / "executed"
        self._trained, self._scratch = trained, scratch

    def copy(self) -> Path:
        """A fresh copy of both checkpoints; the newer one."""
        shutil.rmtree(self._scratch / "run", ignore_errors=True)
        for step in (BEFORE, STEP):
            shutil.copytree(self._trained / f"checkpoint-{step}", self._scratch / "run" / f"checkpoint-{step}")
        return self._scratch / "run" / f"checkpoint-{STEP}"

    def resume(self, folder: Path, what: str, *, must_refuse: bool) -> str:
        """Continue from a folder; the message of its refusal, if it was refused."""
        self.counts["tried"] += 1
        said = ""
        try:
            run(folder.parent, Stop(), resume=folder)
        except AcceptedError:
            self.counts["accepted"] += 1
            if must_refuse:
                self.wrong.append(f"accepted: {what}")
        except EmbtuneError as error:
            self.counts["refused"] += 1
            said = str(error)
            if "\n" in said or len(said) > 900:
                self.wrong.append(f"refused at length: {what}: {said}")
        except Exception as error:
            self.counts["traceback"] += 1
            self.wrong.append(f"{type(error).__name__}: {what}: {error}")
        if self.marker.exists():
            self.counts["executed"] += 1
            self.wrong.append(f"EXECUTED: {what}")
            self.marker.unlink()
        return said


@pytest.fixture
def attack(trained: Path, tmp_path: Path) -> Attack:
    return Attack(trained, tmp_path)


def finish(attack: Attack, what: str) -> None:
    print(f"\n{what}: {dict(attack.counts)}")
    assert not attack.wrong, "\n".join(attack.wrong)
    assert not attack.counts["executed"]


def test_a_whole_one_goes_on_and_holds_no_pickle(attack: Attack) -> None:
    folder = attack.copy()
    assert attack.resume(folder, "whole", must_refuse=False) == ""
    assert attack.counts["accepted"] == 1
    assert {path.suffix for path in folder.iterdir()} <= {".json", ".safetensors", ""}
    assert not [path.name for path in folder.iterdir() if path.read_bytes()[:1] == b"\x80"]


@pytest.mark.parametrize("name", ["model.safetensors", "embtune_WeightAveragingCallback.safetensors", SEAL])
def test_a_flipped_bit_is_refused_and_the_whole_one_named(name: str, attack: Attack) -> None:
    folder = attack.copy()
    content = next(flips(folder / name, 1, seed=3))
    (folder / name).write_bytes(content)
    said = attack.resume(folder, name, must_refuse=True)
    assert name in said
    assert f"checkpoint-{BEFORE} beside it is whole: remove checkpoint-{STEP} to continue from there" in said
    finish(attack, "flipped")


def test_a_model_without_values_is_refused_even_under_a_new_seal(attack: Attack) -> None:
    for name, change, told in (
        ("model", "no arrays", "lacks 7 of the model's 7 parameters"),
        ("model", "emptied", "model.safetensors is damaged"),
        ("optimizer", "no arrays", "the state of the optimizer in"),
    ):
        folder = attack.copy()
        DAMAGES[change](folder / f"{name}.safetensors")
        reseal(folder, STEP)
        assert told in attack.resume(folder, change, must_refuse=True)
    finish(attack, "emptied")


@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_of_a_foreign_checkpoint_is_refused(attack: Attack, protocol: int) -> None:
    for ours, name in (
        ("model.safetensors", PICKLED[0]),
        ("optimizer.safetensors", PICKLED[1]),
        ("scheduler.json", PICKLED[2]),
    ):
        folder = attack.copy()
        as_foreign(folder)
        (folder / ours).unlink()
        (folder / name).write_bytes(payload(attack.marker, protocol))
        said = attack.resume(folder, name, must_refuse=True)
        assert name in said
    finish(attack, "foreign pickles")


def test_without_its_seal_it_is_incomplete(attack: Attack) -> None:
    folder = attack.copy()
    (folder / SEAL).unlink()
    said = attack.resume(folder, "no seal", must_refuse=True)
    assert said.startswith(f"checkpoint-{STEP} is incomplete: the process died while it was written")


def test_one_that_nothing_of_ours_wrote_is_taken_and_said_to_be_unsealed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with new_process():
        make_trainer(tmp_path, save_strategy="steps", save_steps=4, num_train_epochs=1).train()
    with pytest.raises(AcceptedError):
        run(tmp_path, Stop(), resume=tmp_path / "checkpoint-4")
    assert "has no seal" in caplog.text
    assert "random draws do not continue from it" in caplog.text


def test_a_best_checkpoint_is_loaded_from_where_it_is_and_compared(tmp_path: Path) -> None:
    options = {
        "evaluation_strategy": "steps",
        "eval_steps": 3,
        "load_best_model_at_end": True,
        "metric_for_best_model": "loss",
        "greater_is_better": True,  # so that the first is the best
    }
    trainer = run(tmp_path, **options)
    best = Path(trainer.state.best_model_checkpoint)
    (best / PICKLED[0]).write_bytes(payload(tmp_path / "executed", 4))
    newest = max(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.rpartition("-")[2]))
    assert newest != best
    with pytest.raises(HostError, match=f"{best.name} is damaged: model_state.pdparams has"):
        run(tmp_path, resume=newest, **options)
    assert not (tmp_path / "executed").exists()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_file_under_its_own_seal(attack: Attack) -> None:
    names = sorted(path.name for path in attack.copy().iterdir())
    for number, name in enumerate(names):
        for change, damage in DAMAGES.items():
            folder = attack.copy()
            damage(folder / name)
            attack.resume(folder, f"{name} {change}", must_refuse=True)
        for content in flips(attack.copy() / name, 40 if name == SEAL else 5, seed=number):
            (folder := attack.copy()) / name
            (folder / name).write_bytes(content)
            attack.resume(folder, f"{name} flipped", must_refuse=True)
        for protocol in (2, 4):
            folder = attack.copy()
            (folder / name).write_bytes(payload(attack.marker, protocol))
            attack.resume(folder, f"{name} payload {protocol}", must_refuse=True)
    for name in (*PICKLED, ".hidden", "model.safetensors.index.json"):
        folder = attack.copy()
        (folder / name).write_bytes(payload(attack.marker, 4))
        attack.resume(folder, f"{name} further", must_refuse=True)
    finish(attack, "own seal")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_file_under_a_new_seal(attack: Attack) -> None:
    names = sorted(path.name for path in attack.copy().iterdir() if path.name != SEAL)
    harmless = {"saved_signal_0", "embtune_vocabulary.json"}
    for number, name in enumerate(names):
        for change, damage in DAMAGES.items():
            folder = attack.copy()
            damage(folder / name)
            reseal(folder, STEP)
            alike = {"longer", "cut by one"} if name.endswith(".json") else set()  # white space at the end
            needed = name.partition(".")[0] in ("model", "optimizer", "scheduler", "trainer_state") and change not in alike
            attack.resume(folder, f"{name} {change}", must_refuse=needed)
        for content in flips(attack.copy() / name, 5, seed=number):
            folder = attack.copy()
            (folder / name).write_bytes(content)
            reseal(folder, STEP)
            attack.resume(folder, f"{name} flipped", must_refuse=False)
        for protocol in (2, 4):
            folder = attack.copy()
            (folder / name).write_bytes(payload(attack.marker, protocol))
            reseal(folder, STEP)
            attack.resume(folder, f"{name} payload {protocol}", must_refuse=name not in harmless)
    finish(attack, "new seal")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("sealed", [True, False])
def test_payloads_under_all_names_of_the_trainer(attack: Attack, protocol: int, sealed: bool) -> None:
    folder = attack.copy()
    for path in folder.iterdir():
        if path.name != "trainer_state.json":
            path.unlink()
    for name in PICKLED:
        (folder / name).write_bytes(payload(attack.marker, protocol))
    if sealed:
        reseal(folder, STEP)
    attack.resume(folder, "payloads", must_refuse=True)
    finish(attack, "payloads")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_file_without_a_seal(attack: Attack) -> None:
    names = sorted(path.name for path in attack.copy().iterdir() if not path.name.startswith("embtune_"))
    for number, name in enumerate(names):
        for change, damage in DAMAGES.items():
            folder = attack.copy()
            as_foreign(folder)
            damage(folder / name)
            attack.resume(folder, f"{name} {change}", must_refuse=False)
        for content in flips(attack.copy() / name, 5, seed=number):
            folder = attack.copy()
            as_foreign(folder)
            (folder / name).write_bytes(content)
            attack.resume(folder, f"{name} flipped", must_refuse=False)
        for protocol in (2, 4):
            folder = attack.copy()
            as_foreign(folder)
            (folder / name).write_bytes(payload(attack.marker, protocol))
            attack.resume(folder, f"{name} payload {protocol}", must_refuse=name != "saved_signal_0")
    finish(attack, "no seal")
