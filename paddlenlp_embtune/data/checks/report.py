"""The report of the checks: what ``embtune check --json`` prints."""

from __future__ import annotations

import dataclasses
from typing import Any

from paddlenlp_embtune.data.checks.boilerplate import Boilerplate
from paddlenlp_embtune.data.checks.duplicates import Duplicates, Leak, NearDuplicates
from paddlenlp_embtune.data.checks.findings import Finding
from paddlenlp_embtune.data.checks.labels import Balance, Conflict
from paddlenlp_embtune.data.checks.languages import Languages
from paddlenlp_embtune.data.checks.oddities import Oddity
from paddlenlp_embtune.data.checks.rows import CheckedFile
from paddlenlp_embtune.data.checks.suspects import Suspect
from paddlenlp_embtune.data.checks.tokens import Lengths, UnknownTokens
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["CheckReport"]


@dataclasses.dataclass(frozen=True)
class CheckReport:
    """What the checks of labelled rows found; the fields are the keys of ``embtune check --json``.

    Args:
        rows: rows with a text and a label, over all files.
        files: what was read from each file, and what was left out of it.
        columns: ``text`` and ``label``, the columns that were read, and ``others``, those beside them.
        labels: rows of each label, over all files.
        duplicates: groups of rows of one split with the same text.
        near_duplicates: pairs of rows of one split that differ in few characters, the most similar first.
        leaks: rows whose text, or nearly, is in an earlier split.
        conflicts: texts with more than one label.
        ceilings: by split, the accuracy that conflicts leave to a model at best.
        suspects: rows whose label may be wrong, the most suspicious first.
        balance: how evenly the labels are spread.
        label_variants: groups of labels that differ in case, width or spaces alone.
        lengths: of texts in characters and tokens, and what the maximum length cuts.
        unknown_tokens: what the tokenizer has no id for.
        languages: scripts of the texts.
        oddities: rows with broken encodings, control characters, markup, addresses or names.
        boilerplate: what many texts begin or end with.
        findings: what deserves a look, in words, the worst first.
        notes: what was not checked, and why.
        seconds: what the checks took.
    """

    rows: int
    files: tuple[CheckedFile, ...]
    columns: dict[str, Any]
    labels: dict[str, int]
    duplicates: tuple[Duplicates, ...]
    near_duplicates: tuple[NearDuplicates, ...]
    leaks: tuple[Leak, ...]
    conflicts: tuple[Conflict, ...]
    ceilings: dict[str, float]
    suspects: tuple[Suspect, ...]
    balance: Balance
    label_variants: tuple[tuple[str, ...], ...]
    lengths: Lengths
    unknown_tokens: UnknownTokens
    languages: Languages
    oddities: tuple[Oddity, ...]
    boilerplate: tuple[Boilerplate, ...]
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    def plain(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        plain: dict[str, Any] = to_plain(self)
        return plain
