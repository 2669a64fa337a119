"""Two processes on the CPU: replicas end bit-equal after a freeze and a release."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_replicas_stay_bit_equal_through_freeze_and_release(tmp_path: Path) -> None:
    launch = [sys.executable, "-W", "ignore", "-m", "paddle.distributed.launch", "--nproc_per_node", "2", "--backend", "gloo"]
    script = [str(ROOT / "tests" / "tuning" / "two_ranks.py"), str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, "--log_dir", str(tmp_path / "log"), *script], check=False, text=True, capture_output=True, env=environment
    )
    logs = "".join(log.read_text(encoding="utf-8", errors="replace")[-2000:] for log in (tmp_path / "log").glob("workerlog*"))
    assert done.returncode == 0, logs
    first, second = (np.load(tmp_path / f"rank{rank}.npz") for rank in (0, 1))
    assert np.abs(first["embedding.weight"] - first["start"]).max() > 0
    for name in first.files:
        np.testing.assert_array_equal(first[name], second[name], err_msg=name)
