from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from paddlenlp_embtune.utils.files.atomic_io import replace_folder, sha256_of, write_text
from paddlenlp_embtune.utils.safetensors_io import write_safetensors_file


def tree(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file()}


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill(path: Path, content: str) -> None:
    with replace_folder(path) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "a.txt").write_text(content, encoding="utf-8")


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A folder that is there already."""
    path = tmp_path / "bundle"
    path.mkdir()
    (path / "old.txt").write_text("old", encoding="utf-8")
    return path


def test_a_new_folder_appears_with_its_parents(tmp_path: Path) -> None:
    fill(tmp_path / "runs" / "one" / "bundle", "new")
    assert tree(tmp_path) == {"runs/one/bundle/deep/a.txt": "new"}
    assert names(tmp_path / "runs" / "one") == ["bundle"]


def test_an_old_folder_is_replaced_not_merged(old: Path) -> None:
    fill(old, "new")
    assert tree(old) == {"deep/a.txt": "new"}
    assert names(old.parent) == ["bundle"]


def test_nothing_is_seen_before_the_block_ends(old: Path) -> None:
    with replace_folder(old) as temporary:
        (temporary / "new.txt").write_text("new", encoding="utf-8")
        assert tree(old) == {"old.txt": "old"}
    assert tree(old) == {"new.txt": "new"}


def test_others_may_read_the_folder(tmp_path: Path) -> None:
    fill(tmp_path / "bundle", "new")
    assert (tmp_path / "bundle").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_folder_and_nothing_else(old: Path, error: type[BaseException]) -> None:
    def fill_half() -> None:
        with replace_folder(old) as temporary:
            (temporary / "half.txt").write_text("half", encoding="utf-8")
            raise error

    with pytest.raises(error):
        fill_half()
    assert tree(old) == {"old.txt": "old"}
    assert names(old.parent) == ["bundle"]


def test_an_exception_where_nothing_was_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError), replace_folder(tmp_path / "bundle"):
        raise ValueError
    assert names(tmp_path) == []


KILLED = """
import sys
from pathlib import Path
from paddlenlp_embtune.utils.files.atomic_io import replace_folder
with replace_folder(Path(sys.argv[1])) as temporary:
    (temporary / "half.txt").write_text("half")
    print("inside", flush=True)
    sys.stdin.read()
"""


def test_a_killed_process_leaves_the_old_folder_whole_and_its_leftover_is_swept(old: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(old)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"inside\n"
        finally:
            process.kill()
    assert tree(old) == {"old.txt": "old"}
    assert any(name.startswith(".bundle~") for name in names(old.parent))  # or the next lines prove nothing
    fill(old, "new")
    assert tree(old) == {"deep/a.txt": "new"}
    assert names(old.parent) == ["bundle"]


def test_neighbours_are_not_swept(old: Path) -> None:
    for name in ("bundle.old", ".bundles.x", ".other.abc", "bundle2"):
        (old.parent / name).mkdir()
    before = names(old.parent)
    fill(old, "new")
    assert names(old.parent) == before


def test_a_folder_being_filled_for_another_name_is_not_swept(tmp_path: Path) -> None:
    fill(tmp_path / "run", "one")
    with replace_folder(tmp_path / "run.v2") as temporary:
        fill(tmp_path / "run", "two")
        assert temporary.is_dir()


def test_leftovers_of_names_with_brackets_are_swept(tmp_path: Path) -> None:
    fill(tmp_path / "run[1]", "one")
    (tmp_path / ".run[1]~dead1234").mkdir()
    fill(tmp_path / "run[1]", "two")
    assert names(tmp_path) == ["run[1]"]


def test_a_file_in_the_place_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "bundle").write_text("a file", encoding="utf-8")
    with pytest.raises(OSError):
        fill(tmp_path / "bundle", "new")
    assert names(tmp_path) == ["bundle"]


def test_a_link_to_a_folder_is_replaced(old: Path) -> None:
    link = old.parent / "latest"
    link.symlink_to(old.name)
    fill(link, "new")
    assert tree(link) == {"deep/a.txt": "new"}
    assert names(old.parent) == ["bundle", "latest"]


def test_a_relative_path(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(old.parent)
    fill(Path("bundle"), "new")
    assert tree(old) == {"deep/a.txt": "new"}


@pytest.mark.parametrize("content", ["", "涨\r\n跌\u2028\n", "x" * 100_000])
def test_write_text_keeps_every_byte(content: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, content)
    assert path.read_bytes() == content.encode("utf-8")
    assert path.stat().st_mode & 0o777 == 0o644
    assert names(path.parent) == ["a.txt"]


def test_write_text_that_fails_leaves_the_old_text(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "x" * 100_000 + "\ud800")
    assert path.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["a.txt"]


def test_readers_of_write_text_never_see_half(tmp_path: Path) -> None:
    path, contents = tmp_path / "a.txt", ("a" * 300_000, "b" * 500_000)
    write_text(path, contents[0])

    def write() -> None:
        for turn in range(30):
            write_text(path, contents[turn % 2])

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(path.read_text(encoding="utf-8"))
    writer.join()
    assert seen <= set(contents)


def test_sha256(tmp_path: Path) -> None:
    content = os.urandom(3 * (1 << 20) + 17)  # more than one block
    (tmp_path / "a.bin").write_bytes(content)
    assert sha256_of(tmp_path / "a.bin") == hashlib.sha256(content).hexdigest()


def test_weights_are_written_byte_for_byte_as_the_safetensors_package_writes_them(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    arrays = {
        name: generator.normal(size=shape).astype(np.float32) for name, shape in (("z", (3, 4)), ("中", (2,)), ("a", (0, 5)))
    }
    metadata = {"tokens": json.dumps(["[PAD]", "涨", 'a"\\\n\x01'], ensure_ascii=False)}
    write_safetensors_file(tmp_path / "ours", arrays, metadata=metadata)
    assert (tmp_path / "ours").read_bytes() == safetensors.numpy.save(arrays, metadata=metadata)
