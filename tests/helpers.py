"""Invented rows, small recipes, and ways to run the command line, for tests that need a whole run."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.bundle.manifest_seal import sealed_text

WHO = ("公司", "集团", "银行", "基金", "券商")
SAID = {
    "利好": ("业绩大幅增长", "拟回购股份", "获得大额订单", "净利润创新高"),
    "利空": ("控股股东减持", "被立案调查", "业绩亏损扩大", "存在退市风险"),
    "中性": ("召开股东大会", "聘任审计机构", "发布日常公告", "变更办公地址"),
}
ROWS = [(f"{who}{what}", label) for label, said in SAID.items() for what in said for who in WHO]

RECIPE = """\
data: {train: train.tsv}
text: {extra_rows: 0, max_length: 32}
model: {options: {filters: 16, ngram_buckets: 64}}
train: {epochs: 2, batch_size: 16}
"""
QUICK = RECIPE + "export: {engines: []}\n"
"""Exports nothing, so that a run takes a second."""


def tsv(rows: Sequence[tuple[str, str]], header: str = "text\tlabel") -> str:
    """Lay rows out as a TSV file."""
    return "\n".join([header, *("\t".join(row) for row in rows)]) + "\n"


Run = Callable[..., tuple[int, str, str]]
"""Runs a command; gives exit code, stdout and stderr."""


@dataclasses.dataclass(frozen=True)
class TinyRun:
    """A run of ``embtune train recipe.yaml --json`` in a process of its own, with what it printed."""

    data: Path
    recipe: Path
    folder: Path
    stdout: str
    stderr: str

    @property
    def bundle(self) -> Path:
        return self.folder / "bundle"


def python(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run our interpreter in a folder, with variables beside or over those of this process."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **(env or {})},
        input=text,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
        timeout=240,
    )


def embtune(
    *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, text: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    return python("-m", "paddlenlp_embtune", *arguments, cwd=cwd, env=env, text=text)


def call_main(*arguments: str) -> int:
    """Run the command line in this process, which has loaded Paddle already; return the exit code."""
    from paddlenlp_embtune.cli.main import main

    argv, broken_pipe = sys.argv, signal.getsignal(signal.SIGPIPE)
    sys.argv = ["embtune", *arguments]
    try:
        main()
    except SystemExit as left:
        return int(left.code or 0)
    finally:
        sys.argv = argv
        signal.signal(signal.SIGPIPE, broken_pipe)
    raise AssertionError("main returned without an exit code")


def error_of(result: tuple[int, str, str], code: int) -> str:
    """Return the one line that a failure leaves on stderr, after checking its code and that nothing is on stdout."""
    assert (result[0], result[1]) == (code, ""), result[2]
    (line,) = [line for line in result[2].splitlines() if line.startswith("error:")]
    return line


def hidden(folder: Path) -> list[Path]:
    """Return the hidden files and folders below a folder: what a write that failed would leave."""
    return [path for path in folder.rglob("*") if path.name.startswith(".")]


def edit_manifest(bundle: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change ``bundle.json`` as somebody would who knows how to seal it: nothing about the new content is checked."""
    file = bundle / "bundle.json"
    manifest = json.loads(file.read_text(encoding="utf-8"))
    del manifest["seal"]
    change(manifest)
    file.write_text(sealed_text(manifest), encoding="utf-8")


def train_tiny(folder: Path) -> TinyRun:
    """Train on the invented rows, unless that has been done in this folder."""
    folder.mkdir(exist_ok=True)
    data, recipe, said = folder / "train.tsv", folder / "recipe.yaml", folder / "said.json"
    if said.exists():
        return TinyRun(data, recipe, folder / "run", *json.loads(said.read_text(encoding="utf-8")))
    data.write_text(tsv(ROWS), encoding="utf-8")
    recipe.write_text(RECIPE, encoding="utf-8")
    done = embtune("train", "recipe.yaml", "--out", "run", "--json", cwd=folder)
    if done.returncode != 0:
        raise RuntimeError(f"the tiny run failed with {done.returncode}: {done.stderr}")
    said.write_text(json.dumps([done.stdout, done.stderr]), encoding="utf-8")
    return TinyRun(data, recipe, folder / "run", done.stdout, done.stderr)
