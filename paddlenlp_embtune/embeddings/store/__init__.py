"""A store of embedding versions, and comparison of two versions. Needs numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.embeddings.store.diff import compare_versions as compare_versions
    from paddlenlp_embtune.embeddings.store.row_selection import (
        check_same_space as check_same_space,
        group_tokens as group_tokens,
        replace_rows as replace_rows,
        rows_of_tokens as rows_of_tokens,
        shared_rows as shared_rows,
    )
    from paddlenlp_embtune.embeddings.store.store import VectorStore as VectorStore
    from paddlenlp_embtune.embeddings.store.version import STORE_FILE as STORE_FILE, Version as Version
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "diff": "compare_versions",
            "row_selection": "check_same_space group_tokens rows_of_tokens shared_rows replace_rows",
            "store": "VectorStore",
            "version": "STORE_FILE Version",
        },
    )
