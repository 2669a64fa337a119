"""The parts of a recipe about what goes in: labelled rows, how text becomes ids, and where the embedding starts."""

from __future__ import annotations

import dataclasses
from typing import Any

from paddlenlp_embtune.embeddings.init import FALLBACKS
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.text import CLEANING_STEPS, WindowSpec
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most, require_name
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions, check_read_options

__all__ = ["DataSpec", "TextSpec", "VectorSpec", "is_path"]


def is_path(source: str) -> bool:
    """Whether the source of vectors is a path, and no name: it has a folder, or an ending."""
    return "/" in source or "." in source


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Where labelled rows come from.

    Args:
        train: path of the training file, see :func:`paddlenlp_embtune.data.read_examples`; of a folder, or a pattern of files.
        dev: path of the development file; None holds ``dev_ratio`` of the training rows out, stratified by label.
        text_column: column or key of the text.
        label_column: column or key of the label.
        weight_column: column or key of the weight of a row, a number above 0, at most 1,000,000, in the loss of training and
            evaluation; weights are scaled to a mean of 1. Metrics, calibration and thresholds count every row once. None
            weighs all rows the same.
        labels: the labels in the order of their numbers; None takes those of the domain, or else those found in the data.
        ordered: whether the order of the labels means something, from one end of a scale to the other, so that answers have a
            level; None takes what the domain, the bundle of ``model.start`` or the teacher says of these labels, else false.
        dev_ratio: share of the training rows held out when there is no ``dev``, above 0 and below 1.
        skip_empty: drop rows with an empty text, and say how many, instead of refusing the file.
        encoding: of the files, such as ``gb18030``; None takes UTF-8, what a byte order mark says, or GB18030, Big5 or UTF-16
            where that is plain.
        quoting: what double quotes in a TSV or CSV file are: quotes around fields (``csv``), text (``none``), or what the file
            looks like (``auto``).
        delimiter: character between the fields of a table, or its name, such as ``tab``; None takes that of the file's ending,
            or another one that gives the columns.
        header: whether tables have a header; without one, columns are called 1, 2 and so on. None finds out.
        sheet: name of a workbook's sheet; None takes the only one with the columns.
        limit: read no more than so many rows of each file; None reads all.
        label_separator: what parts the labels of a row, such as a comma, where a text has several; None takes a text for one
            label.
    """

    train: str | None = None
    dev: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    weight_column: str | None = None
    labels: tuple[str, ...] | None = None
    ordered: bool | None = None
    dev_ratio: float = 0.1
    skip_empty: bool = False
    encoding: str | None = None
    quoting: str = "auto"
    delimiter: str | None = None
    header: bool | None = None
    sheet: str | None = None
    limit: int | None = None
    label_separator: str | None = None

    def __post_init__(self) -> None:
        check_types(self, where="data", error=RecipeError)
        check_read_options(self.read_options, where="data.", error=RecipeError)
        require(0.0 < self.dev_ratio < 1.0, "data.dev_ratio", self.dev_ratio, "above 0 and below 1")
        others = (self.text_column, self.label_column)
        require(
            self.weight_column not in others, "data.weight_column", self.weight_column, "another column than text and label"
        )
        if self.labels is not None:
            require(len(self.labels) >= 2, "data.labels", self.labels, "two or more labels")
            require(len(set(self.labels)) == len(self.labels), "data.labels", self.labels, "labels that differ from each other")

    def reading(self) -> dict[str, Any]:
        """Return how labelled rows are read, as :func:`paddlenlp_embtune.data.read_examples` takes it."""
        names = ("text_column", "label_column", "weight_column", "skip_empty")
        return {**{name: getattr(self, name) for name in names}, "options": self.read_options}

    @property
    def read_options(self) -> ReadOptions:
        """How files are read, labelled or not."""
        return ReadOptions.of(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextSpec:
    """How text becomes ids.

    Args:
        tokenizer: ``char``; ``word`` (jieba); ``wordpiece``, with the ids of PaddleNLP's ERNIE and BERT tokenizers; or
            ``sentencepiece``.
        vocabulary: path of the ``vocab.txt`` that WordPiece needs, or of a SentencePiece model; None trains the latter on the
            training texts.
        terms: path of domain terms, one per line in UTF-8, that are kept whole, each with a row of its own.
        lowercase: fold case before looking a token up.
        min_count: keep characters, or words, that occur at least this often in the training texts.
        pieces: size of a SentencePiece model that is trained, 100 to 1,000,000.
        extra_rows: add this many further rows of the vectors, in their own order, for characters, or words, that the training
            texts lack; they keep serving text out of the unknown token.
        max_length: the most tokens that the model reads at once, at most 65,536.
        windows: how longer texts are read, in training and by the bundle; null cuts them.
        cleaning: steps that change a text before it is split into tokens, in training and by the bundle, in this order:
            ``mojibake``, ``controls``, ``markup``, ``urls``, ``mentions``, ``width``; none by default.
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
    cleaning: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_types(self, where="text", error=RecipeError)
        require(self.min_count >= 1, "text.min_count", self.min_count, "1 or more")
        require(self.extra_rows >= 0, "text.extra_rows", self.extra_rows, "0 or more")
        require(self.pieces >= 100, "text.pieces", self.pieces, "100 or more")
        framed = self.tokenizer == "wordpiece"
        least = 3 if framed else 1
        allowed = "3 or more (for [CLS], [SEP] and a piece between them)" if framed else "1 or more"
        require(self.max_length >= least, "text.max_length", self.max_length, allowed)
        require_at_most("text.max_length", self.max_length, 65_536)
        require_at_most("text.pieces", self.pieces, 1_000_000)
        for name in ("min_count", "extra_rows"):
            require_at_most(f"text.{name}", getattr(self, name))
        for step in self.cleaning:
            require_name("text.cleaning", step, tuple(CLEANING_STEPS))
            require(self.cleaning.count(step) == 1, "text.cleaning", self.cleaning, "steps that differ from each other")
        fixed = self.tokenizer in ("wordpiece", "sentencepiece")
        require(fixed or self.vocabulary is None, "text.vocabulary", self.vocabulary, f"null for {self.tokenizer!r}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class VectorSpec:
    """Where the embedding starts.

    Args:
        source: ``lac`` (the table inside jieba), ``random``, or the path of a file, a checkpoint's folder or a bundle.
        format: a registered vector format; None finds it by the content.
        tokens: path of the tokens of a source that has none, one per line.
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
        require(1e-12 <= self.rms <= 1e6, "vectors.rms", self.rms, "above 0, 1e-12 to 1e6")
        require_at_most("vectors.dimension", self.dimension, 65_536)
        require(self.dimension is None or self.dimension >= 1, "vectors.dimension", self.dimension, "1 or more, or null")
        require_name("vectors.damaged", self.damaged, ("refuse", "skip"))
        for name in self.fallbacks or ():
            require_name("vectors.fallbacks", name, FALLBACKS)
