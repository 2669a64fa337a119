"""A run that is killed in every phase, and once while it writes a checkpoint, ends as one that was not."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint
from tests.forked import forked
from tests.training.killed import PHASES


def end_of(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    return dict(np.load(folder / "end.npz")), json.loads((folder / "end.json").read_text(encoding="utf-8"))


@pytest.mark.slow
def test_killed_in_every_phase_it_ends_bit_equal(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    with forked("tests.training.killed") as run:
        assert run(str(whole)) == 0
        for phase, steps in PHASES.items():
            death = random.Random(phase).randrange(*steps)
            assert run(str(cut), death) == -signal.SIGKILL, phase
            if phase == "all released":
                assert run(str(cut), death + 1, "saving") == -signal.SIGKILL
                newest = max(cut.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
                assert last_checkpoint(cut) not in (None, newest)
        assert run(str(cut)) == 0
    (weights, told), (resumed_weights, resumed_told) = end_of(whole), end_of(cut)
    assert set(weights) == set(resumed_weights)
    for name, value in weights.items():
        np.testing.assert_array_equal(resumed_weights[name], value, err_msg=name)
    assert resumed_told["best"] == told["best"]
    assert resumed_told["steps"] == told["steps"]
    decisions = ("early_stopping", "average", "stopped", "restored", "averaged", "rate_scaled", "health", "trust_region")
    for kind in decisions:
        first, second = ([event for event in each["events"] if event["event"] == kind] for each in (told, resumed_told))
        assert second == first, kind
