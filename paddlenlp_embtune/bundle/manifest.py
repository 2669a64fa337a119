"""What ``bundle.json`` says: labels, tokenizer, engines with their proofs, calibration, and the hash of every file."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.bundle._manifest_checks import check_values
from paddlenlp_embtune.text import WindowSpec

__all__ = ["Calibration", "LabelScaling", "Manifest", "ParityRecord", "QuantizedProgram", "VectorOutput"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ParityRecord:
    """The proof that an engine agrees with the live model.

    Args:
        max_probability_difference: the largest absolute difference of any class probability.
        tolerance: what was allowed.
        texts: rows compared, over all batches.
        batches: batches compared, of mixed sizes and lengths.
        same_labels: whether every row got the same label.
        temperature: that the logits were divided by; at a lower one, a difference counts for more.
        max_vector_difference: the largest absolute difference of a value of a text's vector, scaled to length 1; None where
            the engine gives no vectors.
    """

    max_probability_difference: float
    tolerance: float
    texts: int
    batches: int
    same_labels: bool
    temperature: float = 1.0
    max_vector_difference: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorOutput:
    """The vectors of texts that the programs of a bundle give beside the logits, as they are before any normalization.

    Args:
        width: values of a vector.
        pooling: what makes one vector of the tokens' ones: ``max`` (the best match of each filter of a text CNN), ``mean``,
            ``first`` (the first token), ``pooler`` (the encoder's own layer on it), or empty for a model of a plugin.
    """

    width: int
    pooling: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class QuantizedProgram:
    """A smaller ONNX program beside the one in fp32, and what it was found to be worth on labelled rows.

    Args:
        file: relative to the bundle.
        method: ``static`` (activations have the scales that calibration found), ``dynamic`` (each batch its own), or ``cast``.
        rows: labelled rows that it was measured on.
        agreement: share of them that get the label that fp32 gives.
        accuracy, accuracy_fp32: share of them that get the right label.
        f1_macro, f1_macro_fp32: the mean of the labels' F1.
        company: the largest difference that the batch a text is in made to one of its probabilities.
        bytes, bytes_fp32: size of the program.
        speedup: texts a second, times those of fp32, in the same minute on the processor below; None where it cannot be
            measured, as of fp16 without a GPU.
        processor: where the speed was measured.
        tolerance: how much accuracy it was allowed to lose.
        vector_cosine: mean cosine between the vectors of the rows and those of fp32; None where the program gives none.
        vector_neighbours: share of the rows whose nearest other row by these vectors is the one that it is in fp32.
    """

    file: str
    method: str
    rows: int
    agreement: float
    accuracy: float
    accuracy_fp32: float
    f1_macro: float
    f1_macro_fp32: float
    company: float
    bytes: int
    bytes_fp32: int
    speedup: float | None
    processor: str
    tolerance: float
    vector_cosine: float | None = None
    vector_neighbours: float | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class LabelScaling:
    """How the logit of one label among several becomes its score: the sigmoid of scale times logit plus offset.

    Args:
        scale: above 0, at most 20.
        offset: -50 to 50.
    """

    scale: float
    offset: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Calibration:
    """What fitting a temperature on labelled rows did to the probabilities.

    Args:
        rows: labelled rows that it was fitted on.
        ece_before, ece_after: expected calibration error at temperature 1 and at the fitted one, on those rows; 15 bins.
        ece_held_out, nll_held_out: those of rows which the temperature was not fitted on, by cross-fitting in five parts.
        nll_before, nll_after: mean negative log-likelihood of the right label, in natural logarithms.
        brier_before, brier_after: mean squared distance from the right label, 0 to 2.
        target_precision: what the thresholds were chosen for; None if there are none.
        answered: share of the rows that the thresholds let through.
        precision: share of right answers among them.
        precision_held_out: that of rows which the thresholds were not chosen on, by cross-fitting in five parts.
        errors: rows whose label was wrong; a temperature is fitted to them.
        note: why the temperature is 1, or stands on little; None where there is nothing to say.
    """

    rows: int
    ece_before: float
    ece_after: float
    ece_held_out: float
    nll_before: float
    nll_after: float
    brier_before: float
    brier_after: float
    target_precision: float | None = None
    answered: float = 1.0
    precision: float | None = None
    nll_held_out: float | None = None
    precision_held_out: float | None = None
    errors: int | None = None
    note: str | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Manifest:
    """What ``bundle.json`` says.

    Args:
        schema_version: of this layout.
        domain: name of the domain, or None.
        labels: class names in order.
        ordered: whether their order means anything.
        tokenizer: options that rebuild the tokenizer on ``vocab.txt`` and the files that it names.
        vocabulary_sha256: fingerprint of the vocabulary that the weights were trained with.
        max_length: the most tokens that the model reads at once.
        windows: how longer texts are read; None cuts them.
        temperature: logits are divided by it, of several windows the logarithms of their mean; 0.001 to 1000.
        kind: of the labels: ``single``, ``ordered`` or ``multi``; None in older bundles, which ``ordered`` tells of.
        thresholds: an answer of a label with a lower score is no answer; labels that are not named always are. Where a text may
            have several labels, one with a lower score is not given; those that are not named have 0.5.
        scaling: calibration of each label, where a text may have several; others have their scores as they come.
        calibration: how temperature and thresholds were found; None if they were not.
        quantized: programs of lower precision by its name.
        sentence_vectors: what the programs give beside the logits; None where they give no vectors of texts.
        engines: files of each engine.
        parity: for each engine, the proof that it agrees with the live model.
        metrics: figures on the development rows.
        data: counts and fingerprints of the training data.
        vectors: how the embedding was initialised.
        recipe: the whole recipe.
        teacher: of a student, by which bundle it was taught and how far it agrees with it; else empty.
        continual: of one that keeps something for learning on, or has learnt on: ``tasks`` in order with names, rows and the
            bundle that each began with, and what is kept of them; else empty.
        versions: of the packages that made the bundle.
        files: SHA-256 of every other file of the bundle.
    """

    schema_version: int
    domain: str | None = None
    labels: tuple[str, ...]
    ordered: bool = False
    tokenizer: Mapping[str, Any]
    vocabulary_sha256: str
    max_length: int
    windows: WindowSpec | None = None
    temperature: float = 1.0
    kind: str | None = None
    thresholds: Mapping[str, float] = dataclasses.field(default_factory=dict)
    scaling: Mapping[str, LabelScaling] = dataclasses.field(default_factory=dict)
    calibration: Calibration | None = None
    quantized: Mapping[str, QuantizedProgram] = dataclasses.field(default_factory=dict)
    sentence_vectors: VectorOutput | None = None
    engines: Mapping[str, tuple[str, ...]]
    parity: Mapping[str, ParityRecord]
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    vectors: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    teacher: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    continual: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        check_values(self)

    @property
    def label_kind(self) -> str:
        """The kind of the labels: ``single``, ``ordered`` or ``multi``."""
        return self.kind or ("ordered" if self.ordered else "single")
