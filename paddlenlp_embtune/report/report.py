"""Writing the report of a run: the sections in order, then those of plugins, into one HTML file."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

from paddlenlp_embtune.errors import DataError, PluginError
from paddlenlp_embtune.report._templates import check_jinja, render
from paddlenlp_embtune.report.plots._figure import FigureWriter
from paddlenlp_embtune.report.plots._fonts import matplotlib_module
from paddlenlp_embtune.report.plots._term_map import check_method
from paddlenlp_embtune.report.run_reader import MANIFEST, Run, read_run
from paddlenlp_embtune.report.sections import _embedding, _health, _overview, _provenance, _results, _tasks, _training
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.run_layout import INSIGHT, METRICS, RECIPE, RECORD

__all__ = ["REPORT", "SECTIONS", "Section", "SectionWriter", "write_report"]

REPORT = "report.html"
SectionWriter = Callable[[Run], str]
"""A further section, as plugins register them by title: from a run to HTML, in which it has escaped what is not its own."""


@dataclasses.dataclass(frozen=True)
class Section:
    """One section of the report.

    Args:
        title: its heading.
        sources: the files of the run that it reads, for messages.
        write: called with the run and with what draws figures, returns HTML.
    """

    title: str
    sources: str
    write: Callable[[Run, FigureWriter], str]


SECTIONS = (
    Section("At a glance", f"{RECORD}, {METRICS}, {INSIGHT} or {MANIFEST}", _overview.overview),
    Section("Results by label", f"{INSIGHT} or {METRICS}", _results.by_label),
    Section("Learning curves", RECORD, _training.learning_curves),
    Section("Learning rates", RECORD, _training.learning_rates),
    Section("Embedding health", RECORD, _health.health),
    Section("Term map", INSIGHT, _embedding.term_map),
    Section("Largest changes", INSIGHT, _embedding.moved_terms),
    Section("Term groups", INSIGHT, _embedding.term_groups),
    Section("Calibration", INSIGHT, _results.calibration),
    Section("Examples", INSIGHT, _results.examples),
    Section("Data", f"{RECORD} or {MANIFEST}", _provenance.data),
    Section("Export", MANIFEST, _provenance.export),
    Section("Recipe", RECIPE, _provenance.recipe),
)

TASKS = Section("Tasks learnt", MANIFEST, _tasks.tasks)
"""Of bundles that learn on alone."""


def write_report(
    run_dir: str | Path,
    out: str | Path | None = None,
    *,
    png_dir: str | Path | None = None,
    method: str = "pca",
    sections: Mapping[str, SectionWriter] | None = None,
) -> Path:
    """Write the report of a run: one HTML file that needs nothing beside it.

    Sections whose files are missing say so.

    Args:
        run_dir: the folder that ``embtune train`` wrote.
        out: the file to write; None for ``report.html`` in the folder of the run.
        png_dir: folder for every figure as a PNG file as well; None for no PNG files. If no installed font has Chinese
            characters, a warning is logged and the files show code points.
        method: how the term map is drawn: ``pca``, ``tsne`` (needs scikit-learn) or ``umap`` (needs umap-learn).
        sections: further sections by title, as the hook ``embtune_register_report_sections`` returns them; None for none.
    Returns:
        The file that was written.
    Raises:
        DataError: the folder is not a run, or a file in it is damaged.
        RecipeError: there is no such method.
        PluginError: a further section raised, or returned no HTML.
        MissingDependencyError: matplotlib, jinja2, or what the method needs, is not installed.
    """
    matplotlib_module()
    check_jinja()
    check_method(method)
    run = read_run(run_dir)
    path = Path(out) if out is not None else run.path / REPORT
    figures = FigureWriter(png_dir=Path(png_dir) if png_dir is not None else None, method=method)
    written = [(section.title, _write(section, run, figures)) for section in SECTIONS]
    if run.manifest and run.manifest.get("continual"):
        written.insert(2, (TASKS.title, _write(TASKS, run, figures)))
    written += [(title, _write_further(title, writer, run)) for title, writer in (sections or {}).items()]
    date = str(run.last("start").get("time") or "")[:10]
    lead = "A run of embtune train" + (f", {date}" if date else "")
    write_text(path, render("page.html", title=run.name, lead=lead, sections=written))
    return path


def _write(section: Section, run: Run, figures: FigureWriter) -> str:
    try:
        return section.write(run, figures)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{run.path} is damaged: the section {section.title!r} cannot be written from {section.sources}: "
            f"{type(error).__name__}: {error}; restore the file, or train again"
        ) from error


def _write_further(title: str, writer: SectionWriter, run: Run) -> str:
    try:
        found = writer(run)
    except PluginError:
        raise
    except Exception as error:
        raise PluginError(f"the report section {title!r} raised {type(error).__name__}: {error}") from error
    if not isinstance(found, str):
        raise PluginError(f"the report section {title!r} returned {shorten(found)}; expected HTML as a str")
    return found
