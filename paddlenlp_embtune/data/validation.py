"""Checks of labelled rows before training: duplicates, conflicts, leaks, rare labels."""

from __future__ import annotations

import dataclasses
import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from paddlenlp_embtune.data.readers import Examples
from paddlenlp_embtune.errors import DataError, expected_names
from paddlenlp_embtune.text import apply_cleaning, clean, is_blank
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["DataReport", "check_cleaning", "check_examples", "discover_labels", "hold_out", "text_key"]

_MARKS = "!,.:;。、､…·\"'“”‘’()[\\]{}《》〈〉「」『』【】〔〕〖〗«»"
# What only parts sentences and words is dropped. All else may carry meaning: arrows, emoji, signs, the star of *ST.
_PART = re.compile(
    r"(?P<face>[:;=][-^']?[()\[\]])"
    r"|(?P<loss>\([-+]?\d[\d.,]*%?\))"  # a number in brackets is negative
    rf"|(?P<between>(?<=\d)[\s{_MARKS}]+(?=\d)|(?<=[〇零一二三四五六七八九十])[.:·](?=[〇零一二三四五六七八九十]))"
    r"|(?P<point>\.(?=\d))"
    r"|(?P<dash>(?<=\d)\s?[—–―~〜]+|[—–―~〜]+(?=\s?\d))"
    r"|(?P<doubt>\?[?!\s]*)"
    r"|(?P<space>(?<=[0-9a-z])\s(?=[0-9a-z]))"
    rf"|[\s{_MARKS}—–―~〜]"
)


@dataclasses.dataclass(frozen=True)
class DataReport:
    """What the checks of labelled rows found.

    Args:
        rows: training and development rows.
        classes: training rows of each label, in label order.
        duplicates: training rows whose text, after cleaning, occurs earlier.
        conflicts: training texts whose rows have different labels.
        leaks: development rows whose text is among the training rows.
    """

    rows: tuple[int, int]
    classes: dict[str, int]
    duplicates: int
    conflicts: int
    leaks: int

    def warnings(self) -> list[str]:
        """Return one line for each finding that deserves a look."""
        train, dev = self.rows
        lines = []
        if self.leaks:
            lines.append(f"{self.leaks} of {dev} dev rows are in the training data: metrics on them will be too good")
        if self.conflicts:
            lines.append(f"{self.conflicts} texts of the training data have rows with different labels")
        if self.duplicates:
            lines.append(f"{self.duplicates} of {train} training rows are duplicates")
        for label, count in self.classes.items():
            if count < 20:
                lines.append(f"label {label!r} has only {count} training rows")
        return lines


def check_cleaning(parts: Sequence[Examples], steps: Sequence[str]) -> None:
    """Refuse rows of whose text the cleaning steps of a recipe leave nothing.

    Raises:
        DataError: there are such rows.
    """
    for rows in parts if steps else ():
        if gone := [text for text in rows.texts if is_blank(apply_cleaning(text, steps))]:
            raise DataError(
                f"text.cleaning ({', '.join(steps)}) leaves nothing of {len(gone)} texts of {rows.source}, {shorten(gone[0])} "
                "first; remove these rows, for example with: embtune check FILE --write cleaned.tsv"
            )


