"""The builder: a bundle is made, or changed, in one transaction.

Weights, engines with their proofs, calibration and quantized programs come into one temporary folder beside the bundle's place.
When the transaction ends, every file has been written once and hashed once, the manifest is sealed, and the folder takes the
place of what stood there. An error anywhere leaves the place as it was.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import Bundle, Manifest, ParityRecord, without_programs, write_embedding
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.export._calibration import fit_calibration
from paddlenlp_embtune.export._place import bundle_lock, locked_bundle, replace_bundle
from paddlenlp_embtune.export._staged_files import StagedFiles
from paddlenlp_embtune.export.bundle_content import BundleContent, manifest_of, package_versions, write_content
from paddlenlp_embtune.export.labelled_rows import LabelledRows
from paddlenlp_embtune.export.quantization import check_quantization, measured_program
from paddlenlp_embtune.export.seal import best_engine, seal
from paddlenlp_embtune.inference import Engine, EngineOptions, gpu_providers
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.text import TokenizedTexts, Tokenizer, Vocabulary

__all__ = ["BundleBuilder", "edit_bundle", "exporters_of", "new_bundle"]

_WEIGHTS = "weights.safetensors"
Exporters = Mapping[str, Callable[..., Sequence[str]]]


class BundleBuilder:
    """A bundle in the making; :func:`new_bundle` and :func:`edit_bundle` make builders.

    A step that fails leaves the bundle as it was before that step, so that the transaction can continue without it.

    Args:
        target: the place of the bundle.
        folder: the temporary folder.
        manifest: what the bundle says so far; without hashes.
        vocabulary: of its tokenizer.
        files: the files in the folder.
        model: the live model, which engines are compared with; None takes the one that the weights in the folder give.
    """

    def __init__(
        self,
        target: Path,
        folder: Path,
        manifest: Manifest,
        vocabulary: Vocabulary,
        files: StagedFiles,
        *,
        model: Any = None,
    ) -> None:
        self.target = target
        self.folder = folder
        self.manifest = dataclasses.replace(manifest, files={})
        self.vocabulary = vocabulary
        self._files = files
        self._model = model
        self._tokenizer: Tokenizer | None = None
        self._engines: dict[tuple[str, str, str], Engine] = {}
        self._live: tuple[Sequence[str], Any] | None = None
        self._bundle: Bundle | None = None

    @property
    def bundle(self) -> Bundle:
        """The finished bundle, opened.

        Raises:
            BundleError: the transaction has not ended.
        """
        if self._bundle is None:
            raise BundleError(f"the bundle {self.target} is not written yet; open it when the block that builds it has ended")
        return self._bundle

    @property
    def draft(self) -> Bundle:
        """The bundle as it is so far, in the temporary folder; files of an older bundle come with the first step or engine."""
        return Bundle(self.folder, self.manifest, self.vocabulary)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, made of the files in the folder."""
        if self._tokenizer is None:
            self._files.stage()
            self._tokenizer = self.draft.tokenizer
        return self._tokenizer

    def engine(self, name: str, *, precision: str = "fp32", device: str = "auto") -> Engine:
        """Return an engine that runs the bundle as it is so far; it is loaded once.

        Args:
            name: a registered engine.
            precision: of the program.
            device: as in :class:`paddlenlp_embtune.inference.EngineOptions`.
        """
        key = (name, precision, _plain_device(name, device))
        if key not in self._engines:
            self._files.stage()
            options = EngineOptions(num_threads=compat.usable_threads(), device=key[2], precision=precision)
            self._engines[key] = registry.current().guarded("engine", name)(self.draft, options)
        return self._engines[key]

    def rows(self, texts: Sequence[str], labels: Sequence[str], *, reading: TokenizedTexts | None = None) -> LabelledRows:
        """Return labelled rows for :meth:`calibrate`, :meth:`quantize` and figures, which share what engines answer to them.

        Args:
            texts: rows that the model was not trained on.
            labels: their labels.
            reading: what the model gets of the texts, where they have been read already.
        """
        return LabelledRows(self, texts, labels, reading=reading)

    def update(self, **changes: Any) -> None:
        """Change fields of the manifest."""
        self.manifest = dataclasses.replace(self.manifest, **changes)

    def replace_embedding(self, source: Bundle, table: npt.NDArray[np.float32]) -> list[str]:
        """Put another embedding into the weights, and leave out everything that was made of the old ones.

        Args:
            source: the bundle that is being changed.
            table: (V, D) float32.
        Returns:
            the engines that are to be exported again
        Raises:
            VectorError: the table does not fit, or holds NaN or infinite values.
        """
        manifest, programs = without_programs(self.manifest)
        gone = [name for name in self.manifest.engines if name not in manifest.engines]
        with self._step(dropped={*programs, _WEIGHTS}):
            write_embedding(source, table, self.folder)
            self.manifest = manifest
            self._engines.clear()
            self._live = None
        return gone

    def add_engines(self, names: Sequence[str], *, sample_texts: Sequence[str] = ()) -> None:
        """Export for engines, anew or for the first time, and prove each of them; engines without a proof are proven too.

        What is exported is the layer that the bundle's own weights give. What it is compared with is the live model.

        Args:
            names: registered exporters to run.
            sample_texts: real texts for the parity check, beside random ones.
        Raises:
            ParityError: an engine answers differently; the step is undone.
            PluginError: no exporter has that name, or one does not keep its contract.
        """
        exporters = exporters_of(names)
        manifest, dropped = _without_engines(self.manifest, exporters)
        with self._step(dropped=dropped):
            self._engines = {key: engine for key, engine in self._engines.items() if key[0] not in exporters}
            self.manifest = dataclasses.replace(manifest, engines={**manifest.engines, **self._export(exporters)})
            self._prove(exporters, sample_texts)

    def prove(self, *, sample_texts: Sequence[str] = ()) -> None:
        """Compare the engines that have no proof yet with the live model.

        Args:
            sample_texts: real texts, beside random ones.
        Raises:
            ParityError: one answers differently.
        """
        self._prove((), sample_texts)

    def calibrate(self, rows: LabelledRows, *, target_precision: float | None = None) -> None:
        """Fit temperature and thresholds; see :func:`paddlenlp_embtune.export.calibrate`.

        Args:
            rows: 20 or more that the model was not trained on.
            target_precision: choose thresholds that give this precision on these rows; None sets none.
        """
        self.update(**fit_calibration(rows, best_engine(self.manifest), self.manifest.labels, target_precision))

    def quantize(
        self, rows: LabelledRows, *, precision: str = "int8", method: str | None = None, tolerance: float = 0.01
    ) -> None:
        """Add a program of lower precision; see :func:`paddlenlp_embtune.export.quantize`.

        Raises:
            ParityError: the program is not worth having; the step is undone.
        """
        method = check_quantization(rows, precision=precision, method=method, tolerance=tolerance)
        file = f"onnx/model.{precision}.onnx"
        with self._step(dropped={file}):
            self._engines = {key: engine for key, engine in self._engines.items() if key[1] != precision}
            program = measured_program(self, rows, file, precision=precision, method=method, tolerance=tolerance)
            self.update(quantized={**self.manifest.quantized, precision: program})

    def seal(self) -> Mapping[str, str]:
        """Write the interface, and the manifest with the hash of every other file; return these hashes."""
        self._files.stage()
        return seal(self.draft, self.engine(best_engine(self.manifest), device="cpu"), self._files.hashes)

    def finish(self, hashes: Mapping[str, str]) -> None:
        """Open the bundle in its place, and let the engines go."""
        self._engines.clear()
        self._bundle = Bundle.open_written(self.target, hashes)

    def _export(self, exporters: Exporters) -> dict[str, tuple[str, ...]]:
        """Run exporters; return the files of each."""
        if not exporters:
            return {}
        live: Any = self.engine("paddle")
        written = {name: tuple(run(live.layer, self.folder)) for name, run in exporters.items()}
        for name, files in written.items():
            for file in files:
                if not (self.folder / file).is_file():
                    raise registry.current().breach("exporter", name, f"returned {file!r}, which it did not write")
        return written

    def _prove(self, names: Iterable[str], sample_texts: Sequence[str]) -> None:
        """Compare engines with the live model, at the temperature that the bundle has now."""
        from paddlenlp_embtune.export.parity import verify_padding, verify_parity

        live, temperature = self._live_answers(sample_texts), self.manifest.temperature
        verify_padding(live, temperature=temperature)
        parity: dict[str, ParityRecord] = dict(self.manifest.parity)
        unproven = [name for name in self.manifest.engines if name not in names and name not in parity]
        for name in [*names, *unproven]:
            parity[name] = verify_parity(live, self.engine(name), name=name, temperature=temperature)
        self.update(parity=parity)

    def _live_answers(self, sample_texts: Sequence[str]) -> Any:
        from paddlenlp_embtune.export.parity import live_answers, parity_batches

        if self._live is None or list(self._live[0]) != list(sample_texts):
            tokenizer, most = self.tokenizer, self.manifest.max_length
            encoded = [tokenizer.encode(text, max_length=most) for text in sample_texts]
            batches = parity_batches(encoded, vocabulary_size=len(self.vocabulary), max_length=most)
            loaded: Any = self._model if self._model is not None else self.engine("paddle")
            self._live = sample_texts, live_answers(loaded if self._model is not None else loaded.layer, batches)
        return self._live[1]

    @contextlib.contextmanager
    def _step(self, *, dropped: Iterable[str]) -> Iterator[None]:
        """Change the bundle without some of its files; an error undoes what was done."""
        manifest, engines, state = self.manifest, dict(self._engines), self._files.state()
        try:
            self._files.drop(dropped)
            self._files.stage()
            yield
        except BaseException:
            self.manifest, self._engines = manifest, engines
            self._files.restore(state)
            raise


