"""Experiments above training: many runs, each in a process of its own, and what they show together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.experiments.arms import (
        BUILT_IN_ARMS as BUILT_IN_ARMS,
        Arm as Arm,
        parse_arms as parse_arms,
        recipe_of as recipe_of,
    )
    from paddlenlp_embtune.experiments.cell import Cell as Cell, CellResult as CellResult, DataSet as DataSet
    from paddlenlp_embtune.experiments.comparison import (
        ComparisonSpec as ComparisonSpec,
        compare_arms as compare_arms,
        compare_finished as compare_finished,
        unfinished as unfinished,
    )
    from paddlenlp_embtune.experiments.runner import run_cells as run_cells, run_in_child as run_in_child
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "arms": "BUILT_IN_ARMS Arm parse_arms recipe_of",
            "cell": "Cell CellResult DataSet",
            "comparison": "ComparisonSpec compare_arms compare_finished unfinished",
            "runner": "run_cells run_in_child",
        },
    )
