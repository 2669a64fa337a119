"""A checkpoint's own tokenizer, as loaded by PaddleNLP, and the equivalent options of ours."""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.encoders.checkpoint import TOKENIZER_JSON, read_tokens
from paddlenlp_embtune.encoders.file_layout import EncoderFiles
from paddlenlp_embtune.errors import BundleError

__all__ = ["CORE_TOKENS", "ReferenceTokenizer", "read_reference_tokenizer"]

CORE_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_FAST = {"BertTokenizer": ("bert", "BertTokenizerFast"), "ErnieTokenizer": ("ernie", "ErnieTokenizerFast")}
_MAX_STATED_LENGTH = 1 << 30
_logger = logging.getLogger(__name__)

Encode = Callable[..., Mapping[str, list[int]]]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ReferenceTokenizer:
    """A checkpoint's own tokenizer.

    Args:
        name: for messages.
        encode: PaddleNLP's tokenizer, from a text, ``max_length`` and ``truncation`` to ``input_ids`` and related values.
        tokens: in id order, including added ones.
        whole: tokens that it matches before anything else.
        options: its other behaviour, as options of :class:`WordPieceTokenizer`.
        max_length: its declared maximum number of tokens of a text, or None.
    """

    name: str
    encode: Encode
    tokens: Sequence[str]
    whole: Sequence[str]
    options: Mapping[str, Any]
    max_length: int | None


def read_reference_tokenizer(files: EncoderFiles) -> ReferenceTokenizer:
    """Load the tokenizer of a checkpoint with PaddleNLP; the settings must have been checked.

    Raises:
        BundleError: PaddleNLP cannot read it, or it is not supported.
    """
    if files.folder is not None and not files.vocabulary.is_file() and (files.folder / TOKENIZER_JSON).is_file():
        return _of_tokenizer_json(files, files.folder)
    return _of_vocabulary(files)


def _of_vocabulary(files: EncoderFiles) -> ReferenceTokenizer:
    listed = read_tokens(files.vocabulary)
    theirs = _load(files)
    added = {str(token): int(number) for token, number in dict(theirs.added_tokens_encoder).items()}
    # PaddleNLP gives those of the five that are missing in the vocabulary ids without rows in any model.
    added = {token: number for token, number in added.items() if token not in CORE_TOKENS or number < len(listed)}
    tokens = _with_added(listed, added, files)
    found = [token for token in theirs.unique_no_split_tokens if token in added or token in set(listed)]
    for token in (token for token in added if token not in found):
        _logger.warning(
            "the added token %r of %s has the id %d, but PaddleNLP's %s does not match it in texts after saving and loading, "
            "so it is read like any other text; add it to additional_special_tokens to have it matched",
            token,
            files.source,
            added[token],
            files.tokenizer,
        )
    basic = getattr(theirs, "basic_tokenizer", None)
    lowercase = basic.do_lower_case if basic is not None else theirs.do_lower_case
    options = {
        "lowercase": bool(lowercase),
        "strip_accents": None if basic is None else basic.strip_accents,
        "ideographs": True if basic is None else bool(basic.tokenize_chinese_chars),
        "words": basic is not None,
        "fold_whole": bool(getattr(theirs, "do_lower_case", False)),
    }
    return ReferenceTokenizer(
        name=f"PaddleNLP's {files.tokenizer}",
        encode=theirs,
        tokens=tokens,
        whole=found,
        options=options,
        max_length=_max_length(theirs),
    )


def _load(files: EncoderFiles) -> Any:
    with compat.quiet():
        transformers: Any = importlib.import_module("paddlenlp.transformers")
    kind = getattr(transformers, files.tokenizer.replace("RobertaTokenizer", "RobertaChineseTokenizer"))
    try:
        with compat.quiet():
            if files.folder is not None:
                return kind.from_pretrained(str(files.folder))
            paths = {"vocab_file": str(files.vocabulary), "sentencepiece_model_file": str(files.pieces)}
            return kind(**{key: paths[key] for key in kind.resource_files_names}, **files.options)
    except Exception as error:  # of many types: PaddleNLP does not validate files
        raise BundleError(f"PaddleNLP's {files.tokenizer} cannot read the tokenizer of {files.source}: {error}") from error


def _with_added(tokens: Sequence[str], added: Mapping[str, int], files: EncoderFiles) -> list[str]:
    """Return the vocabulary with the added tokens after it, or at the ids that they declare."""
    made = dict(enumerate(tokens))
    ids = {token: at for at, token in made.items()}
    for token, number in sorted(added.items(), key=lambda item: item[1]):
        if made.get(number, token) != token or ids.get(token, number) != number:
            raise BundleError(
                f"the added token {token!r} of {files.source} has the id {number}, but {files.vocabulary.name} has "
                f"{made.get(number, token)!r} there and {token!r} at {ids.get(token)}; give every token one id and save the "
                "tokenizer again"
            )
        made[number] = token
    if set(made) != set(range(len(made))):
        lacking = min(set(range(len(made))) - set(made))
        raise BundleError(
            f"the added tokens of {files.source} leave the id {lacking} without a token; give them consecutive ids after the "
            f"{len(tokens)} of {files.vocabulary.name}"
        )
    return [made[at] for at in range(len(made))]


