"""The serving benchmark names a contender that does not start or ends, with the reason, and goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.benchmarks import serving


class Fake:
    """Answers so many times, if it starts."""

    def __init__(self, kind: str, options: dict[str, Any], folder: Path) -> None:
        self.ready = kind != "absent"
        self.left = {"short": 1}.get(kind, 9)

    def run(self, name: str) -> dict[str, Any] | None:
        self.left -= 1
        return {"seconds": 1.0, "labels": ["a", "b"]} if self.left >= 0 else None

    def why(self) -> str:
        return "ImportError: no such thing"

    def close(self) -> None:
        """Nothing to end."""


@pytest.mark.parametrize("missing", [*serving.AGAINST, "embtune fp32, 1 thread", "all"])
def test_a_contender_that_does_not_start_is_left_out(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    contenders = {name: ("absent" if missing in (name, "all") else "there", {}) for name in serving.CONTENDERS}
    monkeypatch.setattr(serving, "CONTENDERS", contenders)
    monkeypatch.setattr(serving, "Peer", Fake)
    answers = serving.measure(tmp_path, "short", 2)
    serving.report("short", 2, answers)
    out = capsys.readouterr().out
    assert missing == "all" or f"left out: {missing} did not start: ImportError: no such thing" in out
    assert len(answers) == (0 if missing == "all" else len(contenders) - 1)


def test_a_contender_that_ends_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serving, "CONTENDERS", {"one": ("short", {}), "two": ("there", {})})
    monkeypatch.setattr(serving, "Peer", Fake)
    answers = serving.measure(tmp_path, "short", 2)
    serving.report("short", 2, answers)
    out = capsys.readouterr().out
    assert "left out: one ended while it labelled: ImportError" in out
    assert list(answers) == ["two"]


def test_the_reason_comes_from_the_process(tmp_path: Path) -> None:
    (tmp_path / "texts.json").write_text("{}", encoding="utf-8")
    peer = serving.Peer("no_such_kind", {}, tmp_path)
    try:
        assert not peer.ready
        assert peer.why() == "KeyError: 'no_such_kind'"
    finally:
        peer.close()
