"""What a run shows while it runs."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.cli import _console
from paddlenlp_embtune.cli._run_display import RunDisplay


def rates_event(minute: int, step: int, groups: int = 2) -> dict[str, Any]:
    names = ["embedding", *(f"layer.{number}" for number in range(groups - 2)), "head"]
    rates = dict.fromkeys(names, 1e-3)
    time = f"2026-11-22T08:{minute:02}:00.000+00:00"
    return {"event": "rates", "time": time, "epoch": step / 10, "step": step, "steps": 40, "loss": 0.5, "rates": rates}


def test_a_run_says_how_long_it_will_still_take(capsys: pytest.CaptureFixture[str]) -> None:
    show = RunDisplay()
    for minute, step in ((0, 10), (3, 20), (9, 30), (10, 40)):
        show(rates_event(minute, step))
    first, second, third, last = capsys.readouterr().err.splitlines()
    assert "left" not in first
    assert "6 min left at most" in second
    # 9 minutes for 20 steps, and 10 to go.
    assert "4 min left at most" in third
    assert "left" not in last


def test_rates_of_many_layers_fit_on_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    RunDisplay()(rates_event(0, 10, groups=14))
    told = capsys.readouterr().err
    assert "embedding 1.0e-03  …  layer.11 1.0e-03  head 1.0e-03" in told
    RunDisplay()(rates_event(0, 10, groups=4))
    assert "layer.0 1.0e-03  layer.1 1.0e-03" in capsys.readouterr().err


COMMANDS = sorted(Path(_console.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_styles_are_printed_where_markup_is_on(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "print":
            styled = re.search(r"\[(/|(bold |)(red|yellow|green|cyan|dim|bold))\]", ast.unparse(node))
            assert not styled or any(option.arg == "markup" for option in node.keywords), f"{path.name}:{node.lineno}"
