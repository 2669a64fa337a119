"""Several sets of labelled rows through one bundle, or through the bundles of a sequence of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from paddlenlp_embtune.cli._data_format import DataFormat
from paddlenlp_embtune.cli._texts import load_examples, require_known_labels
from paddlenlp_embtune.data import Examples
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.evaluation import classification_report, task_sequence
from paddlenlp_embtune.inference import Predictor, refuse_several_labels
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["measured_sets", "named_files", "sets_table"]


def named_files(stated: Sequence[str]) -> dict[str, Path]:
    """Return files by name: of one that is there as it is stated, its path is the name; others are NAME=FILE.

    Raises:
        RecipeError: a name stands twice, or one of several files has none.
    """
    found: dict[str, Path] = {}
    for each in stated:
        name, separator, path = each.partition("=")
        if Path(each).exists() or not (separator and name.strip() and path):
            if len(stated) > 1:
                raise RecipeError(f"--data is {each!r} beside others; expected NAME=FILE for each, such as old={each}")
            name, path = each, each
        if name in found:
            raise RecipeError(f"--data has the name {name!r} twice; give each file a name of its own")
        found[name] = Path(path)
    return found


def measured_sets(
    bundles: Sequence[Path],
    files: Mapping[str, Path],
    data_format: DataFormat,
    *,
    engine: str,
    precision: str,
    num_threads: int | None,
    skip_empty: bool,
) -> dict[str, Any]:
    """Measure bundles on sets: the last one in full, and all of them as a sequence where there is one for each set.

    Raises:
        RecipeError: there are former bundles, but not one for each set but the last.
        DataError: a set has labels that the last bundle does not give.
    """
    if 1 < len(bundles) != len(files):
        raise RecipeError(
            f"--former names {len(bundles) - 1} bundles beside {len(files)} sets; expected {len(files) - 1}, the bundle after "
            "each task but the last, in the order of --data"
        )
    sets = {name: load_examples(path, data_format, skip_empty=skip_empty) for name, path in files.items()}
    reports: list[dict[str, dict[str, Any]]] = []
    for place, bundle in enumerate(bundles):
        predictor = Predictor(bundle, engine=engine, precision=precision, num_threads=num_threads)
        refuse_several_labels(predictor.bundle.manifest, "an evaluation on several sets")
        if place == len(bundles) - 1:
            for rows in sets.values():
                require_known_labels(rows, predictor.labels)
        reports.append({name: _report(predictor, rows) for name, rows in sets.items()})
    last = reports[-1]
    mean = {key: sum(report[key] for report in last.values()) / len(last) for key in ("accuracy", "f1_macro")}
    answer: dict[str, Any] = {
        "bundle": str(bundles[-1]),
        "engine": engine,
        "sets": {name: {**report, "data": str(files[name])} for name, report in last.items()},
        "mean": mean,
    }
    if len(bundles) > 1:
        matrix = [[report[name]["accuracy"] for name in files] for report in reports]
        answer["sequence"] = to_plain(task_sequence(tuple(files), matrix))
    return answer


def _report(predictor: Predictor, rows: Examples) -> dict[str, Any]:
    """Figures of a set; a label that a former bundle did not know yet is one that it never gives."""
    labels = (*predictor.labels, *(label for label in dict.fromkeys(rows.labels) if label not in predictor.labels))
    number = {label: place for place, label in enumerate(labels)}
    predicted = predictor.probabilities(rows.texts).argmax(axis=1).tolist()
    return {
        **classification_report([number[label] for label in rows.labels], predicted, labels),
        "cut": predictor.count_cut(rows.texts),
    }


def sets_table(answer: Mapping[str, Any]) -> Table:
    """Lay the figures of :func:`measured_sets` out as a table, with the matrix where there is one."""
    sequence = answer.get("sequence")
    table = Table("set", "rows", "accuracy", "macro F1", *(sequence["tasks"] if sequence else ()), title_justify="left")
    for place, (name, report) in enumerate(answer["sets"].items()):
        matrix = [f"{value:.4f}" for value in sequence["accuracies"][place]] if sequence else []
        table.add_row(name, f"{report['n']:,}", f"{report['accuracy']:.4f}", f"{report['f1_macro']:.4f}", *matrix)
    table.add_section()
    table.add_row("mean", "", f"{answer['mean']['accuracy']:.4f}", f"{answer['mean']['f1_macro']:.4f}")
    for key in ("average_accuracy", "backward_transfer", "forgetting"):
        if sequence and sequence[key] is not None:
            table.add_row(key.replace("_", " "), "", f"{sequence[key]:.4f}", "")
    if sequence:
        table.caption = "columns on the right: accuracy of each task after the task of the row was learnt"
    return table
