"""One cell of a comparison: an arm on the rows of a data set, with a seed; and what it leaves."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.experiments.arms import Arm
from paddlenlp_embtune.utils.schema import build, to_plain
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions

__all__ = ["Cell", "CellResult", "DataSet"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSet:
    """Labelled rows to learn from, and rows to measure on.

    Args:
        name: of the set.
        train: path of the training rows.
        dev: path of the rows that a run stops on; None holds a tenth of the training rows out.
        test: path of the rows that arms are measured on; None where folds of ``train`` are.
        text_column, label_column, options: how the files are read.
    """

    name: str
    train: str
    dev: str | None = None
    test: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    options: ReadOptions = dataclasses.field(default_factory=ReadOptions)

    def reading(self) -> dict[str, Any]:
        """Return how its files are read, as :func:`paddlenlp_embtune.data.read_examples` takes it."""
        names = ("text_column", "label_column", "options")
        return {name: getattr(self, name) for name in names}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """An arm on the rows of a data set, with a seed.

    Args:
        arm: what is fitted.
        data: the rows.
        seed: of the fit, and of the rows that are drawn.
        size: how many labelled rows it learns from; None takes all.
        fold: number of the fold that is measured, 0 or more, and of all folds; None measures on the test rows.
    """

    arm: Arm
    data: DataSet
    seed: int = 0
    size: int | None = None
    fold: tuple[int, int] | None = None

    @property
    def place(self) -> str:
        """Where its result stands in the folder of a comparison."""
        size = "all" if self.size is None else str(self.size)
        fold = "" if self.fold is None else f"-fold{self.fold[0]}"
        arm = re.sub(r"[^\w.-]", "-", self.arm.name)
        return f"{self.data.name}/{arm}/{size}{fold}-seed{self.seed}.json"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for a child process."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Cell:
        """Build a cell from plain values.

        Raises:
            DataError: the values are of no cell.
        """
        return build(cls, value, where="cell", error=DataError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellResult:
    """What a cell leaves.

    Args:
        failed: why it has no figures; None where it has.
        labels: the class names, C, sorted.
        truth: class numbers of the rows that were measured, N.
        predicted: class numbers that the arm gives them, N.
        rows: the labelled rows that it learned from.
        seconds: from the rows in memory to a classifier that can be used, wall time.
        peak_bytes: the most memory that its process had.
        size_bytes: of the classifier.
        texts_per_second: of the rows that were measured, in one process with one thread.
        notes: what must be known about the figures.
    """

    failed: str | None = None
    labels: tuple[str, ...] = ()
    truth: tuple[int, ...] = ()
    predicted: tuple[int, ...] = ()
    rows: int = 0
    seconds: float = 0.0
    peak_bytes: int = 0
    size_bytes: int = 0
    texts_per_second: float = 0.0
    notes: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> CellResult:
        """Build a result from plain values.

        Raises:
            DataError: the values are of no result.
        """
        return build(cls, value, where="result", error=DataError)
