"""The recipe, the domain, and the parts of a recipe: everything that decides a run, validated at construction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.config.adapter import AdapterSpec as AdapterSpec
    from paddlenlp_embtune.config.distillation import DistillSpec as DistillSpec
    from paddlenlp_embtune.config.domain import Domain as Domain
    from paddlenlp_embtune.config.monitoring import (
        AlarmSpec as AlarmSpec,
        AverageSpec as AverageSpec,
        EarlyStoppingSpec as EarlyStoppingSpec,
    )
    from paddlenlp_embtune.config.optimization import (
        ClipSpec as ClipSpec,
        FreezeSpec as FreezeSpec,
        GroupSpec as GroupSpec,
        LayerwiseSpec as LayerwiseSpec,
        PlateauSpec as PlateauSpec,
        RowsSpec as RowsSpec,
        ScheduleSpec as ScheduleSpec,
    )
    from paddlenlp_embtune.config.recipe import Recipe as Recipe
    from paddlenlp_embtune.config.regularization import RegularizationSpec as RegularizationSpec
    from paddlenlp_embtune.config.training import (
        PRETRAINED as PRETRAINED,
        DataSpec as DataSpec,
        ModelSpec as ModelSpec,
        TextSpec as TextSpec,
        TrainSpec as TrainSpec,
        VectorSpec as VectorSpec,
        is_folder as is_folder,
        is_path as is_path,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "adapter": "AdapterSpec",
            "distillation": "DistillSpec",
            "domain": "Domain",
            "monitoring": "AlarmSpec AverageSpec EarlyStoppingSpec",
            "optimization": "ClipSpec FreezeSpec GroupSpec LayerwiseSpec PlateauSpec RowsSpec ScheduleSpec",
            "recipe": "Recipe",
            "regularization": "RegularizationSpec",
            "training": "DataSpec ModelSpec PRETRAINED TextSpec TrainSpec VectorSpec is_folder is_path",
        },
    )
