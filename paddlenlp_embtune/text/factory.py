"""Building a tokenizer for the texts that a model will be trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from paddlenlp_embtune.errors import DataError, RecipeError, expected_names
from paddlenlp_embtune.text._term_matcher import unique_terms
from paddlenlp_embtune.text.added_terms import add_terms
from paddlenlp_embtune.text.base import CharTokenizer, Tokenizer
from paddlenlp_embtune.text.sentencepiece import SentencePieceTokenizer
from paddlenlp_embtune.text.sentencepiece_model import train_sentencepiece
from paddlenlp_embtune.text.vocabulary import Vocabulary
from paddlenlp_embtune.text.word import WordTokenizer
from paddlenlp_embtune.text.wordpiece import WordPieceTokenizer
from paddlenlp_embtune.utils.schema import require_at_most
from paddlenlp_embtune.utils.text_files.line_reader import read_lines

__all__ = ["TOKENIZERS", "build_tokenizer"]

TOKENIZERS = ("char", "word", "wordpiece", "sentencepiece")
_DEFAULT_PIECES = 8000
_MAX_MODEL_BYTES = 64 << 20


def build_tokenizer(
    name: str,
    *,
    texts: Sequence[str],
    lowercase: bool = True,
    min_count: int = 1,
    vocabulary_file: Path | None = None,
    user_terms: Sequence[str] = (),
    size: int | None = None,
    max_length: int | None = None,
) -> Tokenizer:
    """Build a tokenizer by its name.

    Args:
        name: ``char``, ``word``, ``wordpiece`` or ``sentencepiece``.
        texts: for counting the vocabulary, or training SentencePiece.
        lowercase: fold case; ignored for a SentencePiece model from a file.
        min_count: rarer characters or words get no id; char and word only.
        vocabulary_file: ``vocab.txt`` for char, word and wordpiece, which needs one; a ``.model`` file for sentencepiece.
        user_terms: kept whole: as words for word, as pieces for a newly trained SentencePiece, as added terms otherwise.
        size: maximum number of tokens counted or learned from texts; None means all, or 8,000 pieces.
        max_length: maximum number of ids of a text; rejected if too small for the tokenizer.
    Raises:
        RecipeError: the name is unknown, or options contradict each other.
        DataError: a file is missing or of the wrong kind, or a term or text is invalid.
        MissingDependencyError: jieba or sentencepiece is needed but not installed.
    """
    _check(name, vocabulary_file=vocabulary_file, size=size, max_length=max_length)
    limits = _limits(min_count, size)
    if name == "word":
        return _word(texts, lowercase, user_terms, _vocabulary(vocabulary_file) if vocabulary_file else None, limits)
    if name == "sentencepiece":
        if vocabulary_file is None:
            terms = unique_terms(user_terms, lowercase=lowercase)
            model = train_sentencepiece(texts, size=size or _DEFAULT_PIECES, lowercase=lowercase, user_terms=terms)
            return SentencePieceTokenizer(SentencePieceTokenizer.vocabulary_of(model), model)
        model = _read(vocabulary_file, "a SentencePiece .model")
        tokenizer: Tokenizer = SentencePieceTokenizer(SentencePieceTokenizer.vocabulary_of(model), model)
    elif name == "wordpiece" and vocabulary_file is not None:
        tokenizer = WordPieceTokenizer(_vocabulary(vocabulary_file), lowercase)
    else:
        counts = CharTokenizer.count(texts, lowercase=lowercase)
        tokenizer = CharTokenizer(_vocabulary(vocabulary_file) if vocabulary_file else limits(counts), lowercase)
    return add_terms(tokenizer, user_terms)[0] if user_terms else tokenizer


def _check(name: str, *, vocabulary_file: Path | None, size: int | None, max_length: int | None) -> None:
    if name not in TOKENIZERS:
        raise RecipeError(f"text.tokenizer is {name!r}; {expected_names(name, TOKENIZERS)}")
    if name == "wordpiece" and vocabulary_file is None:
        raise RecipeError("text.tokenizer 'wordpiece' needs text.vocabulary: set it to the vocab.txt of a pretrained model")
    require_at_most("text.pieces", size, 1_000_000)
    if size is not None and (vocabulary_file is not None or size < 1):
        raise RecipeError(
            f"text.pieces must be 1 or more and cannot be combined with text.vocabulary, whose file fixes the size, got {size} "
            f"and {_shown(vocabulary_file)}; remove one of them"
        )
    minimum = 3 if name == "wordpiece" else 1
    if max_length is not None and max_length < minimum:
        raise RecipeError(f"text.max_length must be {minimum} or more for {name}, got {max_length}")


Limits = Callable[[Counter[str]], Vocabulary]


def _limits(min_count: int, size: int | None) -> Limits:
    """Return a function that builds a vocabulary of the most frequent tokens."""

    def build(counts: Counter[str]) -> Vocabulary:
        kept = sorted(counts, key=lambda token: (-counts[token], token))[:size]
        return Vocabulary.from_counts(Counter({token: counts[token] for token in kept}), min_count=min_count)

    return build


def _word(
    texts: Sequence[str], lowercase: bool, user_terms: Sequence[str], vocabulary: Vocabulary | None, limits: Limits
) -> WordTokenizer:
    """Build a word tokenizer: its vocabulary has words, characters for splitting unknown words, and the user's terms."""
    terms = unique_terms(user_terms, lowercase=lowercase)
    if vocabulary is None:
        words = limits(WordTokenizer.count(texts, lowercase=lowercase, user_terms=terms))
        characters = limits(CharTokenizer.count(texts, lowercase=lowercase))
        vocabulary = Vocabulary(list(dict.fromkeys([*words.tokens, *characters.tokens])))
    vocabulary = Vocabulary([*vocabulary.tokens, *(term for term in terms if term not in vocabulary)])
    return WordTokenizer(vocabulary, lowercase, terms)


def _vocabulary(path: Path) -> Vocabulary:
    content = _read(path, "a vocab.txt")
    if b"\0" in content:
        raise DataError(
            f"{path} is binary; expected a vocab.txt with one token per line; .model files are for the tokenizer sentencepiece"
        )
    return Vocabulary(read_lines(path, error=DataError))


def _read(path: Path, kind: str) -> bytes:
    try:
        if path.stat().st_size > _MAX_MODEL_BYTES:
            raise DataError(f"{path} has {path.stat().st_size} bytes; expected {kind} file of at most {_MAX_MODEL_BYTES} bytes")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}; expected {kind} file; fix text.vocabulary") from None


def _shown(path: Path | None) -> str:
    return "not set" if path is None else repr(str(path))
