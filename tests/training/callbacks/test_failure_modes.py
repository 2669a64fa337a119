"""Failure modes are planted into runs on the finance texts; the alarms must name them, and stay silent on a healthy run."""

from __future__ import annotations

from pathlib import Path

import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.errors import DataError
from tests.failure_modes import FAILURE_MODES, plant
from tests.helpers import tsv


@pytest.mark.slow
@pytest.mark.parametrize("name", FAILURE_MODES)
def test_a_planted_disease_is_named(name: str, tmp_path: Path) -> None:
    raised = plant(name, tmp_path / "sick")
    wanted = FAILURE_MODES[name].raises
    assert set(wanted) & set(raised) if wanted else not raised, raised


def test_a_file_with_a_single_label_is_refused(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text(tsv([(f"公司{number}", "利好") for number in range(40)]), encoding="utf-8")
    recipe = embtune.Recipe.from_dict({"data": {"train": str(tmp_path / "train.tsv")}})
    with pytest.raises(DataError, match="label"):
        embtune.train(recipe, tmp_path / "run")
