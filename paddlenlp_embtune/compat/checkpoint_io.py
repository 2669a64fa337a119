"""Checkpoints without pickles: arrays as safetensors and the rest as JSON, when the Trainer writes and when it reads.

The Trainer saves with ``paddle.save`` and resumes with ``paddle.load``, which unpickles, and so runs, whatever a file says.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.compat._checkpoint_states import MODEL, check_parameters, read_model, read_state, write_state
from paddlenlp_embtune.compat._paddle_load_guard import loads_guarded
from paddlenlp_embtune.compat._paddleformers import splits_checkpoints, state_as_json, use_plain_checkpoints
from paddlenlp_embtune.compat.host import HOSTS, trainer_module
from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.compat.rng_state import restore_random_state
from paddlenlp_embtune.compat.trainer import inner_optimizer
from paddlenlp_embtune.compat.trainer_state import TRAINER_STATE
from paddlenlp_embtune.errors import HostError

__all__ = ["keep_callback_last", "resumed_from", "use_safe_checkpoints", "wait_for_all_processes"]

_SPECIAL = (
    "use_hybrid_parallel",
    "unified_checkpoint",
    "enable_auto_parallel",
    "use_expert_parallel",
    "should_save_sharding_stage1_model",
    "use_async_save",
)
"""Arguments of the Trainer under which each process keeps parts of the arrays, in files of their own."""

_ADAPTERS = tuple(f"{name}.peft" for name in HOSTS)
"""The host's modules of adapters; their models save themselves."""


def use_safe_checkpoints(trainer: Any, checks: Sequence[Callable[[Path], None]]) -> None:
    """Make a Trainer write checkpoints of safetensors and JSON, and never unpickle one, whoever wrote it.

    With sharded or unified checkpoints, the Trainer's own files of arrays stay as they are, and so does the one of the model
    under ``load_best_model_at_end``, where the Trainer looks for it; of those, pickled arrays and plain values alone are read.

    Which checkpoint it resumes from is noted for :func:`resumed_from`, as callbacks are never told.

    Args:
        trainer: a Trainer.
        checks: asked about a checkpoint's folder before anything of it is loaded, as callbacks cannot be; may raise.
    """
    use_plain_checkpoints(trainer)
    _take_over_saving(trainer)
    _Loads(trainer)
    train = trainer.train

    @functools.wraps(train)
    def train_guarded(resume_from_checkpoint: Any = None, *arguments: Any, **options: Any) -> Any:
        folder = _resumed(trainer, resume_from_checkpoint)
        trainer.args.embtune_resumed_from = folder
        concerns = _of_checkpoints(trainer, folder, checks)
        if folder is not None:
            concerns(Path(folder))
        with loads_guarded(concerns), state_as_json(trainer, TRAINER_STATE):
            return train(folder, *arguments, **options)

    trainer.train = train_guarded


def _of_checkpoints(trainer: Any, resumed: str | None, checks: Sequence[Callable[[Path], None]]) -> Callable[[Path], bool]:
    """Return what tells folders of checkpoints from others, and has each checked before the first time that it is read from."""
    output, checked = Path(trainer.args.output_dir).resolve(), set()

    def concerns(folder: Path) -> bool:
        place, best = folder.resolve(), trainer.state.best_model_checkpoint  # which a checkpoint may have named
        known = {Path(other).resolve() for other in (resumed, best) if other is not None}
        if place not in known and (place.parent != output or not place.name.startswith("checkpoint-")):
            return False
        if place not in checked:
            for check in checks:
                check(folder)
            checked.add(place)
        return True

    return concerns


def resumed_from(args: Any) -> str | None:
    """Return the checkpoint that :func:`use_safe_checkpoints` noted."""
    noted: str | None = getattr(args, "embtune_resumed_from", None)
    return noted


def keep_callback_last(trainer: Any, callback: Any) -> None:
    """Move a callback behind all others, also behind those that are added later."""
    handler = trainer.callback_handler
    add = handler.add_callback

    def add_before(other: Any) -> Any:
        add(other)
        handler.callbacks.sort(key=lambda each: each is callback)

    handler.add_callback = add_before
    handler.callbacks.sort(key=lambda each: each is callback)


def wait_for_all_processes(args: Any) -> None:
    """Wait until every process of a training has come here."""
    if args.world_size > 1:
        require_paddle().distributed.barrier()


def _resumed(trainer: Any, given: Any) -> str | None:
    """The folder to resume from; True stands for the newest one, as the Trainer documents, although it cannot load it then."""
    if given is None or given is False:
        return None
    if given is True:
        found: str | None = trainer_module(trainer).get_last_checkpoint(trainer.args.output_dir)
        if found is None:
            raise HostError(
                f"there is no checkpoint in {trainer.args.output_dir} to resume from; give its folder, or train without "
                "resume_from_checkpoint"
            )
        return found
    return str(os.fspath(given))


def _is_special(trainer: Any) -> bool:
    return (
        type(trainer.model).__module__.startswith(_ADAPTERS)
        or splits_checkpoints(trainer.args)
        or any(bool(getattr(trainer.args, name, False)) for name in _SPECIAL)
    )


# --- writing ----------------------------------------------------------------------------------------------------------


