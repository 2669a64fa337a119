"""Vector file formats: streaming readers, and writers. Needs numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paddlenlp_embtune.utils.lazy import lazy_exports

if TYPE_CHECKING:
    from paddlenlp_embtune.embeddings.io.checkpoint import BUNDLE as BUNDLE, CHECKPOINT as CHECKPOINT
    from paddlenlp_embtune.embeddings.io.fasttext import FASTTEXT as FASTTEXT
    from paddlenlp_embtune.embeddings.io.lac import read_lac as read_lac
    from paddlenlp_embtune.embeddings.io.numpy_files import NPY as NPY, NPZ as NPZ, SAFETENSORS as SAFETENSORS
    from paddlenlp_embtune.embeddings.io.options import ReadOptions as ReadOptions, VectorFormat as VectorFormat
    from paddlenlp_embtune.embeddings.io.read import detect_format as detect_format, read_vectors as read_vectors
    from paddlenlp_embtune.embeddings.io.safetensors_files import (
        FLOAT_DTYPES as FLOAT_DTYPES,
        open_safetensors as open_safetensors,
        to_float32 as to_float32,
    )
    from paddlenlp_embtune.embeddings.io.vector_table import VectorTable as VectorTable
    from paddlenlp_embtune.embeddings.io.word2vec_binary import WORD2VEC_BINARY as WORD2VEC_BINARY
    from paddlenlp_embtune.embeddings.io.word2vec_text import GLOVE as GLOVE, WORD2VEC as WORD2VEC
    from paddlenlp_embtune.embeddings.io.write import write_vectors as write_vectors
else:
    __all__, __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "checkpoint": "BUNDLE CHECKPOINT",
            "fasttext": "FASTTEXT",
            "lac": "read_lac",
            "numpy_files": "NPY NPZ SAFETENSORS",
            "options": "ReadOptions VectorFormat",
            "read": "detect_format read_vectors",
            "safetensors_files": "FLOAT_DTYPES open_safetensors to_float32",
            "vector_table": "VectorTable",
            "word2vec_binary": "WORD2VEC_BINARY",
            "word2vec_text": "GLOVE WORD2VEC",
            "write": "write_vectors",
        },
    )
