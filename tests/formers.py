"""The tests that PaddleFormers' Trainer cannot run or does not pass, each with its reason; conftest.py skips them there."""

from __future__ import annotations

import pytest

__all__ = ["REASONS", "SkippedModule", "reason_for"]

_ENCODERS = "PaddleFormers has no BERT and no ERNIE 3.0, and PaddleNLP cannot be installed beside it"
_COMMAND = "embtune train runs on PaddleNLP's Trainer"
_TEXT_CNN = (
    "PaddleFormers' Trainer reads config of a model as an object; that of the text CNN, which embtune train builds, is a method"
)
_BY_ROWS = "PaddleFormers' Trainer scales accumulated gradients in place, which Paddle cannot do by rows; attach trains densely"
_LIMIT = "PaddleFormers drops checkpoints beyond save_total_limit itself, and counts the best one among them"
_SEVERAL = "in several processes PaddleFormers shards the optimizer, and that needs half precision, which a CPU does not have"
_PICKLED = "PaddleFormers pickles the Trainer's state, and pickles are not read"
_ORDER = "the test knows the order of rows of PaddleNLP's sampler; PaddleFormers draws another"

_CALLBACKS = "tests/training/callbacks"
_REGULARIZATION = "tests/training/regularization/test_regularization.py"
_LIMITS = f"{_CALLBACKS}/test_sparse_embedding_limits.py"

REASONS: dict[str, str] = {
    "tests/compat/test_encoder_speed.py": _ENCODERS,
    f"{_CALLBACKS}/test_checkpoint_limit.py::test_one_that_is_ahead_stays": _LIMIT,
    f"{_CALLBACKS}/test_checkpoint_limit.py::test_the_best_one_is_kept": _LIMIT,
    f"{_CALLBACKS}/test_cpu_kernels.py": _ENCODERS,
    f"{_CALLBACKS}/test_early_stopping.py::test_the_best_weights_come_back": _ORDER,
    f"{_CALLBACKS}/test_failure_modes.py": _COMMAND,
    f"{_CALLBACKS}/test_layer_cache.py": _ENCODERS,
    f"{_CALLBACKS}/test_sparse_embedding.py::test_accumulated_batches_train_as_one": _BY_ROWS,
    f"{_LIMITS}::test_in_every_company_rows_train_as_with_dense_lazy_adamw[left over]": _BY_ROWS,
    f"{_LIMITS}::test_in_every_company_rows_train_as_with_dense_lazy_adamw[tied, accumulated]": _BY_ROWS,
    f"{_CALLBACKS}/test_trackers.py::test_a_run_hands_over_its_files_and_its_bundle": _COMMAND,
    f"{_CALLBACKS}/test_trackers.py::test_the_trainers_tensorboard_gets_the_logs_of_a_model_with_another_kind_of_config": (
        _TEXT_CNN
    ),
    "tests/hostile/test_attacked_checkpoints.py::test_one_that_nothing_of_ours_wrote_is_taken": _PICKLED,
    f"{_REGULARIZATION}::test_activations_may_be_computed_again": _ENCODERS,
    f"{_REGULARIZATION}::test_encoders_of_paddlenlp": _ENCODERS,
    f"{_REGULARIZATION}::test_gradients_by_rows_are_the_same": _BY_ROWS,
    "tests/training/regularization/test_mixup.py::test_the_text_cnn_trains_on_mixtures": _TEXT_CNN,
    "tests/training/test_two_ranks.py": _SEVERAL,
    "tests/training/test_distillation_loss.py::test_batches_without_answers_have_the_plain_loss": _COMMAND,
}
"""A test file, or the beginning of a test's name after ``FILE::``, to the reason."""


def reason_for(node: str) -> str | None:
    """Return why a test, or a whole file, is left out on PaddleFormers; None where it is run."""
    return next((reason for start, reason in REASONS.items() if node.startswith(start)), None)


class SkippedModule(pytest.Module):
    """A file that is reported as skipped and never imported."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip(str(reason_for(self.nodeid)))
