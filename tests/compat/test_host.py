"""Which package the Trainer comes from, and what PaddleFormers' Trainer needs."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import subprocess
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import _paddleformers
from paddlenlp_embtune.errors import HostError, MissingDependencyError
from tests.host import Trainer, TrainerCallback
from tests.toy import make_trainer

OTHER = {"paddlenlp": "paddleformers", "paddleformers": "paddlenlp"}[compat.host_name()]


@pytest.fixture
def other(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A module with a Trainer, imported as that of the package that the tests do not run on."""
    name = compat.HOSTS[OTHER]
    module = types.ModuleType(name)
    module.Trainer = type("Trainer", (), {"__module__": f"{name}.trainer"})  # type: ignore[attr-defined]
    module.TrainerCallback = type("TrainerCallback", (), {"__module__": name})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, module)
    return module


def installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Let these packages be installed, and neither have been imported."""
    find = importlib.util.find_spec
    for module in compat.HOSTS.values():
        monkeypatch.delitem(sys.modules, module, raising=False)
    found = {name: object() if name in names else None for name in compat.HOSTS}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found[name] if name in found else find(name))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [(["paddlenlp"], "paddlenlp"), (["paddleformers"], "paddleformers"), (["paddleformers", "paddlenlp"], "paddlenlp")],
)
def test_what_is_installed_is_taken(monkeypatch: pytest.MonkeyPatch, names: list[str], chosen: str) -> None:
    monkeypatch.delenv(compat.TRAINER_VARIABLE, raising=False)
    installed(monkeypatch, *names)
    assert compat.host_name() == chosen


def test_what_the_program_has_imported_comes_before_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compat.TRAINER_VARIABLE, raising=False)
    installed(monkeypatch, *compat.HOSTS)
    monkeypatch.setitem(sys.modules, compat.HOSTS["paddleformers"], types.ModuleType("imported"))
    assert compat.host_name() == "paddleformers"


def test_the_variable_decides(monkeypatch: pytest.MonkeyPatch, other: types.ModuleType) -> None:
    monkeypatch.setenv(compat.TRAINER_VARIABLE, OTHER)
    assert compat.trainer_module() is other


def test_a_variable_that_names_no_package_is_refused_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(compat.TRAINER_VARIABLE, "paddleformer")
    with pytest.raises(HostError, match=r"EMBTUNE_TRAINER is 'paddleformer'; did you mean 'paddleformers'"):
        compat.trainer_module()


def test_without_either_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(compat.TRAINER_VARIABLE, raising=False)
    installed(monkeypatch)
    with pytest.raises(MissingDependencyError, match=r"paddlenlp is not installed.*paddlenlp-embtune\[cpu\]"):
        compat.trainer_module()


def test_a_trainer_leads_to_its_own_module(tmp_path: Path, other: types.ModuleType) -> None:
    class Own(other.Trainer):  # type: ignore[misc, name-defined]
        pass

    assert compat.trainer_module(Own()) is other
    assert compat.trainer_module(make_trainer(tmp_path)).Trainer is Trainer
    with pytest.raises(HostError, match=r"SimpleNamespace is not a Trainer; expected paddlenlp\.trainer\.Trainer or"):
        compat.trainer_module(SimpleNamespace())


def test_callbacks_of_either_package_are_callbacks(other: Any) -> None:
    assert compat.is_callback(TrainerCallback())
    assert compat.is_callback(other.TrainerCallback())
    assert not compat.is_callback(object())


def test_callbacks_know_every_event_of_either_trainer() -> None:
    assert compat.TrainerCallback is TrainerCallback
    assert TrainerCallback().on_save_hf(None, None, None, model=None) is None


def test_the_package_chooses_no_trainer_before_one_is_used() -> None:
    code = (
        "import json, sys, paddlenlp_embtune, paddlenlp_embtune.compat as compat; compat.trainer_module, compat.HOSTS\n"
        "print(json.dumps([name for name in ('paddle', 'paddlenlp', 'paddleformers') if name in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def waiting(device: str) -> tuple[Any, list[Any]]:
    """A module that imports paddle, and what is asked of its devices."""
    asked: list[Any] = []

    def synchronize(given: Any = None) -> None:
        asked.append(given)

    paddle = SimpleNamespace(device=SimpleNamespace(get_device=lambda: device, synchronize=synchronize))
    return SimpleNamespace(paddle=paddle), asked


@pytest.mark.parametrize(("device", "asked"), [("cpu", ["gpu:1"]), ("gpu:0", [None, "gpu:1"])])
def test_a_cpu_is_not_waited_for(device: str, asked: list[Any]) -> None:
    module, given = waiting(device)
    _paddleformers.fix_synchronize(module)
    _paddleformers.fix_synchronize(module)
    module.paddle.device.synchronize()
    module.paddle.device.synchronize("gpu:1")
    assert given == asked


@pytest.mark.parametrize(
    ("arguments", "formats"),
    [
        ({}, (None, None)),
        ({"use_hybrid_parallel": True}, ("flex_checkpoint", "flex_checkpoint")),
        ({"save_checkpoint_format": "unified_checkpoint"}, ("unified_checkpoint", None)),
    ],
    ids=["one process", "hybrid parallel", "unified"],
)
def test_flex_checkpoints_are_turned_off_where_a_process_holds_the_whole_model(
    arguments: dict[str, Any], formats: tuple[str | None, ...]
) -> None:
    args = SimpleNamespace(
        **{"save_checkpoint_format": "flex_checkpoint", "load_checkpoint_format": "flex_checkpoint", **arguments}
    )
    _paddleformers.use_plain_checkpoints(SimpleNamespace(args=args))
    assert (args.save_checkpoint_format, args.load_checkpoint_format) == formats
    assert _paddleformers.splits_checkpoints(args) == any(formats)


def test_a_run_with_attach_resumes_with_the_formats_that_the_host_has_by_default(tmp_path: Path) -> None:
    import paddlenlp_embtune as embtune

    recipe = embtune.Recipe.from_dict({"early_stopping": None, "layerwise": None})
    defaults = {
        name: "flex_checkpoint"
        for name in ("save_checkpoint_format", "load_checkpoint_format")
        if hasattr(make_trainer(tmp_path / "x").args, name)
    }

    def trained(folder: Path, **options: Any) -> Any:
        trainer = make_trainer(folder, save_strategy="steps", save_steps=2, num_train_epochs=2, **defaults)
        embtune.attach(trainer, recipe)
        trainer.train(**options)
        return trainer

    whole = trained(tmp_path)
    files = {path.name for path in (tmp_path / "checkpoint-2").iterdir()}
    assert {"model.safetensors", "optimizer.safetensors", "trainer_state.json"} <= files
    assert not any(path.suffix in (".pth", ".pdparams", ".pdopt", ".bin", ".distcp") for path in tmp_path.rglob("*"))
    resumed = trained(tmp_path, resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert resumed.state.global_step == whole.state.global_step == 8


@pytest.mark.parametrize(("loaded", "reported"), [(2, [1.25 + 0.5, 2.5, 2.75 + 0.5]), (4, [1.25, 2.0, 2.75])])
def test_epochs_are_right_after_a_resume_within_one(loaded: int, reported: list[float]) -> None:
    """The host adds the 2 batches that it has skipped in the first epoch to the count of every later one."""
    seen: list[float] = []
    handler = SimpleNamespace(
        train_dataloader=range(4),
        on_train_begin=lambda: None,
        on_epoch_begin=lambda: None,
        on_load_data_end=lambda: None,
        on_step_end=lambda args, state, control: seen.append(state.epoch),
    )
    _paddleformers.correct_epochs(SimpleNamespace(callback_handler=handler))
    handler.on_train_begin()
    handler.on_epoch_begin()
    for _ in range(loaded):
        handler.on_load_data_end()
    handler.on_step_end(None, SimpleNamespace(epoch=1.0), None)
    for number, epoch in enumerate(reported):
        if number != 1:
            handler.on_epoch_begin()
        handler.on_load_data_end()
        handler.on_step_end(None, SimpleNamespace(epoch=epoch), None)
    assert seen == [1.0, 1.25, 2.0, 2.75]


def test_a_state_that_is_only_pickled_is_refused(tmp_path: Path) -> None:
    (tmp_path / "trainer_state.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(HostError, match=r"only as a pickle, trainer_state\.bin, which is not read; resume from a checkpoint"):
        compat.read_trainer_state(tmp_path)


def test_paddleformers_refuses_accumulated_gradients_by_rows() -> None:
    arguments: Any = type("TrainingArguments", (), {"__module__": f"{compat.HOSTS['paddleformers']}.training_args"})()
    arguments.world_size = 1
    for steps, refused in ((1, False), (4, True)):
        arguments.gradient_accumulation_steps = steps
        with pytest.raises(HostError, match="cannot accumulate gradients by rows") if refused else contextlib.nullcontext():
            compat.refuse_accumulated_rows(arguments)
