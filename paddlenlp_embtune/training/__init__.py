"""Tuning: put a recipe on a Trainer; and each callback for itself. Needs Paddle and PaddleNLP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.training._attach import attach as attach
    from paddlenlp_embtune.training._encoder_vectors import EncoderVectors as EncoderVectors
    from paddlenlp_embtune.training.context import TrainingContext as TrainingContext
    from paddlenlp_embtune.training.divergence import chance_loss as chance_loss
    from paddlenlp_embtune.training.initialize import (
        initialize_embedding as initialize_embedding,
        possible_fallbacks as possible_fallbacks,
        pretrained_encoder as pretrained_encoder,
        usual_fallbacks as usual_fallbacks,
    )
    from paddlenlp_embtune.training.lr_finder import (
        LearningRateCurve as LearningRateCurve,
        learning_rate_curves as learning_rate_curves,
    )
    from paddlenlp_embtune.training.mlm import PretrainingSpec as PretrainingSpec, continue_pretraining as continue_pretraining
    from paddlenlp_embtune.training.parameter_groups import (
        ParameterGroup as ParameterGroup,
        group_specs as group_specs,
        group_table as group_table,
        groups_named as groups_named,
        match_parameters as match_parameters,
        optimizer_groups as optimizer_groups,
        resolve_groups as resolve_groups,
    )
    from paddlenlp_embtune.training.run import train as train
    from paddlenlp_embtune.training.run_log import RunRecord as RunRecord
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_attach": "attach",
            "_encoder_vectors": "EncoderVectors",
            "context": "TrainingContext",
            "divergence": "chance_loss",
            "initialize": "initialize_embedding possible_fallbacks pretrained_encoder usual_fallbacks",
            "lr_finder": "LearningRateCurve learning_rate_curves",
            "mlm": "PretrainingSpec continue_pretraining",
            "parameter_groups": (
                "ParameterGroup group_specs group_table groups_named match_parameters optimizer_groups resolve_groups"
            ),
            "run": "train",
            "run_log": "RunRecord",
        },
    )
