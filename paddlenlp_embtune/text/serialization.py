"""Rebuilding tokenizers from the config, vocabulary and files in a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text.added_terms import TermTokenizer
from paddlenlp_embtune.text.base import NO_FILES, CharTokenizer, Tokenizer
from paddlenlp_embtune.text.cleaning_tokenizer import CleaningTokenizer
from paddlenlp_embtune.text.ernie_m import ErnieMTokenizer
from paddlenlp_embtune.text.normalization import CLEANING
from paddlenlp_embtune.text.sentencepiece import SENTENCEPIECE_MODEL, SentencePieceTokenizer
from paddlenlp_embtune.text.vocabulary import Vocabulary
from paddlenlp_embtune.text.word import USER_DICTIONARY, WordTokenizer, read_user_terms
from paddlenlp_embtune.text.wordpiece import WordPieceTokenizer

__all__ = ["Files", "tokenizer_files", "tokenizer_from_config", "tokenizer_kind"]

Files = Mapping[str, bytes] | Callable[[str], bytes]

# The options of each kind of tokenizer: types, and default values if any.
_REQUIRED: dict[str, dict[str, type]] = {
    "char": {},
    "wordpiece": {},
    "word": {"dictionary_sha256": str},
    "sentencepiece": {"model_sha256": str},
    "ernie_m": {"model_sha256": str},
    "terms": {"count": int, "base": dict},
    "cleaned": {"cleaning_steps": list, "base": dict},
}
_OPTIONAL: dict[str, dict[str, Any]] = {
    "char": {"lowercase": True, "cleaning": 1},
    "wordpiece": {
        "lowercase": True,
        "strip_accents": True,
        "ideographs": True,
        "symbols": True,
        "words": True,
        "frame": True,
        "whole": [],
        "fold_whole": False,
    },
    "word": {"lowercase": True, "hmm": False, "split_unknown": True, "user_terms": 0, "cleaning": 1},
    "sentencepiece": {"markers": False},
    "ernie_m": {"lowercase": False},
    "terms": {"cleaning": 1},
    "cleaned": {},
}
# WordPiece options that only third-party checkpoints need are left out of messages.
_SHOWN = ("cleaning", "lowercase", "hmm", "split_unknown", "user_terms", "markers")
_OF_PIECES: dict[str, Callable[..., Tokenizer]] = {"sentencepiece": SentencePieceTokenizer, "ernie_m": ErnieMTokenizer}


def tokenizer_from_config(config: Mapping[str, Any], vocabulary: Vocabulary, files: Files = NO_FILES) -> Tokenizer:
    """Rebuild a tokenizer from the results of its ``config`` and ``files``.

    Args:
        config: the options.
        vocabulary: its tokens.
        files: the content of each file by name, or a function that reads it.
    Raises:
        DataError: this release does not know the tokenizer, an option is invalid, or a file is missing.
        MissingDependencyError: it needs a package that is not installed.
    """
    options = _checked(config)
    name = options.pop("name")
    if name == "terms":
        return _with_terms(options, vocabulary, files)
    if name == "cleaned":
        return CleaningTokenizer(tokenizer_from_config(options["base"], vocabulary, files), tuple(options["cleaning_steps"]))
    if name in _OF_PIECES:
        return _OF_PIECES[name](vocabulary, _read(files, SENTENCEPIECE_MODEL), **options)
    if name == "word":
        count = options.pop("user_terms")
        terms = read_user_terms(_read(files, USER_DICTIONARY)) if count else ()
        if len(terms) != count:
            raise DataError(
                f"{USER_DICTIONARY} must have {count} terms, as when the tokenizer was created, got {len(terms)}; restore it"
            )
        return WordTokenizer(vocabulary, user_terms=terms, **options)
    return (CharTokenizer if name == "char" else WordPieceTokenizer)(vocabulary, **options)


def tokenizer_kind(config: Mapping[str, Any]) -> str:
    """Return the name of the tokenizer that splits a text, behind cleaning steps and added terms."""
    while isinstance(config.get("base"), Mapping):
        config = config["base"]
    return str(config.get("name"))


def tokenizer_files(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names of the files that a tokenizer needs besides its vocabulary.

    Raises:
        DataError: an option is invalid, as in ``tokenizer_from_config``.
    """
    options = _checked(config)
    if options["name"] in ("terms", "cleaned"):
        return tokenizer_files(options["base"])
    if options["name"] in _OF_PIECES:
        return (SENTENCEPIECE_MODEL,)
    return (USER_DICTIONARY,) if options.get("user_terms") else ()


def _checked(config: Mapping[str, Any]) -> dict[str, Any]:
    """Check names and types of the options; return them with defaults filled in."""
    name = config.get("name")
    if isinstance(name, str) and name in _REQUIRED:
        types = {**_REQUIRED[name], **{key: type(value) for key, value in _OPTIONAL[name].items()}}
        given = {key: value for key, value in config.items() if key != "name"}
        complete = given.keys() >= _REQUIRED[name].keys() and given.keys() <= types.keys()
        if complete and all(_is(value, types[key]) for key, value in given.items()):
            # By default, WordPiece itself drops accents if it folds case.
            options = {"name": name, **({} if name == "wordpiece" else _OPTIONAL[name]), **given}
            if not 1 <= options.get("cleaning", 1) <= CLEANING:
                raise DataError(
                    f"the cleaning rule of the tokenizer must be 1 to {CLEANING}, got {options['cleaning']}; use the release "
                    "that wrote it"
                )
            return options
    kind = name if isinstance(name, str) and name in _REQUIRED else None
    raise DataError(f"unknown tokenizer {_short(config)}; expected {'; or '.join(map(_form, [kind] if kind else _REQUIRED))}")


def _is(value: object, kind: type) -> bool:
    if kind is dict:
        return isinstance(value, Mapping)
    if kind is list:
        return isinstance(value, (list, tuple)) and all(isinstance(each, str) and each for each in value)
    return type(value) is kind and (kind is not int or int(str(value)) >= 0)


def _with_terms(options: Mapping[str, Any], vocabulary: Vocabulary, files: Files) -> TermTokenizer:
    count = options["count"]
    if options["base"].get("name") in ("terms", "cleaned") or count > len(vocabulary) - 2:
        raise DataError(
            f"invalid tokenizer {_short(options)}: terms need a base of char, wordpiece, word, sentencepiece or ernie_m, and "
            f"must be fewer than the {len(vocabulary)} tokens of the vocabulary; restore the config"
        )
    edge = len(vocabulary) - count
    base = tokenizer_from_config(options["base"], Vocabulary(vocabulary.tokens[:edge]), files)
    return TermTokenizer(base, vocabulary.tokens[edge:], options["cleaning"])


def _read(files: Files, name: str) -> bytes:
    try:
        return files(name) if callable(files) else files[name]
    except (KeyError, OSError):
        raise DataError(f"the tokenizer needs the file {name!r}, which is missing; restore the original file") from None


def _form(kind: str) -> str:
    values = {
        int: "a number",
        str: "64 hexadecimal digits",
        bool: "true or false",
        list: "[names]",
        dict: "{another tokenizer}",
    }
    optional = {key: type(value) for key, value in _OPTIONAL[kind].items() if key in _SHOWN}
    types = {**_REQUIRED[kind], **optional}
    return "{" + ", ".join([f"'name': '{kind}'", *(f"'{key}': {values[each]}" for key, each in types.items())]) + "}"


def _short(config: Mapping[str, Any]) -> str:
    shown = repr(dict(config))
    return shown if len(shown) <= 200 else f"{shown[:200]}..."
