"""All checks of labelled rows, and one report."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from paddlenlp_embtune.data.checks.boilerplate import find_boilerplate
from paddlenlp_embtune.data.checks.duplicates import find_repetitions
from paddlenlp_embtune.data.checks.findings import findings_of
from paddlenlp_embtune.data.checks.labels import accuracy_ceilings, find_conflicts, label_balance, label_variants
from paddlenlp_embtune.data.checks.languages import language_profile
from paddlenlp_embtune.data.checks.oddities import find_oddities
from paddlenlp_embtune.data.checks.report import CheckReport
from paddlenlp_embtune.data.checks.rows import CheckedRows
from paddlenlp_embtune.data.checks.suspects import find_suspects
from paddlenlp_embtune.data.checks.tokens import measure_tokens
from paddlenlp_embtune.text import Tokenizer

__all__ = ["check_rows"]

Arguments = ParamSpec("Arguments")
Found = TypeVar("Found")
_STEPS = 8


def check_rows(
    rows: CheckedRows,
    *,
    tokenizer: Tokenizer,
    max_length: int,
    similarity: float = 0.9,
    suspects: bool = True,
    seed: int = 0,
    progress: Callable[[int, int], object] | None = None,
) -> CheckReport:
    """Check labelled rows before training.

    Args:
        rows: of all files; the first is what a model would be trained on.
        tokenizer: of the model, for lengths and unknown tokens.
        max_length: tokens that the model would read.
        similarity: the least share of equal characters of near-duplicates, above 0.5 and at most 1.
        suspects: look for label errors too, which needs scikit-learn.
        seed: of the folds behind the suspicion.
        progress: called with the steps done and their number.
    Raises:
        MissingDependencyError: scikit-learn is needed but not installed.
    """
    started = time.perf_counter()
    steps = _Steps(progress)
    repetitions = steps.run(find_repetitions, rows, similarity=similarity)
    suspected, why = steps.run(find_suspects, rows, seed=seed) if suspects else ((), "label errors were not looked for")
    lengths, unknown = steps.run(measure_tokens, rows, tokenizer, max_length=max_length)
    first = rows.files[0]
    others = dict.fromkeys(column for file in rows.files for column in file.columns)
    report = CheckReport(
        rows=len(rows),
        files=rows.files,
        columns={
            "text": first.text_column,
            "label": first.label_column,
            "others": [name for name in others if name not in (first.text_column, first.label_column)],
        },
        labels=dict(sorted(Counter(label for index in range(len(rows)) for label in rows.labels_of(index)).items())),
        duplicates=repetitions.duplicates,
        near_duplicates=repetitions.near_duplicates,
        leaks=repetitions.leaks,
        conflicts=steps.run(find_conflicts, rows),
        ceilings=steps.run(accuracy_ceilings, rows),
        suspects=suspected,
        balance=label_balance(rows),
        label_variants=label_variants(rows),
        lengths=lengths,
        unknown_tokens=unknown,
        languages=steps.run(language_profile, rows),
        oddities=steps.run(find_oddities, rows),
        boilerplate=steps.run(find_boilerplate, rows),
        notes=(why,) if why is not None else (),
    )
    return dataclasses.replace(report, findings=findings_of(report), seconds=round(time.perf_counter() - started, 3))


class _Steps:
    """Runs the checks one by one, and reports progress."""

    def __init__(self, progress: Callable[[int, int], object] | None) -> None:
        self._progress, self._done = progress, 0

    def run(self, check: Callable[Arguments, Found], *arguments: Arguments.args, **options: Arguments.kwargs) -> Found:
        """Run a check, and tell how many are done."""
        found = check(*arguments, **options)
        self._done += 1
        if self._progress is not None:
            self._progress(self._done, _STEPS)
        return found