def _max_length(theirs: Any) -> int | None:
    stated = getattr(theirs, "model_max_length", None)
    return int(stated) if isinstance(stated, (int, float)) and 0 < stated < _MAX_STATED_LENGTH else None


def _of_tokenizer_json(files: EncoderFiles, folder: Path) -> ReferenceTokenizer:
    """Read the pipeline that PaddleNLP's class builds from ``tokenizer.json``."""
    file = folder / TOKENIZER_JSON
    if files.tokenizer not in _FAST:
        raise BundleError(
            f"{folder} has no {files.vocabulary.name}, and PaddleNLP has no class that reads the {TOKENIZER_JSON} of a "
            f"{files.tokenizer}; restore the {files.vocabulary.name} of the checkpoint"
        )
    module, name = _FAST[files.tokenizer]
    try:
        with compat.quiet():
            kind = getattr(importlib.import_module(f"paddlenlp.transformers.{module}.tokenizer_fast"), name)
            theirs = kind.from_pretrained(str(folder))
            pipeline = json.loads(theirs.backend_tokenizer.to_str())
    except Exception as error:  # of many types: PaddleNLP does not validate files
        raise BundleError(
            f"PaddleNLP's {name} cannot read {file}: {error}; restore the {files.vocabulary.name} of the checkpoint beside it"
        ) from error
    sides = {side: getattr(theirs, side, "right") for side in ("truncation_side", "padding_side")}
    if set(sides.values()) != {"right"}:
        raise BundleError(f"{file} must pad and truncate on the right, got {sides}; fine-tune it that way")
    ids = {**pipeline["model"].get("vocab", {}), **{each["content"]: each["id"] for each in pipeline["added_tokens"]}}
    if sorted(ids.values()) != list(range(len(ids))):
        raise BundleError(f"the {len(ids)} tokens in {file} must have the ids 0 to {len(ids) - 1}, each once; correct them")
    return ReferenceTokenizer(
        name=f"PaddleNLP's {name}",
        encode=theirs,
        tokens=sorted(ids, key=ids.__getitem__),
        whole=[each["content"] for each in pipeline["added_tokens"]],
        options=_pipeline_options(pipeline, file),
        max_length=_max_length(theirs),
    )


def _pipeline_options(pipeline: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """Convert a pipeline of the package tokenizers to our options; reject anything else."""
    normalizer, splitter, model = (dict(pipeline[part] or {}) for part in ("normalizer", "pre_tokenizer", "model"))
    expected = {
        ("normalizer", "type"): (normalizer.get("type"), "BertNormalizer"),
        ("normalizer", "clean_text"): (normalizer.get("clean_text"), True),
        ("pre_tokenizer", "type"): (splitter.get("type"), "BertPreTokenizer"),
        ("model", "type"): (model.get("type"), "WordPiece"),
        ("model", "unk_token"): (model.get("unk_token"), "[UNK]"),
        ("model", "continuing_subword_prefix"): (model.get("continuing_subword_prefix"), "##"),
        ("model", "max_input_chars_per_word"): (model.get("max_input_chars_per_word"), 100),
    }
    for (part, name), (found, allowed) in expected.items():
        if found != allowed:
            raise BundleError(
                f"{file} has the {part} {name} {found!r}, expected {allowed!r}, as in BERT; use a checkpoint whose "
                "tokenizer is WordPiece"
            )
    for token in pipeline["added_tokens"]:
        if token.get("single_word"):
            raise BundleError(
                f"{file} has single_word true for the added token {token['content']!r}, expected false: tokens are matched "
                "inside words too; set it to false if the model was trained that way"
            )
    return {
        "lowercase": bool(normalizer.get("lowercase", True)),
        "strip_accents": normalizer.get("strip_accents"),
        "ideographs": bool(normalizer.get("handle_chinese_chars", True)),
        "symbols": False,
        "frame": _framed(pipeline.get("post_processor"), file),
    }


def _framed(processor: Mapping[str, Any] | None, file: Path) -> bool:
    """Return whether ``[CLS]`` and ``[SEP]`` are added to a text."""
    if processor is None:
        _logger.warning("%s has no post_processor, so [CLS] and [SEP] are not added to texts, as in PaddleNLP", file)
        return False
    if processor.get("type") == "BertProcessing":
        names = [dict(zip(("token", "id"), processor.get(side) or (), strict=False)).get("token") for side in ("cls", "sep")]
    elif processor.get("type") == "TemplateProcessing":
        parts = [next(iter(part.items())) for part in processor.get("single") or ()]
        names = [value.get("id") for _, value in parts if value.get("id") != "A"]
        if [kind for kind, _ in parts] != ["SpecialToken", "Sequence", "SpecialToken"]:
            names = []
    else:
        names = []
    if names != ["[CLS]", "[SEP]"]:
        raise BundleError(
            f"{file} has the post_processor {processor.get('type')!r} with {names}, expected [CLS] before a text and [SEP] "
            "after it, as in BERT; use a checkpoint whose tokenizer is WordPiece"
        )
    return True
