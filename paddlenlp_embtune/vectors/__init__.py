"""Vectors: file formats, initialisation, geometry. Needs numpy only."""

from paddlenlp_embtune.vectors.alignment import align
from paddlenlp_embtune.vectors.extension import extend_table
from paddlenlp_embtune.vectors.geometry import cosine_drift, norm_drift, row_norms
from paddlenlp_embtune.vectors.initialise import Coverage, Origin, initialise, initialise_random
from paddlenlp_embtune.vectors.lac import read_lac, read_paddle_tensor
from paddlenlp_embtune.vectors.options import ReadOptions
from paddlenlp_embtune.vectors.projection import LinearMap, fit_linear, fit_orthonormal, fit_pca
from paddlenlp_embtune.vectors.reading import read_vectors
from paddlenlp_embtune.vectors.scaling import match_scale
from paddlenlp_embtune.vectors.spellings import DEFAULT_FALLBACKS, FALLBACKS, wanted
from paddlenlp_embtune.vectors.store import VectorStore
from paddlenlp_embtune.vectors.table import VectorTable
from paddlenlp_embtune.vectors.transfer import initialise_into
from paddlenlp_embtune.vectors.versions import Version
from paddlenlp_embtune.vectors.writing import write_vectors

__all__ = [
    "DEFAULT_FALLBACKS",
    "FALLBACKS",
    "Coverage",
    "LinearMap",
    "Origin",
    "ReadOptions",
    "VectorStore",
    "VectorTable",
    "Version",
    "align",
    "cosine_drift",
    "extend_table",
    "fit_linear",
    "fit_orthonormal",
    "fit_pca",
    "initialise",
    "initialise_into",
    "initialise_random",
    "match_scale",
    "norm_drift",
    "read_lac",
    "read_paddle_tensor",
    "read_vectors",
    "row_norms",
    "wanted",
    "write_vectors",
]
