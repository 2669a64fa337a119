"""The run at a glance: main figures, and what to check first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from paddlenlp_embtune.report._formatting import format_bytes, plural, printable
from paddlenlp_embtune.report._templates import render
from paddlenlp_embtune.report.plots._figure import FigureWriter
from paddlenlp_embtune.report.run_reader import Run

__all__ = ["findings", "overview"]

_KINDS = ("alarm", "check", "ok")
_CALIBRATED = 0.05
_WEAK_LABEL_GAP = 0.1
_TEACHER_KEPT = 0.97
_FEW_ROWS = 100
_SHOWN_LABELS = 12


def overview(run: Run, _: FigureWriter) -> str:
    """Main figures, then findings, the most serious first, then facts."""
    versions = (run.manifest or {}).get("versions") or {}
    return render(
        "sections/overview.html",
        cards=list(_cards(run)),
        findings=sorted(findings(run), key=lambda finding: _KINDS.index(finding[0])),
        run_facts=_facts(run),
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )


def _answers(run: Run) -> Any:
    """Return the metrics of the error analysis, or else those of the evaluation; empty if there are neither."""
    return run.dev or run.metrics or {}


def _cards(run: Run) -> Iterator[tuple[str, str, str]]:
    answers, trained, health = _answers(run), run.last("trained"), run.last("health")
    if answers:
        rows = plural(answers["n"], "development row")
        if "f1_micro" in answers:
            yield "micro F1", f"{answers['f1_micro']:.3f}", f"on {rows}"
        yield "macro F1", f"{answers['f1_macro']:.3f}", f"on {rows}"
        yield "subset accuracy" if "f1_micro" in answers else "accuracy", f"{answers['accuracy']:.1%}", f"on {rows}"
    if run.dev:
        yield "calibration error", f"{run.dev['calibration']['ece']:.1%}", "0% is perfect"
    if run.movement or health:
        limit = (run.recipe.get("health") or {}).get("drift_alarm")
        hint = "of the weights kept" if run.movement else "at the last check"
        yield "mean cosine drift", f"{_drift(run)[1]:.3f}", hint + (f"; alarm above {limit:g}" if limit is not None else "")
    if trained:
        epochs = (run.recipe.get("train") or {}).get("epochs")
        yield "training", f"{trained['seconds']:.0f} s", f"{trained['epochs']:g} of {epochs or '?'} epochs"
    if run.sizes:
        yield "bundle", format_bytes(sum(run.sizes.values())), plural(len(run.sizes), "file")


def findings(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what a reader should know of the run, in no order: (``alarm``, ``check`` or ``ok``, a sentence)."""
    yield from _alarms(run)
    yield from (("alarm", f"an engine could not be exported: {event['message']}") for event in run.of("export_failed"))
    yield from _end_of_training(run)
    yield from (("check", line) for line in run.last("data").get("warnings") or ())
    yield from _labels(run)
    yield from _baseline(run)
    yield from _distillation(run)
    yield from _confidence(run)
    yield from _embedding(run)
    yield from _parity(run)


def _alarms(run: Run) -> Iterator[tuple[str, str]]:
    alarms = run.of("alarm")
    yield from (("alarm", f"epoch {run.epoch_of(event):g}: {event['message']}") for event in alarms[:1])
    if alarms[1:]:
        yield "alarm", f"{plural(len(alarms) - 1, 'more alarm')}, the last at epoch {run.epoch_of(alarms[-1]):g}"


def _end_of_training(run: Run) -> Iterator[tuple[str, str]]:
    stopped, restored, evals = run.last("stopped"), run.last("restored"), run.of("early_stopping")
    kept = f"; the weights of epoch {restored['epoch']:g} were kept" if restored else ""
    if stopped.get("reason") == "no_improvement":
        yield "ok", f"training stopped early at epoch {stopped['epoch']:g}: the metric no longer improved{kept}"
    elif stopped:
        yield "alarm", f"training was stopped: {str(stopped['reason']).replace('_', ' ')}{kept}"
    elif evals and evals[-1]["improved"]:
        yield "check", "the last evaluation was the best: more epochs may still help"
    elif restored:
        yield "ok", f"training ran to its last epoch{kept}"


