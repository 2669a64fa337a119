"""Opening a bundle for a predictor: the bundle, its engine and the options, all of one writing of the bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.bundle import Bundle, read_one_generation
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.inference.engines import Engine, EngineOptions
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.text import WindowSpec, tokenizer_files
from paddlenlp_embtune.utils.schema import build

__all__ = ["open_engine", "window_spec"]


def open_engine(bundle: str | Path | Bundle, engine: str, options: EngineOptions) -> tuple[Bundle, Engine, list[int]]:
    """Open a bundle, start an engine and read an example, all from one writing of the bundle, also while others replace it.

    Raises:
        BundleError: the bundle is damaged, or one that was opened before has been replaced since.
    """
    factory = registry.current().guarded("engine", engine)

    def start(opened: Bundle) -> tuple[Bundle, Engine, list[int]]:
        started, example = factory(opened, options), opened.example_ids()
        _ = opened.tokenizer  # reads its files, if it has not yet
        manifest, quantized = opened.manifest, opened.manifest.quantized.get(options.precision)
        used = (*manifest.engines.get(engine, ()), *((quantized.file,) if quantized is not None else ()))
        opened.check_current("vocab.txt", "fixtures.jsonl", *tokenizer_files(manifest.tokenizer), *used)
        return opened, started, example

    if isinstance(bundle, Bundle):
        return start(bundle)
    path = Path(bundle)
    return read_one_generation(path, lambda: start(Bundle.open(path)))[0]


def window_spec(windows: WindowSpec | Mapping[str, Any] | bool) -> WindowSpec | None:
    """Return the windows that a caller asked for; None where long texts are to be cut.

    Raises:
        RecipeError: a field is unknown or not valid.
    """
    if windows is False or isinstance(windows, WindowSpec):
        return windows or None
    if windows is True:
        return WindowSpec()
    return build(WindowSpec, windows, where="windows", error=RecipeError)
