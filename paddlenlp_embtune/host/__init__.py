"""The only room that touches unstable Paddle and PaddleNLP interfaces, shims included.

Nothing here imports Paddle when it is imported.
"""

from paddlenlp_embtune.host.cpu import CpuSetup, cpu_setup, prepare_cpu, processor_name, usable_threads
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
from paddlenlp_embtune.host.trainer import (
    catch_invalid_loss,
    close_writers_last,
    evaluate_quietly,
    expect_unused_parameters,
    has_groups,
    inner_optimizer,
    remember_resume,
    restore_random_state,
    resumed_from,
    settle_optimizer_state,
    steps_per_epoch,
    visualdl_writer,
)

__all__ = [
    "CpuSetup",
    "calm_logging",
    "catch_invalid_loss",
    "close_writers_last",
    "cpu_setup",
    "effective_rate",
    "evaluate_quietly",
    "expect_unused_parameters",
    "has_groups",
    "inner_optimizer",
    "install_shims",
    "mend_layer_norms",
    "prepare_cpu",
    "processor_name",
    "quiet",
    "rate_multiplier",
    "rate_tensor",
    "read_only_view",
    "remember_resume",
    "require_paddle",
    "restore_layer_norms",
    "restore_random_state",
    "resumed_from",
    "row_dots",
    "settle_optimizer_state",
    "squared_norm",
    "steps_per_epoch",
    "untrace",
    "usable_threads",
    "visualdl_writer",
]
