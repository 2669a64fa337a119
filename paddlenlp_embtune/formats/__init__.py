"""Formats of vector files: reading them as a stream, writing them. Needs numpy only."""

from paddlenlp_embtune.formats.lac import read_lac, read_paddle_tensor
from paddlenlp_embtune.formats.options import ReadOptions, VectorFormat
from paddlenlp_embtune.formats.reading import detect_format, read_vectors
from paddlenlp_embtune.formats.table import VectorTable
from paddlenlp_embtune.formats.writing import write_vectors

__all__ = [
    "ReadOptions",
    "VectorFormat",
    "VectorTable",
    "detect_format",
    "read_lac",
    "read_paddle_tensor",
    "read_vectors",
    "write_vectors",
]
