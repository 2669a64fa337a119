"""The scripts that texts are written in."""

from __future__ import annotations

import dataclasses

import numpy as np

from paddlenlp_embtune.data.checks.rows import CheckedRows, Place
from paddlenlp_embtune.text import code_points

__all__ = ["Languages", "language_profile"]

# First code point of each stretch, up to the next one.
_SCRIPTS: tuple[tuple[int, str], ...] = (
    (0x0, "punctuation"),
    (0x30, "digits"),
    (0x3A, "punctuation"),
    (0x41, "latin"),
    (0x5B, "punctuation"),
    (0x61, "latin"),
    (0x7B, "punctuation"),
    (0xC0, "latin"),
    (0x250, "other"),
    (0x400, "cyrillic"),
    (0x530, "other"),
    (0x1100, "hangul"),
    (0x1200, "other"),
    (0x1E00, "latin"),
    (0x1F00, "other"),
    (0x2000, "punctuation"),
    (0x2190, "other"),
    (0x2600, "emoji"),
    (0x27C0, "other"),
    (0x2E80, "han"),
    (0x3000, "punctuation"),
    (0x3040, "kana"),
    (0x3100, "other"),
    (0x3130, "hangul"),
    (0x3190, "other"),
    (0x3400, "han"),
    (0x4DC0, "other"),
    (0x4E00, "han"),
    (0xA000, "other"),
    (0xAC00, "hangul"),
    (0xD7B0, "other"),
    (0xF900, "han"),
    (0xFB00, "other"),
    (0xFE00, "punctuation"),
    (0xFE70, "other"),
    (0xFF01, "punctuation"),
    (0xFF10, "digits"),
    (0xFF1A, "punctuation"),
    (0xFF21, "latin"),
    (0xFF3B, "punctuation"),
    (0xFF41, "latin"),
    (0xFF5B, "punctuation"),
    (0xFF66, "kana"),
    (0xFFA0, "hangul"),
    (0xFFE0, "punctuation"),
    (0xFFF0, "other"),
    (0x1F000, "emoji"),
    (0x1FB00, "other"),
    (0x20000, "han"),
    (0x32000, "other"),
)
_LETTERS = ("han", "latin", "kana", "hangul", "cyrillic")
_NAMES = (*_LETTERS, "digits", "punctuation", "emoji", "other")


@dataclasses.dataclass(frozen=True)
class Languages:
    """What scripts the texts are written in.

    Args:
        characters: share of all characters that are not white space, by script: ``han``, ``latin``, ``digits``, ``kana``,
            ``hangul``, ``cyrillic``, ``punctuation``, ``emoji``, ``other``.
        rows: texts by the most frequent script of their letters; ``none`` has no letters.
        unusual: rows whose script is not that of most texts.
    """

    characters: dict[str, float]
    rows: dict[str, int]
    unusual: tuple[Place, ...]


def language_profile(rows: CheckedRows) -> Languages:
    """Count characters by script, over all texts and in each."""
    firsts = np.array([first for first, _ in _SCRIPTS], dtype=np.uint32)
    kinds = np.array([_NAMES.index(name) for _, name in _SCRIPTS], dtype=np.int64)
    texts = ["".join(text.split()) for text in rows.texts]
    codes = code_points(texts)
    kind = kinds[np.searchsorted(firsts, codes, side="right") - 1]
    row = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    table = np.bincount(row * len(_NAMES) + kind, minlength=len(texts) * len(_NAMES)).reshape(len(texts), len(_NAMES))
    letters = table[:, : len(_LETTERS)]
    main = np.where(letters.any(axis=1), letters.argmax(axis=1), len(_LETTERS))
    # Japanese is written with Han characters too.
    main = np.where((table[:, _NAMES.index("kana")] * 4 > letters[:, 0]) & (main == 0), _NAMES.index("kana"), main)
    names = [*_LETTERS, "none"]
    found = np.bincount(main, minlength=len(names))
    usual = int(found[:-1].argmax())
    shares = table.sum(axis=0) / max(1, len(codes))
    return Languages(
        characters={name: round(float(share), 6) for name, share in zip(_NAMES, shares, strict=True) if share},
        rows={name: int(count) for name, count in zip(names, found, strict=True) if count},
        unusual=tuple(rows.place(int(index)) for index in np.flatnonzero((main != usual) & (main != len(_LETTERS)))),
    )
