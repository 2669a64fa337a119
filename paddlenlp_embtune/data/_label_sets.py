"""The labels of rows that may have several: lists of them, or a text with a separator."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from paddlenlp_embtune.data._records import text_of
from paddlenlp_embtune.data.formats.annotations import listed_labels
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["LabelSets", "joined"]

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_COMMA = ","
_REFUSED = (
    "several labels a text are known to: embtune check, train, evaluate, calibrate, predict and serve; for all else, keep one "
    "label, or join those that belong together into a label of their own"
)


def joined(labels: Sequence[str]) -> str:
    """Return several labels as one line, for messages and tables; it may not be split again."""
    return ", ".join(labels)


class LabelSets:
    """Collects the labels of the rows of one file, and finds out whether a row has one or several.

    Args:
        path: of the file, for messages.
        separator: what parts the labels in a text; None takes a text for one label.
        several: whether rows may have several labels: False refuses them, None finds out, True has rows with none too.
    """

    def __init__(self, path: str, *, separator: str | None, several: bool | None) -> None:
        self._path, self._separator, self._several = path, separator, several
        self.rows: list[tuple[str, ...]] = []
        """The labels of each row."""
        self._first_list: str | None = None
        self._first_text: str | None = None
        self._first_empty: str | None = None
        self._repeated = 0
        if separator is not None and several is False:
            raise DataError(f"{path} is to be read with the label separator {separator!r}; {_REFUSED}")

    def add(self, value: Any, column: str, place: str) -> None:
        """Take the labels of a row.

        Raises:
            DataError: they are no labels, or rows have several where they must not.
        """
        where = f"{column!r} in {place} of {self._path}"
        found = listed_labels(value)
        if found is None:
            text = text_of(value, where).strip()
            self._first_text = self._first_text or f"{place} has the label {shorten(text)}"
            parts = [text] if self._separator is None else text.split(self._separator) if text else []
        else:
            self._first_list = self._first_list or f"{place} has the list {shorten(value)}"
            numbers = [each for each in found if isinstance(each, (int, float))]
            if len(set(map(str, numbers))) < len(numbers):
                raise DataError(
                    f"{where} is {shorten(value)}, which has a number twice; where these are 0 or 1 for each label, write the "
                    "names of the labels that a text has"
                )
            parts = [text_of(each, where) for each in found]
        if self._several is False and len(parts) > 1:
            raise DataError(f"{place} of {self._path} has {len(parts)} labels, {shorten(value)}; {_REFUSED}")
        labels = tuple(dict.fromkeys(part.strip() for part in parts))
        if damaged := next((label for label in labels if _SURROGATE.search(label)), None):
            raise DataError(
                f"{place} of {self._path} has the label {damaged!r}, which holds half a character; correct the label"
            )
        if len(parts) > 1 and "" in labels:
            raise DataError(f"{where} is {shorten(value)}, with an empty label beside others; remove it, or name it")
        self._repeated += len(parts) - len(labels)
        if labels in ((), ("",)):
            labels = ()
            self._first_empty = self._first_empty or f"{place} of {self._path} has no label in column {column!r}"
            if self._several is False:
                self._refuse_empty()
        self.rows.append(labels)

    def sets(self, notes: list[str], *, headerless: bool) -> tuple[tuple[str, ...], ...] | None:
        """Return the labels of each row; None where each row has one label and is not said to have several.

        Args:
            notes: gets a line about what was found out.
            headerless: whether the file is a table without a header, as PaddleNLP writes several labels with commas.
        Raises:
            DataError: a row has no label, where all others have one; or some have lists, and others texts.
        """
        found = self.sets_or_none(notes, headerless=headerless)
        if found is None:
            self._refuse_empty()
        return found

    def sets_or_none(self, notes: list[str], *, headerless: bool) -> tuple[tuple[str, ...], ...] | None:
        """Do as :meth:`sets`, but let rows without a label be, where all others have one."""
        several = self._several is True or self._separator is not None or any(len(each) > 1 for each in self.rows)
        if not several and self._several is None and headerless and (split := self._by_commas()) is not None:
            example = next(joined(each) for each in split if len(each) > 1)
            notes.append(
                f"{self._path} has labels with commas, such as {example!r}, which were taken for several labels of a text; to "
                "keep each as one: --label-kind single"
            )
            return split
        if not several:
            return None
        if self._first_list is not None and self._first_text is not None:
            raise DataError(
                f"{self._path} has two kinds of labels: {self._first_list}, and {self._first_text}; write all as lists of "
                "labels, or all as texts"
            )
        if self._first_text is not None and self._separator is None:
            raise DataError(
                f"{self._path} is to have several labels a text, and {self._first_text}; expected lists of labels, or what "
                "parts the labels in a text: --label-separator , (data.label_separator)"
            )
        counts = Counter(map(len, self.rows))
        told = ", ".join(f"{rows} rows with {count or 'none'}" for count, rows in sorted(counts.items()))
        notes.append(f"{self._path} has several labels a text: {told}")
        if self._repeated:
            notes.append(f"{self._path}: {self._repeated} labels that a row has twice were taken once")
        return tuple(self.rows)

    def _refuse_empty(self) -> None:
        if self._first_empty is not None:
            raise DataError(f"{self._first_empty}; give it one, or remove the row")

    def _by_commas(self) -> tuple[tuple[str, ...], ...] | None:
        """Return the labels that commas part, where each of them is also in another combination, or alone; None otherwise."""
        if not any(_COMMA in label for labels in self.rows for label in labels):
            return None
        split = [tuple(part.strip() for label in labels for part in label.split(_COMMA)) for labels in self.rows]
        uses: Counter[str] = Counter(part for combination in set(split) for part in combination)
        plain = all(part and uses[part] > 1 for parts in split if len(parts) > 1 for part in parts)
        return tuple(split) if plain else None
