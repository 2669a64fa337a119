"""What one fit of a choice leaves in its folder."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.experiments.auto.limits import ServingCost
from paddlenlp_embtune.experiments.cell import Cell, CellResult
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import dump_json, parse_json
from paddlenlp_embtune.utils.schema import build, to_plain

__all__ = ["Measured", "path_of"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """A fit with its time, for the forecast and for the clock of a command that continues.

    Args:
        result: its answers, or why there are none.
        cost: what its bundle costs where it serves; measured once for each arm and rung.
        seconds: all of it: reading rows, fitting, answering, measuring.
        learning_seconds: of these, what grows with the passes over rows: the training loop.
        start_seconds: from the start of its process until it began; 0 for all but the first of a process.
        ended: seconds of the budget that were used up when it ended.
        allowed: seconds after which it was ended, where it had no more time.
    """

    result: CellResult
    cost: ServingCost | None = None
    seconds: float = 0.0
    learning_seconds: float = 0.0
    start_seconds: float = 0.0
    ended: float = 0.0
    allowed: float | None = None

    @classmethod
    def now(
        cls,
        found: tuple[CellResult, ServingCost | None, float],
        *,
        started: float,
        start_seconds: float,
        origin: float,
    ) -> Measured:
        """Return a fit that ends now.

        Args:
            found: its result, what its bundle costs, and the seconds of its training loop.
            started: when it began, as ``time.time`` counts.
            start_seconds: from the start of its process until then.
            origin: when the clock of the choice stood at 0.
        """
        ended = time.time()
        return cls(
            result=found[0],
            cost=found[1],
            seconds=round(ended - started, 3),
            learning_seconds=round(found[2], 3),
            start_seconds=round(start_seconds, 3),
            ended=round(ended - origin, 3),
        )

    def save(self, path: Path) -> None:
        """Write it as a whole."""
        write_text(path, dump_json(to_plain(self)) + "\n")

    @classmethod
    def load(cls, path: Path) -> Measured | None:
        """Read one; None where there is none.

        Raises:
            DataError: the file is damaged.
        """
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            return build(cls, parse_json(content, str(path), error=DataError), where="fit", error=DataError)
        except DataError as error:
            raise DataError(f"{path} is damaged: {error}; remove it, and it is fitted again") from None


def path_of(folder: Path, cell: Cell) -> Path:
    """Return where a fit stands in the folder of a choice."""
    return folder / "cells" / cell.place.partition("/")[2]