@contextlib.contextmanager
def new_bundle(target: Path, content: BundleContent) -> Iterator[BundleBuilder]:
    """Make a bundle: it is sealed and put in its place when the block ends; an error leaves the place as it was.

    Args:
        target: the folder; an older bundle there is replaced in one step, anything else is refused.
        content: what goes in.
    Yields:
        A builder that holds the weights; no engine is proven yet.
    Raises:
        ParityError: an engine answers differently.
        BundleError: the place is taken, or the disk does not take the files; nothing is written.
    """
    with bundle_lock(target):
        with replace_bundle(target) as folder:
            write_content(folder, content)
            files, vocabulary = StagedFiles(folder), content.tokenizer.vocabulary
            builder = BundleBuilder(target, folder, manifest_of(content), vocabulary, files, model=content.model)
            yield builder
            hashes = builder.seal()
        builder.finish(hashes)


@contextlib.contextmanager
def edit_bundle(bundle: Bundle, target: Path) -> Iterator[BundleBuilder]:
    """Change a bundle: the result is sealed and put in its place when the block ends; an error leaves the place as it was.

    Args:
        bundle: an opened bundle; opened again if it is to be replaced and another process has replaced it since.
        target: where the result goes; may be the bundle's own folder.
    Yields:
        A builder that holds what the bundle holds.
    Raises:
        BundleError: a place is taken, the bundle has been replaced meanwhile, or the disk does not take the files; nothing is
            written.
    """
    with locked_bundle(bundle, target) as current:
        with replace_bundle(target) as folder:
            if target.resolve() == current.path.resolve():
                current.check_current()
            files = StagedFiles(folder, current)
            builder = BundleBuilder(target, folder, current.manifest, current.vocabulary, files)
            yield builder
            hashes = builder.seal()
        builder.finish(hashes)


def exporters_of(names: Sequence[str]) -> Exporters:
    """Return exporters by the names of their engines.

    Raises:
        PluginError: no exporter has that name.
    """
    return {name: registry.current().guarded("exporter", name) for name in names}


def _without_engines(former: Manifest, exporters: Exporters) -> tuple[Manifest, set[str]]:
    """Take out of a manifest what is exported anew; return it, and the files that go."""
    kept = {name: files for name, files in former.engines.items() if name not in exporters}
    parity = {name: record for name, record in former.parity.items() if name not in exporters}
    manifest = dataclasses.replace(former, engines=kept, parity=parity, versions=package_versions())
    dropped = {name for engine, files in former.engines.items() if engine in exporters for name in files}
    if "onnxruntime" in exporters:
        dropped |= {program.file for program in manifest.quantized.values()}
        manifest = dataclasses.replace(manifest, quantized={})
    return manifest, dropped


def _plain_device(engine: str, device: str) -> str:
    """Return ``cpu`` for ``auto`` where an engine of ours knows no GPU, so that it is loaded once."""
    if device != "auto" or engine not in ("onnxruntime", "paddle_inference", "paddle"):
        return device
    return "auto" if engine == "onnxruntime" and gpu_providers() else "cpu"
