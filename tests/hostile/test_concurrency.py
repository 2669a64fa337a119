"""Several processes at one bundle: readers get the old or the new one, and writers lose nothing of each other."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.bundle import Bundle
from tests.hostile.kill_points import ROOT, Server, hidden_in
from tests.server.client import turned

WAYS = ["one step", "three renames"]


def together(folder: Path, jobs: list[str], seconds: float, way: str) -> list[dict[str, Any]]:
    """Let processes read and replace one bundle for some seconds."""
    one = Path(shutil.copytree(FINANCE / "bundle", folder / "one"))
    turned(one, folder / "other")
    shutil.copytree(one, folder / "place")
    command = [sys.executable, "-W", "ignore", "-m", "tests.hostile.swapping"]
    places = [str(folder / name) for name in ("place", "one", "other")]
    three = ["three"] if way == "three renames" else []
    running = [
        subprocess.Popen([*command, job, *places, str(seconds), *three], cwd=ROOT, stdout=subprocess.PIPE, text=True)
        for job in jobs
    ]
    told = [json.loads(process.communicate(timeout=seconds + 120)[0]) for process in running]
    for job, result in zip(jobs, told, strict=True):
        print(f"{way}: {job}: {sum(result['found'].values())} done, {result['failures']} failed {result['first']}")
    assert Bundle.open(folder / "place").manifest.labels
    assert sorted(path.name for path in folder.iterdir()) == ["one", "other", "place"]
    return told


@pytest.mark.parametrize("way", [WAYS[0], pytest.param(WAYS[1], marks=pytest.mark.slow)])
def test_readers_get_the_old_or_the_new_bundle(tmp_path: Path, way: str) -> None:
    told = together(tmp_path, ["read", "write"], 1.5, way)
    assert [result["failures"] for result in told] == [0, 0], told
    assert min(sum(result["found"].values()) for result in told) > 1


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_hundreds_of_openings(tmp_path: Path, way: str) -> None:
    told = together(tmp_path, ["read", "start", "write"], 12.0, way)
    assert [result["failures"] for result in told] == [0, 0, 0], told
    assert len(told[0]["found"]) == 2


CALIBRATE = ["calibrate", "b", "--data", "rows.tsv"]
QUANTIZE = ["quantize", "b", "--data", "rows.tsv", "--tolerance", "1"]
EXPORT = ["export", "b", "--engine", "onnxruntime"]
STORE = ["--store", "store"]
SAVES = [["vectors", "save", "b", "--name", name, *STORE] for name in ("x", "y")]
MERGE = ["vectors", "merge", "v1", "v2", "--name", "m", "--row", "一", *STORE]
CONVERT = ["vectors", "convert", "old.npz", "new.npz", "--overwrite"]
PAIRS = [
    ([CALIBRATE, QUANTIZE], 60),
    ([CALIBRATE, CALIBRATE], 20),
    ([CALIBRATE, EXPORT], 30),
    ([QUANTIZE, QUANTIZE], 10),
    (SAVES, 30),
    ([SAVES[0], MERGE], 30),
    ([CONVERT, CONVERT], 20),
]


def what_is_lost(place: Path, pair: list[list[str]]) -> str | None:
    """Look for both changes of a pair of commands."""
    from paddlenlp_embtune.embeddings.io import read_vectors
    from paddlenlp_embtune.embeddings.store import VectorStore

    manifest = Bundle.open(place / "b").manifest
    store = VectorStore.open(place / "store")
    wanted = {name for command in pair for name in ("x", "y", "m") if name in command}
    if store.damage() or not wanted | {"v1", "v2"} <= {version.name for version in store.versions()}:
        return f"versions: {store.damage()} {store.versions()}"
    if CALIBRATE in pair and manifest.calibration is None:
        return "the calibration"
    if QUANTIZE in pair and "int8" not in manifest.quantized:
        return "the program in 8 bits"
    if EXPORT in pair and "onnxruntime" not in manifest.engines:
        return "the program"
    if CONVERT in pair and len(read_vectors(place / "new.npz").rows) != 302:
        return "the vectors"
    return f"left behind: {found}" if (found := hidden_in(place)) else None


@pytest.mark.slow
@pytest.mark.parametrize(("way", "share"), [("one step", 5), ("three renames", 10)])
def test_pairs_of_writers_lose_nothing(tmp_path: Path, way: str, share: int) -> None:
    """``share`` 1 makes 200 pairs."""
    server = Server(tmp_path)
    tried, faults = 0, []
    try:
        for pair, times in PAIRS:
            for turn in range(max(times // share, 1)):
                place = tmp_path / "work"
                shutil.rmtree(place, ignore_errors=True)
                shutil.copytree(tmp_path / "fresh", place)
                done = server.ask("pair", place, pair=pair, late=turn % 5 * 0.05, exchange=way == "one step")
                lost = "a command failed" if done["result"] != [0, 0] else what_is_lost(place, pair)
                tried += 1
                if lost is not None:
                    faults.append(f"{pair}: {lost}: {done}")
    finally:
        server.close()
        print(f"{way}: {tried} pairs, {tried - len(faults)} with both changes, {len(faults)} lost: {faults[:3]}")
    assert faults == []
