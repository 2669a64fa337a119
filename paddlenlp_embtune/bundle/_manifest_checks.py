"""Consistency checks of a bundle manifest: its values, its file names, and agreement with the other files."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.utils.json_yaml import read_json, shorten
from paddlenlp_embtune.utils.schema import to_plain

if TYPE_CHECKING:
    from paddlenlp_embtune.bundle.manifest import Manifest

__all__ = ["check_agreement", "check_file_names", "check_values"]

_MANIFEST, _INTERFACE, _MODEL = "bundle.json", "interface.json", "model.json"
_NEEDED = ("vocab.txt", _MODEL, "weights.safetensors")
_NEEDED_SINCE_2 = (_INTERFACE, "fixtures.jsonl")
# Outside this range, dividing float32 logits may overflow softmax; fitted temperatures are between 0.05 and 20.
_MIN_TEMPERATURE, _MAX_TEMPERATURE = 1e-3, 1e3
_MOST_SCALE, _MOST_OFFSET = 20.0, 50.0
_MAX_LENGTH = 1_000_000
_DIGEST = re.compile(r"[0-9a-f]{64}")


def check_values(manifest: Manifest) -> None:
    """Reject values that no bundle can have.

    Raises:
        BundleError: naming the field, its value and the expected range.
    """
    labels = manifest.labels
    _require(
        _MIN_TEMPERATURE <= manifest.temperature <= _MAX_TEMPERATURE,
        "temperature",
        manifest.temperature,
        f"{_MIN_TEMPERATURE} to {_MAX_TEMPERATURE:.0f}",
    )
    _require(1 <= manifest.max_length <= _MAX_LENGTH, "max_length", manifest.max_length, f"1 to {_MAX_LENGTH:,}")
    _require(len(set(labels)) == len(labels) >= 2, "labels", labels, "two or more, each once")
    for label in labels:
        _require(bool(label.strip()) and _is_encodable(label), "labels", label, "texts with a visible character")
    known_kinds = ("ordered",) if manifest.ordered else ("single", "multi")
    _require(manifest.kind in (None, *known_kinds), "kind", manifest.kind, f"{' or '.join(known_kinds)} beside ordered")
    for label, scaling in manifest.scaling.items():
        proper = label in labels and 0 < scaling.scale <= _MOST_SCALE and abs(scaling.offset) <= _MOST_OFFSET
        _require(proper, "scaling", {label: to_plain(scaling)}, "a scale and an offset, for labels of the bundle")
    _require(bool(manifest.engines), "engines", manifest.engines, "one or more")
    if (output := manifest.sentence_vectors) is not None:
        _require(1 <= output.width <= _MAX_LENGTH, "sentence_vectors.width", output.width, f"1 to {_MAX_LENGTH:,}")
    for engine, files in manifest.engines.items():
        _require(bool(engine) and bool(files), "engines", {engine: files}, "one file or more for each engine")
    for precision, program in manifest.quantized.items():
        known = precision not in ("", "fp32") and program.file.endswith(".onnx")
        _require(known, "quantized", {precision: program.file}, "an .onnx file for each precision other than fp32")
    for label, limit in manifest.thresholds.items():
        _require(label in labels and 0 <= limit <= 1, "thresholds", {label: limit}, "0 to 1, for labels of the bundle")
    proofs = {"parity": manifest.parity, "quantized": manifest.quantized, "calibration": manifest.calibration}
    for name, number in _numbers(proofs):
        _require(math.isfinite(number), name, number, "a finite number")


def check_file_names(manifest: Manifest, where: Path, tokenizer_files: Iterable[str]) -> None:
    """Reject file names that leave the bundle or are ambiguous, and files without a hash.

    Args:
        manifest: of the bundle.
        where: its file, for messages.
        tokenizer_files: files that the tokenizer reads besides the vocabulary.
    Raises:
        BundleError: naming the file.
    """
    for name, digest in manifest.files.items():
        if not _is_inside(name):
            raise BundleError(
                f"file names in {where} must be inside the bundle, as folder/name, got {shorten(name)}; restore {_MANIFEST}"
            )
        if not _DIGEST.fullmatch(digest):
            raise BundleError(
                f"the SHA-256 of {name} in {where} must be 64 hexadecimal digits, got {shorten(digest)}; restore the file"
            )
    used: dict[str, Iterable[str]] = {**manifest.engines, "tokenizer": tokenizer_files, "every bundle": _needed(manifest)}
    used |= {precision: (program.file,) for precision, program in manifest.quantized.items()}
    for what, files in used.items():
        for name in files:
            if name not in manifest.files:
                raise BundleError(f"{where} lists {name!r} for {what!r} without its SHA-256; export the bundle again")


def check_agreement(manifest: Manifest, folder: Path, vocabulary_size: int) -> None:
    """Reject a manifest that contradicts ``model.json`` or ``interface.json``, whose hashes have been checked already.

    Raises:
        BundleError: naming the value and both files.
    """
    described = _mapping(read_json(folder / _MODEL, error=BundleError), folder / _MODEL)
    config = _mapping(described.get("config"), folder / _MODEL)
    sizes = {name: config.get(name) for name in ("vocabulary_size", "dimension", "num_labels")}
    if not isinstance(described.get("name"), str) or any(type(size) is not int or size < 1 for size in sizes.values()):
        raise BundleError(
            f"{folder / _MODEL} does not describe a model: it needs a name, and in config whole numbers of 1 or more for "
            f"{', '.join(sizes)}; got {shorten(sizes)}; restore it, or train again"
        )
    _agree(folder, _MODEL, "number of labels", len(manifest.labels), config["num_labels"])
    if config["vocabulary_size"] < vocabulary_size:
        _agree(folder, _MODEL, "number of tokens", vocabulary_size, config["vocabulary_size"])
    positions = next(_positions(config), None)
    if positions is not None and positions < manifest.max_length:
        raise BundleError(
            f"max_length in {folder / _MANIFEST} is {manifest.max_length}, but the model in {_MODEL} has only {positions} "
            "positions; restore the files of one bundle, or train again"
        )
    if _INTERFACE in manifest.files:
        _check_interface(manifest, folder)


def _check_interface(manifest: Manifest, folder: Path) -> None:
    file = folder / _INTERFACE
    told = _mapping(read_json(file, error=BundleError), file)
    answer, tokenizer, output = (_mapping(told.get(key), file) for key in ("answer", "tokenizer", "output"))
    pairs: dict[str, tuple[Any, Any]] = {
        "labels": (list(manifest.labels), answer.get("labels")),
        "ordered": (manifest.ordered, answer.get("ordered")),
        "kind": (manifest.kind, answer.get("kind")),
        "scaling": (to_plain(manifest.scaling), answer.get("scaling", {})),
        "temperature": (manifest.temperature, answer.get("temperature")),
        "thresholds": (dict(manifest.thresholds), answer.get("thresholds")),
        "max_length": (manifest.max_length, tokenizer.get("max_length")),
        "windows": (to_plain(manifest.windows), told.get("windows")),
        "tokenizer": (to_plain(manifest.tokenizer), {key: tokenizer.get(key) for key in manifest.tokenizer}),
        "output shape": (["batch", len(manifest.labels)], output.get("shape")),
    }
    for name, (ours, theirs) in pairs.items():
        _agree(folder, _INTERFACE, name, ours, theirs)


def _agree(folder: Path, file: str, name: str, ours: object, theirs: object) -> None:
    if ours != theirs:
        raise BundleError(
            f"{folder / _MANIFEST} and {file} contradict each other: {name} is {shorten(ours)} and {shorten(theirs)}; restore "
            "the files of one bundle, or train again"
        )


def _needed(manifest: Manifest) -> tuple[str, ...]:
    return _NEEDED + (_NEEDED_SINCE_2 if manifest.schema_version > 1 else ())


def _positions(config: Mapping[str, Any]) -> Iterator[int]:
    """Yield the numbers of positions in the configuration of an encoder."""
    for holder in (config, config.get("settings")):
        if isinstance(holder, Mapping) and type(found := holder.get("max_position_embeddings")) is int:
            yield found


def _is_inside(name: str) -> bool:
    """Return whether a name is a relative path inside the bundle, in a spelling that is the same on every system."""
    plain = PurePosixPath(name)
    proper = (
        name not in ("", ".", _MANIFEST) and plain.as_posix() == name and not plain.is_absolute() and ".." not in plain.parts
    )
    return proper and not any(character in name for character in "\\:\0") and _is_encodable(name)


def _is_encodable(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8, that is, has no lone surrogate."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _numbers(value: object, where: str = "") -> Iterator[tuple[str, float]]:
    """Yield the path and value of every float in nested dataclasses and mappings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for field in dataclasses.fields(value):
            yield from _numbers(getattr(value, field.name), f"{where}.{field.name}" if where else field.name)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _numbers(item, f"{where}.{key}" if where else key)
    elif isinstance(value, float):
        yield where, value


def _mapping(value: object, file: Path) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BundleError(f"{file} must contain an object, got {shorten(value)}; restore it, or train again")
    return value


def _require(condition: bool, name: str, value: object, expected: str) -> None:
    if not condition:
        raise BundleError(f"{name} of a bundle must be {expected}, got {shorten(value)}; restore {_MANIFEST}, or train again")
