"""Random states of Python, numpy and Paddle as plain values, so that no checkpoint has to be unpickled for them."""

from __future__ import annotations

import importlib
import json
import logging
import math
import random
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.compat.paddle import require_paddle
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import read_json

__all__ = ["restore_random_state", "write_random_states"]

logger = logging.getLogger("paddlenlp_embtune")

RANDOM_STATES = "rng_state.json"

_MOST_BYTES = 64 << 20
_WORDS = re.compile(r"[0-9]{1,20}(?: [0-9]{1,20})*|")


def write_random_states(checkpoint: Path, args: Any) -> None:
    """Write the random states of every process into a checkpoint; every process must call it.

    Args:
        checkpoint: its folder.
        args: of the Trainer.
    Raises:
        OSError: the disk does not take the file.
    """
    paddle = require_paddle()
    states = [_random_states(hybrid=bool(getattr(args, "use_hybrid_parallel", False)))]
    if args.world_size > 1:
        own, states = states[0], []
        paddle.distributed.all_gather_object(states, own)
    if args.process_index == 0:
        write_text(checkpoint / RANDOM_STATES, json.dumps(states) + "\n")


def _random_states(*, hybrid: bool) -> dict[str, Any]:
    """The random states of this process, as JSON holds them."""
    paddle, numpy = require_paddle(), importlib.import_module("numpy")
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = numpy.random.get_state(legacy=True)
    plain: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "numpy": [kind, [int(key) for key in keys], int(position), int(has_gauss), float(cached)],
        "cpu": _generator(paddle.framework.core.default_cpu_generator().get_state()),
        "devices": [_generator(state) for state in paddle.get_rng_state()],
    }
    if hybrid:
        tracker = importlib.import_module("paddle.distributed.fleet.meta_parallel").get_rng_state_tracker()
        plain["tracker"] = {str(name): _generator(state) for name, state in tracker.get_states_tracker().items()}
    return plain


def restore_random_state(checkpoint: Path, *, world_size: int = 1, rank: int = 0) -> None:
    """Set the random states that a checkpoint holds for this process; warn if it holds none that can be read.

    Raises:
        HostError: the file is damaged.
    """
    file = checkpoint / RANDOM_STATES
    try:
        if not stat.S_ISREG(file.lstat().st_mode):
            raise HostError(f"{file} is no regular file; resume from another checkpoint")
    except FileNotFoundError:
        logger.warning(
            "%s holds no %s, and random states that were pickled are not read; random draws do not continue from it",
            checkpoint,
            RANDOM_STATES,
        )
        return
    states = read_json(file, error=HostError, max_bytes=_MOST_BYTES)
    if isinstance(states, list) and len(states) != world_size:
        logger.warning(
            "%s is of %d processes, and there are %d now; random draws do not continue", file, len(states), world_size
        )
        return
    try:
        _restore(states[rank])
    except (KeyError, IndexError, TypeError, ValueError, OverflowError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise HostError(f"{file} is damaged ({type(error).__name__}: {reason}); resume from another checkpoint") from None


def _restore(plain: Mapping[str, Any]) -> None:
    """Check every state first, then set them."""
    paddle, numpy = require_paddle(), importlib.import_module("numpy")
    version, words, gauss = plain["python"]
    kind, keys, position, has_gauss, cached = plain["numpy"]
    if version != random.getstate()[0] or len(words) != 625 or not 0 <= words[-1] <= 624:
        raise ValueError("it is no state of this Python's generator")
    if not all(type(word) is int and 0 <= word < 1 << 32 for word in (*words, *keys)):
        raise ValueError("a word of a generator has more than 32 bits")
    if kind != "MT19937" or len(keys) != 624 or not 0 <= position <= 624 or has_gauss not in (0, 1):
        raise ValueError("it is no state of numpy's generator")
    if not (gauss is None or math.isfinite(gauss)) or not math.isfinite(cached):
        raise ValueError("a normal draw in it is not finite")
    generator = paddle.framework.core.default_cpu_generator()
    present = generator.get_state()
    cpu = _state(plain["cpu"], like=present)
    devices = paddle.get_rng_state()
    if len(devices) != len(plain["devices"]):
        raise ValueError(f"it is of {len(plain['devices'])} devices, and there are {len(devices)}")
    others = [_state(one, like=now) for one, now in zip(plain["devices"], devices, strict=True)]
    tracker = {name: _state(one, like=present, any_engine=True) for name, one in plain.get("tracker", {}).items()}
    random.setstate((version, tuple(words), gauss))
    numpy.random.set_state((kind, numpy.array(keys, dtype=numpy.uint32), position, has_gauss, cached))
    paddle.set_rng_state(others)
    generator.set_state(cpu)
    if tracker:
        parallel = importlib.import_module("paddle.distributed.fleet.meta_parallel")
        parallel.get_rng_state_tracker().set_states_tracker(tracker)


def _generator(state: Any) -> list[Any]:
    """What Paddle's own pickling takes of a generator's state: whole numbers, and the engine as the bytes of a text."""
    return [bytes(part).decode("ascii") if isinstance(part, (list, tuple)) else int(part) for part in state.__getstate__()]


def _state(plain: Any, *, like: Any, any_engine: bool = False) -> Any:
    """Build a generator's state from plain values, which must have the same form as another state.

    Raises:
        ValueError: they are not.
    """
    form = _generator(like)
    if not isinstance(plain, list) or [type(part) for part in plain] != [type(part) for part in form]:
        raise ValueError("it is no state of Paddle's generator")
    for part, now in zip(plain, form, strict=True):
        if isinstance(part, int) and not -(1 << 63) <= part < 1 << 64:
            raise ValueError("a number of Paddle's generator has more than 64 bits")
        if isinstance(part, str) and not (_WORDS.fullmatch(part) and (any_engine or part.count(" ") == now.count(" "))):
            raise ValueError("it is no state of the engine of Paddle's generator")
    kind: Any = type(like)
    made: Any = kind.__new__(kind)
    made.__setstate__(tuple(list(part.encode("ascii")) if isinstance(part, str) else part for part in plain))
    return made
