"""Regularised runs that are killed end as those that were not; regularised replicas end equal."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.forked import forked

ROOT = Path(__file__).parents[3]
SCRIPT = str(ROOT / "tests" / "training" / "regularization" / "regularized_runs.py")
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", ["fgm", "freelb"])
def test_killed_while_the_embedding_is_frozen_and_after_it_ends_bit_equal(tmp_path: Path, case: str) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
    with forked("tests.training.regularization.regularized_runs") as run:
        assert run(case, str(whole)) == 0
        for death in (5, 10):
            assert run(case, str(cut), death) == -signal.SIGKILL
        assert run(case, str(cut)) == 0
    expected, found = (dict(np.load(folder / f"{case}0.npz")) for folder in (whole, cut))
    for name, value in expected.items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.parametrize("case", ["fgm", "freelb", "freelb_by_rows"])
def test_replicas_stay_bit_equal(tmp_path: Path, case: str) -> None:
    launcher = [
        "-m",
        "paddle.distributed.launch",
        "--nproc_per_node",
        "2",
        "--backend",
        "gloo",
        "--log_dir",
        str(tmp_path / "log"),
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *launcher, SCRIPT, case, str(tmp_path)],
        check=False,
        text=True,
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )
    logs = "".join(log.read_text(encoding="utf-8", errors="replace")[-3000:] for log in (tmp_path / "log").glob("workerlog*"))
    assert done.returncode == 0, logs + done.stderr[-3000:]
    first, second = (dict(np.load(tmp_path / f"{case}{rank}.npz")) for rank in (0, 1))
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name], err_msg=name)
        assert name.startswith("start") or np.abs(value - first[f"start {name}"]).max() > 0, name
