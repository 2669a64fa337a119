"""The recipe, the domain, and the parts of a recipe: everything that decides a run, validated at construction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.config.adapter import AdapterSpec as AdapterSpec
    from paddlenlp_embtune.config.augmentation import AugmentationSpec as AugmentationSpec
    from paddlenlp_embtune.config.continual import (
        CONTINUAL_METHODS as CONTINUAL_METHODS,
        SELECTIONS as SELECTIONS,
        ContinualSpec as ContinualSpec,
    )
    from paddlenlp_embtune.config.contrastive import (
        AUTO_TUNING as AUTO_TUNING,
        CONTRASTIVE as CONTRASTIVE,
        CONTRASTIVE_LOSSES as CONTRASTIVE_LOSSES,
        FULL as FULL,
        TUNINGS as TUNINGS,
        ContrastiveSpec as ContrastiveSpec,
    )
    from paddlenlp_embtune.config.distillation import DistillSpec as DistillSpec
    from paddlenlp_embtune.config.domain import Domain as Domain
    from paddlenlp_embtune.config.evaluation import (
        AUTO_BASELINE as AUTO_BASELINE,
        BASELINES as BASELINES,
        EvaluationSpec as EvaluationSpec,
    )
    from paddlenlp_embtune.config.freezing import FreezeSpec as FreezeSpec, RowsSpec as RowsSpec
    from paddlenlp_embtune.config.inputs import (
        DataSpec as DataSpec,
        TextSpec as TextSpec,
        VectorSpec as VectorSpec,
        is_path as is_path,
    )
    from paddlenlp_embtune.config.labels import LABEL_KINDS as LABEL_KINDS, LabelSpec as LabelSpec
    from paddlenlp_embtune.config.model import (
        EXPERTS as EXPERTS,
        PRETRAINED as PRETRAINED,
        ModelSpec as ModelSpec,
        is_folder as is_folder,
    )
    from paddlenlp_embtune.config.monitoring import (
        AlarmSpec as AlarmSpec,
        AverageSpec as AverageSpec,
        EarlyStoppingSpec as EarlyStoppingSpec,
    )
    from paddlenlp_embtune.config.optimization import (
        ClipSpec as ClipSpec,
        GroupSpec as GroupSpec,
        LayerwiseSpec as LayerwiseSpec,
        PlateauSpec as PlateauSpec,
        ScheduleSpec as ScheduleSpec,
    )
    from paddlenlp_embtune.config.recipe import Recipe as Recipe
    from paddlenlp_embtune.config.regularization import RegularizationSpec as RegularizationSpec
    from paddlenlp_embtune.config.retrieval import (
        RETRIEVAL_LOSSES as RETRIEVAL_LOSSES,
        SCORED_LOSSES as SCORED_LOSSES,
        RetrievalSpec as RetrievalSpec,
    )
    from paddlenlp_embtune.config.self_training import SelfTrainingSpec as SelfTrainingSpec
    from paddlenlp_embtune.config.training import PRECISIONS as PRECISIONS, TrainSpec as TrainSpec
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "adapter": "AdapterSpec",
            "augmentation": "AugmentationSpec",
            "continual": "CONTINUAL_METHODS ContinualSpec SELECTIONS",
            "contrastive": "AUTO_TUNING CONTRASTIVE CONTRASTIVE_LOSSES FULL TUNINGS ContrastiveSpec",
            "distillation": "DistillSpec",
            "domain": "Domain",
            "evaluation": "AUTO_BASELINE BASELINES EvaluationSpec",
            "freezing": "FreezeSpec RowsSpec",
            "inputs": "DataSpec TextSpec VectorSpec is_path",
            "labels": "LABEL_KINDS LabelSpec",
            "model": "EXPERTS ModelSpec PRETRAINED is_folder",
            "monitoring": "AlarmSpec AverageSpec EarlyStoppingSpec",
            "optimization": "ClipSpec GroupSpec LayerwiseSpec PlateauSpec ScheduleSpec",
            "recipe": "Recipe",
            "regularization": "RegularizationSpec",
            "retrieval": "RETRIEVAL_LOSSES SCORED_LOSSES RetrievalSpec",
            "self_training": "SelfTrainingSpec",
            "training": "PRECISIONS TrainSpec",
        },
    )
