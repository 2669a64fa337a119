"""Unpacking of gzip, block by block."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from paddlenlp_embtune.errors import EmbtuneError

__all__ = ["unpacked_blocks"]

_BLOCK = 1 << 20


def unpacked_blocks(
    blocks: Iterable[bytes], name: str, *, error: type[EmbtuneError], max_bytes: int | None = None
) -> Iterator[bytes]:
    """Unpack gzip, several members one after the other too, in parts of bounded size.

    Args:
        blocks: of the packed file.
        name: of the file, for messages.
        error: the exception to raise.
        max_bytes: size limit of what is unpacked; None unpacks to the end.
    Raises:
        EmbtuneError: of the type given; the data are damaged, end too early, or unpack to more.
    """
    unpacker, done = _unpacker(), 0
    try:
        for block in blocks:
            left = block
            while left:
                if unpacker.eof:
                    unpacker = _unpacker()
                part = unpacker.decompress(left, _BLOCK)
                left = unpacker.unused_data or unpacker.unconsumed_tail
                done += len(part)
                if max_bytes is not None and done > max_bytes:
                    raise error(f"{name} unpacks to more than the limit of {max_bytes:,} bytes; pass a smaller file")
                if part:
                    yield part
    except zlib.error as fault:
        raise error(f"{name} is damaged, or not packed by gzip: {fault}; pack it again, or leave out .gz") from None
    if not unpacker.eof:
        raise error(f"{name} ends in the middle of its packed data; copy or pack it again")


def _unpacker() -> zlib._Decompress:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)
