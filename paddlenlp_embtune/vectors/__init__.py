"""Vectors: where the rows of an embedding come from, and how they have moved. Needs numpy only."""

from paddlenlp_embtune.vectors.alignment import align
from paddlenlp_embtune.vectors.extension import extend_table
from paddlenlp_embtune.vectors.geometry import cosine_drift, norm_drift, row_norms
from paddlenlp_embtune.vectors.initialise import Coverage, Origin, initialise, initialise_random
from paddlenlp_embtune.vectors.projection import LinearMap, fit_linear, fit_orthonormal, fit_pca
from paddlenlp_embtune.vectors.skipgram import SkipGram, train_skipgram
from paddlenlp_embtune.vectors.spellings import DEFAULT_FALLBACKS, FALLBACKS, wanted
from paddlenlp_embtune.vectors.transfer import initialise_into

__all__ = [
    "DEFAULT_FALLBACKS",
    "FALLBACKS",
    "Coverage",
    "LinearMap",
    "Origin",
    "SkipGram",
    "align",
    "cosine_drift",
    "extend_table",
    "fit_linear",
    "fit_orthonormal",
    "fit_pca",
    "initialise",
    "initialise_into",
    "initialise_random",
    "norm_drift",
    "row_norms",
    "train_skipgram",
    "wanted",
]
