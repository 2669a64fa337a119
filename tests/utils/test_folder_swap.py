"""Exchanging folders: killed at any moment, the old or the new one stands, whole, and the next writer leaves nothing behind."""

from __future__ import annotations

import errno
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.utils.files import atomic_io, folder_swap
from paddlenlp_embtune.utils.files.atomic_io import replace_file, replace_folder, restore_interrupted, write_text
from paddlenlp_embtune.utils.files.locks import exclusive_lock
from paddlenlp_embtune.utils.files.os_errors import describe_os_error

CALLS = ("replace", "rename", "fsync", "unlink", "remove", "rmdir", "link", "mkdir")


@pytest.fixture(params=["one step", "three renames"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How folders change places."""
    if request.param == "three renames":
        monkeypatch.setattr(folder_swap, "exchange", lambda one, other: False)
    return str(request.param)


def fill(path: Path, content: str) -> None:
    with replace_folder(path) as folder:
        (folder / "deep").mkdir()
        for name in ("a", "deep/b", "deep/c"):
            (folder / name).write_text(content, encoding="utf-8")


def content(path: Path) -> str:
    (found,) = {file.read_text(encoding="utf-8") * 3 for file in (path / "a", path / "deep" / "b", path / "deep" / "c")}
    return found[: len(found) // 3]


def killed_at(number: int, work: Callable[[], Any]) -> bool:
    """Do something in a child that is killed before its N-th change to the file system; return whether it was."""
    child = os.fork()
    if child == 0:
        count = 0

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def before(*given: Any, **named: Any) -> Any:
                nonlocal count
                count += 1
                if count == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return call(*given, **named)

            return before

        try:
            for name in CALLS:
                setattr(os, name, counted(getattr(os, name)))
            folder_swap.exchange = counted(folder_swap.exchange)
            work()
        except BaseException:
            os._exit(1)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status != 0


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("way", "there", "reader"),
    [
        ("one step", True, True),
        ("three renames", True, True),
        pytest.param("one step", False, False, marks=pytest.mark.slow),
        pytest.param("three renames", True, False, marks=pytest.mark.slow),
    ],
    indirect=["way"],
)
def test_killed_at_every_point(tmp_path: Path, way: str, there: bool, reader: bool) -> None:
    path, number, seen = tmp_path / "b", 0, set()
    while True:
        number += 1
        if there:
            fill(path, "old")
        died = killed_at(number, lambda: fill(path, "new"))
        if reader or not died:
            restore_interrupted(path)
            seen.add(content(path) if path.exists() else None)
        fill(path, "again")
        assert content(path) == "again"
        assert names(tmp_path) == ["b"], number
        if not there:
            folder_swap.shutil.rmtree(path)
        if not died:
            break
    print(f"{way}: {number - 1} points, each survived")
    assert number > 10
    assert seen <= ({"old", "new"} if there else {None, "new"})


@pytest.mark.slow
@pytest.mark.parametrize("way", ["three renames"], indirect=True)
def test_killed_while_it_brings_back(tmp_path: Path, way: str) -> None:
    path, number = tmp_path / "b", 0
    while True:
        number += 1
        for ending in ("~ready", "~former"):
            fill(tmp_path / f"x{ending}", ending)
            (tmp_path / f"x{ending}").rename(tmp_path / f".b{ending}")
        died = killed_at(number, lambda: fill(path, "new"))
        restore_interrupted(path)
        assert content(path) in ("~ready", "new")
        fill(path, "again")
        assert names(tmp_path) == ["b"]
        folder_swap.shutil.rmtree(path)
        if not died:
            break


def test_a_folder_above_is_brought_back_too(tmp_path: Path) -> None:
    fill(tmp_path / "run" / "b", "old")
    (tmp_path / "run").rename(tmp_path / ".run~former")
    assert restore_interrupted(tmp_path / "run" / "b")
    assert content(tmp_path / "run" / "b") == "old"
    assert not restore_interrupted(tmp_path / "elsewhere" / "b")


def test_two_writers_wait_for_each_other_and_neither_is_swept(tmp_path: Path, way: str) -> None:
    path, failures = tmp_path / "b", []
    fill(path, "start")

    def work(name: str) -> None:
        try:
            for turn in range(15):
                fill(path, f"{name}{turn}")
                assert len(content_or_retry(path)) > 0
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert content(path)[1:] == "14"
    assert names(tmp_path) == ["b"]


def content_or_retry(path: Path) -> str:
    for _ in range(1000):
        try:
            return (path / "a").read_text(encoding="utf-8")
        except FileNotFoundError:
            restore_interrupted(path)
    raise AssertionError("never there")


def test_a_temporary_file_of_a_live_process_is_left_and_a_dead_one_is_swept(tmp_path: Path) -> None:
    dead = tmp_path / ".a.txt~deadbeef"
    dead.write_text("half", encoding="utf-8")
    other = tmp_path / ".a.txt2~deadbeef"
    other.write_text("of another file", encoding="utf-8")
    with replace_file(tmp_path / "a.txt") as file:
        file.write(b"slow")
        write_text(tmp_path / "a.txt", "quick")
        assert len(names(tmp_path)) == 3  # that of the slow one is there still
    assert (tmp_path / "a.txt").read_bytes() == b"slow"
    assert names(tmp_path) == [".a.txt2~deadbeef", "a.txt"]


def test_a_place_that_is_being_made_is_not_taken_for_a_dead_ones(tmp_path: Path) -> None:
    path, left = tmp_path / "b", tmp_path / ".b~abcdefgh"
    fill(tmp_path / "x", "whole")
    (tmp_path / "x").rename(left)
    entered, leave = threading.Event(), threading.Event()

    def hold() -> None:
        with exclusive_lock(path):
            entered.set()
            leave.wait(30)

    other = threading.Thread(target=hold)
    other.start()
    entered.wait(30)
    with pytest.raises(Exception, match="has been writing"):
        restore_interrupted(path, whole=lambda folder: True)
    leave.set()
    other.join()
    assert not restore_interrupted(path, whole=lambda folder: False)
    assert restore_interrupted(path, whole=lambda folder: True)
    assert content(path) == "whole"


def test_what_is_no_regular_file_is_written_to_and_a_link_stays_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write_text(tmp_path / "pipe", "through")
    reader.join()
    assert got == [b"through"]
    (tmp_path / "link").symlink_to("real")
    write_text(tmp_path / "link", "x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text(encoding="utf-8") == "x"


@pytest.mark.parametrize("call", ["fsync", "mkdir", "write"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_refuses_is_named_with_the_place_and_leaves_the_old(
    tmp_path: Path, way: str, call: str, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "b", "old")
    write_text(tmp_path / "a.txt", "old")

    def refuse(*given: Any, **named: Any) -> None:
        raise OSError(number, os.strerror(number))

    for work in (lambda: fill(tmp_path / "b", "new"), lambda: write_text(tmp_path / "a.txt", "new")):
        with monkeypatch.context() as patch:
            if call == "write":
                patch.setattr(Path, "write_text", refuse)
                patch.setattr(os, "fsync", refuse)
            else:
                patch.setattr(os, call, refuse)
                patch.setattr(os, "fsync", refuse)
            with pytest.raises(OSError) as caught:
                work()
        told = describe_os_error(caught.value)
        assert os.strerror(number) in told
        assert "~" not in told
        assert "a.txt" in told or "/b" in told
    assert content(tmp_path / "b") == "old"
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["a.txt", "b"]


def test_the_kernel_exchanges_in_one_step_where_it_can(tmp_path: Path) -> None:
    for name in ("one", "other"):
        fill(tmp_path / name, name)
    if not folder_swap.exchange(tmp_path / "one", tmp_path / "other"):
        pytest.skip("this file system cannot")
    assert (content(tmp_path / "one"), content(tmp_path / "other")) == ("other", "one")
    with pytest.raises(FileNotFoundError):
        folder_swap.exchange(tmp_path / "one", tmp_path / "absent")
    assert atomic_io.recoverable(tmp_path / "absent") is False
