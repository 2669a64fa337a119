"""Where a run starts: its tokenizer, and the embedding that training continues from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Bundle, bundle_folder, embedding_table
from paddlenlp_embtune.config import Recipe, TextSpec, VectorSpec, is_folder, is_path
from paddlenlp_embtune.embeddings import add_tokens, fill_terms_from_pieces
from paddlenlp_embtune.embeddings.init import (
    DEFAULT_FALLBACKS,
    Coverage,
    Origin,
    initialize_from_vectors,
    initialize_random,
    token_filter,
)
from paddlenlp_embtune.embeddings.io import ReadOptions, VectorTable, read_vectors
from paddlenlp_embtune.encoders import Pretrained
from paddlenlp_embtune.errors import DataError, RecipeError, expected_names
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.text import (
    CharTokenizer,
    TermList,
    Tokenizer,
    Vocabulary,
    WordTokenizer,
    add_terms,
    apply_cleaning,
    build_tokenizer,
    read_term_list,
    tokenizer_kind,
    unknown_characters,
    with_cleaning,
)
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = [
    "Progress",
    "Start",
    "check_labels",
    "initialize_embedding",
    "possible_fallbacks",
    "pretrained_encoder",
    "read_source",
    "usual_fallbacks",
]

Progress = Callable[[int, int], object]
Table = npt.NDArray[np.float32]
_RANDOM_DIMENSION = 128
_PROBE = "公司拟回购 A 股 3%"


@dataclasses.dataclass(frozen=True)
class Start:
    """What a run starts from.

    Args:
        tokenizer: with its vocabulary.
        table: (V, D) float32.
        coverage: where its rows came from.
        bundle: whose weights training continues from.
        pretrained: whose weights the encoder starts with. With neither, all weights but the table are new.
        terms: the recipe's list of terms; None without one.
    """

    tokenizer: Tokenizer
    table: Table
    coverage: Coverage
    bundle: Bundle | None = None
    pretrained: Pretrained | None = None
    terms: TermList | None = None


def initialize_embedding(recipe: Recipe, texts: Sequence[str], *, progress: Progress | None = None) -> Start:
    """Build the tokenizer and the embedding of a run; no Paddle yet.

    Args:
        recipe: its ``text``, ``vectors`` and ``model.start``.
        texts: of the training rows.
        progress: called with the bytes of the vector file that have been read, and their number.
    Raises:
        RecipeError, DataError: the recipe asks for what cannot be.
        VectorError: the vectors cannot be read, or have nothing for the vocabulary.
        BundleError: the bundle to start from is damaged.
    """
    listed = read_term_list(Path(recipe.text.terms)) if recipe.text.terms is not None else None
    steps = recipe.text.cleaning
    cleaned = [apply_cleaning(text, steps) for text in texts] if steps else texts
    start = _start(recipe, cleaned, listed.terms if listed is not None else (), progress)
    return dataclasses.replace(start, tokenizer=with_cleaning(start.tokenizer, steps), terms=listed)


def _start(recipe: Recipe, texts: Sequence[str], terms: Sequence[str], progress: Progress | None) -> Start:
    """Continue from a bundle or an encoder, or build a tokenizer and draw or read a table."""
    if recipe.model.start is not None:
        bundle = Bundle.open(bundle_folder(Path(recipe.model.start)))
        _check_start(recipe, tokenizer_kind(bundle.manifest.tokenizer), str(bundle.path), beside="model.start")
        grows = recipe.continual is not None and recipe.continual.new_tokens
        wanted_terms = [*terms, *(unknown_characters(bundle.tokenizer, texts, terms) if grows else ())]
        return Start(
            *_continue_from(f"the bundle {bundle.path.name}", bundle.tokenizer, embedding_table(bundle), wanted_terms), bundle
        )
    if recipe.model.encoder is not None:
        pretrained = pretrained_encoder(recipe.model.encoder)
        _check_start(recipe, str(pretrained.tokenizer.config()["name"]), pretrained.source, beside="model.encoder")
        table = pretrained.table
        # A bundle travels, and tells the source.
        named = Path(pretrained.source).resolve().name if is_folder(recipe.model.encoder) else pretrained.source
        return Start(*_continue_from(named, pretrained.tokenizer, table, terms), None, pretrained)
    text, spec = recipe.text, recipe.vectors
    base = _tokenizer(text, texts, terms)
    if spec.source == "random":
        tokenizer = _with_terms(base, terms)
        width = spec.dimension or _RANDOM_DIMENSION
        return Start(tokenizer, *initialize_random(tokenizer.vocabulary, width, rms=spec.rms, seed=recipe.seed))
    fallbacks = spec.fallbacks if spec.fallbacks is not None else usual_fallbacks(text.tokenizer)
    further = _Further(base, text, texts)
    needed = token_filter([*base.vocabulary.tokens, *terms], fallbacks)
    # Not `or`: every name must be shown to both.
    vectors = read_source(recipe, keep=lambda name: any([needed(name), further.take(name)]), progress=progress)
    tokenizer = _with_terms(further.appended(base), terms)
    table, coverage = initialize_from_vectors(
        tokenizer.vocabulary,
        vectors,
        rms=spec.rms,
        seed=recipe.seed,
        fallbacks=possible_fallbacks(fallbacks, vectors, asked=spec.fallbacks is not None),
        dimension=spec.dimension,
    )
    return Start(tokenizer, *fill_terms_from_pieces(tokenizer, table, coverage))


def read_source(recipe: Recipe, *, keep: Callable[[str], bool] | None = None, progress: Progress | None = None) -> VectorTable:
    """Read the vectors that a recipe names, by any registered format.

    Raises:
        RecipeError: there is no format or source of that name.
        VectorError: as :func:`paddlenlp_embtune.embeddings.io.read.read_vectors`.
    """
    spec, formats = recipe.vectors, registry.current().all_guarded("vector format")
    if not is_path(spec.source) and spec.source not in formats:
        names = [name for name in ("lac", "random") if name == "random" or name in formats]
        raise RecipeError(
            f"vectors.source is {spec.source!r}; {expected_names(spec.source, names)}, or a path, such as ./{spec.source}"
        )
    if spec.format is not None and spec.format not in formats:
        raise RecipeError(f"vectors.format is {spec.format!r}; {expected_names(spec.format, formats)}, or null")
    options = ReadOptions(
        # A name is a name, whatever lies in the current folder.
        format=spec.format if is_path(spec.source) or spec.source not in formats else spec.format or spec.source,
        keep=keep,
        vocabulary=Path(spec.tokens) if spec.tokens is not None else None,
        tensor=spec.tensor,
        damaged=spec.damaged,
        progress=progress,
    )
    return read_vectors(spec.source, options, formats=formats)


class _Further:
    """Collects the first tokens of the vectors that the training texts lack and serving may meet."""

    def __init__(self, tokenizer: Tokenizer, text: TextSpec, texts: Sequence[str]) -> None:
        self.found: dict[str, None] = {}
        self._tokenizer, self._lowercase = tokenizer, text.lowercase
        # What was left out of the vocabulary for being rare must not come back.
        self._rare: set[str] = set()
        if text.min_count > 1:
            self._rare.update(CharTokenizer.count(texts, lowercase=text.lowercase))
            if isinstance(tokenizer, WordTokenizer):
                terms = tokenizer.user_terms
                self._rare.update(WordTokenizer.count(texts, lowercase=text.lowercase, user_terms=terms))
        counted = isinstance(tokenizer, (CharTokenizer, WordTokenizer))
        self._most = text.extra_rows if counted and text.vocabulary is None else 0

    def take(self, name: str) -> bool:
        """Whether a name is one of them, seen in the order of the file."""
        if len(self.found) >= self._most:
            return False
        token = name.lower() if self._lowercase else name
        if token in self._tokenizer.vocabulary or token in self._rare or not token.strip():
            return False
        if isinstance(self._tokenizer, CharTokenizer) and len(token) != 1:
            return False
        self.found[token] = None
        return True

    def appended(self, tokenizer: Tokenizer) -> Tokenizer:
        """Give them ids behind all others."""
        if not self.found or not isinstance(tokenizer, (CharTokenizer, WordTokenizer)):
            return tokenizer
        return dataclasses.replace(tokenizer, vocabulary=Vocabulary([*tokenizer.vocabulary.tokens, *self.found]))


def _tokenizer(text: TextSpec, texts: Sequence[str], terms: Sequence[str]) -> Tokenizer:
    """Build the tokenizer without added terms; words know the user's terms from the start."""
    trained = text.tokenizer == "sentencepiece" and text.vocabulary is None
    return build_tokenizer(
        text.tokenizer,
        texts=texts,
        lowercase=text.lowercase,
        min_count=text.min_count,
        vocabulary_file=Path(text.vocabulary) if text.vocabulary is not None else None,
        user_terms=terms if trained or text.tokenizer == "word" else (),
        size=text.pieces if trained else None,
        max_length=text.max_length,
    )


