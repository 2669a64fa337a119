"""HTML without a template engine: whatever is not marked as markup is text, and is escaped."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Sequence

__all__ = [
    "Html",
    "absent",
    "chip",
    "count",
    "escape",
    "figure_of",
    "folded",
    "join",
    "listing",
    "paragraph",
    "plain",
    "size",
    "table",
]

_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


class Html(str):
    """Markup that is ours: it goes into the page as it is."""

    __slots__ = ()


def escape(value: object) -> Html:
    """Turn anything into markup; text is escaped, and characters that no page may hold are replaced."""
    return value if isinstance(value, Html) else Html(html.escape(plain(str(value)), quote=True))


def plain(text: str) -> str:
    """Replace control characters and lone surrogates by U+FFFD; write a text that nobody would see as its code points."""
    cleaned = _UNSEEN.sub("\ufffd", text)
    if cleaned and not any(_is_seen(character) for character in cleaned):
        return " ".join(f"U+{ord(character):04X}" for character in cleaned[:4])
    return cleaned


def _is_seen(character: str) -> bool:
    return not character.isspace() and unicodedata.category(character) not in ("Cc", "Cf", "Mc", "Me", "Mn")


def join(parts: Sequence[object], between: str = "") -> Html:
    """Put parts side by side, each escaped unless it is markup."""
    return Html(between.join(map(escape, parts)))


def paragraph(*parts: object, kind: str = "") -> Html:
    """Write a paragraph."""
    return Html(f'<p class="{escape(kind)}">{join(parts)}</p>' if kind else f"<p>{join(parts)}</p>")


def absent(what: str, source: str) -> Html:
    """Say that a part is not there."""
    return paragraph(f"Nothing to show: {what}. It would be read from ", Html(f"<code>{escape(source)}</code>."), kind="absent")


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, numbers: Sequence[int] = (), stack: bool = False) -> Html:
    """Lay out a table that scrolls in its own box.

    Args:
        head: names of the columns.
        rows: cells, escaped unless they are markup.
        numbers: columns that hold figures, set to the right.
        stack: on a narrow screen, write the cells of a row below each other.
    """
    align = [' class="number"' if at in numbers else "" for at in range(len(head))]
    top = "".join(f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(head, align, strict=True))
    body = []
    for row in rows:
        cells = zip(row, head, align, strict=True)
        body.append(
            "<tr>" + "".join(f'<td data-label="{escape(name)}"{kind}>{escape(cell)}</td>' for cell, name, kind in cells)
        )
        body.append("</tr>\n")
    kind = ' class="stack"' if stack else ""
    whole = f"<table{kind}><thead><tr>{top}</tr></thead>\n<tbody>{''.join(body)}</tbody></table>"
    return Html(f'<div class="scroll" tabindex="0">{whole}</div>')


def listing(pairs: Sequence[tuple[str, object]]) -> Html:
    """Write facts as a list of names and values."""
    return Html("<dl>" + "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in pairs) + "</dl>")


def chip(text: str, kind: str, hint: str) -> Html:
    """Write a word in a small box."""
    return Html(f'<span class="chip {escape(kind)}" title="{escape(hint)}">{escape(text)}</span>')


def figure_of(svg: Html, title: str, note: str) -> Html:
    """Put a drawing under its title."""
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return Html(f"<figure><figcaption>{escape(title)}</figcaption>{svg}{below}</figure>")


def folded(summary: str, content: Html) -> Html:
    """Hide something behind a line that opens it."""
    return Html(f"<details><summary>{escape(summary)}</summary>{content}</details>")


def size(number: float) -> str:
    """Word a number of bytes."""
    for unit in ("bytes", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def count(number: int, what: str) -> str:
    """Word a count: 1 row, 2,000 rows."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
