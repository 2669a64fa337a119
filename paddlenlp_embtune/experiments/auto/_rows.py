"""The rows of a choice: which of them arms are compared on, and which texts bundles are measured with."""

from __future__ import annotations

import dataclasses
import statistics
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

from paddlenlp_embtune.data import Examples, data_files, hold_out, read_examples, text_key
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.experiments._row_files import write_rows
from paddlenlp_embtune.experiments._split import subset
from paddlenlp_embtune.experiments.auto._serving import choose_texts
from paddlenlp_embtune.experiments.auto.rungs import FOLDS
from paddlenlp_embtune.experiments.cell import DataSet
from paddlenlp_embtune.utils.files.atomic_io import sha256_of, write_text
from paddlenlp_embtune.utils.json_yaml import dump_json

__all__ = ["AutoRows", "check_rows"]

_DEV_RATIO = 0.1
_READ = 256
_PROBED = 96


@dataclasses.dataclass(frozen=True, kw_only=True)
class AutoRows:
    """The rows of a choice, checked.

    Args:
        data: the files.
        train, dev: their rows.
        rare: labels with too few texts to be learned from, stopped on and measured: they are left out of the comparison of
            arms, and stay in the rows of the last fit.
        identity: plain values that tell these rows from others.
    """

    data: DataSet
    train: Examples
    dev: Examples | None
    rare: tuple[str, ...]
    identity: dict[str, str | None]

    @property
    def least_fold(self) -> int:
        """About the fewest rows to learn from when a fold is taken away; 0 where there are too few to compare arms."""
        rest = _without(self.train, self.rare)
        if len(rest) < 2 * FOLDS or len(set(rest.labels)) < 2:
            return 0
        return len(rest) - -(-len(rest) // FOLDS)

    @property
    def length(self) -> float:
        """Mean characters of a text, of the longest those that are read."""
        return statistics.fmean(min(len(text), _READ) for text in self.train.texts)

    @property
    def notes(self) -> tuple[str, ...]:
        """What must be known about them, a sentence each."""
        found = []
        if self.rare:
            found.append(
                f"labels with fewer than {_fewest(self.dev)} different texts are left out of the comparison of arms; the "
                f"bundle knows them: {', '.join(self.rare)}"
            )
        if not self.least_fold:
            found.append(f"{len(self.train)} rows are too few to compare arms on, so the linear arm is the answer")
        return tuple(found)

    def compared(self, folder: Path) -> DataSet:
        """Return what arms are compared on; rows without rare labels are written to the folder of the choice."""
        if not self.rare:
            return dataclasses.replace(self.data, name="rows", test=None)
        paths = {
            name: write_rows(_without(rows, self.rare), folder / "rows" / f"{name}.jsonl")
            for name, rows in (("train", self.train), ("dev", self.dev))
            if rows is not None
        }
        return DataSet(name="rows", train=paths["train"], dev=paths.get("dev"))

    def probe(self, folder: Path) -> DataSet:
        """Write a few rows of all labels that are compared; return them as a data set."""
        rest = _without(self.train, self.rare)
        size = min(len(rest), max(_PROBED, 3 * len(set(rest.labels))))
        return DataSet(name="probe", train=write_rows(subset(rest, size, seed=0), folder / "rows" / "probe.jsonl"))

    def serving_texts(self, folder: Path) -> Path:
        """Write texts for measuring bundles; return their file."""
        path = folder / "texts.json"
        write_text(path, dump_json(choose_texts(self.train.texts)) + "\n")
        return path


def check_rows(data: DataSet) -> AutoRows:
    """Read the rows, and find out whether arms can be trained on them.

    Raises:
        DataError: a file cannot be read; or a label has too few rows, or rows have one label.
    """
    reading = data.reading()
    train = read_examples(data.train, **reading)
    dev = read_examples(data.dev, **reading) if data.dev is not None else None
    texts_of: dict[str, set[str]] = defaultdict(set)
    for text, label in zip(train.texts, train.labels, strict=True):
        texts_of[label].add(text_key(text))
    if len(texts_of) < 2:
        raise DataError(f"all rows of {train.source} have the label {train.labels[0]!r}; expected two labels or more")
    if dev is None:
        hold_out(train, ratio=_DEV_RATIO, seed=0)  # raises where the last fit could not hold rows out either
    elif strange := sorted(set(dev.labels) - texts_of.keys()):
        raise DataError(f"{dev.source} has the label {strange[0]!r}, which no row of {train.source} has; fix the label")
    return AutoRows(
        data=data,
        train=train,
        dev=dev,
        rare=tuple(sorted(label for label, texts in texts_of.items() if len(texts) < _fewest(dev))),
        identity={name: _digests(path) for name, path in (("train", data.train), ("dev", data.dev))},
    )


def _digests(path: str | None) -> str | None:
    return None if path is None else " ".join(sha256_of(file) for file in data_files(Path(path)))


def _fewest(dev: Examples | None) -> int:
    """A text to learn from, one to be measured on, and one to stop on unless there are rows for that."""
    return 3 if dev is None else 2


def _without(rows: Examples, labels: Collection[str]) -> Examples:
    return rows.take([index for index, label in enumerate(rows.labels) if label not in labels], rows.source)
