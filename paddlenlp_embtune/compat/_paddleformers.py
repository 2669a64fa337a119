"""What PaddleFormers' Trainer needs on a CPU, and its formats of checkpoints."""

from __future__ import annotations

import contextlib
import functools
import logging
import sys
import types
from collections.abc import Iterator
from typing import Any

__all__ = ["correct_epochs", "fix_synchronize", "splits_checkpoints", "state_as_json", "use_plain_checkpoints"]

logger = logging.getLogger("paddlenlp_embtune")

_FORMATS = ("save_checkpoint_format", "load_checkpoint_format")
_FLEX, _UNIFIED = "flex_checkpoint", "unified_checkpoint"


def fix_synchronize(module: types.ModuleType) -> None:
    """Let ``paddle.device.synchronize`` return on a CPU, where it raises a TypeError.

    PaddleFormers 1.2 calls it before every step of several accumulated batches, and whenever it logs memory.

    Args:
        module: the one that calls it, as soon as it has been imported.
    """
    device = module.paddle.device
    synchronize = device.synchronize
    if hasattr(synchronize, "embtune_shim"):
        return

    @functools.wraps(synchronize)
    def synchronize_device(given: Any = None) -> Any:
        if given is None and str(device.get_device()).startswith("cpu"):
            return None  # operations on a CPU are done when they return
        return synchronize(given)

    synchronize_device.embtune_shim = True  # type: ignore[attr-defined]
    device.synchronize = synchronize_device


def use_plain_checkpoints(trainer: Any) -> None:
    """Turn off flex checkpoints, PaddleFormers' default, unless each process holds only a part of the model.

    They need a hybrid-parallel group even in a single process, where resuming from one fails in PaddleFormers 1.2.
    """
    args = trainer.args
    flex = [name for name in _FORMATS if getattr(args, name, None) == _FLEX]
    if not flex or getattr(args, "use_hybrid_parallel", False) or getattr(args, "enable_auto_parallel", False):
        return
    for name in flex:
        setattr(args, name, None)
    logger.info("%s: %s becomes None; checkpoints are written as safetensors", " and ".join(flex), _FLEX)


def correct_epochs(trainer: Any) -> None:
    """Keep ``state.epoch`` right after a resume within an epoch.

    PaddleFormers 1.2 adds the batches that the sampler has skipped in the first epoch to those of every later one.

    Args:
        trainer: the methods of its callback handler are wrapped.
    """
    handler = trainer.callback_handler
    begin_train, begin_epoch, load_data, end_step = (
        handler.on_train_begin,
        handler.on_epoch_begin,
        handler.on_load_data_end,
        handler.on_step_end,
    )
    epochs = loaded = 0

    def on_train_begin(*arguments: Any, **options: Any) -> Any:
        nonlocal epochs, loaded
        epochs = loaded = 0
        return begin_train(*arguments, **options)

    def on_epoch_begin(*arguments: Any, **options: Any) -> Any:
        nonlocal epochs
        epochs += 1
        return begin_epoch(*arguments, **options)

    def on_load_data_end(*arguments: Any, **options: Any) -> Any:
        nonlocal loaded
        loaded += epochs == 1
        return load_data(*arguments, **options)

    def on_step_end(args: Any, state: Any, control: Any) -> Any:
        with contextlib.suppress(TypeError):  # data without a length
            batches = len(handler.train_dataloader)
            if epochs > 1 and loaded < batches:
                whole, part = divmod(round(state.epoch * batches) - (batches - loaded), batches)
                state.epoch = whole + part / batches
        return end_step(args, state, control)

    handler.on_train_begin, handler.on_epoch_begin = on_train_begin, on_epoch_begin
    handler.on_load_data_end, handler.on_step_end = on_load_data_end, on_step_end


@contextlib.contextmanager
def state_as_json(trainer: Any, name: str) -> Iterator[None]:
    """Have a Trainer look for its own state in a JSON file while the block runs.

    PaddleFormers 1.2 pickles it, and takes what ends in ``.json`` for JSON. Where the
    file of that name is not there, it starts over without a word.

    Args:
        trainer: a Trainer.
        name: of the file.
    """
    module: Any = next(sys.modules[kind.__module__] for kind in type(trainer).__mro__ if kind.__name__ == "Trainer")
    former = module.TRAINER_STATE_NAME
    module.TRAINER_STATE_NAME = name
    try:
        yield
    finally:
        module.TRAINER_STATE_NAME = former


def splits_checkpoints(args: Any) -> bool:
    """Return whether the Trainer's arguments ask for a format that the host must write and read itself."""
    return any(getattr(args, name, None) in (_FLEX, _UNIFIED) for name in _FORMATS)
