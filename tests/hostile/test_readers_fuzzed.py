"""Damaged files by the thousand: every reader of files reads them or refuses them in one line, within bounded memory."""

from __future__ import annotations

import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.bombs import BOMBS
from tests.hostile.reader_cases import CASES

ROOT = Path(__file__).parents[2]
GROWTH_MOST = 400 << 20
"""Bytes that a process may have taken, more than after loading: what a file of some kilobytes may cost at most."""


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder in memory, where there is one."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


def fuzz(names: Sequence[str], count: int, place: Path, *, seed: int = 0) -> dict[str, Any]:
    """Damage files of some readers in a process of its own."""
    folder = place / str(list(CASES).index(names[0]))
    folder.mkdir()
    found: dict[str, Any] = json.loads(run("tests.hostile.fuzz", "|".join(names), str(count), str(seed), str(folder)))
    assert found["grown"] < GROWTH_MOST
    return dict(found["results"])


def run(module: str, *arguments: str) -> str:
    """Run a program of this folder; return what it printed. A signal is an end like any other here."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "plugins" / "embtune_e5")])
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{arguments} ended by {done.returncode}: {done.stdout[-500:]}{done.stderr[-3000:]}"
    return done.stdout


def tell(results: dict[str, Any]) -> int:
    """Print a line for each reader; return how many files there were, after checking that none was lost."""
    for name, found in results.items():
        print(f"{name}: {found['tried']} tried, {found['read']} read, {found['refused']} refused, {len(found['lost'])} lost")
    lost = [line for found in results.values() for line in found["lost"]]
    assert not lost, "\n".join(lost[:20])
    return sum(found["tried"] for found in results.values())


def test_some_hundred_damaged_files(place: Path) -> None:
    results = fuzz(list(CASES), 8, place)
    assert tell(results) >= 300
    assert results.keys() == CASES.keys()


@pytest.mark.slow
def test_twenty_thousand_damaged_files(place: Path) -> None:
    parts = [list(CASES)[at::4] for at in range(4)]
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda names: fuzz(names, 420, place, seed=1), parts))
    total = tell({name: each for results in found for name, each in results.items()})
    print(f"{total} in all")
    assert total >= 20_000


@pytest.mark.slow
def test_files_that_ask_for_more_memory_than_they_have_bytes(place: Path) -> None:
    lines = [json.loads(line) for line in run("tests.hostile.bombs", str(place)).splitlines()]
    assert [found["bomb"] for found in lines] == list(BOMBS)
    for found in lines:
        print(f"{found['bomb']}: {found['size']:,} bytes, grown by {found['grown'] >> 20} MB, {found['outcome']}")
        assert found["outcome"] is None or found["outcome"].startswith("refused"), found
        assert found["grown"] < 4 * found["size"] + (160 << 20), found
