"""Full disks: one line that names the place and the next step, the old file whole, nothing half-written beside it."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from paddlenlp_embtune.utils.files.os_errors import describe_os_error
from tests.helpers import TinyRun, embtune, hidden
from tests.hostile.kill_points import ROOT

WRITE = """
import gc, resource, signal, sys
from pathlib import Path
import numpy as np
from paddlenlp_embtune.utils.files.atomic_io import write_blocks
from paddlenlp_embtune.embeddings.io.write import write_vectors
from paddlenlp_embtune.utils.files.os_errors import describe_os_error
from paddlenlp_embtune.embeddings.store import VectorStore
here = Path(sys.argv[1])
tokens, table = [f"t{n}" for n in range(500)], np.random.default_rng(0).normal(size=(500, 32)).astype(np.float32)
store = VectorStore.open(here / "store", create=True)
store.save("old", tokens[:20], table[:20])
works = {
    f"vectors.{name}{gz}": lambda name=name, gz=gz: write_vectors(here / f"vectors.{name}{gz}", tokens, table, format=name)
    for name, gz in [*((name, "") for name in ("word2vec", "word2vec-binary", "glove", "npz", "safetensors")), ("glove", ".gz")]
}
works["store"] = lambda: store.save("new", tokens, table)
works["page.html"] = lambda: write_blocks(here / "page.html", [b"x" * 10_000] * 10)
for name in works:
    if name != "store":
        (here / name).write_text("old")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
for name, work in works.items():
    try:
        work()
        print(name, "was written")
    except OSError as error:
        print(describe_os_error(error))
    gc.collect()
assert [version.name for version in store.versions()] == ["old"] and store.damage() == []
"""


def test_every_writer_names_its_file_and_keeps_the_old_one(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WRITE, tmp_path], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 8
    for line in lines:
        assert re.fullmatch(rf"{re.escape(str(tmp_path))}/[^ ~]*: File too large; raise the limit .*ulimit -f.*", line), line
    assert {file.read_text() for file in tmp_path.glob("*.*")} == {"old"}
    assert hidden(tmp_path) == []


def test_the_record_of_a_run_is_named() -> None:
    from paddlenlp_embtune.training.run_log import RunRecord

    with pytest.raises(OSError) as caught:
        RunRecord(Path("/dev/full")).write("event")
    assert describe_os_error(caught.value).startswith("/dev/full: No space left on device; free some disk space")


@contextlib.contextmanager
def small_disk(place: Path, size: str) -> Iterator[Path]:
    """Mount a disk of few bytes, where that may be done."""
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", f"size={size}", "none", place], check=False).returncode:
        pytest.skip("a disk cannot be mounted here")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full(tiny_run: TinyRun, tmp_path: Path) -> None:
    bundle, disk = tiny_run.bundle, tmp_path / "disk"
    size = sum(file.stat().st_size // 4096 + 1 for file in bundle.rglob("*") if file.is_file()) * 4
    with small_disk(disk, f"{size + 40}k"):
        shutil.copytree(bundle, disk / "b")
        before = {file: file.read_bytes() for file in disk.rglob("*") if file.is_file()}
        data = ["--data", str(tiny_run.data)]
        for arguments, named in (
            (["calibrate", "b", *data], "the bundle b"),
            (["export", "b", "--engine", "onnxruntime"], "the bundle b"),
            (["export", "b", "--triton", "triton"], "triton"),
            (["vectors", "save", "b", "--name", "v1", "--store", "store"], "store"),
            (["vectors", "convert", str(bundle), "x.npz"], "x.npz"),
            (["train", str(tiny_run.recipe), *data, "--out", "run"], "the run run"),
            (["report", str(tiny_run.folder), "--out", "report.html"], "report.html"),
        ):
            done = embtune(*arguments, cwd=disk)
            (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
            assert done.returncode == 1, done.stderr
            assert "No space left on device" in line, line
            assert named in line, line
            assert "~" not in line, line
            assert "Traceback" not in done.stderr, done.stderr
            assert {file: file.read_bytes() for file in before} == before
            assert hidden(disk) == [], arguments
