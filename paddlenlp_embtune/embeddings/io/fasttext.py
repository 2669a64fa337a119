"""Reading fastText's ``.bin`` files, including subword vectors for unknown words.

A word's vector is the mean of its own row and the rows of its character n-grams, which are looked up by hash. The file is
memory-mapped: of its rows, which may be gigabytes, only those in use are read.
"""

from __future__ import annotations

import dataclasses
import mmap
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.io._row_collector import RowCollector
from paddlenlp_embtune.embeddings.io._streams import plain_file
from paddlenlp_embtune.embeddings.io.options import ReadOptions, VectorFormat
from paddlenlp_embtune.embeddings.io.vector_table import VectorTable
from paddlenlp_embtune.errors import VectorError

__all__ = ["FASTTEXT", "Subwords"]

_MAGIC = struct.pack("<i", 793712314)
_SETTINGS = struct.Struct("<2i12id")
_COUNTS = struct.Struct("<3i2q")
_ENTRY = struct.Struct("<qb")
_MATRIX = struct.Struct("<?2q")
_VERSION, _VERSION_WITHOUT_NGRAMS, _SUPERVISED = 12, 11, 3
_LABEL = 1
_MAX_TOKEN_BYTES = 1 << 16
_MAX_NGRAM_LENGTH = 64
_PARTS_AT_ONCE = 4096
_BATCH = 512
_END = "</s>"

Table = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True, eq=False)
class Subwords:
    """Composes word vectors from subwords.

    Args:
        matrix: (W + buckets, D) float32, the rows of words followed by those of n-grams.
        ids: words with their own row.
        words: W.
        buckets: number of n-gram rows; 0 if there are none.
        shortest: minimum n-gram length.
        longest: maximum n-gram length; 0 if there are none.
        skip: return None for a word whose parts have NaN or infinite values, instead of raising a VectorError.
    Source:
        Bojanowski et al. (2017), Enriching Word Vectors with Subword Information, section 3.2; FNV-1a, with bytes taken as
        signed numbers, as in fastText's releases
    """

    matrix: Table
    ids: Mapping[str, int]
    words: int
    buckets: int
    shortest: int
    longest: int
    skip: bool = False

    def __call__(self, word: str) -> Table | None:
        """Return the (D,) vector of a word, or None if it has neither a row nor n-grams.

        Raises:
            VectorError: a part of it has NaN or infinite values.
        """
        parts = self.ngram_rows(word)
        if (own := self.ids.get(word)) is not None:
            parts.insert(0, own)
        if not parts:
            return None
        vector = self.mean(parts)
        if np.isfinite(vector).all():
            return vector
        if self.skip:
            return None
        raise VectorError(
            f"the n-grams of {word!r} hold NaN or infinite values; train the model again, or read it with damaged='skip' to "
            "skip such words"
        )

    def mean(self, rows: list[int]) -> Table:
        """Return the mean of rows, summed in order like in fastText."""
        with np.errstate(invalid="ignore", over="ignore"):
            total: Table = self.matrix[rows[:_PARTS_AT_ONCE]].sum(axis=0)
            for at in range(_PARTS_AT_ONCE, len(rows), _PARTS_AT_ONCE):  # of a word as long as a page
                total = np.vstack([total[None], self.matrix[rows[at : at + _PARTS_AT_ONCE]]]).sum(axis=0)
            total *= np.float32(1.0 / len(rows))
        return total

    def ngram_rows(self, word: str) -> list[int]:
        """Return the rows of the n-grams of a word between ``<`` and ``>``, in fastText's order."""
        if self.longest < 1 or self.buckets < 1 or word == _END:
            return []
        letters = [[byte ^ 0xFFFFFF00 if byte > 127 else byte for byte in letter.encode()] for letter in f"<{word}>"]
        last = len(letters)
        rows = []
        for start in range(last):
            value = 2166136261
            for end in range(start + 1, min(start + self.longest, last) + 1):
                for byte in letters[end - 1]:
                    value = (value ^ byte) * 16777619 & 0xFFFFFFFF
                length = end - start
                if length >= self.shortest and not (length == 1 and (start == 0 or end == last)):
                    rows.append(self.words + value % self.buckets)
        return rows


@dataclasses.dataclass(frozen=True)
class _Settings:
    width: int
    buckets: int
    shortest: int
    longest: int


def _detects(_path: Path, head: bytes) -> bool:
    return head.startswith(_MAGIC)


def _read(source: str, options: ReadOptions) -> VectorTable:
    path = plain_file(source, "fastText's .bin")
    if path.stat().st_size < _SETTINGS.size + _COUNTS.size:
        raise VectorError(f"{path} ends at byte {path.stat().st_size}, inside its header; fetch it again")
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    settings = _read_settings(data, path)
    collector = RowCollector(str(path), options, width=settings.width)
    words, at = _read_words(data, path, collector)
    matrix = _map_matrix(data, at, path, settings, len(words))
    ids: dict[str, int] = {}
    for row, word in enumerate(words):
        if word is not None:
            ids.setdefault(word, row)
    buckets = len(matrix) - len(words)
    subwords = Subwords(matrix, ids, len(words), buckets, settings.shortest, settings.longest, options.damaged == "skip")
    _compose_all(words, subwords, collector, len(data))
    return collector.finish(compose=subwords)


