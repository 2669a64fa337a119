"""Labels of very many texts: workers of an engine (processes, Ray, Spark) score partitions of files; a killed job continues."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.scoring.job import (
        SCORING_ENGINES as SCORING_ENGINES,
        ScoringSpec as ScoringSpec,
        score_files as score_files,
    )
    from paddlenlp_embtune.scoring.packed_bundle import PackedBundle as PackedBundle
    from paddlenlp_embtune.scoring.pipelines import RayScorer as RayScorer, spark_udf as spark_udf
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "job": "SCORING_ENGINES ScoringSpec score_files",
            "packed_bundle": "PackedBundle",
            "pipelines": "RayScorer spark_udf",
        },
    )
