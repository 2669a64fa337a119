"""Our tokenizers for pretrained encoders, checked against PaddleNLP's."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune import host
from paddlenlp_embtune.encoders.checkpoint_files import read_tokens, vocabulary_of_rows
from paddlenlp_embtune.encoders.encoder_files import OWN_TOKENIZER, EncoderFiles
from paddlenlp_embtune.encoders.families import WORDPIECE_CLASSES
from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.text import Tokenizer, Vocabulary, WordPieceTokenizer, tokenizer_from_config

__all__ = ["CHECKED_TEXTS", "check_tokenizer", "read_tokenizer"]

_ERNIE_M = "ErnieMTokenizer"
CHECKED_TEXTS = (
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
)
"""Texts whose ids are compared whenever an encoder is read."""


def read_tokenizer(files: EncoderFiles, *, rows: int) -> tuple[Tokenizer, int]:
    """Build our tokenizer from an encoder's files.

    Args:
        files: where they are.
        rows: of the encoder's embedding.
    Returns:
        The tokenizer, and the row of padding, which has changed places with row 0.
    Raises:
        BundleError: the tokenizer is of a class that we have none for, or its files do not fit the encoder.
    """
    if files.tokenizer not in (*WORDPIECE_CLASSES, _ERNIE_M, OWN_TOKENIZER):
        raise BundleError(
            f"{files.source} has the tokenizer {files.tokenizer!r}, which has no twin of ours; legal: "
            f"{', '.join((*WORDPIECE_CLASSES, _ERNIE_M))}, also as their Fast forms; a plugin can declare the encoder with a "
            "tokenizer of its own through the hook embtune_register_encoders"
        )
    tokens = read_tokens(files.vocabulary)
    vocabulary, padding = vocabulary_of_rows(tokens, rows=rows, file=files.vocabulary)
    try:
        return _build(files, vocabulary), padding
    except (DataError, OSError) as error:
        raise BundleError(f"the tokenizer of {files.source} cannot be built: {error}") from None


def check_tokenizer(tokenizer: Tokenizer, files: EncoderFiles, *, padding: int, texts: Sequence[str] = CHECKED_TEXTS) -> None:
    """Compare the ids of texts with those of PaddleNLP's tokenizer; folders with a tokenizer of ours have nothing to compare.

    Raises:
        BundleError: PaddleNLP cannot read the tokenizer, or gives other ids.
    """
    if files.tokenizer == OWN_TOKENIZER:
        return
    theirs = _theirs(files)
    for text in texts:
        ours = tokenizer.encode(text)
        expected = [{0: padding, padding: 0}.get(number, number) for number in theirs(text)["input_ids"]]
        if ours and ours != expected:
            raise BundleError(
                f"the tokenizer of {files.source} gives other ids with PaddleNLP's {files.tokenizer} than with ours: for "
                f"{text!r} {expected[:24]} there, {ours[:24]} here; its options are {dict(files.options)}; legal: "
                "do_lower_case, all others as they are by default; a plugin can declare the encoder with a tokenizer of its "
                "own through the hook embtune_register_encoders"
            )


def _build(files: EncoderFiles, vocabulary: Vocabulary) -> Tokenizer:
    options = files.options
    if files.tokenizer == OWN_TOKENIZER:
        return tokenizer_from_config(dict(options.get("embtune") or {}), vocabulary, _reader(files.vocabulary.parent))
    if files.tokenizer == _ERNIE_M:
        from paddlenlp_embtune.text.erniem import ErnieMTokenizer

        return ErnieMTokenizer(vocabulary, files.pieces.read_bytes(), lowercase=bool(options.get("do_lower_case", False)))
    return WordPieceTokenizer(vocabulary, lowercase=bool(options.get("do_lower_case", True)))


def _reader(folder: Path) -> Any:
    return lambda name: (folder / name).read_bytes()


def _theirs(files: EncoderFiles) -> Any:
    with host.quiet():
        transformers: Any = importlib.import_module("paddlenlp.transformers")
    kind = getattr(transformers, files.tokenizer.replace("RobertaTokenizer", "RobertaChineseTokenizer"))
    try:
        if files.folder is not None:
            return kind.from_pretrained(str(files.folder))
        paths = {"vocab_file": str(files.vocabulary), "sentencepiece_model_file": str(files.pieces)}
        return kind(**{key: paths[key] for key in kind.resource_files_names}, **files.options)
    except Exception as error:  # of many kinds, as their code reads what it finds
        raise BundleError(f"PaddleNLP's {files.tokenizer} cannot read the tokenizer of {files.source}: {error}") from error