def _take_over_saving(trainer: Any) -> None:
    save = trainer._save_checkpoint

    @functools.wraps(save)
    def save_plainly(*arguments: Any, **options: Any) -> Any:
        folder = Path(trainer.args.output_dir) / f"checkpoint-{trainer.state.global_step}"
        if trainer.args.should_save and folder.exists():
            # An earlier run may have been killed while it wrote here; its seal, or half of its files, must not stay.
            shutil.rmtree(folder)
        wait_for_all_processes(trainer.args)
        with _saves_routed(trainer, folder):
            return save(*arguments, **options)

    trainer._save_checkpoint = save_plainly


@contextlib.contextmanager
def _saves_routed(trainer: Any, folder: Path) -> Iterator[None]:
    """Write what ``paddle.save`` is given for files of one folder in our own way; all else is saved as ever."""
    paddle = require_paddle()
    original = paddle.save
    routes = _routes(trainer)

    def save(obj: Any, path: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(path, (str, os.PathLike)):
            file = Path(path)
            if file.name in routes and file.parent.resolve() == folder.resolve():
                return routes[file.name](file.parent, obj)
        return original(obj, path, *arguments, **options)

    function = trainer._save_ckpt_func
    paddle.save = save
    if function is original:  # PaddleNLP 2 keeps Paddle's own
        trainer._save_ckpt_func = save
    try:
        yield
    finally:
        paddle.save = original
        trainer._save_ckpt_func = function


def _routes(trainer: Any) -> dict[str, Callable[[Path, Any], None]]:
    """Who writes what, by the name that the Trainer gives it."""
    # Nobody reads the Trainer's arguments, and ResumeCallback writes random states. PaddleNLP numbers their file by the count
    # of processes, PaddleFormers by the process.
    numbers = (trainer.args.world_size, trainer.args.process_index)
    routes: dict[str, Callable[[Path, Any], None]] = dict.fromkeys(
        ("training_args.bin", "rng_state.pth", *(f"rng_state_{number}.pth" for number in numbers)), _leave_out
    )
    routes[TRAINER_STATE] = lambda folder, state: state.save_to_json(str(folder / TRAINER_STATE))
    if not _is_special(trainer):
        routes["optimizer.pdopt"] = lambda folder, state: write_state(
            folder, "optimizer", {name: value for name, value in state.items() if name != "LR_Scheduler"}
        )
        routes["scheduler.pdparams"] = lambda folder, state: write_state(folder, "scheduler", state)
        routes["scaler.pdparams"] = lambda folder, state: write_state(folder, "scaler", state)
        if not trainer.args.load_best_model_at_end:
            routes["model_state.pdparams"] = lambda folder, state: write_state(folder, MODEL, state)
    return routes


def _leave_out(folder: Path, obj: Any) -> None:
    """Write nothing."""


# --- reading ----------------------------------------------------------------------------------------------------------


class _Loads:
    """Stands in for the Trainer's own loads; under special arguments these do the work, on a guarded ``paddle.load``."""

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self._model, self._optimizer = trainer._load_from_checkpoint, trainer._load_optimizer_and_scheduler
        self._set_model = trainer._set_state_dict_in_model
        trainer._load_from_checkpoint, trainer._load_optimizer_and_scheduler = self.model, self.optimizer
        trainer._set_state_dict_in_model, trainer._load_rng_state = self.set_model, self.random_states

    def model(self, resume_from_checkpoint: Any = None) -> None:
        """Load the model, and forget what the optimizer of an earlier training holds."""
        if resume_from_checkpoint and self.trainer.optimizer is not None:
            optimizer = inner_optimizer(self.trainer.optimizer)
            optimizer._accumulators.clear()
            optimizer._already_create_accumulator.clear()
        if not resume_from_checkpoint or _is_special(self.trainer):
            self._model(resume_from_checkpoint)
        else:
            self._set_model(read_model(Path(resume_from_checkpoint), self.trainer.model))

    def optimizer(self, checkpoint: Any) -> None:
        """Load optimizer, schedule and loss scale."""
        if checkpoint is None or _is_special(self.trainer):
            self._optimizer(checkpoint)
        elif not self.trainer.args.ignore_load_lr_and_optim:
            _load_optimizer(self.trainer, Path(checkpoint))

    def random_states(self, checkpoint: Any) -> None:
        """Restore the random states of Python, numpy and Paddle from a checkpoint."""
        if checkpoint is not None:
            restore_random_state(
                Path(checkpoint), world_size=self.trainer.args.world_size, rank=self.trainer.args.process_index
            )

    def set_model(self, state: Mapping[str, Any]) -> None:
        """Take the best model at the end, too, only if it has the model's parameters."""
        if not _is_special(self.trainer):
            check_parameters(state, self.trainer.model, "the checkpoint")
        self._set_model(state)


def _load_optimizer(trainer: Any, folder: Path) -> None:
    paddle = require_paddle()
    schedule = read_state(folder, "scheduler", like=trainer.lr_scheduler.state_dict())
    state = read_state(folder, "optimizer")
    if not state:
        raise HostError(f"the state of the optimizer in {folder} is empty; resume from another checkpoint")
    if (masters := state.get("master_weights")) is not None:
        state["master_weights"] = {name: paddle.to_tensor(value) for name, value in masters.items()}
    trainer.optimizer.set_state_dict({**state, "LR_Scheduler": dict(schedule)})
    trainer.lr_scheduler.set_state_dict(schedule)
    if trainer.do_grad_scaling:
        trainer.scaler.load_state_dict(read_state(folder, "scaler", like=trainer.scaler.state_dict()))
    if getattr(trainer.args, "offload_optim", False):
        trainer._offload_optimizer()
