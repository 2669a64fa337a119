"""Versions of an embedding: a store of them, and what differs between two. Needs numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.embeddings.store.diff import difference as difference
    from paddlenlp_embtune.embeddings.store.row_selection import (
        check_space as check_space,
        group_tokens as group_tokens,
        rows_of_tokens as rows_of_tokens,
        shared_rows as shared_rows,
        take_rows as take_rows,
    )
    from paddlenlp_embtune.embeddings.store.store import VectorStore as VectorStore
    from paddlenlp_embtune.embeddings.store.version import MARK as MARK, Version as Version
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "diff": "difference",
            "row_selection": "check_space group_tokens rows_of_tokens shared_rows take_rows",
            "store": "VectorStore",
            "version": "MARK Version",
        },
    )
