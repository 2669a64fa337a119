"""The engines of a bundle that is being made: each is loaded once, and shared by proof, calibration, figures and examples."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.inference import Engine, EngineOptions, gpu_providers
from paddlenlp_embtune.plugin import registry

__all__ = ["EngineCache", "Exporters", "exporters_ahead", "find_exporters", "run_exporters"]

Exporters = Mapping[str, Callable[..., Sequence[str]]]
_Key = tuple[str, str, str]


class EngineCache:
    """Engines by name, precision and device."""

    def __init__(self) -> None:
        self._loaded: dict[_Key, Engine] = {}

    def get(self, draft: Bundle, name: str, *, precision: str = "fp32", device: str = "auto") -> Engine:
        """Return an engine; load it if it has not been loaded yet.

        Args:
            draft: what it runs.
            name: a registered engine.
            precision: of the program.
            device: as in :class:`paddlenlp_embtune.inference.EngineOptions`.
        """
        key = (name, precision, _known_device(name, device))
        if key not in self._loaded:
            options = EngineOptions(num_threads=compat.usable_threads(), device=key[2], precision=precision)
            self._loaded[key] = registry.current().guarded("engine", name)(draft, options)
        return self._loaded[key]

    def without(self, *, names: Collection[str] = (), precision: str | None = None) -> EngineCache:
        """Return a cache that has let go of engines by their names, and of those of a precision."""
        cache = EngineCache()
        cache._loaded = {key: engine for key, engine in self._loaded.items() if key[0] not in names and key[1] != precision}
        return cache


def find_exporters(names: Sequence[str]) -> Exporters:
    """Look exporters up by the names of their engines.

    Raises:
        PluginError: no exporter has that name.
    """
    return {name: registry.current().guarded("exporter", name) for name in names}


@contextlib.contextmanager
def exporters_ahead(names: Sequence[str]) -> Iterator[None]:
    """Let the exporters of some engines that have an attribute ``ahead``, a context manager, prepare until the block ends.

    A name that is not known is passed over: whoever exports for it reports it.
    """
    known = registry.current()
    with contextlib.ExitStack() as stack:
        for name in known.names("exporter"):
            if name in names and (ahead := getattr(known.get("exporter", name), "ahead", None)) is not None:
                stack.enter_context(ahead())
        yield


def run_exporters(exporters: Exporters, layer: Any, draft: Bundle) -> dict[str, tuple[str, ...]]:
    """Let exporters write their files into the folder of a draft; return the names of the files of each.

    Raises:
        PluginError: an exporter names a file that it did not write.
    """
    written = {name: tuple(run(layer, draft.path)) for name, run in exporters.items()}
    for name, files in written.items():
        for file in files:
            if not (draft.path / file).is_file():
                raise registry.current().breach("exporter", name, f"returned {file!r}, which it did not write")
    return written


def _known_device(engine: str, device: str) -> str:
    """Return ``cpu`` for ``auto`` where an engine of ours has no GPU, so that it is loaded once."""
    if device != "auto" or engine not in ("onnxruntime", "paddle_inference", "paddle"):
        return device
    if engine != "onnxruntime":
        return "cpu"
    try:
        return "auto" if gpu_providers() else "cpu"
    except ModuleNotFoundError:  # the engine says what to install
        return device
