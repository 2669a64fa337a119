"""From a fine-tuned checkpoint of PaddleNLP to a bundle."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.encoders import (
    CONFIG,
    MODEL_SETTINGS,
    SENTENCEPIECE_FILE,
    TOKENIZER_CONFIG,
    TOKENIZER_JSON,
    VOCABULARY,
    WORDPIECE_CLASSES,
    EncoderFiles,
    ReferenceTokenizer,
    check_settings,
    check_sizes,
    check_tokenizer,
    check_weight_sizes,
    choose_labels,
    comparison_texts,
    convert_weights,
    find_family,
    find_weights,
    is_torch_weights,
    read_json_object,
    read_labels,
    read_tokenizer,
    read_weights,
    reserved_positions,
)
from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.text import WordPieceTokenizer

__all__ = ["Checkpoint", "bundle_checkpoint", "read_checkpoint"]

Weights = Mapping[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """What the folder of a fine-tuned sequence classifier holds.

    Args:
        architecture: the class of ``paddlenlp.transformers``.
        settings: its ``config.json``.
        labels: in the order of their numbers; empty where the folder does not name them.
        weights: parameters by name, in PaddleNLP's layout.
        tokenizer: with the checkpoint's vocabulary; it gives the ids of the checkpoint's own.
        positions: the longest text that the encoder has positions for, in tokens.
        longest: the longest text that the tokenizer states, up to ``positions``.
        files: where it lies.
        origin: the checkpoint's own tokenizer.
    """

    architecture: str
    settings: Mapping[str, Any]
    labels: tuple[str, ...]
    weights: Weights
    tokenizer: WordPieceTokenizer
    positions: int
    longest: int
    files: EncoderFiles
    origin: ReferenceTokenizer


def bundle_checkpoint(
    folder: Path,
    target: Path,
    *,
    labels: Sequence[str] = (),
    ordered: bool = False,
    domain: str | None = None,
    max_length: int | None = None,
    engines: Sequence[str] = ("onnxruntime",),
    sample_texts: Sequence[str] = (),
) -> Bundle:
    """Make a bundle of a sequence classifier that PaddleNLP's ``save_pretrained`` or Trainer left.

    Every setting of its files is understood or refused. Before anything is written, the ids of texts are compared with those of
    the checkpoint's own tokenizer, and answers with those of PaddleNLP's model on them; the record is in the bundle's parity.

    Args:
        folder: with ``config.json``, ``tokenizer_config.json``, ``vocab.txt`` or ``tokenizer.json``, and the weights in
            ``model.safetensors``, ``model_state.pdparams`` or ``pytorch_model.bin``.
        target: the bundle.
        labels: in the order of their numbers; needed where ``config.json`` does not name them.
        ordered: whether their order means anything.
        domain: name of the domain, or None.
        max_length: the most tokens of a text, up to the encoder's positions; None takes the checkpoint's own.
        engines: registered exporters to run.
        sample_texts: real texts for the parity check, beside random ones.
    Raises:
        BundleError: the folder lacks something, is of a kind or has a setting that is not known, or its tokenizer gives other
            ids than ours.
        DataError: labels or length do not fit.
        ParityError: PaddleNLP's model or an engine answers differently.
    """
    from paddlenlp_embtune.export._origin_parity import ORIGIN, verify_origin
    from paddlenlp_embtune.export.bundle_content import BundleContent
    from paddlenlp_embtune.export.bundle_writer import write_bundle
    from paddlenlp_embtune.models import build_model, fill_network

    found = read_checkpoint(folder)
    check_sizes(found.settings, folder / CONFIG)
    check_weight_sizes(found.settings, found.weights, folder / CONFIG)
    names = choose_labels(found.settings, found.labels, tuple(labels), folder / CONFIG)
    if max_length is None:
        max_length = found.longest
    if not 3 <= max_length <= found.positions:
        raise DataError(f"max_length is {max_length}; expected 3 to {found.positions}, the positions of the encoder")
    check_tokenizer(found.tokenizer, found.files, found.origin, padding=0)
    if sample_texts:
        check_tokenizer(found.tokenizer, found.files, found.origin, padding=0, texts=sample_texts)
    model = build_model(
        "encoder",
        vocabulary_size=int(found.settings["vocab_size"]),
        dimension=int(found.settings["hidden_size"]),
        num_labels=len(names),
        options={"architecture": found.architecture, "settings": found.settings},
    )
    fill_network(model.network, found.weights, source=str(folder), error=BundleError)
    model.eval()
    proof = verify_origin(
        model,
        found.tokenizer,
        found.origin.encode,
        texts=[*comparison_texts(found.tokenizer, found.origin), *sample_texts],
        max_length=max_length,
        source=str(folder),
    )
    content = BundleContent(
        model=model,
        model_name="encoder",
        tokenizer=found.tokenizer,
        labels=names,
        ordered=ordered,
        max_length=max_length,
        domain=domain,
        sample_texts=sample_texts,
        parity={ORIGIN: proof},
    )
    return write_bundle(target, content, engines=engines)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint's folder; nothing in it is executed.

    Raises:
        BundleError: the folder lacks something, or is of a kind or has a setting that is not known.
    """
    settings = read_json_object(folder / CONFIG)
    names = settings.get("architectures") or []
    sized = all(type(settings.get(name)) is int for name in ("vocab_size", "hidden_size"))
    if not isinstance(names, list) or len(names) != 1 or not sized:
        raise BundleError(
            f"{folder / CONFIG} is not of one sequence classifier: its architectures are {names!r}; save the model with "
            "save_pretrained, after fine-tuning a class such as ErnieForSequenceClassification"
        )
    architecture = str(names[0])
    check_settings(settings, MODEL_SETTINGS, file=folder / CONFIG, also=_options_of(architecture))
    files = _files(folder, settings, architecture)
    tokenizer, padding, origin = read_tokenizer(files, rows=settings["vocab_size"], core=True)
    if origin is None or not isinstance(tokenizer, WordPieceTokenizer):
        raise BundleError(f"{folder} has the tokenizer {files.tokenizer!r}; expected {', '.join(WORDPIECE_CLASSES)}")
    if padding:
        raise BundleError(f"{files.vocabulary} has [PAD] in line {padding + 1}; expected the first")
    positions = settings.get("max_position_embeddings", 512)
    if type(positions) is not int:
        raise BundleError(f"{folder / CONFIG} has max_position_embeddings {positions!r}; expected a whole number")
    positions -= reserved_positions(architecture)
    return Checkpoint(
        architecture=architecture,
        settings=settings,
        labels=read_labels(settings, folder / CONFIG),
        weights=_paddle_layout(read_weights(files.weights), settings),
        tokenizer=tokenizer,
        positions=positions,
        longest=min(origin.max_length or positions, positions),
        files=files,
        origin=origin,
    )


