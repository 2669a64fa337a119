"""User options for reading a data file: encoding, quoting, delimiter, header, sheet, how many rows, and labels in one cell."""

from __future__ import annotations

import dataclasses

from paddlenlp_embtune.errors import EmbtuneError, expected_names
from paddlenlp_embtune.utils.text_files.decoding import check_encoding

__all__ = ["QUOTING", "ReadOptions", "check_read_options"]

QUOTING = ("auto", "csv", "none")
"""How to treat double quotes in a TSV or CSV file: detect, as quotes around fields, or as ordinary text."""

_SPELLED = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "space": " "}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How data files are read; a format ignores what it does not have.

    Args:
        encoding: of text files; None takes UTF-8, what a byte order mark says, or GB18030, Big5 or UTF-16 where it is plain.
        quoting: ``auto``, ``csv`` or ``none``: whether double quotes stand around fields, or are text. A CSV file has them
            around fields, a TSV file where all its quotes are such.
        delimiter: the character between the fields of a table, or its name, such as ``tab``; None takes that of the ending,
            or another one that gives the columns.
        header: whether a table has one; None finds out. Columns without a header are called 1, 2 and so on.
        sheet: of a workbook, by its name; None takes the only one with the columns.
        limit: read no more than so many rows of each file; None reads all.
        label_separator: what parts the labels of a row, or its name, such as ``comma``, where a text has several; None takes a
            text for one label.
    """

    encoding: str | None = None
    quoting: str = "auto"
    delimiter: str | None = None
    header: bool | None = None
    sheet: str | None = None
    limit: int | None = None
    label_separator: str | None = None

    @classmethod
    def of(cls, stated: object) -> ReadOptions:
        """Return the options among the attributes of a recipe's part, or of a command's."""
        return ReadOptions(**{field.name: getattr(stated, field.name) for field in dataclasses.fields(ReadOptions)})


def check_read_options(options: ReadOptions, *, where: str, error: type[EmbtuneError]) -> ReadOptions:
    """Check the options; return them with Python's name of the encoding, and the delimiter as a character.

    Args:
        options: as a user gave them.
        where: prefix of the option names, for messages.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given; there is no such encoding or quoting, a delimiter is no single character, or a limit
            is below 1.
    """
    if options.quoting not in QUOTING:
        raise error(f"{where}quoting is {options.quoting!r}; {expected_names(options.quoting, QUOTING)}")
    encoding, delimiter = options.encoding, options.delimiter
    if encoding is not None:
        encoding = check_encoding(encoding, where=f"{where}encoding", error=error)
    if delimiter is not None:
        delimiter = _SPELLED.get(delimiter.lower(), delimiter)
        if len(delimiter) != 1 or delimiter in '"\r\n':
            raise error(
                f"{where}delimiter is {options.delimiter!r}; expected one character, or {', '.join(sorted(_SPELLED))}; a quote "
                "or a line end cannot be one"
            )
    if options.limit is not None and options.limit < 1:
        raise error(f"{where}limit must be 1 or more, got {options.limit}")
    separator = options.label_separator
    if separator is not None:
        separator = _SPELLED.get(separator.lower(), separator)
        if not separator or separator in '"\r\n' or separator == delimiter:
            raise error(
                f"{where}label_separator is {options.label_separator!r}; expected what stands between the labels of a row, "
                "such as a comma, and not a quote, a line end or the delimiter of the table"
            )
    return dataclasses.replace(options, encoding=encoding, delimiter=delimiter, label_separator=separator)
