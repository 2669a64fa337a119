"""The texts of one domain, with labels where the file has them."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from paddlenlp_embtune.data.readers import read_examples
from paddlenlp_embtune.data.streaming import read_texts
from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import is_blank
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions

__all__ = ["DomainRows", "read_domain"]


@dataclasses.dataclass(frozen=True)
class DomainRows:
    """Texts of a domain.

    Args:
        source: the path they came from.
        texts: N texts.
        labels: N labels; None where the file has none.
        notes: why a table was read without labels.
    """

    source: str
    texts: tuple[str, ...]
    labels: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)


def read_domain(path: Path, *, text_column: str, label_column: str, options: ReadOptions | None = None) -> DomainRows:
    """Read labelled rows, or texts where there is no label in any row, or the file is ``.txt``.

    Args:
        path: as for :func:`paddlenlp_embtune.data.read_examples`.
        text_column: column or key of the text.
        label_column: column or key of the label, which may be missing.
        options: how the file is read; None finds all out.
    Raises:
        DataError: the file cannot be read, or holds no text.
    """
    notes: tuple[str, ...] = ()
    if path.suffix.lower() != ".txt":
        try:
            rows = read_examples(path, text_column=text_column, label_column=label_column, skip_empty=True, options=options)
            return DomainRows(str(path), rows.texts, rows.labels)
        except DataError as error:  # perhaps for want of labels: what else is wrong, reading the texts alone will say
            notes = (f"read without labels: {error}",)
    texts = read_texts(path, text_column=text_column, options=options)
    kept = tuple(text for text in texts if not is_blank(text))
    if not kept:
        raise DataError(f"{path} holds no text; expected at least one that is not blank")
    return DomainRows(str(path), kept, notes=notes)
