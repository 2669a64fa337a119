"""``embtune doctor``: what is broken or slow in this environment."""

from __future__ import annotations

import json

import typer
from rich.markup import escape

from paddlenlp_embtune.cli._options import JsonLinesOption
from paddlenlp_embtune.cli._terminal import out
from paddlenlp_embtune.compat import diagnostics

__all__ = ["doctor"]

_MARKS = {"ok": "[green]ok[/]", "note": "[yellow]note[/]", "broken": "[bold red]broken[/]"}


def doctor(as_json: JsonLinesOption = False) -> None:
    """Show what is broken or slow in this environment and how to fix it; exits with 1 if something is broken."""
    findings = diagnostics.examine()
    for finding in findings:
        if as_json:
            print(json.dumps({"name": finding.name, "state": finding.state, "what": finding.what, "fix": finding.fix}))
            continue
        out.print(f"{_MARKS[finding.state]:<8} {escape(finding.name)}: {escape(finding.what)}", markup=True, soft_wrap=True)
        if finding.fix:
            out.print(f"         fix: {escape(finding.fix)}", markup=True, soft_wrap=True)
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
