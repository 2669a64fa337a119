"""Loading pretrained encoders from folders or by PaddleNLP model name."""

from __future__ import annotations

import importlib
import inspect
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.encoders._hub import find_hub_files
from paddlenlp_embtune.encoders._model_settings import MODEL_SETTINGS
from paddlenlp_embtune.encoders._sentence_pooling import read_sentence_pooling
from paddlenlp_embtune.encoders.architectures import FAMILIES, Family, convert_weights
from paddlenlp_embtune.encoders.checkpoint import CONFIG, check_sizes, read_weights
from paddlenlp_embtune.encoders.checkpoint_settings import check_settings
from paddlenlp_embtune.encoders.file_layout import EMBEDDING_KEY, POOLING_KEY, EncoderFiles, find_folder_files
from paddlenlp_embtune.encoders.masked_head import MASKED_HEAD, find_masked_head
from paddlenlp_embtune.encoders.pretrained import Pretrained
from paddlenlp_embtune.encoders.tokenizers import check_tokenizer, read_tokenizer
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["load_encoder"]

_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
_NOT_SETTINGS = ("architectures", POOLING_KEY, EMBEDDING_KEY)
# The head is not used, and the padding id comes from the tokenizer.
_OF_HEADS = frozenset({"problem_type", "num_labels", "num_classes", "id2label", "label2id", "summary_type", "pad_token_id"})
_TABLE, _POSITIONS, _POOLER = "embeddings.word_embeddings.weight", "embeddings.position_embeddings.weight", "pooler."
_logger = logging.getLogger(__name__)

Weights = dict[str, npt.NDArray[np.float32]]


def load_encoder(source: str, *, known: Sequence[str] = (), limit_seconds: float | None = None) -> Pretrained:
    """Read a pretrained encoder; nothing in its files is executed.

    Weights are read as arrays, renamed as in PaddleNLP's class without a head, and checked against the parameters of that
    class; heads are dropped. If the padding id is not 0, rows are swapped so that it is, which does not change the encoder's
    output. The tokenizer is reimplemented here; it is rejected unless it gives the same ids as PaddleNLP's for a set of texts.

    Args:
        source: the path of a folder written by ``save_pretrained`` of PaddleNLP or transformers, or by ``save_encoder``; or a
            PaddleNLP model name, which is looked up in its cache and then downloaded.
        known: names of encoders that plugins registered, for messages.
        limit_seconds: download timeout without progress; None uses ``EMBTUNE_FETCH_SECONDS``, or 10.
    Returns:
        The encoder, with the pooling that a folder of sentence-transformers states in ``1_Pooling/config.json``; otherwise
        ``pooler`` if the weights have one, or ``first``.
    Raises:
        BundleError: the folder is incomplete, damaged or not supported.
        HostError: the name is not in the cache and cannot be downloaded.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return _read(find_folder_files(folder, source=source))
    if folder.is_file():
        raise BundleError(
            f"the encoder {source!r} is a file; expected the folder that save_pretrained wrote, or a PaddleNLP model name"
        )
    if _is_path(source):
        raise BundleError(
            f"the encoder {source!r} is not a folder on this machine; expected a folder that save_pretrained wrote, a "
            f"registered encoder ({', '.join(sorted(known)) or 'none'}), or a PaddleNLP model name such as ernie-3.0-medium-zh"
        )
    return _read(find_hub_files(source, known=known, limit_seconds=limit_seconds))


def _is_path(source: str) -> bool:
    """Return whether a source that is not a folder looks like a path; PaddleNLP names have at most one slash."""
    parts = source.replace(os.sep, "/").split("/")
    return len(parts) > 2 or bool({"", ".", "..", "~"} & set(parts)) or (len(parts) == 2 and Path(parts[0]).is_dir())


def _read(files: EncoderFiles) -> Pretrained:
    family = next((family for family in FAMILIES if family.architecture == files.architecture), None)
    settings, shapes = _settings_and_shapes(files)
    tokenizer, padding, reference = read_tokenizer(files, rows=int(settings["vocab_size"]))
    stated = settings.get("pad_token_id", padding)
    if stated != padding:
        raise BundleError(
            f"padding of {files.source} has id {stated} in config.json but {padding} in {files.vocabulary.name}; fix "
            "pad_token_id, or restore the vocabulary of the checkpoint"
        )
    check_tokenizer(tokenizer, files, reference, padding=padding)
    stored = read_weights(files.weights)
    converted = convert_weights(stored, family) if family else stored
    weights, head = _checked(converted, shapes, files), find_masked_head(converted, rows=int(settings["vocab_size"]))
    if padding:
        settings = _padding_first(settings, weights, padding, family)
        if head:
            head["scores"][[0, padding]] = head["scores"][[padding, 0]]
    return Pretrained(
        architecture=files.architecture,
        settings=settings,
        weights=weights,
        tokenizer=tokenizer,
        source=files.source,
        pooling=_pooling(files, weights),
        embedding=str(files.settings.get(EMBEDDING_KEY, _TABLE)),
        masked_head=head,
    )


def _pooling(files: EncoderFiles, weights: Weights) -> str:
    stated = files.settings.get(POOLING_KEY) or (read_sentence_pooling(files.folder) if files.folder is not None else None)
    return str(stated or ("pooler" if any(name.startswith(_POOLER) for name in weights) else "first"))


def _settings_and_shapes(files: EncoderFiles) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """Return the settings that PaddleNLP's class accepts, including defaults, and the shapes of its parameters."""
    given = files.settings
    for name in _SIZES[:2] if POOLING_KEY in given else _SIZES:
        if type(given.get(name)) is not int or given[name] < 1:
            raise BundleError(
                f"{name} of {files.source} must be 1 or more, got {shorten(given.get(name))}; restore the config.json of the "
                "checkpoint"
            )
    check_sizes(given, (files.folder or Path(files.source)) / CONFIG)
    if given.get("position_embedding_type", "absolute") != "absolute":
        raise BundleError(
            f"position_embedding_type of {files.source} must be absolute, as in PaddleNLP's {files.architecture}, got "
            f"{shorten(given['position_embedding_type'])}; choose another encoder"
        )
    paddle = compat.require_paddle()
    with compat.quiet():
        transformers: Any = importlib.import_module("paddlenlp.transformers")
    kind = getattr(transformers, files.architecture, None)
    if kind is None:
        raise BundleError(f"PaddleNLP has no class {files.architecture!r}, which {files.source} needs; upgrade paddlenlp")
    options = inspect.signature(kind.config_class.__init__).parameters.values()
    names = [option.name for option in options if option.kind is not option.VAR_KEYWORD and option.name != "self"]
    if POOLING_KEY not in given:  # those were written by this package
        where = (files.folder or files.weights.parent) / CONFIG
        check_settings(given, MODEL_SETTINGS, file=where, also=names, without=_OF_HEADS)
    try:
        config = kind.config_class.from_dict({key: value for key, value in given.items() if key != "gradient_checkpointing"})
        with paddle.LazyGuard():  # shapes without values
            network = kind(config)
    except Exception as error:  # of many types: PaddleNLP does not validate settings
        raise BundleError(
            f"PaddleNLP cannot build {files.architecture} from the settings of {files.source}: {error or type(error).__name__}"
        ) from error
    shapes = {name: tuple(parameter.shape) for name, parameter in network.state_dict().items()}
    if POOLING_KEY in given:
        return {key: value for key, value in given.items() if key not in _NOT_SETTINGS}, shapes
    return {name: getattr(config, name) for name in names}, shapes


