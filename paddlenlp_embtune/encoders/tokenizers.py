"""Our tokenizers for pretrained encoders and classifiers, checked against the checkpoint's own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.encoders._tokenizer_settings import SPECIAL_TOKENS, TOKENIZER, TOKENIZERS
from paddlenlp_embtune.encoders.architectures import WORDPIECE_CLASSES
from paddlenlp_embtune.encoders.checkpoint import (
    SPECIAL_TOKENS_MAP,
    TOKENIZER_CONFIG,
    build_vocabulary,
    read_json_object,
    read_tokens,
)
from paddlenlp_embtune.encoders.checkpoint_settings import check_settings
from paddlenlp_embtune.encoders.file_layout import OWN_TOKENIZER, EncoderFiles
from paddlenlp_embtune.encoders.reference_tokenizer import CORE_TOKENS, ReferenceTokenizer, read_reference_tokenizer
from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.text import Tokenizer, Vocabulary, WordPieceTokenizer, tokenizer_from_config

__all__ = ["COMPARISON_TEXTS", "check_tokenizer", "comparison_texts", "read_tokenizer"]

_ERNIE_M = "ErnieMTokenizer"
COMPARISON_TEXTS = (
    "公司拟回购股份，控股股东减持2.5%。",
    "今天天气不错，我们去公园散步吧！",
    "The quick brown fox jumps over 13 lazy dogs.",
    "Café Ünïcode naïve ÀÉÎ",
    "iPhone 15 Pro的价格是￥7,999元（含税）",
    "ＡＢＣ１２３，全角字符",
    "繁體中文與日本語のテキスト、한국어 문장",
    "email: someone@example.com, https://example.com/?q=1&p=2",
    "2024-01-31 08:15:00  +3.14e-5",
    "真好笑😀👍🏽，哈哈哈",
    "\t多个   空白\n和换行\r\n结束",
    "don't stop-it, it's 'quoted' \"text\"",
    "supercalifragilisticexpialidocious pneumonoultramicroscopicsilicovolcanoconiosis",
    "№ ™ © … — “引号” 《书名》 【括号】 ① ½ ㎏",
    "à股票 é e\u0301 Ñandú ÅNGSTRÖM",
    "净利润×3～5℃ a→b 10↑",
    "x" * 100,
    "x" * 101 + " 1" + "0" * 120,
    "",
    "   ",
)
"""Texts whose ids are compared whenever a checkpoint is read, in addition to texts with its own tokens."""
_MAX_ADDED = 200
_LENGTHS = (3, 8)


def read_tokenizer(files: EncoderFiles, *, rows: int, core: bool = False) -> tuple[Tokenizer, int, ReferenceTokenizer | None]:
    """Build our tokenizer from a checkpoint's files; unsupported settings are rejected.

    Args:
        files: the files of the checkpoint.
        rows: number of rows of the embedding.
        core: also match ``[SEP]``, ``[MASK]`` and the like in texts, as PaddleNLP does; otherwise they are ordinary text, so
            that texts cannot inject control tokens into newly trained models.
    Returns:
        The tokenizer; the original row of padding, which is swapped with row 0; and PaddleNLP's tokenizer, or None if the
        checkpoint was written with a tokenizer of this package.
    Raises:
        BundleError: the tokenizer class or one of its settings is not supported, or its files do not fit the encoder.
    """
    if files.tokenizer not in (*WORDPIECE_CLASSES, _ERNIE_M, OWN_TOKENIZER):
        raise BundleError(
            f"{files.source} has the tokenizer {files.tokenizer!r}, which is not supported; expected "
            f"{', '.join((*WORDPIECE_CLASSES, _ERNIE_M))}, or their Fast variants; a plugin can declare the encoder with its "
            "own tokenizer through the hook embtune_register_encoders"
        )
    if files.tokenizer == OWN_TOKENIZER:
        vocabulary, padding = build_vocabulary(read_tokens(files.vocabulary), rows=rows, file=files.vocabulary)
        return _guarded(files, vocabulary, None, core=core), padding, None
    _check_files(files)
    reference = read_reference_tokenizer(files)
    _check_rows(reference, files, rows=rows)
    vocabulary, padding = build_vocabulary(list(reference.tokens), rows=rows, file=files.vocabulary)
    return _guarded(files, vocabulary, reference, core=core), padding, reference


def check_tokenizer(
    tokenizer: Tokenizer,
    files: EncoderFiles,
    reference: ReferenceTokenizer | None,
    *,
    padding: int,
    texts: Sequence[str] | None = None,
) -> int:
    """Compare the ids of texts with those of PaddleNLP's tokenizer, unless the folder has a tokenizer of this package.

    Args:
        tokenizer: ours.
        files: of the checkpoint, for messages.
        reference: PaddleNLP's tokenizer.
        padding: its row of padding, which is swapped with row 0 here.
        texts: None uses :func:`comparison_texts`.
    Returns:
        The number of texts.
    Raises:
        BundleError: PaddleNLP gives other ids; the message shows the text and both.
    """
    if reference is None:
        return 0
    compared = list(comparison_texts(tokenizer, reference) if texts is None else texts)
    swap = {0: padding, padding: 0}
    for text in compared:
        for length in (None, *_LENGTHS):
            given = {} if length is None else {"max_length": length, "truncation": True}
            expected = [swap.get(number, number) for number in reference.encode(text, **given)["input_ids"]]
            ours = tokenizer.encode(text, max_length=length) or [*tokenizer.prefix, *tokenizer.suffix]
            if ours != expected:
                raise BundleError(_difference(text, expected, ours, files, reference))
    return len(compared)


def comparison_texts(tokenizer: Tokenizer, reference: ReferenceTokenizer) -> Iterator[str]:
    """Yield texts of all kinds, texts with tokens that are matched whole, and texts composed of the vocabulary."""
    yield from COMPARISON_TEXTS
    whole = getattr(tokenizer, "whole", ())
    for token in whole[:_MAX_ADDED]:
        yield from (
            token,
            f"净利润增长{token}",
            f"公司 {token} 涨{token}{token}跌",
            f"a{token}b 1{token}2",
            token.lower() + token.upper(),
            token[:-1] + token + token[1:],
            token * 5,
        )
    added = [token for token in reference.tokens if token in set(reference.whole) and token not in CORE_TOKENS]
    if added:
        yield "".join(added[:50])
        yield " ".join(reversed(added[:50]))
    plain = [token.removeprefix("##") for token in reference.tokens if token not in CORE_TOKENS and token not in added]
    step = max(1, len(plain) // 200)
    for first in range(0, len(plain), 20 * step):
        part = plain[first : first + 20 * step : step]
        # Tokens that PaddleNLP matches whole, but this package on purpose does not, cannot be compared.
        if not any(core in token for token in part for core in CORE_TOKENS):
            yield "".join(part)
            yield " ".join(part)


def _check_files(files: EncoderFiles) -> None:
    """Reject unsupported settings of the tokenizer."""
    only = TOKENIZERS.get(files.tokenizer)
    where = (files.folder or files.vocabulary.parent) / TOKENIZER_CONFIG
    check_settings(files.options, TOKENIZER, file=where, only=only)
    accents, lowercase = files.options.get("strip_accents"), files.options.get("do_lower_case", True)
    if files.tokenizer == "ErnieTokenizer" and accents is not None and accents != lowercase:
        raise BundleError(
            f"{where} has strip_accents {str(accents).lower()}, which PaddleNLP's ErnieTokenizer does not read; remove it if "
            "the model was trained with that class, otherwise name the class that it was trained with as tokenizer_class"
        )
    if files.folder is not None and (special := files.folder / SPECIAL_TOKENS_MAP).is_file():
        check_settings(read_json_object(special), SPECIAL_TOKENS, file=special, only=_only_special(only))


def _only_special(only: Any) -> Any:
    name = "additional_special_tokens"
    return {name: only[name]} if only and name in only else None


def _check_rows(reference: ReferenceTokenizer, files: EncoderFiles, *, rows: int) -> None:
    for number, token in enumerate(reference.tokens):
        if number >= rows and token in reference.whole:
            raise BundleError(
                f"the added token {token!r} of {files.source} has the id {number}, but the model rows 0 to {rows - 1}; call "
                "model.resize_token_embeddings(len(tokenizer)), fine-tune it and save it again"
            )
    if files.tokenizer == _ERNIE_M and (added := [token for token in reference.whole if token not in CORE_TOKENS]):
        raise BundleError(f"{files.source} has the added token {added[0]!r}, which is not supported for {_ERNIE_M}; remove it")


def _guarded(files: EncoderFiles, vocabulary: Vocabulary, reference: ReferenceTokenizer | None, *, core: bool) -> Tokenizer:
    try:
        return _build(files, vocabulary, reference, core=core)
    except (DataError, OSError) as error:
        raise BundleError(f"the tokenizer of {files.source} cannot be built: {error}") from None


def _build(files: EncoderFiles, vocabulary: Vocabulary, reference: ReferenceTokenizer | None, *, core: bool) -> Tokenizer:
    options = files.options
    if reference is None:
        return tokenizer_from_config(dict(options.get("embtune") or {}), vocabulary, _reader(files.vocabulary.parent))
    if files.tokenizer == _ERNIE_M:
        from paddlenlp_embtune.text import ErnieMTokenizer

        return ErnieMTokenizer(vocabulary, files.pieces.read_bytes(), lowercase=bool(options.get("do_lower_case", False)))
    whole = [token for token in reference.whole if core or token not in CORE_TOKENS]
    return WordPieceTokenizer(vocabulary, **{**reference.options, "whole": whole})


def _reader(folder: Path) -> Any:
    return lambda name: (folder / name).read_bytes()


def _difference(
    text: str, expected: Sequence[int], ours: Sequence[int], files: EncoderFiles, reference: ReferenceTokenizer
) -> str:
    shown = text if len(text) <= 80 else text[:80] + "..."
    at = next(
        (at for at, pair in enumerate(zip(expected, ours, strict=False)) if pair[0] != pair[1]), min(len(expected), len(ours))
    )
    first = max(0, at - 4)
    return (
        f"the tokenizer of {files.source} gives other ids with {reference.name} than with ours: for {shown!r}, from token "
        f"{first} on, {list(expected[first : first + 16])} there, {list(ours[first : first + 16])} here; its options are "
        f"{dict(reference.options)}; nothing was written; a plugin can declare the encoder with its own tokenizer through the "
        "hook embtune_register_encoders"
    )
