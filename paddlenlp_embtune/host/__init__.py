"""The only room that touches unstable Paddle and PaddleNLP interfaces, shims included.

Nothing here imports Paddle when it is imported.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune.host.cpu import CpuSetup, cpu_setup, keep_freed_memory, prepare_cpu, processor_name, usable_threads
from paddlenlp_embtune.host.framework import (
    calm_logging,
    effective_rate,
    mend_layer_norms,
    quiet,
    rate_multiplier,
    rate_tensor,
    read_only_view,
    require_paddle,
    restore_layer_norms,
    row_dots,
    squared_norm,
    untrace,
)
from paddlenlp_embtune.host.shims import install_shims
from paddlenlp_embtune.host.sparse import (
    dense_steps,
    embedding_layers,
    gradient_rows,
    gradient_values,
    lazy_steps,
    merge_gradient,
    padding_row,
    refuse_held_rows,
    refuse_loss_scale,
    set_sparse,
    steps_by_rows,
)
from paddlenlp_embtune.host.trainer import (
    after_failure,
    catch_invalid_loss,
    close_writers_last,
    evaluate_quietly,
    expect_unused_parameters,
    has_groups,
    inner_optimizer,
    parameters_with_state,
    settle_optimizer_state,
    steps_per_epoch,
    visualdl_writer,
)

if TYPE_CHECKING:
    from paddlenlp_embtune.host.checkpoints import keep_last, own_checkpoints, resumed_from, wait_for_others
    from paddlenlp_embtune.host.random_states import restore_random_state, write_random_states
    from paddlenlp_embtune.host.trainer_state import TRAINER_STATE, read_trainer_state

__all__ = [
    "TRAINER_STATE",
    "CpuSetup",
    "after_failure",
    "calm_logging",
    "catch_invalid_loss",
    "close_writers_last",
    "cpu_setup",
    "dense_steps",
    "effective_rate",
    "embedding_layers",
    "evaluate_quietly",
    "expect_unused_parameters",
    "gradient_rows",
    "gradient_values",
    "has_groups",
    "inner_optimizer",
    "install_shims",
    "keep_freed_memory",
    "keep_last",
    "lazy_steps",
    "mend_layer_norms",
    "merge_gradient",
    "own_checkpoints",
    "padding_row",
    "parameters_with_state",
    "prepare_cpu",
    "processor_name",
    "quiet",
    "rate_multiplier",
    "rate_tensor",
    "read_only_view",
    "read_trainer_state",
    "refuse_held_rows",
    "refuse_loss_scale",
    "require_paddle",
    "restore_layer_norms",
    "restore_random_state",
    "resumed_from",
    "row_dots",
    "set_sparse",
    "settle_optimizer_state",
    "squared_norm",
    "steps_by_rows",
    "steps_per_epoch",
    "untrace",
    "usable_threads",
    "visualdl_writer",
    "wait_for_others",
    "write_random_states",
]

# What needs numpy, which importing the package does not load.
_LAZY = {
    "TRAINER_STATE": "trainer_state",
    "keep_last": "checkpoints",
    "own_checkpoints": "checkpoints",
    "read_trainer_state": "trainer_state",
    "restore_random_state": "random_states",
    "resumed_from": "checkpoints",
    "wait_for_others": "checkpoints",
    "write_random_states": "random_states",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
