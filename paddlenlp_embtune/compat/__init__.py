"""The only room that touches unstable Paddle and PaddleNLP interfaces, shims included.

Nothing here imports Paddle when it is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.compat import diagnostics as diagnostics
    from paddlenlp_embtune.compat.checkpoint_io import (
        keep_last as keep_last,
        own_checkpoints as own_checkpoints,
        resumed_from as resumed_from,
        wait_for_others as wait_for_others,
    )
    from paddlenlp_embtune.compat.cpu import (
        CpuSetup as CpuSetup,
        cpu_setup as cpu_setup,
        keep_freed_memory as keep_freed_memory,
        prepare_cpu as prepare_cpu,
        processor_name as processor_name,
        usable_threads as usable_threads,
    )
    from paddlenlp_embtune.compat.encoder_patch import speed_up_encoder as speed_up_encoder
    from paddlenlp_embtune.compat.host import (
        HOSTS as HOSTS,
        TRAINER_VARIABLE as TRAINER_VARIABLE,
        Trainer as Trainer,
        TrainerCallback as TrainerCallback,
        TrainingArguments as TrainingArguments,
        calm_logging as calm_logging,
        host_name as host_name,
        is_callback as is_callback,
        trainer_module as trainer_module,
    )
    from paddlenlp_embtune.compat.lora import fold_lora as fold_lora, put_lora as put_lora
    from paddlenlp_embtune.compat.paddle import (
        effective_rate as effective_rate,
        fix_layer_norm_gradients as fix_layer_norm_gradients,
        quiet as quiet,
        rate_multiplier as rate_multiplier,
        rate_tensor as rate_tensor,
        read_only_view as read_only_view,
        require_paddle as require_paddle,
        restore_layer_norms as restore_layer_norms,
        row_dots as row_dots,
        squared_norm as squared_norm,
        untrace as untrace,
    )
    from paddlenlp_embtune.compat.rng_state import (
        restore_random_state as restore_random_state,
        write_random_states as write_random_states,
    )
    from paddlenlp_embtune.compat.shims import install_shims as install_shims
    from paddlenlp_embtune.compat.sparse_gradients import (
        dense_steps as dense_steps,
        embedding_layers as embedding_layers,
        gradient_rows as gradient_rows,
        gradient_values as gradient_values,
        lazy_steps as lazy_steps,
        merge_gradient as merge_gradient,
        padding_row as padding_row,
        refuse_held_rows as refuse_held_rows,
        refuse_loss_scale as refuse_loss_scale,
        set_sparse as set_sparse,
        steps_by_rows as steps_by_rows,
    )
    from paddlenlp_embtune.compat.trainer import (
        after_failure as after_failure,
        catch_invalid_loss as catch_invalid_loss,
        close_writers_last as close_writers_last,
        evaluate_quietly as evaluate_quietly,
        expect_unused_parameters as expect_unused_parameters,
        has_groups as has_groups,
        inner_optimizer as inner_optimizer,
        parameters_with_state as parameters_with_state,
        settle_optimizer_state as settle_optimizer_state,
        steps_per_epoch as steps_per_epoch,
        visualdl_writer as visualdl_writer,
    )
    from paddlenlp_embtune.compat.trainer_state import TRAINER_STATE as TRAINER_STATE, read_trainer_state as read_trainer_state
    from paddlenlp_embtune.compat.training_step import (
        hooked as hooked,
        random_state as random_state,
        restore_generators as restore_generators,
        without_exchange as without_exchange,
        wrap_loss as wrap_loss,
        wrap_step as wrap_step,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "checkpoint_io": "keep_last own_checkpoints resumed_from wait_for_others",
            "cpu": "CpuSetup cpu_setup keep_freed_memory prepare_cpu processor_name usable_threads",
            "encoder_patch": "speed_up_encoder",
            "host": (
                "HOSTS TRAINER_VARIABLE Trainer TrainerCallback TrainingArguments calm_logging host_name is_callback "
                "trainer_module"
            ),
            "lora": "fold_lora put_lora",
            "paddle": (
                "effective_rate fix_layer_norm_gradients quiet rate_multiplier rate_tensor "
                "read_only_view require_paddle restore_layer_norms row_dots squared_norm untrace"
            ),
            "rng_state": "restore_random_state write_random_states",
            "shims": "install_shims",
            "sparse_gradients": (
                "dense_steps embedding_layers gradient_rows gradient_values lazy_steps merge_gradient padding_row "
                "refuse_held_rows refuse_loss_scale set_sparse steps_by_rows"
            ),
            "trainer": (
                "after_failure catch_invalid_loss close_writers_last evaluate_quietly expect_unused_parameters "
                "has_groups inner_optimizer parameters_with_state settle_optimizer_state steps_per_epoch "
                "visualdl_writer"
            ),
            "trainer_state": "TRAINER_STATE read_trainer_state",
            "training_step": "hooked random_state restore_generators without_exchange wrap_loss wrap_step",
        },
        modules=("diagnostics",),
    )