def _with_terms(base: Tokenizer, terms: Sequence[str]) -> Tokenizer:
    """Add those terms that are no tokens yet."""
    if isinstance(base, WordTokenizer) or not terms:
        return base
    longer, change = add_terms(base, terms)
    return longer if change.added else base


def usual_fallbacks(tokenizer: str) -> tuple[str, ...]:
    """Return the default fallbacks: words and pieces are also made of their parts, as few of them have a row of their own."""
    return (*DEFAULT_FALLBACKS, "subwords") if tokenizer == "char" else (*DEFAULT_FALLBACKS, "subwords", "pieces")


def possible_fallbacks(fallbacks: Sequence[str], vectors: VectorTable, *, asked: bool) -> list[str]:
    """Leave ``subwords`` out where the vectors cannot compose, unless it was asked for by name: then that is an error."""
    return [name for name in fallbacks if asked or name != "subwords" or vectors.compose is not None]


def pretrained_encoder(name: str) -> Pretrained:
    """Return a registered encoder, or read one from a folder or by PaddleNLP's name.

    Raises:
        BundleError, DataError, HostError: there is none, or it cannot be read; the message lists those there are.
    """
    from paddlenlp_embtune.encoders import load_encoder

    known = registry.current()
    if name in known.names("encoder"):
        found = known.guarded("encoder", name)()
        if not isinstance(found, Pretrained):
            raise known.breach("encoder", name, f"returned {shorten(found)}")
        ids = found.tokenizer.encode(_PROBE)
        if not isinstance(ids, list) or not all(
            isinstance(each, (int, np.integer)) and 0 <= each < len(found.table) for each in ids
        ):
            raise known.breach("encoder", name, f"has a tokenizer that encodes {_PROBE!r} as {shorten(ids)}")
        return found
    return load_encoder(name, known=known.names("encoder"))


