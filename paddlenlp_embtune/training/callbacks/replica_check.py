"""Several processes: keep replicas equal, and notice when they are not."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import TrainerCallback
from paddlenlp_embtune.errors import HostError

paddle = compat.require_paddle()

__all__ = ["ReplicaCheckCallback"]


class ReplicaCheckCallback(TrainerCallback):  # type: ignore[misc]
    """Compares the weights of all processes after every epoch, and keeps frozen what was frozen before replicas were wrapped.

    Only parameters that are trainable when the Trainer wraps the model are synchronised from then on. ``attach`` therefore
    makes them all trainable before that, and hands over here what must be frozen again. Put it before freezing callbacks.

    Args:
        frozen: parameters that stay frozen.
    """

    def __init__(self, frozen: Sequence[Any] = ()) -> None:
        self.frozen = list(frozen)
        compat.expect_unused_parameters()

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Freeze again what was frozen."""
        for parameter in self.frozen:
            parameter.stop_gradient = True

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Compare a checksum of every parameter across processes.

        Raises:
            HostError: replicas differ; the message names the first parameter that does.
        """
        if args.world_size <= 1:
            return
        named = dict(kwargs["model"].named_parameters())
        sums = paddle.to_tensor([_checksum(parameter) for parameter in named.values()], dtype="int64")
        gathered: list[Any] = []
        paddle.distributed.all_gather(gathered, sums)
        different = [name for index, name in enumerate(named) if len({int(each[index]) for each in gathered}) > 1]
        if different:
            raise HostError(
                f"the replicas differ in {len(different)} of {len(named)} parameters, {different[0]!r} first, after step "
                f"{state.global_step}; was it frozen when the Trainer wrapped the model, and released by something else than a "
                "recipe? Freeze it with a recipe, or with FreezingCallback, which keep it synchronised"
            )


def _checksum(parameter: Any) -> int:
    values = compat.read_only_view(parameter)
    digest = hashlib.blake2b(memoryview(values).cast("B") if values.size else b"", digest_size=7)
    return int.from_bytes(digest.digest(), "big")
