"""Text files that are no tables: fastText's lines with ``__label__``, and CoNLL's one token a line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from paddlenlp_embtune.errors import DataError

__all__ = ["PREFIX", "conll_records", "fasttext_records"]

PREFIX = "__label__"
_COMMENT = re.compile(r"#\s*(?P<key>[\w.-]+)\s*[=:]\s*(?P<value>.*)")
_LABEL_KEYS = ("label", "sentiment", "category", "class", "intent", "标签", "类别")
_WORD = re.compile(r"[\x21-\x7e]+")
_TAG = re.compile(r"O|[BIESMLU]-.+")

Place = tuple[str, dict[str, Any]]


def fasttext_records(lines: Iterable[tuple[int, str]], name: str) -> Iterator[Place]:
    """Yield text and labels of lines such as ``__label__利好 公司 中标``, with the labels at either end; several as a list.

    Args:
        lines: number and text of each.
        name: of the file, for messages.
    Raises:
        DataError: a line has no label.
    """
    for number, line in lines:
        words = line.split()
        if not words:
            continue
        labels = [word[len(PREFIX) :] for word in words if word.startswith(PREFIX)]
        if not labels:
            raise DataError(f"line {number} of {name} has 0 labels after {PREFIX} (none); a row has one label, or several")
        text = line.strip()
        for label in labels:
            marked = PREFIX + label
            text = (text[len(marked) :] if text.startswith(marked) else text.replace(marked, "", 1)).strip()
        yield f"line {number}", {"label": labels, "text": text}


def conll_records(lines: Iterable[tuple[int, str]], name: str) -> Iterator[Place]:
    """Yield a text and its label for each block of lines with one token each, blocks parted by blank lines.

    The label stands in a comment, ``# label = 利好``, or in a column that has one value in the whole block and holds no tags
    of tokens. Tokens are joined, with a space between two words of ASCII; a comment ``# text = …`` gives the text as it was.

    Raises:
        DataError: a block has no label.
    """
    block: list[tuple[int, str]] = []
    for number, line in lines:
        if line.strip():
            block.append((number, line.strip()))
        elif block:
            yield _block(block, name)
            block = []
    if block:
        yield _block(block, name)


def _block(lines: Sequence[tuple[int, str]], name: str) -> Place:
    number = lines[0][0]
    comments, rows = dict[str, str](), list[list[str]]()
    for _, line in lines:
        comment = _COMMENT.fullmatch(line) if line.startswith("#") else None
        if comment is not None:
            comments[comment["key"].lower()] = comment["value"].strip()
        elif not line.startswith("-DOCSTART-"):
            rows.append(line.split())
    label = next((comments[key] for key in _LABEL_KEYS if key in comments), None)
    if label is None:
        label = _constant(rows, f"the block at line {number} of {name}")
    return f"line {number}", {"text": comments.get("text") or _joined([row[0] for row in rows]), "label": label}


def _constant(rows: Sequence[Sequence[str]], where: str) -> str:
    columns: list[tuple[str, ...]] = list(zip(*(row[1:] for row in rows), strict=False))
    found = [cells[0] for cells in columns if len(set(cells)) == 1 and not _TAG.fullmatch(cells[0])]
    if len(found) != 1:
        raise DataError(
            f"{where} has {len(found)} columns that may be the label of its text; put a comment above its tokens: # label = …"
        )
    return found[0]


def _joined(tokens: Sequence[str]) -> str:
    text = ""
    for token in tokens:
        text += " " + token if text and _WORD.fullmatch(token) and _WORD.fullmatch(text[-1]) else token
    return text
