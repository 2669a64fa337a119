"""``embtune report``: one HTML file about a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.cli._console import err
from paddlenlp_embtune.plugin import registry

__all__ = ["report"]


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    out: Annotated[Optional[Path], typer.Option(help="HTML file; by default report.html in the folder of the run.")] = None,
    png: Annotated[Optional[Path], typer.Option(help="Also write each figure as a PNG file into this folder.")] = None,
    method: Annotated[
        str, typer.Option(help="Projection of the term map: pca, tsne (needs scikit-learn) or umap (needs umap-learn).")
    ] = "pca",
) -> None:
    """Write one self-contained HTML file about a run: results, curves, learning rates, embedding health, terms, export."""
    from paddlenlp_embtune.report import write_report

    sections = registry.current().all_guarded("report section")
    path = write_report(run, out, png_dir=png, method=method, sections=sections)
    if png is not None:
        err.print(f"figures: {png}", markup=False)
    print(path)
