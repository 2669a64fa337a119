"""What goes into a new bundle, and how it is laid out in files and in the manifest."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.bundle import SCHEMA_VERSION, Manifest, ParityRecord, token_metadata
from paddlenlp_embtune.text import Tokenizer, WindowSpec
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.safetensors_io import write_safetensors_file

__all__ = ["BundleContent", "manifest_of", "without_engines", "write_content"]

_PACKAGES = (
    "paddlenlp-embtune",
    "paddlepaddle",
    "paddlepaddle-gpu",
    "paddlenlp",
    "paddle2onnx",
    "onnxruntime",
    "numpy",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class BundleContent:
    """What goes into a bundle.

    Args:
        model: the trained layer, with ``config()``.
        model_name: what the model is registered as.
        tokenizer: the tokenizer that it was trained with.
        labels: class names in order.
        ordered: whether their order means anything.
        kind: of the labels; None takes ``ordered`` or ``single``.
        max_length: the most tokens that the model reads at once.
        windows: how longer texts are read; None cuts them.
        domain: name of the domain, or None.
        recipe, data, vectors, metrics, teacher: plain values for the manifest.
        sample_texts: real texts for the parity check.
        parity: proofs that there are already, beside those of the engines.
    """

    model: Any
    model_name: str
    tokenizer: Tokenizer
    labels: Sequence[str]
    ordered: bool
    kind: str | None = None
    max_length: int
    windows: WindowSpec | None = None
    domain: str | None = None
    recipe: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    data: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    vectors: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    metrics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    teacher: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sample_texts: Sequence[str] = ()
    parity: Mapping[str, ParityRecord] = dataclasses.field(default_factory=dict)


def manifest_of(content: BundleContent) -> Manifest:
    """Return what the manifest says before any engine has been added; it names no files yet."""
    from paddlenlp_embtune.models import vector_output  # which needs Paddle

    return Manifest(
        schema_version=SCHEMA_VERSION,
        domain=content.domain,
        labels=tuple(content.labels),
        ordered=content.ordered,
        kind=content.kind or ("ordered" if content.ordered else "single"),
        tokenizer=content.tokenizer.config(),
        vocabulary_sha256=content.tokenizer.vocabulary.fingerprint(),
        max_length=content.max_length,
        windows=content.windows,
        sentence_vectors=vector_output(content.model),
        engines={"paddle": ("weights.safetensors", "model.json")},
        parity=dict(content.parity),
        metrics=content.metrics,
        data=content.data,
        vectors=content.vectors,
        recipe=content.recipe,
        teacher=content.teacher,
        versions=_package_versions(),
        files={},
    )


def write_content(folder: Path, content: BundleContent) -> None:
    """Write the vocabulary, the tokenizer's files, the model's description, and the weights with the tokens of their rows."""
    content.tokenizer.vocabulary.save(folder / "vocab.txt")
    for name, file in content.tokenizer.files().items():
        (folder / name).write_bytes(file)
    arrays = {key: value.numpy() for key, value in content.model.state_dict().items()}
    write_safetensors_file(folder / "weights.safetensors", arrays, metadata=token_metadata(content.tokenizer.vocabulary))
    description = {"name": content.model_name, "config": content.model.config()}
    write_text(folder / "model.json", json.dumps(description, indent=1) + "\n")


def without_engines(former: Manifest, names: Collection[str]) -> tuple[Manifest, set[str]]:
    """Take engines that will be exported again out of a manifest, and the quantized programs that were made of theirs.

    Returns:
        the manifest without them, and the names of the files that go
    """
    kept = {name: files for name, files in former.engines.items() if name not in names}
    parity = {name: record for name, record in former.parity.items() if name not in names}
    manifest = dataclasses.replace(former, engines=kept, parity=parity, versions=_package_versions())
    dropped = {name for engine, files in former.engines.items() if engine in names for name in files}
    if "onnxruntime" in names:
        dropped |= {program.file for program in manifest.quantized.values()}
        manifest = dataclasses.replace(manifest, quantized={})
    return manifest, dropped


def _package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that make a bundle, as far as they are installed."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
