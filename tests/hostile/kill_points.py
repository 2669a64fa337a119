"""Kills every command that writes before each of its changes to the file system, and looks at what is left.

``python -m tests.hostile.kill_points [COMMAND ...] [--every N] [--three-renames]`` prints counts: tried, survived, lost.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
IN_PLACE = ["--out", "b", "--overwrite"]
STORE = ["--store", "store"]
COMMANDS: dict[str, tuple[list[str], str]] = {
    "calibrate": (["calibrate", "b", "--data", "rows.tsv"], "b"),
    "quantize": (["quantize", "b", "--data", "rows.tsv", "--tolerance", "1"], "b"),
    "export": (["export", "b", "--engine", "onnxruntime"], "b"),
    "extend": (["vocabulary", "extend", "b", "--terms", "terms.txt", *IN_PLACE], "b"),
    "restore": (["vectors", "restore", "v2", "--bundle", "b", *IN_PLACE, *STORE], "b"),
    "save": (["vectors", "save", "b", "--name", "v3", *STORE], "store"),
    "merge": (["vectors", "merge", "v1", "v2", "--name", "v3", "--row", "一", *STORE], "store"),
    "convert": (["vectors", "convert", "old.npz", "new.npz", "--overwrite"], "new.npz"),
    "train": (["train", "quick.yaml", "--out", "run", "--overwrite"], "run/bundle"),
    "distill": (["train", "student.yaml", "--out", "student", "--overwrite"], "student/bundle"),
}
"""By name: the command line, and what it writes."""


@dataclass
class Counts:
    """What became of one command."""

    tried: int = 0
    survived: int = 0
    faults: list[str] = field(default_factory=list)


class Server:
    """The process that runs commands; see ``kill_server``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = [sys.executable, "-W", "ignore", "-m", "tests.hostile.kill_server"]
        log = (folder / "server.txt").open("wb")
        self._process = subprocess.Popen(
            command, cwd=ROOT, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, encoding="utf-8"
        )
        log.close()
        assert self._read() == "ready\n", (folder / "server.txt").read_text()
        (folder / "fresh").mkdir()
        made = self.ask("prepare", folder / "fresh")
        assert made["code"] == 0, made["said"]

    def ask(self, op: str, cwd: Path, **task: Any) -> dict[str, Any]:
        """Do a task in a child."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"op": op, "cwd": str(cwd), **task}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._read())
        return answer

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process.wait(30)


def hidden_in(folder: Path) -> list[str]:
    """Name everything hidden below a folder."""
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.startswith(".")]


class Attack:
    """One command, killed at one place after the other."""

    def __init__(self, server: Server, name: str, *, exchange: bool = True) -> None:
        self.server, self.name, self.exchange = server, name, exchange
        self.arguments, self.target = COMMANDS[name]
        self.place = server.folder / "work"
        self.before = self._state(self._fresh())
        self._run(0)
        self.after = self._state(self.place)
        done = self._fresh() and self._run(0)
        assert done["code"] == 0, done["said"]
        self.points = int(done["result"])

    def _fresh(self) -> Path:
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.server.folder / "fresh", self.place)
        return self.place

    def _run(self, kill_at: int) -> dict[str, Any]:
        return self.server.ask("run", self.place, argv=self.arguments, kill_at=kill_at, exchange=self.exchange)

    def _state(self, place: Path) -> Any:
        """What stands at the target: the answers of a bundle, or the contents of versions and files."""
        if self.target == "store":
            from paddlenlp_embtune.embeddings.store import VectorStore

            store = VectorStore.open(place / "store")
            assert store.damage() == []
            return {version.name: store.load(version.name)[1].tobytes() for version in store.versions()}
        if self.target.endswith(".npz"):
            return (place / self.target).read_bytes() if (place / self.target).exists() else None
        engine = "onnxruntime" if self.target == "b" else "paddle"
        found = self.server.ask("answers", place, path=self.target, engine=engine)
        assert found["code"] == 0, found["said"]
        return found["result"]

    def at(self, number: int) -> str | None:
        """Kill the command before its N-th change; return what is wrong afterwards."""
        self._fresh()
        killed = self._run(number)
        if killed["code"] != -9:
            return f"not killed: {killed['code']} {killed['said'][-200:]}"
        try:
            left = self._state(self.place)
        except Exception as error:
            return f"lost: {error}"
        if left not in (self.before, self.after):
            return "neither old nor new"
        again = self._run(0)
        known = left == self.after and "already" in again["said"]  # what it was to do is done
        if again["code"] != 0 and not known:
            return f"cannot be run again: {again['said'][-300:]}"
        if self._state(self.place) != self.after:
            return "another result when run again"
        if left_hidden := hidden_in(self.place):
            return f"left behind: {left_hidden}"
        return None

    def all(self, every: int = 1, last: int = 20) -> Counts:
        """Kill it before each change, or before every so many and each of the last ones."""
        counts = Counts()
        for number in range(1, self.points + 1):
            if number % every and number <= self.points - last:
                continue
            counts.tried += 1
            fault = self.at(number)
            if fault is None:
                counts.survived += 1
            else:
                counts.faults.append(f"{self.name} {number}/{self.points}: {fault}")
        return counts


def main() -> None:
    """Attack commands, and print what became of each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("commands", nargs="*", default=list(COMMANDS))
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--three-renames", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder))
        for name in given.commands or list(COMMANDS):
            counts = Attack(server, name, exchange=not given.three_renames).all(given.every)
            print(f"{name}: tried {counts.tried}, survived {counts.survived}, lost {len(counts.faults)}", flush=True)
            for fault in counts.faults[:5]:
                print("  ", fault)
        server.close()


if __name__ == "__main__":
    main()
