"""Paddle, for the commands that need it."""

from __future__ import annotations

from paddlenlp_embtune import compat

__all__ = ["start_paddle"]


def start_paddle() -> None:
    """Import Paddle, and keep its logs and those of PaddleNLP quiet.

    Raises:
        MissingDependencyError: Paddle is not installed.
    """
    compat.require_paddle()
    compat.quiet_logging()
