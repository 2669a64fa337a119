"""The models that are served: opened from their folders, and opened again while they are in use."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import threading
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import MANIFEST, read_one_generation
from paddlenlp_embtune.errors import BundleError, EmbtuneError
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.server.settings import ServerSettings
from paddlenlp_embtune.utils.files.atomic_io import sha256_of

__all__ = ["LoadedBundle", "ServedModel", "load_models"]

_log = logging.getLogger(__name__)
_WAIT_SECONDS = 0.5
_PROBE = "公司发布公告"

OnReload = Callable[[str, bool], None]
"""Is called with a model's name and whether its reload worked."""


def _ignore(name: str, worked: bool) -> None:
    pass


@dataclasses.dataclass(frozen=True, eq=False)
class LoadedBundle:
    """A bundle in use.

    Args:
        predictor: has labelled a text already.
        fingerprint: SHA-256 of its ``bundle.json``, which holds those of all other files.
        loaded_at: UTC, ISO 8601.
    """

    predictor: Predictor
    fingerprint: str
    loaded_at: str


class ServedModel:
    """One bundle, which can be opened again while it answers.

    With several processes, one that has reloaded rewrites a file, the signal; the others look at it (one ``stat``) before every
    batch, and reload too. So once a reload has been answered, no batch that begins after it, in any process, is run by the
    bundle that stood in the folder before; unless a process cannot open the new one: it logs that, and keeps the old one.

    Args:
        name: what it is served under.
        path: folder of the bundle.
        options: for the predictor.
        signal: the file by which processes signal reloads to each other; None if there is one process.
        on_reload: called with the name and whether it worked.
    Raises:
        EmbtuneError: the bundle cannot be served.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        options: Mapping[str, Any],
        *,
        signal: Path | None = None,
        on_reload: OnReload = _ignore,
    ) -> None:
        self.name = name
        self.path = path
        self._options = dict(options)
        self._signal = signal
        self._on_reload = on_reload
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self._loaded = _load(path, self._options)

    def current(self) -> LoadedBundle:
        """Return the bundle in use; blocks for a reload if another process has reloaded since the last call."""
        if self._stamp() != self._seen:
            with self._lock:
                self._follow()
        return self._loaded

    def reload(self) -> LoadedBundle:
        """Open the bundle again from its path and take it into use; batches that run finish on the old one.

        Raises:
            EmbtuneError, OSError: the new one cannot be served; the old one stays in use.
        """
        with self._lock:
            try:
                loaded = _load(self.path, self._options)
                seen = _rewrite(self._signal) if self._signal is not None else None
            except Exception:
                self._on_reload(self.name, False)
                raise
            self._loaded, self._seen = loaded, seen
            self._on_reload(self.name, True)
            return loaded

    def predict(self, texts: list[str]) -> list[dict[str, Any]]:
        """Label texts, with the probability of every label."""
        return self.current().predictor.predict(texts, scores=True)

    def embed(self, texts: list[str]) -> list[npt.NDArray[np.float32]]:
        """Return the sentence vector of each text as the head of the model reads it, of any length.

        Raises:
            BundleError: the programs of the bundle give no vectors.
        """
        return list(self.current().predictor.embed(texts, normalize=False))

    def count_tokens(self, texts: list[str]) -> int:
        """Count the tokens that the model reads of texts."""
        return self.current().predictor.count_tokens(texts)

    def describe(self) -> dict[str, Any]:
        """Describe the model as ``GET /v1/models/{name}`` returns it."""
        loaded = self.current()
        predictor = loaded.predictor
        manifest, windows, below = predictor.bundle.manifest, predictor.windows, predictor.thresholds
        return {
            "name": self.name,
            "domain": manifest.domain,
            "labels": list(manifest.labels),
            "kind": manifest.label_kind,
            "ordered": manifest.ordered,
            "max_length": manifest.max_length,
            "windows": None if windows is None else dataclasses.asdict(windows),
            "thresholds": None
            if below is None
            else {k: round(float(v), 6) for k, v in zip(manifest.labels, below, strict=True)},
            "engine": predictor.engine_name,
            "precision": self._options.get("precision", "fp32"),
            "dimensions": None if manifest.sentence_vectors is None else manifest.sentence_vectors.width,
            "fingerprint": loaded.fingerprint,
            "loaded_at": loaded.loaded_at,
        }

    def _follow(self) -> None:
        """Reload because another process has, once for each signal."""
        stamp = self._stamp()
        if stamp == self._seen:
            return
        try:
            self._loaded = _load(self.path, self._options)
        except (EmbtuneError, OSError) as error:
            _log.error(
                "another process has reloaded %s, but this one could not; the old bundle stays in use: %s", self.name, error
            )
            self._on_reload(self.name, False)
        else:
            self._on_reload(self.name, True)
        self._seen = stamp  # last: until then, other threads wait for the lock

    def _stamp(self) -> tuple[int, int] | None:
        if self._signal is None:
            return None
        try:
            found = self._signal.stat()
        except FileNotFoundError:
            return None
        return found.st_ino, found.st_mtime_ns


def load_models(
    settings: ServerSettings, *, folder: Path | None = None, on_reload: OnReload = _ignore
) -> dict[str, ServedModel]:
    """Open every bundle of the settings.

    Args:
        settings: names and paths, and the options for predictors.
        folder: where the processes of a server signal reloads to each other; None if there is one.
        on_reload: called with a model's name and whether its reload worked.
    Raises:
        EmbtuneError: a bundle cannot be served.
    """
    options = dict(settings.predictor)
    if options.get("num_threads") is not None:
        options["num_threads"] *= settings.batch_threads  # a predictor's are shared by all who call it
    return {
        name: ServedModel(name, Path(path), options, signal=folder / f"reload-{name}" if folder else None, on_reload=on_reload)
        for name, path in settings.models.items()
    }


def _load(path: Path, options: Mapping[str, Any]) -> LoadedBundle:
    """Open a bundle and label one text with it, again if the bundle is replaced meanwhile or is away for a moment.

    Raises:
        EmbtuneError, OSError: it cannot be served.
    """

    def load() -> LoadedBundle:
        step = "cannot be opened"
        try:
            predictor = Predictor(path, **options)
            step = "was opened, but fails on a text"
            predictor.predict([_PROBE], scores=True)
        except (EmbtuneError, OSError):
            raise
        except Exception as error:
            raise BundleError(f"the bundle {path} {step}: {type(error).__name__}: {error}") from error
        loaded_at = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        return LoadedBundle(predictor, sha256_of(path / MANIFEST), loaded_at)

    return read_one_generation(path, load, wait_seconds=_WAIT_SECONDS)[0]


def _rewrite(signal: Path) -> tuple[int, int]:
    """Replace a file and return its stamp, which is taken before others can replace it in turn."""
    with tempfile.NamedTemporaryFile(dir=signal.parent, delete=False) as file:
        path = Path(file.name)
    found = path.stat()
    path.replace(signal)
    return found.st_ino, found.st_mtime_ns