def _check_start(recipe: Recipe, kind: str, source: str, *, beside: str) -> None:
    """Refuse what a bundle or an encoder that training starts from decides itself, where the recipe says otherwise.

    Raises:
        RecipeError: another tokenizer, or vectors.
    """
    if (asked := recipe.text.tokenizer) not in (kind, TextSpec().tokenizer):
        raise RecipeError(f"text.tokenizer is {asked!r}, that of {source} is {kind!r}; expected the same, or left out")
    usual = VectorSpec()
    for name in ("source", "format", "tokens", "tensor", "fallbacks", "dimension"):
        if (value := getattr(recipe.vectors, name)) != getattr(usual, name):
            raise RecipeError(
                f"vectors.{name} is {value!r}; expected left out beside {beside}, for the embedding is that of {source}; "
                "new terms of a bundle get pretrained rows with: embtune vocabulary extend --vectors"
            )


def _continue_from(source: str, tokenizer: Tokenizer, table: Table, terms: Sequence[str]) -> tuple[Tokenizer, Table, Coverage]:
    """Keep a trained embedding, with rows for further terms behind its own."""
    kept = Coverage(source, (Origin.KEPT,) * len(table), (), tokenizer.vocabulary.tokens)
    if not terms:
        return tokenizer, table, kept
    longer, change, grown, made = add_tokens(tokenizer, table, terms)
    if not change.added:
        return tokenizer, table, kept
    coverage = dataclasses.replace(
        kept,
        origins=(*kept.origins, *made.origins),
        missing=made.missing,
        tokens=longer.vocabulary.tokens,
        sources=((),) * len(table) + made.sources,
    )
    return longer, grown, coverage


def check_labels(bundle: Bundle, labels: Sequence[str]) -> None:
    """Refuse to continue from a bundle with other labels.

    Raises:
        DataError: the labels differ.
    """
    if tuple(bundle.manifest.labels) != tuple(labels):
        raise DataError(
            f"the labels are {', '.join(labels)}, those of {bundle.path} are {', '.join(bundle.manifest.labels)}; expected the "
            "same, in the same order; state them in data.labels, or train without model.start"
        )
