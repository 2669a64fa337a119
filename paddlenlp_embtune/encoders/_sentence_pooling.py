"""How a folder of sentence-transformers pools token vectors."""

from __future__ import annotations

from pathlib import Path

from paddlenlp_embtune.encoders.checkpoint import read_json_object
from paddlenlp_embtune.errors import BundleError

__all__ = ["SENTENCE_POOLING", "read_sentence_pooling"]

SENTENCE_POOLING = "1_Pooling/config.json"
_MODE = "pooling_mode_"
_KNOWN = {"cls_token": "first", "mean_tokens": "mean"}


def read_sentence_pooling(folder: Path) -> str | None:
    """Return the pooling that an encoder was trained with, as bge and other encoders of sentences state it.

    Returns:
        ``first``, ``mean``, or None where the folder does not say.
    Raises:
        BundleError: it is another one, or several.
    Source:
        ``Pooling`` of sentence-transformers
    """
    file = folder / SENTENCE_POOLING
    if not file.is_file():
        return None
    settings = read_json_object(file)
    stated = [name.removeprefix(_MODE) for name, value in settings.items() if name.startswith(_MODE) and value is True]
    if len(stated) != 1 or stated[0] not in _KNOWN:
        raise BundleError(
            f"{file} pools by {', '.join(stated) or 'nothing'}; expected {' or '.join(_KNOWN)} alone; to pool in another way, "
            "remove the file and set model.options.pooling to pooler, first or mean"
        )
    return _KNOWN[stated[0]]
