"""The parts of a recipe that say what is trained: data, text, vectors, model, length, export."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.embeddings.init import FALLBACKS
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.text import WindowSpec
from paddlenlp_embtune.utils.read_options import check_reading
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most

__all__ = [
    "PRETRAINED",
    "DataSpec",
    "ExportSpec",
    "ModelSpec",
    "SparseSpec",
    "TextSpec",
    "TrainSpec",
    "VectorSpec",
    "is_folder",
    "is_path",
]


PRETRAINED = "pretrained"


def is_folder(encoder: str) -> bool:
    """Whether an encoder is stated as a folder, and not by a name, which may hold points and slashes too."""
    return encoder.startswith(("/", "./", "../")) or encoder in (".", "..")


def is_path(source: str) -> bool:
    """Whether the source of vectors is a path, and no name: it has a folder, or an ending."""
    return "/" in source or "." in source


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Where labelled rows come from.

    Args:
        train: path of the training file (TSV, CSV, JSON or JSON lines).
        dev: path of the development file; None holds ``dev_ratio`` of the training rows out, stratified by label.
        text_column: column or key of the text.
        label_column: column or key of the label.
        labels: the labels in the order of their numbers; None takes those of the domain, or else those found in the data.
        ordered: whether the order of the labels means something, from one end of a scale to the other, so that answers have a
            level; None takes what the domain, the bundle of ``model.start`` or the teacher says of these labels, else false.
        dev_ratio: share of the training rows held out when there is no ``dev``, above 0 and below 1.
        skip_empty: drop rows with an empty text, and say how many, instead of refusing the file.
        encoding: of the files, such as ``gb18030``; None takes UTF-8, what a byte order mark says, or GB18030, Big5 or UTF-16
            where that is plain.
        quoting: what double quotes in a TSV or CSV file are: quotes around fields (``csv``), text (``none``), or what the file
            looks like (``auto``).
    """

    train: str | None = None
    dev: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    labels: tuple[str, ...] | None = None
    ordered: bool | None = None
    dev_ratio: float = 0.1
    skip_empty: bool = False
    encoding: str | None = None
    quoting: str = "auto"

    def __post_init__(self) -> None:
        check_types(self, where="data", error=RecipeError)
        check_reading(self.encoding, self.quoting, where="data.", error=RecipeError)
        require(0.0 < self.dev_ratio < 1.0, "data.dev_ratio", self.dev_ratio, "above 0 and below 1")
        if self.labels is not None:
            require(len(self.labels) >= 2, "data.labels", self.labels, "at least two labels")
            require(len(set(self.labels)) == len(self.labels), "data.labels", self.labels, "each label once")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSpec:
    """How text becomes ids.

    Args:
        tokenizer: ``char``; ``word`` (jieba); ``wordpiece``, with the ids of PaddleNLP's ERNIE and BERT tokenizers; or
            ``sentencepiece``.
        vocabulary: path of the ``vocab.txt`` that WordPiece needs, or of a SentencePiece model; None trains the latter on the
            training texts.
        terms: path of domain terms, one a line in UTF-8, that are kept whole, each with a row of its own.
        lowercase: fold case before looking a token up.
        min_count: keep characters, or words, that occur at least this often in the training texts.
        pieces: size of a SentencePiece model that is trained, 100 to 1,000,000.
        extra_rows: add this many further rows of the vectors, in their own order, for characters, or words, that the training
            texts lack; they keep serving text out of the unknown token.
        max_length: the most tokens that the model reads at once, at most 65,536.
        windows: how longer texts are read, in training and by the bundle; null cuts them.
    """

    tokenizer: str = "char"
    vocabulary: str | None = None
    terms: str | None = None
    lowercase: bool = True
    min_count: int = 1
    pieces: int = 8000
    extra_rows: int = 2000
    max_length: int = 256
    windows: WindowSpec | None = None

    def __post_init__(self) -> None:
        check_types(self, where="text", error=RecipeError)
        require(self.min_count >= 1, "text.min_count", self.min_count, "1 or more")
        require(self.extra_rows >= 0, "text.extra_rows", self.extra_rows, "0 or more")
        require(self.pieces >= 100, "text.pieces", self.pieces, "100 or more")
        framed = self.tokenizer == "wordpiece"
        least = 3 if framed else 1
        allowed = "3 or more, for [CLS], [SEP] and a piece between them" if framed else "1 or more"
        require(self.max_length >= least, "text.max_length", self.max_length, allowed)
        require_at_most("text.max_length", self.max_length, 65_536)
        require_at_most("text.pieces", self.pieces, 1_000_000)
        for name in ("min_count", "extra_rows"):
            require_at_most(f"text.{name}", getattr(self, name))
        fixed = self.tokenizer in ("wordpiece", "sentencepiece")
        require(fixed or self.vocabulary is None, "text.vocabulary", self.vocabulary, f"null for {self.tokenizer!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorSpec:
    """Where the embedding starts.

    Args:
        source: ``lac`` (the table inside jieba), ``random``, or the path of a file, a checkpoint's folder or a bundle.
        format: a registered vector format; None finds it by the content.
        tokens: path of the tokens of a source that holds none, one a line.
        tensor: name of the table in a source that holds several; None finds the only one that it can be.
        fallbacks: what is tried, in this order, for a token that the source lacks: ``case``, ``marker``, ``width``, ``script``,
            ``subwords``, ``pieces``, ``edit``; None tries the first four, and ``subwords`` where the source can compose.
        dimension: width of the embedding, 1 to 65,536; None takes the source's. A smaller width is reached by principal
            components, a larger one along random directions.
        damaged: ``refuse`` a source with a damaged row, or ``skip`` such rows and count them.
        rms: the root mean square that the known rows are scaled to, 1e-12 to 1e6.
        versions: keep the embedding before and after training in the run's store of versions, as ``start`` and ``end``; None
            does for tables of less than 100,000 rows.
    """

    source: str = "lac"
    format: str | None = None
    tokens: str | None = None
    tensor: str | None = None
    fallbacks: tuple[str, ...] | None = None
    dimension: int | None = None
    damaged: str = "refuse"
    rms: float = 0.1
    versions: bool | None = None

    def __post_init__(self) -> None:
        check_types(self, where="vectors", error=RecipeError)
        require(self.rms > 0, "vectors.rms", self.rms, "above 0")
        require(1e-12 <= self.rms <= 1e6, "vectors.rms", self.rms, "1e-12 to 1e6")
        require_at_most("vectors.dimension", self.dimension, 65_536)
        require(self.dimension is None or self.dimension >= 1, "vectors.dimension", self.dimension, "1 or more, or null")
        require(self.damaged in ("refuse", "skip"), "vectors.damaged", self.damaged, "refuse or skip")
        for name in self.fallbacks or ():
            require(name in FALLBACKS, "vectors.fallbacks", name, ", ".join(FALLBACKS))


@dataclasses.dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Which network, and its own options.

    Args:
        name: a registered model.
        encoder: a pretrained encoder under a new classifier: its registered name, PaddleNLP's name for it, or a folder, written
            with ``./`` or ``/`` in front; its tokenizer and its embedding come with it, and ``text.terms`` extend them.
        start: path of a bundle that training continues from, with its tokenizer, its embedding and all its weights;
            ``text.terms`` extend it; the rest of ``text`` but the lengths, ``vectors`` and ``name`` are then the bundle's.
            What a model fits before training, as the text CNN its regression over n-grams, is fitted anew to the run's rows.
        options: passed to the model as they are; the model refuses those it does not know.
    """

    name: str = "textcnn"
    encoder: str | None = None
    start: str | None = None
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_types(self, where="model", error=RecipeError)
        require(self.start != "", "model.start", self.start, "the path of a bundle, or null")
        require(self.encoder != "", "model.encoder", self.encoder, "a name, or a folder such as ./encoder, or null")
        two = self.start is not None and self.encoder is not None
        require(not two, "model.encoder", self.encoder, "null beside model.start, whose bundle has its encoder")
        if self.encoder is not None:
            require(self.name in ("textcnn", PRETRAINED), "model.name", self.name, "left out beside model.encoder")
            object.__setattr__(self, "name", PRETRAINED)
        if self.name == PRETRAINED:
            stated = self.options.get("adapter")
            require(stated is None, "model.options.adapter", stated, "left out; state it in the recipe's part adapter")
            for part in ("architecture", "settings"):
                require(part not in self.options, f"model.options.{part}", self.options.get(part), "the encoder's own")
        bare = self.name == PRETRAINED and self.encoder is None and self.start is None
        require(not bare, "model.encoder", self.encoder, f"a name or a folder for the model {PRETRAINED}")
        both = self.start is not None and bool(self.options)
        require(not both, "model.options", dict(self.options), "empty beside model.start, which brings its own")


@dataclasses.dataclass(frozen=True, kw_only=True)
class SparseSpec:
    """When the embedding trains by rows, so that a step costs the same whatever the size of its table.

    Args:
        from_rows: embeddings with at least this many rows do, 0 or more. Rows that a batch has not read then stay where they
            are, while AdamW with dense gradients moves them on by momentum and decay.
    """

    from_rows: int = 100_000

    def __post_init__(self) -> None:
        check_types(self, where="sparse", error=RecipeError)
        require(self.from_rows >= 0, "sparse.from_rows", self.from_rows, "0 or more, or sparse: null for dense gradients")
        require_at_most("sparse.from_rows", self.from_rows)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainSpec:
    """Length and size of the run.

    Args:
        epochs: passes over the training rows; None takes as many as make about 1,200 steps, 8 at least and 40 at most; for an
            encoder as many as make about 240 steps, 3 at least and 20 at most. Like the sizes below, at most 1,000,000.
        batch_size: rows in a batch of one process; None takes 64, for an encoder 32.
        accumulation_steps: batches whose gradients make one step, 1 or more.
        recompute: compute the activations of an encoder's layers again in the backward pass instead of keeping them, which
            saves memory and costs about a third more time.
        eval_batch_size: rows in a forward pass of an evaluation; None takes 256, for an encoder 32.
        loss: a registered loss.
        class_balance: how far rare classes weigh more in the loss, 0 (not at all) to 1 (every class weighs the same in all).
        checkpoint_seconds: write a checkpoint when this long has passed since the last one, 0 or more (0 means at every step);
            None writes none. A run that was killed continues from its last checkpoint, bit-equal.
    Source:
        Mosbach et al. 2021, "On the Stability of Fine-tuning BERT": with few rows an encoder wants many epochs
    """

    epochs: int | None = None
    batch_size: int | None = None
    accumulation_steps: int = 1
    recompute: bool = False
    eval_batch_size: int | None = None
    loss: str = "cross_entropy"
    class_balance: float = 0.5
    checkpoint_seconds: float | None = 60.0

    def __post_init__(self) -> None:
        check_types(self, where="train", error=RecipeError)
        for name in ("epochs", "batch_size", "accumulation_steps", "eval_batch_size"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"train.{name}", value, "1 or more")
            require_at_most(f"train.{name}", value, 1_000_000)
        require(0 <= self.class_balance <= 1, "train.class_balance", self.class_balance, "0 to 1")
        seconds = self.checkpoint_seconds
        require(seconds is None or seconds >= 0, "train.checkpoint_seconds", seconds, "0 or more, or null for none")

    def resolved(self, rows: int, *, encoder: bool) -> TrainSpec:
        """Put numbers where there is None, for so many rows of a small model, or of an encoder."""
        batch_size, eval_batch_size, steps, least, most = (32, 32, 240, 3, 20) if encoder else (64, 256, 1200, 8, 40)
        batch_size = self.batch_size or batch_size
        steps_per_epoch = -(-rows // (batch_size * self.accumulation_steps))
        return dataclasses.replace(
            self,
            epochs=self.epochs or min(most, max(least, round(steps / steps_per_epoch))),
            batch_size=batch_size,
            eval_batch_size=self.eval_batch_size or eval_batch_size,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """What the bundle carries beside the weights.

    Args:
        engines: registered exporters.
        calibrate: fit a temperature on the development rows, 20 at least.
        target_precision: also fit thresholds, below which answers are marked as abstained: the lowest that give each label
            this precision on the development rows, above 0 and below 1; null sets none.
        int8: also carry a program in 8 bits for ``onnxruntime``, by ``static`` or ``dynamic`` quantization; the run fails
            where it is not smaller, faster and nearly as good on the development rows. null makes none.
    """

    engines: tuple[str, ...] = ("onnxruntime", "paddle_inference")
    calibrate: bool = True
    target_precision: float | None = None
    int8: str | None = None

    def __post_init__(self) -> None:
        check_types(self, where="export", error=RecipeError)
        wanted = self.target_precision
        require(wanted is None or 0 < wanted < 1, "export.target_precision", wanted, "above 0 and below 1, or null")
        require(wanted is None or self.calibrate, "export.target_precision", wanted, "null where export.calibrate is false")
        require(self.int8 in (None, "static", "dynamic"), "export.int8", self.int8, "static, dynamic, or null")
        require(self.int8 is None or "onnxruntime" in self.engines, "export.int8", self.int8, "null without onnxruntime")
