"""Checks of labelled rows before training, and what follows from them: cleaned data, and suspects for a review."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.data.checks.check import check_rows as check_rows
    from paddlenlp_embtune.data.checks.cleaning import (
        DEFAULT_FIXES as DEFAULT_FIXES,
        FIXES as FIXES,
        Change as Change,
        CleanedRows as CleanedRows,
        check_ending as check_ending,
        check_fixes as check_fixes,
        clean_rows as clean_rows,
        write_changes as write_changes,
        write_rows as write_rows,
    )
    from paddlenlp_embtune.data.checks.report import CheckReport as CheckReport
    from paddlenlp_embtune.data.checks.review import (
        REVIEW_FORMATS as REVIEW_FORMATS,
        read_review as read_review,
        write_suspects as write_suspects,
    )
    from paddlenlp_embtune.data.checks.rows import (
        CheckedRows as CheckedRows,
        Place as Place,
        read_checked_rows as read_checked_rows,
    )
    from paddlenlp_embtune.data.checks.suspects import Suspect as Suspect, confident_errors as confident_errors
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "check": "check_rows",
            "cleaning": "CleanedRows Change DEFAULT_FIXES FIXES check_ending check_fixes clean_rows write_changes write_rows",
            "report": "CheckReport",
            "review": "REVIEW_FORMATS read_review write_suspects",
            "rows": "CheckedRows Place read_checked_rows",
            "suspects": "Suspect confident_errors",
        },
    )
