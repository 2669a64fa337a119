"""How a user may declare that a data file is to be read."""

from __future__ import annotations

from paddlenlp_embtune.errors import EmbtuneError, expected_names
from paddlenlp_embtune.utils.text_files.decoding import check_encoding

__all__ = ["QUOTING", "check_read_options"]

QUOTING = ("auto", "csv", "none")
"""What double quotes in a TSV or CSV file are: what the file looks like, quotes around fields, or text like any other."""


def check_read_options(encoding: str | None, quoting: str, *, where: str, error: type[EmbtuneError]) -> str | None:
    """Return Python's name of a declared encoding.

    Args:
        encoding: as declared; None finds out.
        quoting: one of ``QUOTING``.
        where: what the names of both options begin with, for messages.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given; there is no such encoding or quoting.
    """
    if quoting not in QUOTING:
        raise error(f"{where}quoting is {quoting!r}; {expected_names(quoting, QUOTING)}")
    return None if encoding is None else check_encoding(encoding, where=f"{where}encoding", error=error)
