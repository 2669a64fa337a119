"""Provenance of a run and its results: data, export, recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.report._formatting import format_bytes, plural, printable
from paddlenlp_embtune.report._templates import render
from paddlenlp_embtune.report.plots._classification import plot_bars
from paddlenlp_embtune.report.plots._figure import FigureWriter
from paddlenlp_embtune.report.run_reader import Run
from paddlenlp_embtune.utils.run_layout import RECIPE, RECORD

__all__ = ["data", "export", "recipe"]

_MOST_BARS = 40


def data(run: Run, figures: FigureWriter) -> str:
    """What the checks of the data found, and where vectors come from."""
    found = run.last("data") or (run.manifest or {}).get("data")
    if not found:
        return render("absent.html", what="the record does not describe the data", source=RECORD)
    classes = dict(list(found["classes"].items())[:_MOST_BARS])
    figure = figures.draw(
        "classes",
        "Training rows of each label",
        lambda canvas: plot_bars(canvas, classes, unit="rows"),
        alt=", ".join(f"{label}: {number}" for label, number in classes.items()),
    )
    counts = [
        ("training rows", f"{found['train_rows']:,}"),
        *_augmentation(run.last("augmentation")),
        ("development rows", f"{found['dev_rows']:,}"),
        ("duplicates", f"{plural(found['duplicates'], 'training text')} seen before"),
        ("conflicts", f"{plural(found['conflicts'], 'training text')} with more than one label"),
        ("leaks", f"{plural(found['leaks'], 'development text')} among the training texts"),
        ("left out", f"{plural(found['skipped_empty'], 'training row')} without text"),
        ("vocabulary", plural(found["vocabulary"], "token")),
        ("unknown", f"{found['dev_unknown_rate']:.2%} of the tokens of the development rows"),
    ]
    return render(
        "sections/data.html",
        figure=figure,
        warnings=found["warnings"],
        counts=counts,
        vectors=_vectors(run.last("vectors") or (run.manifest or {}).get("vectors")),
        fingerprints=[(Path(name).name, value) for name, value in (found.get("sha256") or {}).items()],
    )


def _augmentation(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    if not found:
        return []
    rows = ", ".join(f"{name} {number:,}" for name, number in found["rows"].items())
    return [("added by augmentation", f"{plural(found['added'], 'row')} ({rows})")]


def _vectors(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if not found:
        return None
    origins = ", ".join(f"{number:,} {origin}" for origin, number in found["origins"].items())
    summary = f"Vectors: {found['source']}; {found['found']:.1%} of the tokens were found there ({origins})."
    if running := found.get("running"):
        summary += f" Of the running tokens of the training texts, {running['found']:.1%} were found"
        summary += f", {running['approximated']:.1%} approximated." if running["approximated"] else "."
    return {
        "summary": summary,
        "missing": "、".join(map(printable, found.get("missing_examples") or ())),
        "examples": [(origin, "; ".join(map(printable, shown))) for origin, shown in (found.get("examples") or {}).items()],
    }


def export(run: Run, _: FigureWriter) -> str:
    """What was exported, how large it is, and the proof that it agrees with the trained model."""
    failed = [event["message"] for event in run.of("export_failed")]
    if run.manifest is None:
        return render("sections/export.html", failed=failed, engines=None)
    parity = run.manifest.get("parity") or {}
    engines = [
        (engine, format_bytes(sum(run.sizes.get(name, 0) for name in files)), *_proof(parity.get(engine) or {}))
        for engine, files in (run.manifest.get("engines") or {}).items()
    ]
    return render(
        "sections/export.html",
        failed=failed,
        engines=engines,
        files=[(name, format_bytes(number)) for name, number in run.sizes.items()],
        total=format_bytes(sum(run.sizes.values())),
    )


def _proof(found: Mapping[str, Any]) -> tuple[str, str, str, str]:
    if "max_probability_difference" not in found:
        return "not proved", "", "", ""
    return (
        f"{found['max_probability_difference']:.1e}",
        f"{found['tolerance']:.0e}",
        f"{found['texts']:,} in {plural(found['batches'], 'batch')}",
        "yes" if found["same_labels"] else "no",
    )


def recipe(run: Run, _: FigureWriter) -> str:
    """The recipe as it stands in the run."""
    if run.recipe_text is None:
        return render("absent.html", what="the run has no recipe", source=RECIPE)
    return render("sections/recipe.html", text=run.recipe_text)
