"""One lock for each place: between processes and threads, for every spelling, and gone with its holder."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from paddlenlp_embtune.errors import BundleError, EmbtuneError, VectorError
from paddlenlp_embtune.utils.files import locks
from paddlenlp_embtune.utils.files.locks import exclusive_lock

HOLD = """
import sys
from pathlib import Path
from paddlenlp_embtune.utils.files.locks import exclusive_lock
with exclusive_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(path: Path) -> subprocess.Popen[bytes]:
    """Start a process that holds the lock of a path."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def refused(path: Path) -> bool:
    try:
        with exclusive_lock(path, wait_seconds=0, refusal="taken"):
            return False
    except EmbtuneError as error:
        return str(error) == "taken"


def test_another_process_is_kept_off_by_every_spelling_until_the_holder_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "latest").symlink_to("folder/new")  # of what is not there yet
    monkeypatch.chdir(tmp_path / "folder")
    process = holder(tmp_path / "folder" / "new")
    try:
        for spelling in ("new", "./new", "../folder/new", "../link/new", "../latest", str(tmp_path / "link" / "new")):
            assert refused(Path(spelling)), spelling
        assert not refused(Path("other"))
        with (
            pytest.raises(
                VectorError, match=rf"another process \({process.pid}\) has been writing .*new for more than 0 seconds"
            ),
            exclusive_lock(Path("new"), wait_seconds=0, error=VectorError),
        ):
            pass
    finally:
        end(process)
    assert not refused(Path("new"))
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["folder", "latest", "link"]  # no file of a lock stays


def test_threads_exclude_each_other_and_one_thread_may_enter_again(tmp_path: Path) -> None:
    inside, most = [0], [0]

    def work() -> None:
        for _ in range(20):
            with exclusive_lock(tmp_path / "x"), exclusive_lock(tmp_path / "x"), exclusive_lock(tmp_path / "." / "x"):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.001)
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert list(tmp_path.iterdir()) == []


COUNT = """
import sys
from pathlib import Path
from paddlenlp_embtune.utils.files.locks import exclusive_lock
path = Path(sys.argv[1])
for _ in range(100):
    with exclusive_lock(path):
        number = int(path.read_text()) if path.exists() else 0
        path.write_text(str(number + 1))
"""


def test_no_addition_is_lost_while_files_of_locks_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "number"
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, str(path)]) for _ in range(4)]
    assert [process.wait(120) for process in processes] == [0] * 4
    assert path.read_text() == "400"
    assert [file.name for file in tmp_path.iterdir()] == ["number"]


def test_who_waits_says_so_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(locks, "_SAY_AFTER_SECONDS", 0.0)
    process = holder(tmp_path / "x")
    threading.Timer(0.3, end, [process]).start()
    with caplog.at_level(logging.WARNING), exclusive_lock(tmp_path / "x"):
        pass
    assert caplog.text.count(f"waiting for another process ({process.pid}) that is writing {tmp_path / 'x'}") == 1


def test_a_forked_child_does_not_keep_a_lock_beyond_its_parent(tmp_path: Path) -> None:
    script = HOLD.replace("    print", "    import os, time\n    if os.fork() == 0:\n        time.sleep(30)\n    print")
    process = subprocess.Popen([sys.executable, "-c", script, tmp_path / "x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    try:
        process.kill()
        process.wait()
        deadline = time.monotonic() + 20  # the child lets go as soon as it runs
        while refused(tmp_path / "x"):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        for child in children:
            os.kill(int(child), signal.SIGKILL)
        process.communicate()


def test_a_name_as_long_as_a_file_system_takes(tmp_path: Path) -> None:
    for name in ("涨" * 85, "x" * 255):
        with exclusive_lock(tmp_path / name):
            assert (tmp_path / name).write_text("") == 0


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs a folder that cannot be written")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError) as caught, exclusive_lock(Path("/proc/x"), error=BundleError):
        pass
    assert caught.value.filename == "/proc/x"
