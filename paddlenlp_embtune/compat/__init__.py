"""The only room that touches unstable Paddle and PaddleNLP interfaces, shims included.

Nothing here imports Paddle when it is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.compat import diagnostics as diagnostics, onednn as onednn
    from paddlenlp_embtune.compat._host_import import host_attribute as host_attribute
    from paddlenlp_embtune.compat.checkpoint_io import (
        keep_callback_last as keep_callback_last,
        resumed_from as resumed_from,
        use_safe_checkpoints as use_safe_checkpoints,
        wait_for_all_processes as wait_for_all_processes,
    )
    from paddlenlp_embtune.compat.cpu import (
        CpuSetup as CpuSetup,
        cpu_setup as cpu_setup,
        keep_freed_memory as keep_freed_memory,
        prepare_cpu as prepare_cpu,
        processor_name as processor_name,
        usable_processors as usable_processors,
        usable_threads as usable_threads,
    )
    from paddlenlp_embtune.compat.encoder_patch import (
        speed_up_encoder as speed_up_encoder,
        speed_up_linear as speed_up_linear,
    )
    from paddlenlp_embtune.compat.functional import (
        distinct_tokens as distinct_tokens,
        has_window_maxima as has_window_maxima,
        tied_linear as tied_linear,
        window_maxima as window_maxima,
    )
    from paddlenlp_embtune.compat.host import (
        HOSTS as HOSTS,
        TRAINER_VARIABLE as TRAINER_VARIABLE,
        Trainer as Trainer,
        TrainerCallback as TrainerCallback,
        TrainingArguments as TrainingArguments,
        host_name as host_name,
        is_callback as is_callback,
        quiet_logging as quiet_logging,
        trainer_module as trainer_module,
    )
    from paddlenlp_embtune.compat.lora import insert_lora as insert_lora, merge_lora as merge_lora
    from paddlenlp_embtune.compat.optimizer_patch import speed_up_optimizer as speed_up_optimizer
    from paddlenlp_embtune.compat.paddle import (
        effective_learning_rate as effective_learning_rate,
        fix_layer_norm_gradients as fix_layer_norm_gradients,
        learning_rate_multiplier as learning_rate_multiplier,
        learning_rate_tensor as learning_rate_tensor,
        quiet as quiet,
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
        disable_lazy_updates as disable_lazy_updates,
        embedding_layers as embedding_layers,
        enable_lazy_updates as enable_lazy_updates,
        gradient_rows as gradient_rows,
        gradient_values as gradient_values,
        has_lazy_updates as has_lazy_updates,
        merge_gradient as merge_gradient,
        padding_row as padding_row,
        refuse_accumulated_rows as refuse_accumulated_rows,
        refuse_loss_scale as refuse_loss_scale,
        set_sparse as set_sparse,
    )
    from paddlenlp_embtune.compat.trackers import (
        HOST_TRACKERS as HOST_TRACKERS,
        guard_callback as guard_callback,
        host_tracker as host_tracker,
        missing_package as missing_package,
    )
    from paddlenlp_embtune.compat.trainer import (
        apply_optimizer_state as apply_optimizer_state,
        catch_invalid_loss as catch_invalid_loss,
        close_writers_last as close_writers_last,
        evaluate_without_callbacks as evaluate_without_callbacks,
        expect_unused_parameters as expect_unused_parameters,
        has_parameter_groups as has_parameter_groups,
        inner_optimizer as inner_optimizer,
        parameters_with_state as parameters_with_state,
        restore_on_failure as restore_on_failure,
        steps_per_epoch as steps_per_epoch,
        visualdl_writer as visualdl_writer,
    )
    from paddlenlp_embtune.compat.trainer_state import TRAINER_STATE as TRAINER_STATE, read_trainer_state as read_trainer_state
    from paddlenlp_embtune.compat.training_step import (
        forward_hook as forward_hook,
        generator_state as generator_state,
        restore_generator_state as restore_generator_state,
        without_gradient_sync as without_gradient_sync,
        wrap_loss as wrap_loss,
        wrap_step as wrap_step,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_host_import": "host_attribute",
            "checkpoint_io": "keep_callback_last resumed_from use_safe_checkpoints wait_for_all_processes",
            "cpu": "CpuSetup cpu_setup keep_freed_memory prepare_cpu processor_name usable_processors usable_threads",
            "encoder_patch": "speed_up_encoder speed_up_linear",
            "functional": "distinct_tokens has_window_maxima tied_linear window_maxima",
            "host": (
                "HOSTS TRAINER_VARIABLE Trainer TrainerCallback TrainingArguments host_name is_callback quiet_logging "
                "trainer_module"
            ),
            "lora": "insert_lora merge_lora",
            "optimizer_patch": "speed_up_optimizer",
            "paddle": (
                "effective_learning_rate fix_layer_norm_gradients learning_rate_multiplier learning_rate_tensor quiet "
                "read_only_view require_paddle restore_layer_norms row_dots squared_norm untrace"
            ),
            "rng_state": "restore_random_state write_random_states",
            "shims": "install_shims",
            "sparse_gradients": (
                "disable_lazy_updates embedding_layers enable_lazy_updates gradient_rows gradient_values "
                "has_lazy_updates merge_gradient padding_row refuse_accumulated_rows refuse_loss_scale set_sparse"
            ),
            "trackers": "HOST_TRACKERS guard_callback host_tracker missing_package",
            "trainer": (
                "apply_optimizer_state catch_invalid_loss close_writers_last evaluate_without_callbacks "
                "expect_unused_parameters has_parameter_groups inner_optimizer parameters_with_state restore_on_failure "
                "steps_per_epoch visualdl_writer"
            ),
            "trainer_state": "TRAINER_STATE read_trainer_state",
            "training_step": "forward_hook generator_state restore_generator_state without_gradient_sync wrap_loss wrap_step",
        },
        modules=("diagnostics", "onednn"),
    )
