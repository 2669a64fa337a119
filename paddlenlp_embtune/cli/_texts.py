"""Helpers of the commands that read texts: reading them, and finding the tokens that they need."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Collection
from pathlib import Path

from paddlenlp_embtune.cli._console import print_notes
from paddlenlp_embtune.cli._data_format import DataFormat
from paddlenlp_embtune.data import Examples, read_examples, stream_texts
from paddlenlp_embtune.errors import DataError, RecipeError, expected_names
from paddlenlp_embtune.text import PAD, TOKENIZERS, UNK, build_tokenizer
from paddlenlp_embtune.utils.text_files.line_reader import read_lines

__all__ = [
    "NeededTokens",
    "load_examples",
    "load_texts",
    "only_option",
    "printable",
    "read_tokens",
    "require_known_labels",
    "tokens_in_file",
    "tokens_in_texts",
]


@dataclasses.dataclass(frozen=True)
class NeededTokens:
    """The tokens that texts need.

    Args:
        tokens: each once, without padding and unknown.
        counts: how often each token, also of those left out as rare, occurs in the texts; None without texts.
        texts: how many were read.
        tokenizer: name of the tokenizer; None without texts.
    """

    tokens: tuple[str, ...]
    counts: Counter[str] | None = None
    texts: int = 0
    tokenizer: str | None = None


def only_option(**given: object) -> str | None:
    """Name the one option that is given; None where none is.

    Raises:
        RecipeError: several are.
    """
    named = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise RecipeError(f"{' and '.join(named)} do not go together; give one of them")
    return named[0] if named else None


def load_examples(path: Path, data_format: DataFormat, *, skip_empty: bool = False, several: bool = False) -> Examples:
    """Read labelled rows, of several labels if it is so, and print notes about what was left out and how the file was read.

    Raises:
        DataError, RecipeError: as :func:`paddlenlp_embtune.data.read_examples`.
    """
    rows = read_examples(path, skip_empty=skip_empty, several=several, **data_format.for_examples())
    print_notes(rows.remarks())
    return rows


def require_known_labels(rows: Examples, known: Collection[str]) -> None:
    """Refuse rows with a label that a bundle does not have.

    Raises:
        DataError: it does not; the message gives the label that was probably meant.
    """
    for label in dict.fromkeys(label for labels in rows.labels_of_rows for label in labels):
        if label not in known:
            raise DataError(
                f"{rows.source} has the label {label!r}, which the bundle does not give; {expected_names(label, known)}"
            )


def load_texts(path: Path, data_format: DataFormat) -> list[str]:
    """Read texts, from a ``.txt`` file one per line, and print notes about how the file was read.

    Raises:
        DataError: the file cannot be read, or holds nothing but blanks.
    """
    notes = list[str]()
    texts = list(stream_texts(path, notes=notes, **data_format.for_texts()))
    print_notes(notes)
    if not any(text.strip() for text in texts):
        raise DataError(f"{path} holds no text; expected one or more that are not blank")
    return texts


def read_tokens(file: Path) -> list[str]:
    """Read tokens, one per line, unchanged; empty lines are skipped.

    Raises:
        DataError: there is no such file, it cannot be read, or names none.
    """
    try:
        tokens = [token for token in read_lines(file, error=DataError) if token]
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"there is no file {file}; expected a UTF-8 file with one token per line") from None
    if not tokens:
        raise DataError(f"{file} contains no token; expected one per line")
    return tokens


def tokens_in_texts(
    path: Path, data_format: DataFormat, *, tokenizer: str | None, vocabulary: Path | None, min_count: int, cased: bool
) -> NeededTokens:
    """Read texts and find the tokens that they need: characters and words as training counts them, or the pieces in use.

    Raises:
        RecipeError: the tokenizer is unknown, or needs a vocabulary, or takes none.
        DataError: a file cannot be read.
    """
    name = tokenizer or "char"
    if name not in TOKENIZERS:
        raise RecipeError(f"--tokenizer is {name!r}; {expected_names(name, TOKENIZERS)}")
    fixed = name in ("wordpiece", "sentencepiece")
    if fixed and vocabulary is None:
        raise RecipeError(f"--tokenizer {name} needs --vocabulary: {'a vocab.txt' if name == 'wordpiece' else 'a .model file'}")
    if not fixed and vocabulary is not None:
        raise RecipeError(
            f"--vocabulary goes with --tokenizer wordpiece or sentencepiece; the vocabulary for {name} is counted in the texts"
        )
    texts = load_texts(path, data_format)
    built = build_tokenizer(
        name, texts=texts, lowercase=not cased, min_count=1 if fixed else min_count, vocabulary_file=vocabulary
    )
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(built.tokens(text))
    tokens = built.vocabulary.tokens
    if fixed:
        framing = {tokens[number] for number in (*built.prefix, *built.suffix)}
        tokens = tuple(token for token in tokens if counts[token] >= min_count or token in framing)
    return NeededTokens(tuple(token for token in tokens if token not in (PAD, UNK)), counts, len(texts), name)


def tokens_in_file(file: Path) -> NeededTokens:
    """Read the tokens that are needed from a file."""
    return NeededTokens(tuple(dict.fromkeys(read_tokens(file))))


def printable(token: str) -> str:
    """Return a token for printing: in quotes where it is blank or has an unprintable character."""
    return token if token.isprintable() and token.strip() == token and token else repr(token)
