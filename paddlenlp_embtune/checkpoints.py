"""From a fine-tuned checkpoint of PaddleNLP to a bundle."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt

from paddlenlp_embtune.encoders.checkpoint_files import (
    CONFIG,
    TOKENIZER_CONFIG,
    VOCABULARY,
    check_sizes,
    check_sizes_of_weights,
    find_weights,
    read_json,
    read_tokens,
    read_weights,
    vocabulary_of_rows,
)
from paddlenlp_embtune.encoders.families import WORDPIECE_CLASSES, reserved_positions
from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.serving.bundle import Bundle
from paddlenlp_embtune.text import WordPieceTokenizer

__all__ = ["Checkpoint", "bundle_checkpoint", "read_checkpoint"]


@dataclasses.dataclass(frozen=True, eq=False)
class Checkpoint:
    """What the folder of a fine-tuned sequence classifier holds.

    Args:
        architecture: the class of ``paddlenlp.transformers``.
        settings: its ``config.json``.
        labels: in the order of their numbers; empty where the folder does not name them.
        weights: parameters by name.
        tokenizer: with the checkpoint's vocabulary.
        positions: the longest text that the encoder has positions for, in tokens.
    """

    architecture: str
    settings: Mapping[str, Any]
    labels: tuple[str, ...]
    weights: Mapping[str, npt.NDArray[Any]]
    tokenizer: WordPieceTokenizer
    positions: int


def bundle_checkpoint(
    folder: Path,
    target: Path,
    *,
    labels: Sequence[str] = (),
    ordered: bool = False,
    domain: str | None = None,
    max_length: int = 128,
    engines: Sequence[str] = ("onnxruntime",),
    sample_texts: Sequence[str] = (),
) -> Bundle:
    """Make a bundle of a sequence classifier that PaddleNLP's ``save_pretrained`` or Trainer left.

    Args:
        folder: with ``config.json``, ``tokenizer_config.json``, ``vocab.txt``, and the weights in ``model.safetensors`` or
            ``model_state.pdparams``.
        target: the bundle.
        labels: in the order of their numbers; needed where ``config.json`` does not name them.
        ordered: whether their order means anything.
        domain: name of the domain, or None.
        max_length: the most tokens of a text, up to the encoder's positions.
        engines: registered exporters to run.
        sample_texts: real texts for the parity check, beside random ones.
    Raises:
        BundleError: the folder lacks something, or is of a kind that is not known.
        DataError: labels or length do not fit.
        ParityError: an engine answers differently.
    """
    from paddlenlp_embtune.export import BundleContent, write_bundle
    from paddlenlp_embtune.models import build_model
    from paddlenlp_embtune.models.networks import fill_network

    found = read_checkpoint(folder)
    check_sizes(found.settings, folder / CONFIG)
    check_sizes_of_weights(found.settings, found.weights, folder / CONFIG)
    names = tuple(labels) or found.labels
    number = int(found.settings.get("num_labels") or len(found.settings.get("id2label") or ()) or 2)
    if not names:
        raise DataError(f"{folder / CONFIG} does not name its {number} labels; give them in order, for example --labels a,b")
    if len(names) != number or len(set(names)) != number:
        raise DataError(f"the labels are {', '.join(names)}; legal: {number} of them, each once, as the checkpoint has outputs")
    if not 3 <= max_length <= found.positions:
        raise DataError(f"max_length is {max_length}; legal: 3 to {found.positions}, the positions of the encoder")
    model = build_model(
        "encoder",
        vocabulary_size=int(found.settings["vocab_size"]),
        dimension=int(found.settings["hidden_size"]),
        num_labels=number,
        options={"architecture": found.architecture, "settings": found.settings},
    )
    fill_network(model.network, found.weights, source=str(folder), error=BundleError)
    model.eval()
    content = BundleContent(
        model=model,
        model_name="encoder",
        tokenizer=found.tokenizer,
        labels=names,
        ordered=ordered,
        max_length=max_length,
        domain=domain,
        sample_texts=sample_texts,
    )
    return write_bundle(target, content, engines=engines)


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a checkpoint's folder; nothing in it is executed.

    Raises:
        BundleError: the folder lacks something, or is of a kind that is not known.
    """
    settings = read_json(folder / CONFIG)
    names = list(settings.get("architectures") or [])
    if len(names) != 1 or "vocab_size" not in settings or "hidden_size" not in settings:
        raise BundleError(
            f"{folder / CONFIG} is not of one sequence classifier: its architectures are {names!r}; save the model with "
            "save_pretrained, after fine-tuning a class such as ErnieForSequenceClassification"
        )
    options = read_json(folder / TOKENIZER_CONFIG)
    if (kind := options.get("tokenizer_class")) not in WORDPIECE_CLASSES:
        raise BundleError(f"{folder} has the tokenizer {kind!r}; legal: {', '.join(WORDPIECE_CLASSES)}")
    try:
        by_number = {int(key): str(label) for key, label in dict(settings.get("id2label") or {}).items()}
        size = int(settings["vocab_size"])
    except (TypeError, ValueError) as error:
        raise BundleError(f"{folder / CONFIG} is damaged: {error}; save the model again with save_pretrained") from None
    tokens = read_tokens(folder / VOCABULARY)
    vocabulary, padding = vocabulary_of_rows(tokens, rows=size, file=folder / VOCABULARY)
    if padding:
        raise BundleError(f"{folder / VOCABULARY} has [PAD] in line {padding + 1}; legal: the first")
    labels = tuple(by_number[key] for key in sorted(by_number))
    return Checkpoint(
        architecture=str(names[0]),
        settings=settings,
        labels=() if all(label.startswith("LABEL_") for label in labels) else labels,
        weights=read_weights(find_weights(folder)),
        tokenizer=WordPieceTokenizer(vocabulary, lowercase=bool(options.get("do_lower_case", True))),
        positions=int(settings.get("max_position_embeddings", 512)) - reserved_positions(str(names[0])),
    )
