"""Adapters: LoRA, prefix, prompt and Houlsby layers put into an encoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.models.adapters.insertion import (
        adapter_groups as adapter_groups,
        add_adapter as add_adapter,
        has_adapter as has_adapter,
        merge_adapter as merge_adapter,
    )
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "insertion": "adapter_groups add_adapter has_adapter merge_adapter",
        },
    )
