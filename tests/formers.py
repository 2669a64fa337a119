"""The tests that PaddleFormers' Trainer cannot run or does not pass, each with its reason; conftest.py skips them there."""

from __future__ import annotations

import pytest

__all__ = ["REASONS", "SkippedModule", "reason_for"]

REASONS: dict[str, str] = {}
"""A test file, or the beginning of a test's name after ``FILE::``, to the reason."""


def reason_for(node: str) -> str | None:
    """Return why a test, or a whole file, is left out on PaddleFormers; None where it is run."""
    return next((reason for start, reason in REASONS.items() if node.startswith(start)), None)


class SkippedModule(pytest.Module):
    """A file that is reported as skipped and never imported."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip(str(reason_for(self.nodeid)))
