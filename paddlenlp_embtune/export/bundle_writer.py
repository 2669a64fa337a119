"""Writing a bundle: everything into a temporary sibling, each engine proven, then one rename."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.bundle import SCHEMA_VERSION, Bundle, Manifest, ParityRecord, token_metadata
from paddlenlp_embtune.export.parity import parity_batches, verify_padding, verify_parity
from paddlenlp_embtune.export.seal import bundle_lock, revise, revising, seal, writing
from paddlenlp_embtune.inference import EngineOptions
from paddlenlp_embtune.models import load_layer
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.text import Tokenizer, WindowSpec
from paddlenlp_embtune.utils.files.atomic_io import write_safetensors, write_text

__all__ = ["BundleContent", "add_engines", "write_bundle"]

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


def write_bundle(path: Path, content: BundleContent, *, engines: Sequence[str]) -> Bundle:
    """Write a bundle and return it opened.

    Args:
        path: the folder; an older bundle there is replaced in one step, anything else is refused.
        content: what goes in.
        engines: registered exporters to run.
    Raises:
        ParityError: an engine answers differently; nothing is written.
        BundleError: the place is taken, or the disk does not take the files; nothing is written.
        PluginError: no exporter has that name.
    """
    exporters = {name: registry.current().guarded("exporter", name) for name in engines}
    manifest = Manifest(
        schema_version=SCHEMA_VERSION,
        domain=content.domain,
        labels=tuple(content.labels),
        ordered=content.ordered,
        tokenizer=content.tokenizer.config(),
        vocabulary_sha256=content.tokenizer.vocabulary.fingerprint(),
        max_length=content.max_length,
        windows=content.windows,
        engines={"paddle": ("weights.safetensors", "model.json")},
        parity=dict(content.parity),
        metrics=content.metrics,
        data=content.data,
        vectors=content.vectors,
        recipe=content.recipe,
        teacher=content.teacher,
        versions=_versions(),
        files={},
    )
    with bundle_lock(path):
        with writing(path) as folder:
            content.tokenizer.vocabulary.save(folder / "vocab.txt")
            for name, file in content.tokenizer.files().items():
                (folder / name).write_bytes(file)
            _save_weights(folder, content)
            _export(folder, manifest, content.model, exporters, content.tokenizer, content.sample_texts)
        return Bundle.open(path)


def add_engines(bundle: Bundle, target: Path, *, engines: Sequence[str], sample_texts: Sequence[str] = ()) -> Bundle:
    """Export a bundle's weights for engines, anew or for the first time, keeping its other engines.

    Args:
        bundle: an opened bundle.
        target: where the result goes; may be the bundle's own folder.
        engines: registered exporters to run.
        sample_texts: real texts for the parity check, beside random ones.
    Raises:
        ParityError, BundleError, PluginError: as :func:`write_bundle`.
    """
    exporters = {name: registry.current().guarded("exporter", name) for name in engines}
    with revising(bundle, target) as current:
        model = load_layer(current.path)
        manifest, dropped = _without_engines(current.manifest, exporters)
        with revise(current, target) as folder:
            for name in dropped:
                (folder / name).unlink()
            _export(folder, manifest, model, exporters, current.tokenizer, sample_texts)
        return Bundle.open(target)


def _without_engines(former: Manifest, exporters: Mapping[str, Any]) -> tuple[Manifest, set[str]]:
    """Take out of a manifest what is exported anew; return it, and the files that go."""
    kept = {name: files for name, files in former.engines.items() if name not in exporters}
    manifest = dataclasses.replace(
        former,
        engines=kept,
        parity={name: record for name, record in former.parity.items() if name not in exporters},
        versions=_versions(),
    )
    dropped = {name for engine, files in former.engines.items() if engine in exporters for name in files}
    if "onnxruntime" in exporters:
        dropped |= {program.file for program in manifest.quantized.values()}
        manifest = dataclasses.replace(manifest, quantized={})
    return manifest, dropped


def _export(
    folder: Path,
    manifest: Manifest,
    model: Any,
    exporters: Mapping[str, Callable[..., Sequence[str]]],
    tokenizer: Tokenizer,
    sample_texts: Sequence[str],
) -> None:
    """Run exporters, prove each of them, and write the manifest last."""
    engines = {**manifest.engines, **{name: tuple(run(model, folder)) for name, run in exporters.items()}}
    for name in exporters:
        for file in engines[name]:
            if not (folder / file).is_file():
                raise registry.current().breach("exporter", name, f"returned {file!r}, which it did not write")
    draft = Bundle(folder, dataclasses.replace(manifest, engines=engines), tokenizer.vocabulary)
    encoded = [tokenizer.encode(text, max_length=manifest.max_length) for text in sample_texts]
    batches = parity_batches(encoded, vocabulary_size=len(tokenizer.vocabulary), max_length=manifest.max_length)
    expected = verify_padding(model, batches, temperature=manifest.temperature)
    parity: dict[str, ParityRecord] = dict(manifest.parity)
    for name in [*exporters, *(engine for engine in engines if engine not in exporters and engine not in parity)]:
        engine = registry.current().guarded("engine", name)(draft, EngineOptions())
        parity[name] = verify_parity(expected, engine, batches, name=name, temperature=manifest.temperature)
    seal(folder, dataclasses.replace(draft, manifest=dataclasses.replace(draft.manifest, parity=parity)))


def _save_weights(folder: Path, content: BundleContent) -> None:
    """Write the weights, and with them the tokens that their rows stand for."""
    arrays = {key: value.numpy() for key, value in content.model.state_dict().items()}
    write_safetensors(folder / "weights.safetensors", arrays, metadata=token_metadata(content.tokenizer.vocabulary))
    description = {"name": content.model_name, "config": content.model.config()}
    write_text(folder / "model.json", json.dumps(description, indent=1) + "\n")


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
