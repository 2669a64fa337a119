"""Rows of states in memory and in a file without a name, in half precision where they bear it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune.models._state_store import HALF_ERROR, StateStore


def states(rows: int, *, scale: float = 1.0) -> np.ndarray:
    return (np.random.default_rng(0).standard_normal((rows, 6)) * scale).astype(np.float32)


@pytest.mark.parametrize("place", ["memory", "file"])
@pytest.mark.parametrize("half", [False, True])
def test_rows_come_back_in_any_order(tmp_path: Path, place: str, half: bool) -> None:
    store = StateStore(10, 6, half=half, folder=tmp_path / "new" if place == "file" else None)
    rows = states(10)
    assert [store.append(rows[:4]), store.append(rows[4:])] == [0, 4]
    assert store.in_file == (place == "file")
    assert store.nbytes == 10 * 6 * (2 if half else 4)
    for start in (7, 0, 4):
        found, wanted = store.read(start, 3).astype(np.float32), rows[start : start + 3]
        if half:
            assert np.all(np.linalg.norm(found - wanted, axis=1) <= HALF_ERROR * np.linalg.norm(wanted, axis=1))
        else:
            np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("value", [1e5, 1e-7, np.inf, np.nan])
def test_half_precision_refuses_rows_that_it_cannot_hold(value: float) -> None:
    rows = states(3)
    rows[1] = value
    assert StateStore(3, 6, half=True).append(rows) is None
    assert StateStore(3, 6, half=False).append(rows) == 0


def test_rows_of_zeros_are_held() -> None:
    assert StateStore(2, 6, half=True).append(np.zeros((2, 6), np.float32)) == 0


@pytest.mark.skipif(os.name != "posix", reason="files without a name")
def test_the_file_has_no_name_that_could_be_left_behind(tmp_path: Path) -> None:
    store = StateStore(1000, 6, half=True, folder=tmp_path)
    assert store.in_file
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")
def test_a_full_disk_is_an_error_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        StateStore(1000, 6, half=True, folder=tmp_path)
