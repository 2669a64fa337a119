"""Broken encodings: UTF-8 that was read as Windows-1252 or GBK, and what stands for characters that were lost."""

from __future__ import annotations

import re
from collections.abc import Iterator

__all__ = ["HAN", "LATIN", "LOST", "RUN", "mojibake_edits"]

LOST = re.compile("(?:\ufffd|锟斤拷|锟斤(?=[\ufffd?]|$)|烫烫烫+|屯屯屯+)+")
"""U+FFFD, its UTF-8 bytes read as GBK, and memory that a C debugger had filled, read as GBK."""

# Each byte 0x80 to 0xBF as Windows-1252 shows it, and as Latin-1 does where that has no character.
_BYTES = {chr(byte): byte for byte in range(0x80, 0xF5)} | {
    character: byte for byte in range(0x80, 0xC0) if (character := bytes([byte]).decode("cp1252", "ignore"))
}
_TAIL = re.escape("".join(character for character, byte in _BYTES.items() if byte < 0xC0))
LATIN = re.compile(f"[\xe0-\xef][{_TAIL}]{{2}}|[\xf0-\xf4][{_TAIL}]{{3}}")
HAN = re.compile("[\u3001-\u303f\u3400-\u9fff\uff01-\uff5e]+")
RUN = re.compile(r"[^\x00-\x7f\ufffd]{3,}")
_LEAST_HAN = 0.6


def mojibake_edits(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, repaired) for each broken stretch; what was lost is repaired to nothing.

    A character of three or four bytes in UTF-8 is found among Latin letters one by one. A run of Chinese characters is taken
    for UTF-8 read as GBK where its GBK bytes are valid UTF-8 that is mostly Chinese; real Chinese of three characters or more
    hardly ever is.
    """
    if text.isascii():
        return
    found = [(match.start(), match.end(), "") for match in LOST.finditer(text)]
    for pattern, repair in ((LATIN, _from_latin), (RUN, _from_gbk)):
        for match in pattern.finditer(text):
            if (repaired := repair(match[0])) is not None:
                found.append((match.start(), match.end(), repaired))
    done = 0
    for begin, end, repaired in sorted(found, key=lambda edit: (edit[0], -edit[1])):
        if begin >= done:
            yield begin, end, repaired
            done = end


def _from_latin(part: str) -> str | None:
    try:
        return bytes(_BYTES[character] for character in part).decode("utf-8")
    except UnicodeDecodeError:
        return None


def _from_gbk(part: str) -> str | None:
    try:
        repaired = part.encode("gb18030").decode("utf-8")
    except UnicodeError:
        return None
    han = sum(map(len, HAN.findall(repaired)))
    return repaired if han >= _LEAST_HAN * len(repaired) else None