def _labels(run: Run) -> Iterator[tuple[str, str]]:
    answers = _answers(run)
    if not answers:
        return
    if answers["n"] < _FEW_ROWS:
        yield "check", f"there are only {plural(answers['n'], 'development row')}: treat all metrics as rough"
    table = answers["per_class"]
    names = list(table)
    worst = min(names, key=lambda name: table[name]["f1"])
    row = answers["confusion"][names.index(worst)] if "confusion" in answers else [0] * len(names)
    others = {name: taken for name, taken in zip(names, row, strict=True) if name != worst}
    if table[worst]["f1"] == 1.0:
        yield "ok", "every row got its true label"
        return
    text = f"the weakest label is {worst}: F1 {table[worst]['f1']:.3f} on {plural(table[worst]['support'], 'row')}"
    taken = max(others, key=lambda name: others[name])
    if others[taken]:
        text += f", {others[taken]:,} of them predicted as {taken}"
    yield ("check" if table[worst]["f1"] < answers["f1_macro"] - _WEAK_LABEL_GAP else "ok"), text


def _baseline(run: Run) -> Iterator[tuple[str, str]]:
    found = run.last("baseline")
    if "left_out" in found:
        yield "check", f"the model is not compared with a baseline: {found['left_out']}"
    elif found:
        yield "ok" if found["ahead"] == "model" else "check", found["summary"]


def _distillation(run: Run) -> Iterator[tuple[str, str]]:
    teacher = (run.manifest or {}).get("teacher") or {}
    figures = teacher.get("dev") or {}
    if (kept := figures.get("f1_macro_kept")) is not None:
        text = f"distilled from {teacher['name']}, it agrees on {figures['agreement']:.1%} of the development rows"
        yield ("ok" if kept >= _TEACHER_KEPT else "check"), f"{text} and keeps {kept:.1%} of its macro F1"


def _confidence(run: Run) -> Iterator[tuple[str, str]]:
    if not run.dev:
        return
    error, claimed = run.dev["calibration"]["ece"], run.dev["calibration"]["confidence"]
    right, what = run.dev["accuracy"], "accuracy"
    if "f1_micro" in run.dev:  # of all pairs of text and label
        rows = sum(each["support"] for each in run.dev["per_class"].values())
        right, what = rows / (run.dev["n"] * len(run.dev["per_class"])), "share of labels that texts have"
    figures = f"mean probability {claimed:.1%}, {what} {right:.1%} (calibration error {error:.1%})"
    if error <= _CALIBRATED:
        yield "ok", f"probabilities are well calibrated: {figures}"
    else:
        yield "check", f"the classifier is {'overconfident' if claimed > right else 'underconfident'}: {figures}"


def _embedding(run: Run) -> Iterator[tuple[str, str]]:
    if run.movement is None and not run.last("health"):
        return
    rows, drift = _drift(run)
    if not rows:
        yield "check", "no row of the embedding has moved: it was frozen to the end, or its learning rate is 0"
    elif not run.of("alarm"):
        yield "ok", f"{plural(rows, 'row')} of the embedding moved, by a mean cosine drift of {drift:.3f}"


def _drift(run: Run) -> tuple[int, float]:
    """Return the rows that moved and their mean drift: of the weights that were kept, or else at the last check."""
    if run.movement is not None:
        return run.movement["rows_moved"], run.movement["drift_mean"]
    return run.last("health")["rows_moved"], run.last("health")["cosine_drift_mean"]


def _parity(run: Run) -> Iterator[tuple[str, str]]:
    proofs = (run.manifest or {}).get("parity") or {}
    for engine, proof in proofs.items():
        if not proof["same_labels"] or proof["max_probability_difference"] >= proof["tolerance"]:
            yield "alarm", f"the engine {engine} does not agree with the trained model"
            return
    if proofs:
        most = max(proof["max_probability_difference"] for proof in proofs.values())
        yield "ok", f"every engine agrees with the trained model, to {most:.0e} in a probability: {', '.join(proofs)}"


def _facts(run: Run) -> list[tuple[str, object]]:
    start, data, manifest = run.last("start"), run.last("data"), run.manifest or {}
    model, vectors = run.recipe.get("model") or {}, run.last("vectors")
    labels = manifest.get("labels") or list(data.get("classes") or ())
    more = f" and {len(labels) - _SHOWN_LABELS} more" if len(labels) > _SHOWN_LABELS else ""
    facts = [
        ("folder", run.path.resolve()),
        ("started", str(start.get("time") or "").replace("T", " ")[:19]),
        ("domain", manifest.get("domain") or run.recipe.get("domain") or "none"),
        ("labels", "、".join(map(printable, labels[:_SHOWN_LABELS])) + more),
        ("model", model.get("name")),
        ("vectors", vectors.get("source")),
        ("seed", run.recipe.get("seed")),
        ("recipe", str(start.get("recipe") or "")[:16]),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]
