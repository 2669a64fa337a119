"""What deserves a look, in words: one line for each kind of finding."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import TYPE_CHECKING

from paddlenlp_embtune.data.checks.rows import Place

if TYPE_CHECKING:
    from paddlenlp_embtune.data.checks.report import CheckReport

__all__ = ["Finding", "findings_of"]

_ALARM, _CHECK, _NOTE = "alarm", "check", "note"
_CONFLICTING = 0.05
_IMBALANCED = 10.0
_UNKNOWN = 0.01
_HAVE = ("has", "have")


@dataclasses.dataclass(frozen=True)
class Finding:
    """One line of the report.

    Args:
        severity: ``alarm``, a result on these data would be wrong or training would fail; ``check``, look at it; ``note``.
        key: of the report, where the details are.
        message: what was found.
    """

    severity: str
    key: str
    message: str


def findings_of(report: CheckReport) -> tuple[Finding, ...]:
    """Sum up a report, the worst first."""
    found = [finding for part in (_rows, _splits, _labels, _repeated, _texts) for finding in part(report)]
    return tuple(sorted(found, key=lambda finding: (_ALARM, _CHECK, _NOTE).index(finding.severity)))


def _rows(report: CheckReport) -> Iterator[Finding]:
    for file in report.files:
        for count, what in ((len(file.empty), "an empty text"), (len(file.unlabelled), "no label")):
            if count:
                yield Finding(_ALARM, "files", f"{file.path}: {_told(count, 'row', _HAVE)} {what}; training refuses that")


def _splits(report: CheckReport) -> Iterator[Finding]:
    sizes = Counter[str]()
    for file in report.files:
        sizes[file.split] += file.rows
    leaking: dict[tuple[str, str, str], set[Place]] = defaultdict(set)
    for leak in report.leaks:
        leaking[leak.split, leak.of_split, leak.kind].add(leak.row)
    for (split, of, kind), rows in leaking.items():
        exact = leaking[split, of, "exact"] if kind == "near" and (split, of, "exact") in leaking else set()
        if count := len(rows - exact):
            nearly = "" if kind == "exact" else "nearly "
            told = f"{count:,} of {sizes[split]:,} {split} rows {'is' if count == 1 else 'are'} {nearly}the same as a {of} row"
            yield Finding(_ALARM, "leaks", f"{told}: results on them will be too good")
    for split, labels in report.balance.unseen.items():
        yield Finding(_ALARM, "balance", f"{split} rows have labels that no training row has: {', '.join(labels)}")
    for split, labels in report.balance.missing.items():
        yield Finding(_CHECK, "balance", f"no {split} row has the label {', '.join(labels)}")


def _labels(report: CheckReport) -> Iterator[Finding]:
    balance = report.balance
    if len(report.labels) < 2:
        yield Finding(_ALARM, "labels", f"all rows have the label {next(iter(report.labels))!r}; check --label-column")
    for group in report.label_variants:
        yield Finding(_ALARM, "label_variants", f"labels differ in case, width or spaces alone: {', '.join(map(repr, group))}")
    if report.conflicts:
        lowest = min(report.ceilings.values())
        ceilings = ", ".join(f"{min(share, 0.9999):.2%} on {split}" for split, share in report.ceilings.items() if share < 1)
        told = f"; no model can be more accurate than {ceilings}" if ceilings else ""
        severity = _ALARM if lowest < 1 - _CONFLICTING else _CHECK
        yield Finding(severity, "conflicts", f"{_told(len(report.conflicts), 'text', _HAVE)} rows with different labels{told}")
    if report.suspects:
        yield Finding(
            _CHECK,
            "suspects",
            f"{_told(len(report.suspects), 'row', ('may have', 'may have'))} a wrong label; read the first of them",
        )
    if balance.rare:
        yield Finding(_CHECK, "balance", f"labels with fewer than 20 training rows: {', '.join(balance.rare)}")
    if len(report.labels) > 1 and balance.ratio >= _IMBALANCED:
        yield Finding(
            _CHECK,
            "balance",
            f"the most frequent label has {balance.ratio:.0f} times the rows of the rarest; always answering it would be "
            f"correct in {balance.largest:.1%}: judge by macro-F1",
        )


def _repeated(report: CheckReport) -> Iterator[Finding]:
    if report.duplicates:
        further = sum(len(group.rows) - 1 for group in report.duplicates)
        yield Finding(_CHECK, "duplicates", f"{_told(further, 'row', ('repeats', 'repeat'))} an earlier row of the same split")
    if report.near_duplicates:
        differing = sum(not pair.same_label for pair in report.near_duplicates)
        told = f", {differing:,} of them with different labels" if differing else ""
        pairs = _told(len(report.near_duplicates), "pair", ("of rows is", "of rows are"))
        yield Finding(_CHECK, "near_duplicates", f"{pairs} nearly the same{told}")


_ODD = {
    "mojibake": "broken encodings, such as 锟斤拷 or U+FFFD",
    "controls": "control or invisible characters",
    "markup": "HTML or XML markup",
    "urls": "addresses",
    "mentions": "@names",
}


def _texts(report: CheckReport) -> Iterator[Finding]:
    for kind, count in Counter(oddity.kind for oddity in report.oddities).items():
        severity = _CHECK if kind in ("mojibake", "markup") else _NOTE
        yield Finding(severity, "oddities", f"{_told(count, 'row', ('contains', 'contain'))} {_ODD[kind]}")
    lengths, unknown = report.lengths, report.unknown_tokens
    if lengths.cut:
        yield Finding(
            _CHECK,
            "lengths",
            f"{_told(lengths.cut, 'text', _HAVE)} more than {lengths.max_length} tokens and would be cut: {lengths.lost:.1%} "
            "of all tokens",
        )
    for split, share in unknown.share.items():
        if share >= _UNKNOWN:
            rows = _told(unknown.rows[split], "row", ("", "")).strip()
            yield Finding(_CHECK, "unknown_tokens", f"{share:.1%} of the tokens of {split} are unknown, in {rows}")
    if report.languages.unusual:
        usual = max(report.languages.rows, key=lambda name: report.languages.rows[name])
        yield Finding(
            _NOTE, "languages", f"{_told(len(report.languages.unusual), 'row', ('is', 'are'))} mostly not written in {usual}"
        )
    for shared in report.boilerplate[:3]:
        what = "begin" if shared.where == "start" else "end"
        yield Finding(_NOTE, "boilerplate", f"{_told(shared.rows, 'text', (what, what))} with {shared.text!r}")


def _told(count: int, noun: str, verb: tuple[str, str]) -> str:
    """A count with its noun and a verb that agrees: 1 row has, 2,000 rows have."""
    return f"1 {noun} {verb[0]}" if count == 1 else f"{count:,} {noun}s {verb[1]}"
