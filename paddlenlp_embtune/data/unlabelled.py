"""Texts without labels that a student may learn from: each once, and none of the labelled rows."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

from paddlenlp_embtune.data.streaming import stream_texts
from paddlenlp_embtune.data.validation import text_key
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import is_blank
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions

__all__ = ["UnlabelledTexts", "read_unlabelled"]


@dataclasses.dataclass(frozen=True)
class UnlabelledTexts:
    """Texts without labels, each once, none of them among the labelled rows.

    Args:
        texts: what is left.
        read: how many there were.
        blank, duplicates, in_train, in_dev: how many were left out, and why.
        recombined: how many, the last of them, were made of the labelled rows.
    """

    texts: tuple[str, ...] = ()
    read: int = 0
    blank: int = 0
    duplicates: int = 0
    in_train: int = 0
    in_dev: int = 0
    recombined: int = 0


def read_unlabelled(
    paths: Sequence[str],
    train: Sequence[str],
    dev: Sequence[str],
    *,
    text_column: str,
    options: ReadOptions | None = None,
) -> UnlabelledTexts:
    """Read texts without labels; leave out blank ones, copies, and those of the labelled rows.

    Raises:
        DataError: a file cannot be read, or nothing is left.
    """
    if not paths:
        return UnlabelledTexts()
    dev_keys, train_keys = {text_key(text) for text in dev}, {text_key(text) for text in train}
    seen: set[bytes] = set()
    kept, counts = list[str](), dict.fromkeys(("read", "blank", "duplicates", "in_train", "in_dev"), 0)
    for text in (text for path in paths for text in stream_texts(path, text_column=text_column, options=options)):
        counts["read"] += 1
        key = text_key(text)
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=12).digest()  # texts may be many
        why = (
            "blank"
            if is_blank(text)
            else "in_dev"
            if key in dev_keys
            else "in_train"
            if key in train_keys
            else "duplicates"
            if digest in seen
            else None
        )
        if why is not None:
            counts[why] += 1
            continue
        seen.add(digest)
        kept.append(text)
    if not kept:
        told = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count)
        raise DataError(
            f"{', '.join(paths)} contains no text to learn from ({told or 'empty'}); expected at least one that is not "
            "among the labelled rows; give other texts, or leave out distill.unlabelled"
        )
    return UnlabelledTexts(tuple(kept), **counts)