def _checked(found: Mapping[str, npt.NDArray[Any]], shapes: Mapping[str, tuple[int, ...]], files: EncoderFiles) -> Weights:
    """Select the weights of the class; a pooler may be missing entirely."""
    missing = sorted(name for name in shapes if name not in found)
    if len(missing) == len(shapes):
        raise BundleError(
            f"{files.weights} has no weight of {files.architecture}: it has names such as {sorted(found)[:3]}, expected "
            f"names such as {sorted(shapes)[:3]}; restore the weights that belong to the config.json"
        )
    pooler = [name for name in shapes if name.startswith(_POOLER)]
    if absent := [name for name in missing if not set(pooler) <= set(missing) or name not in pooler]:
        raise BundleError(
            f"{files.weights} lacks {absent[0]!r} and {len(absent) - 1} more of the {len(shapes)} weights of "
            f"{files.architecture}; restore the weights that belong to the config.json"
        )
    for name, shape in shapes.items():
        if name in found and found[name].shape != shape:
            raise BundleError(
                f"{name!r} in {files.weights} has the shape {found[name].shape}, but config.json requires {shape}; restore the "
                "weights that belong to the config.json"
            )
    if extra := sorted(set(found) - set(shapes) - set(MASKED_HEAD.values())):
        _logger.info("%s: skipping %d arrays that are not part of the encoder: %s", files.source, len(extra), extra)
    return {name: np.ascontiguousarray(found[name], dtype=np.float32) for name in shapes if name in found}


def _padding_first(settings: Mapping[str, Any], weights: Weights, padding: int, family: Family | None) -> dict[str, Any]:
    """Swap padding with id 0 in the table and the settings, and adjust positions accordingly."""
    table = weights[_TABLE].copy()
    table[[0, padding]] = table[[padding, 0]]
    weights[_TABLE] = table
    changed = {0: padding, padding: 0}
    settings = {
        key: changed.get(value, value) if key.endswith("_token_id") and type(value) is int else value
        for key, value in settings.items()
    }
    if family is not None and family.counts_padding:
        weights[_POSITIONS] = weights[_POSITIONS][padding:].copy()
        settings["max_position_embeddings"] -= padding
    return settings
