"""From a run's folder to its report: the sections in order, those of plugins after them, and the file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from paddlenlp_embtune.errors import DataError, PluginError
from paddlenlp_embtune.report._html import Html
from paddlenlp_embtune.report._template import page
from paddlenlp_embtune.report.plots._figure import Studio
from paddlenlp_embtune.report.plots._fonts import matplotlib_module
from paddlenlp_embtune.report.plots._term_map import check_method
from paddlenlp_embtune.report.run_reader import INSIGHT, Run, read_run
from paddlenlp_embtune.report.sections import _embedding, _health, _overview, _provenance, _results, _training
from paddlenlp_embtune.utils.atomic_io import write_text

__all__ = ["REPORT", "SECTIONS", "Section", "SectionWriter", "write_report"]

REPORT = "report.html"
SectionWriter = Callable[[Run], tuple[str, str]]
"""A section of a plugin: from a run to a title, which is text, and HTML, in which it has escaped what is not its own."""


@dataclasses.dataclass(frozen=True)
class Section:
    """One section of the report.

    Args:
        title: stands above it.
        sources: the files of the run that it reads, for messages.
        write: from a run to markup; the studio draws its figures.
    """

    title: str
    sources: str
    write: Callable[[Run, Studio], Html]


SECTIONS = (
    Section("At a glance", f"record.jsonl, metrics.json, {INSIGHT} or bundle/bundle.json", _overview.glance),
    Section("Results by label", f"{INSIGHT} or metrics.json", _results.by_label),
    Section("Learning curves", "record.jsonl", _training.learning),
    Section("Learning rates", "record.jsonl", _training.rates),
    Section("Health of the embedding", "record.jsonl", _health.health),
    Section("Map of the terms", INSIGHT, _embedding.term_map),
    Section("What moved most", INSIGHT, _embedding.moved),
    Section("Groups of terms", INSIGHT, _embedding.groups),
    Section("Calibration", INSIGHT, _results.calibration),
    Section("Rows to read", INSIGHT, _results.examples),
    Section("Data", "record.jsonl or bundle/bundle.json", _provenance.data),
    Section("Export", "bundle/bundle.json", _provenance.export),
    Section("Recipe", "recipe.yaml", _provenance.recipe),
)


def write_report(
    run_dir: str | Path,
    out: str | Path | None = None,
    *,
    png_dir: str | Path | None = None,
    method: str = "pca",
    sections: Sequence[SectionWriter] = (),
) -> Path:
    """Write the report of a run: one HTML file that needs nothing beside it.

    What the run does not hold is said to be absent, in its section.

    Args:
        run_dir: the folder that ``embtune train`` wrote.
        out: the file to write; None writes ``report.html`` into the folder of the run.
        png_dir: also write every figure there as a PNG file; None does not. Where no installed font has Chinese characters,
            a warning is logged and the files show code points.
        method: how terms come onto a map: ``pca``, ``tsne`` (needs scikit-learn) or ``umap`` (needs umap-learn).
        sections: further sections, called with the run, which return a title and HTML.
    Returns:
        The file that was written.
    Raises:
        DataError: the folder is no run's, or a file in it is damaged.
        RecipeError: there is no such method.
        PluginError: a further section raised, or returned something else.
        MissingDependencyError: matplotlib, or what the method needs, is not installed.
    """
    matplotlib_module()
    check_method(method)
    run = read_run(run_dir)
    path = Path(out) if out is not None else run.path / REPORT
    studio = Studio(png_dir=Path(png_dir) if png_dir is not None else None, method=method)
    written = [(section.title, _write(section, run, studio)) for section in SECTIONS]
    written += [_of_plugin(writer, run) for writer in sections]
    begun = str(run.last("start").get("time") or "")[:10]
    lead = "A run of embtune train" + (f", {begun}" if begun else "")
    write_text(path, page(run.name, lead, written))
    return path


def _write(section: Section, run: Run, studio: Studio) -> Html:
    try:
        return section.write(run, studio)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{run.path} is damaged: the section {section.title!r} cannot be written from {section.sources}: "
            f"{type(error).__name__}: {error}; restore the file, or train again"
        ) from error


def _of_plugin(writer: SectionWriter, run: Run) -> tuple[str, Html]:
    name = getattr(writer, "__qualname__", repr(writer))
    try:
        found = writer(run)
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(f"the report section {name} raised {type(error).__name__}: {error}") from error
    if not (isinstance(found, tuple) and len(found) == 2 and all(isinstance(part, str) for part in found)):
        raise PluginError(
            f"the report section {name} returned {str(found)[:80]!r}; expected a tuple of a title and HTML, both str"
        )
    return found[0], Html(found[1])