def discover_labels(rows: Examples, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the labels in order: those wanted, or those of the rows, sorted.

    Raises:
        DataError: the rows have a label that is not wanted, or there is only one class.
    """
    found = Counter(label for labels in rows.labels_of_rows for label in labels)
    if wanted is not None:
        for label in found:
            if label not in wanted:
                raise DataError(
                    f"{rows.source} has the label {label!r} ({found[label]} rows), which is not among the labels in use; "
                    f"{expected_names(label, wanted)}; fix the data, or change the labels or the domain"
                )
        if missing := [label for label in wanted if label not in found]:
            raise DataError(f"{rows.source} has no row of the label {missing[0]!r}; each label needs at least one")
    if len(found) < 2:
        raise DataError(
            f"every one of the {len(rows)} rows of {rows.source} has the label {next(iter(found), 'none')!r}; expected two or "
            "more classes; check --label-column"
        )
    return tuple(wanted) if wanted is not None else tuple(sorted(found))


def hold_out(rows: Examples, *, ratio: float, seed: int) -> tuple[Examples, Examples]:
    """Split rows into (training, development), the same share of every label; copies of a text stay on one side.

    Where rows have several labels, the rarest are dealt first, and a label that only one text has stays in training.

    Raises:
        DataError: a label has too few texts to be on both sides; where rows have several labels, only if no row is held out.
    Source:
        Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of Multi-label Data", section 3, for the order
    """
    by_label: dict[str, set[str]] = defaultdict(set)
    for text, labels in zip(rows.texts, rows.labels_of_rows, strict=True):
        for label in labels or ("",):
            by_label[label].add(text_key(text))
    several = rows.label_sets is not None
    generator = random.Random(seed)
    dev: set[str] = set()
    for label in sorted(by_label, key=lambda each: (len(by_label[each]) if several else 0, each)):
        keys = by_label[label]
        left = sorted(keys - dev)
        wanted = max(1, round(len(keys) * ratio)) - len(keys & dev)
        dev.update(generator.sample(left, max(0, min(wanted, len(left) - 1))))
    if several:
        dev -= {min(keys) for keys in by_label.values() if keys <= dev}
    needed: dict[str, set[str]] = {} if several and dev else by_label
    for label, keys in needed.items():
        if not keys & dev or keys <= dev:
            raise DataError(
                f"label {label!r} has too few different texts in {rows.source} ({len(keys)}) to hold any out for development; "
                "give more rows, or a file of your own with --dev"
            )
    sides: tuple[list[int], list[int]] = ([], [])
    for index, text in enumerate(rows.texts):
        sides[text_key(text) in dev].append(index)
    train, held = sides
    side = rows.take(train, rows.source)
    kept = dataclasses.replace(rows, texts=side.texts, labels=side.labels, weights=side.weights, label_sets=side.label_sets)
    return kept, rows.take(held, f"{rows.source} ({len(held)} rows held out)")


def check_examples(train: Examples, dev: Examples, labels: Sequence[str]) -> DataReport:
    """Count classes, duplicates, conflicts and leaks.

    Raises:
        DataError: the development rows have a label that the training rows lack.
    """
    classes = Counter(label for labels in train.labels_of_rows for label in labels)
    for label in dict.fromkeys(label for labels in dev.labels_of_rows for label in labels):
        if label not in classes:
            raise DataError(
                f"{dev.source} has the label {label!r}, which no row of {train.source} has; "
                f"{expected_names(label, classes)}; fix the label, or add training rows for it"
            )
    seen: dict[str, set[str]] = defaultdict(set)
    for text, label in zip(train.texts, train.labels, strict=True):
        seen[text_key(text)].add(label)
    return DataReport(
        rows=(len(train), len(dev)),
        classes={label: classes[label] for label in labels},
        duplicates=len(train) - len(seen),
        conflicts=sum(len(found) > 1 for found in seen.values()),
        leaks=sum(text_key(text) in seen for text in dev.texts),
    )


def text_key(text: str) -> str:
    """A text without case, width, white space and what only parts sentences: texts with equal keys are one text.

    What may change the meaning stays: signs, arrows, emoji, question marks, spaces between Latin words, and whatever stands
    between two digits. +5% is not -5%, 10:1 is not 101, and a question is not its statement.
    """
    folded = clean(text, lowercase=True).replace("\u2212", "-")
    return _PART.sub(_kept, folded) or folded


def _kept(part: re.Match[str]) -> str:
    """What stays of a part that is dropped elsewhere."""
    kind, found = part.lastgroup, part[0]
    if kind in ("face", "loss", "point"):
        return found
    if kind == "between":
        return "".join(found.split()) or " "
    return {"dash": "-", "doubt": "?", "space": " "}.get(kind or "", "")