def _read_settings(data: mmap.mmap, path: Path) -> _Settings:
    magic, version, width, _, _, _, _, _, _, model, buckets, shortest, longest, _, _ = _SETTINGS.unpack_from(data)
    if struct.pack("<i", magic) != _MAGIC:
        raise VectorError(
            f"{path} begins with {data[:8]!r}, not as fastText's .bin files do; a .vec file has the format 'word2vec', and "
            "models of fastText before 2017 must be trained again"
        )
    if not 1 <= version <= _VERSION or width < 1 or buckets < 0:
        raise VectorError(
            f"{path} is of version {version}, {width} wide, with {buckets} buckets; expected version 1 to {_VERSION}, a width "
            "from 1, buckets from 0; fetch it again"
        )
    if longest > _MAX_NGRAM_LENGTH:
        raise VectorError(
            f"{path} has n-grams of up to {longest:,} characters, expected at most {_MAX_NGRAM_LENGTH}; fetch it again"
        )
    if version == _VERSION_WITHOUT_NGRAMS and model == _SUPERVISED:
        longest = 0
    return _Settings(width, buckets, shortest, longest)


def _read_words(data: mmap.mmap, path: Path, collector: RowCollector) -> tuple[list[str | None], int]:
    """Return the words in order, None for those that cannot be decoded, and the offset after the dictionary."""
    entries, words, labels, _, pruned = _COUNTS.unpack_from(data, _SETTINGS.size)
    at = _SETTINGS.size + _COUNTS.size
    if min(words, labels) < 0 or entries != words + labels or entries * (1 + _ENTRY.size) > len(data):
        raise VectorError(
            f"{path} says {entries:,} entries, {words:,} words and {labels:,} labels, which its {len(data):,} bytes do not "
            "hold; fetch it again"
        )
    found: list[str | None] = []
    for number in range(entries):
        end = data.find(b"\0", at, at + _MAX_TOKEN_BYTES)
        if end < 0 or end + 1 + _ENTRY.size > len(data):
            raise VectorError(
                f"{path} is damaged or cut off at byte {at:,}, in word {number + 1:,} of {entries:,}; fetch it again"
            )
        kind = _ENTRY.unpack_from(data, end + 1)[1]
        if kind != (_LABEL if number >= words else 0):
            raise VectorError(f"{path} is damaged at byte {end + 9:,}: entry {number + 1:,} is of kind {kind}; fetch it again")
        if kind != _LABEL:
            found.append(_decode(data[at:end], at, collector))
        at = end + 1 + _ENTRY.size
    if pruned >= 0:
        raise VectorError(
            f"{path} is quantized or pruned, as .ftz files are, and has no vectors of its own; give the .bin that it was made "
            "from, or write its vectors as text with: fasttext print-word-vectors"
        )
    return found, at


def _decode(word: bytes, byte: int, collector: RowCollector) -> str | None:
    try:
        return word.decode("utf-8")
    except UnicodeDecodeError as error:
        where = f"byte {byte + error.start:,}"
        collector.damaged("whose token is not UTF-8", f"{where}: the word {word[:40]!r} is not UTF-8")
        return None


def _map_matrix(data: mmap.mmap, at: int, path: Path, settings: _Settings, words: int) -> Table:
    if at + _MATRIX.size > len(data):
        raise VectorError(f"{path} is cut off at byte {len(data):,}, before its vectors; fetch it again")
    quantized, rows, width = _MATRIX.unpack_from(data, at)
    if quantized:
        raise VectorError(
            f"{path} is quantized, as .ftz files are, and has no vectors of its own; give the .bin that it was made from, or "
            "write its vectors as text with: fasttext print-word-vectors"
        )
    ngrams = settings.buckets if settings.longest > 0 else rows - words
    if width != settings.width or rows != words + ngrams or ngrams not in (0, settings.buckets):
        raise VectorError(
            f"{path} holds {rows:,} rows of {width:,} at byte {at + 1:,}; its header says {words:,} words and "
            f"{settings.buckets:,} buckets of {settings.width:,}: it is damaged, fetch it again"
        )
    at += _MATRIX.size
    if rows * width * 4 > len(data) - at:
        raise VectorError(
            f"{path} is cut off: {rows:,} rows of {width:,} begin at byte {at:,} and need {rows * width * 4:,} bytes, and the "
            f"file ends at byte {len(data):,}; fetch it again"
        )
    return np.frombuffer(data, dtype="<f4", count=rows * width, offset=at).reshape(rows, width)


def _compose_all(words: list[str | None], subwords: Subwords, collector: RowCollector, size: int) -> None:
    """Compose the vectors of the wanted words."""
    progress = collector.options.progress
    for at in range(0, len(words), _BATCH):
        batch = [(row, word) for row, word in enumerate(words[at : at + _BATCH], at) if word and collector.wants(word)]
        if batch:
            values = np.stack([subwords.mean([row, *subwords.ngram_rows(word)]) for row, word in batch])
            names = [word for _, word in batch]
            collector.add(names, values, lambda number: f"word {batch[number][0] + 1:,}")  # noqa: B023  called at once
        if progress is not None:
            progress(size * min(len(words), at + _BATCH) // max(1, len(words)), size)


FASTTEXT = VectorFormat(_read, _detects)
