"""Vectors: file formats, initialisation, geometry. Needs numpy only."""

from paddlenlp_embtune.vectors.geometry import cosine_drift, norm_drift, row_norms
from paddlenlp_embtune.vectors.initialise import Coverage, Origin, initialise, initialise_random
from paddlenlp_embtune.vectors.lac import read_lac, read_paddle_tensor
from paddlenlp_embtune.vectors.table import VectorTable

__all__ = [
    "Coverage",
    "Origin",
    "VectorTable",
    "cosine_drift",
    "initialise",
    "initialise_random",
    "norm_drift",
    "read_lac",
    "read_paddle_tensor",
    "row_norms",
]
