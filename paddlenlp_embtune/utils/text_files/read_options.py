"""User options for reading a data file: encoding and quoting."""

from __future__ import annotations

from paddlenlp_embtune.errors import EmbtuneError, expected_names
from paddlenlp_embtune.utils.text_files.decoding import check_encoding

__all__ = ["QUOTING", "check_read_options"]

QUOTING = ("auto", "csv", "none")
"""How to treat double quotes in a TSV or CSV file: detect, as quotes around fields, or as ordinary text."""


def check_read_options(encoding: str | None, quoting: str, *, where: str, error: type[EmbtuneError]) -> str | None:
    """Check both options; return Python's name for the declared encoding.

    Args:
        encoding: as declared; None detects it.
        quoting: one of ``QUOTING``.
        where: prefix of both option names, for messages.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given; there is no such encoding or quoting.
    """
    if quoting not in QUOTING:
        raise error(f"{where}quoting is {quoting!r}; {expected_names(quoting, QUOTING)}")
    return None if encoding is None else check_encoding(encoding, where=f"{where}encoding", error=error)