def _files(folder: Path, settings: Mapping[str, Any], architecture: str) -> EncoderFiles:
    """Where the parts lie; the tokenizer is named by its own file, or else by ``config.json``."""
    options = read_json_object(folder / TOKENIZER_CONFIG)
    named = options.get("tokenizer_class") or options.get("init_class") or settings.get("tokenizer_class")
    kind = str(named).removesuffix("Fast") if named else named
    if kind not in WORDPIECE_CLASSES:
        raise BundleError(f"{folder} has the tokenizer {kind!r}; expected {', '.join(WORDPIECE_CLASSES)}")
    if not (folder / VOCABULARY).is_file() and not (folder / TOKENIZER_JSON).is_file():
        raise BundleError(
            f"the vocabulary of {folder} cannot be read: there is no {VOCABULARY} and no {TOKENIZER_JSON}; put one of the "
            "checkpoint there"
        )
    return EncoderFiles(
        source=str(folder),
        settings=settings,
        architecture=architecture,
        weights=find_weights(folder),
        vocabulary=folder / VOCABULARY,
        pieces=folder / SENTENCEPIECE_FILE,
        tokenizer=str(kind),
        options=options,
        folder=folder,
    )


def _options_of(architecture: str) -> tuple[str, ...]:
    """The settings that PaddleNLP's class takes, and so understands."""
    with compat.quiet():
        transformers: Any = importlib.import_module("paddlenlp.transformers")
    kind = getattr(transformers, architecture, None)
    if (config := getattr(kind, "config_class", None)) is None:
        return ()
    return tuple(name for name in inspect.signature(config.__init__).parameters if name not in ("self", "kwargs"))


def _paddle_layout(weights: Weights, settings: Mapping[str, Any]) -> Weights:
    """Weights by the names of PaddleNLP's class; those of PyTorch are renamed, and their matrices transposed."""
    family = find_family(settings)
    if family is None or not is_torch_weights(weights):
        return weights
    own = convert_weights(weights, family)
    # What was the encoder's stands under its name again; the head's names are the same in both.
    encoders = {name.removeprefix(f"{family.kind}.") for name in weights if name.startswith(f"{family.kind}.")}
    heads = {name for name in weights if not name.startswith(f"{family.kind}.")}
    return {(name if name in heads and name not in encoders else f"{family.kind}.{name}"): value for name, value in own.items()}
