"""What the README shows is run: its Python, its recipe, its commands, and the example scripts."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.recipe import Recipe

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, cwd=tmp_path)


@pytest.mark.parametrize("text", blocks("yaml"))
def test_recipes_are_legal(text: str) -> None:
    Recipe.from_dict(yaml.safe_load(text))


@pytest.mark.slow
def test_commands_run(tmp_path: Path) -> None:
    (commands,) = [block for block in blocks("sh") if "embtune train" in block]
    for name in ("train.tsv", "dev.tsv", "test.tsv"):
        shutil.copy(FINANCE / name, tmp_path / name)
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-euc", commands], check=False, cwd=tmp_path, env={**os.environ, "PATH": path}, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr
    assert '"f1_macro"' in done.stdout
    assert '"label"' in done.stdout


@pytest.mark.slow
def test_the_example_script_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "examples" / "own_trainer.py")],
        check=False,
        cwd=tmp_path,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert "cosine drift" in done.stdout


def test_the_changelog_knows_this_version() -> None:
    import paddlenlp_embtune

    assert f"## {paddlenlp_embtune.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
