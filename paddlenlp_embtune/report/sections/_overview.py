"""The run at a glance: what came out, and what to look at first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from paddlenlp_embtune.report._html import Html, count, escape, join, listing, paragraph, size
from paddlenlp_embtune.report.plots._figure import Studio
from paddlenlp_embtune.report.run_reader import Run

__all__ = ["findings", "glance"]

_KINDS = {"alarm": "alarm", "look": "look at", "fine": "fine"}
_SURE = 0.05
_GAP = 0.1
_KEPT = 0.97
_FEW = 100


def glance(run: Run, _: Studio) -> Html:
    """Figures in boxes, then findings, the gravest first, then facts."""
    boxes = "".join(
        f'<div class="card"><b>{escape(value)}</b><span>{escape(name)}</span><small>{escape(hint)}</small></div>'
        for name, value, hint in _cards(run)
    )
    order = list(_KINDS)
    told = sorted(findings(run), key=lambda finding: order.index(finding[0]))
    items = [Html(f'<li class="{kind}"><b>{_KINDS[kind]}</b><span>{escape(text)}</span></li>') for kind, text in told]
    return Html(
        f'<div class="cards">{boxes}</div><ul class="findings">{join(items)}</ul>{listing(_facts(run))}{_versions(run)}'
    )


def _answers(run: Run) -> Any:
    """Figures of answers: of the insight, or else of the metrics; empty if there are neither."""
    return run.dev or run.metrics or {}


def _cards(run: Run) -> Iterator[tuple[str, str, str]]:
    answers, trained, health = _answers(run), run.last("trained"), run.last("health")
    if answers:
        rows = count(answers["n"], "development row")
        yield "macro F1", f"{answers['f1_macro']:.3f}", f"on {rows}"
        yield "accuracy", f"{answers['accuracy']:.1%}", f"on {rows}"
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
        yield "bundle", size(sum(run.sizes.values())), count(len(run.sizes), "file")


def findings(run: Run) -> Iterator[tuple[str, str]]:
    """Yield what a careful person would say of the run: (``alarm``, ``look`` or ``fine``, a sentence)."""
    yield from _alarms(run)
    yield from (("alarm", f"an engine could not be exported: {event['message']}") for event in run.of("export_failed"))
    yield from _end_of_training(run)
    yield from (("look", line) for line in run.last("data").get("warnings") or ())
    yield from _labels(run)
    yield from _beside_teacher(run)
    yield from _sureness(run)
    yield from _embedding(run)
    yield from _parity(run)


def _alarms(run: Run) -> Iterator[tuple[str, str]]:
    alarms = run.of("alarm")
    yield from (("alarm", f"epoch {run.epoch_of(event):g}: {event['message']}") for event in alarms[:1])
    if alarms[1:]:
        yield "alarm", f"{count(len(alarms) - 1, 'further alarm')}, the last at epoch {run.epoch_of(alarms[-1]):g}"


def _end_of_training(run: Run) -> Iterator[tuple[str, str]]:
    stopped, restored, evals = run.last("stopped"), run.last("restored"), run.of("early_stopping")
    kept = f"; the weights of epoch {restored['epoch']:g} were kept" if restored else ""
    if stopped.get("reason") == "no_improvement":
        yield "fine", f"training stopped by itself at epoch {stopped['epoch']:g}: no further gain{kept}"
    elif stopped:
        yield "alarm", f"training was stopped: {str(stopped['reason']).replace('_', ' ')}{kept}"
    elif evals and evals[-1]["improved"]:
        yield "look", "the last evaluation was the best: more epochs may still help"
    elif restored:
        yield "fine", f"training ran to its last epoch{kept}"


def _labels(run: Run) -> Iterator[tuple[str, str]]:
    answers = _answers(run)
    if not answers:
        return
    if answers["n"] < _FEW:
        yield "look", f"there are only {count(answers['n'], 'development row')}: all figures on them are rough"
    table = answers["per_class"]
    names = list(table)
    worst = min(names, key=lambda name: table[name]["f1"])
    row = answers["confusion"][names.index(worst)]
    others = {name: taken for name, taken in zip(names, row, strict=True) if name != worst}
    if table[worst]["f1"] == 1.0:
        yield "fine", "every row got its label"
        return
    text = f"the weakest label is {worst}: F1 {table[worst]['f1']:.3f} on {count(table[worst]['support'], 'row')}"
    taken = max(others, key=lambda name: others[name])
    if others[taken]:
        text += f", {others[taken]:,} of them taken for {taken}"
    yield ("look" if table[worst]["f1"] < answers["f1_macro"] - _GAP else "fine"), text


def _beside_teacher(run: Run) -> Iterator[tuple[str, str]]:
    teacher = (run.manifest or {}).get("teacher") or {}
    figures = teacher.get("dev") or {}
    if (kept := figures.get("f1_macro_kept")) is not None:
        text = f"taught by {teacher['name']}, it gives the same label to {figures['agreement']:.1%} of the development rows"
        yield ("fine" if kept >= _KEPT else "look"), f"{text} and keeps {kept:.1%} of the teacher's macro F1"


def _sureness(run: Run) -> Iterator[tuple[str, str]]:
    if not run.dev:
        return
    error, claimed, right = run.dev["calibration"]["ece"], run.dev["calibration"]["confidence"], run.dev["accuracy"]
    figures = f"it claims {claimed:.1%} on average and is right in {right:.1%} (calibration error {error:.1%})"
    if error <= _SURE:
        yield "fine", f"probabilities can be taken at their word: {figures}"
    else:
        yield "look", f"the classifier is {'too sure' if claimed > right else 'not sure enough'} of itself: {figures}"


def _embedding(run: Run) -> Iterator[tuple[str, str]]:
    if run.movement is None and not run.last("health"):
        return
    rows, drift = _drift(run)
    if not rows:
        yield "look", "no row of the embedding has moved: it was frozen to the end, or its rate is 0"
    elif not run.of("alarm"):
        yield "fine", f"{count(rows, 'row')} of the embedding moved, by a mean cosine drift of {drift:.3f}"


def _drift(run: Run) -> tuple[int, float]:
    """Rows that moved and their mean drift: of the weights that were kept, or else at the last check."""
    if run.movement is not None:
        return run.movement["rows_moved"], run.movement["drift_mean"]
    return run.last("health")["rows_moved"], run.last("health")["cosine_drift_mean"]


def _parity(run: Run) -> Iterator[tuple[str, str]]:
    proofs = (run.manifest or {}).get("parity") or {}
    for engine, proof in proofs.items():
        if not proof["same_labels"] or proof["max_probability_difference"] >= proof["tolerance"]:
            yield "alarm", f"the engine {engine} does not answer as the trained model"
            return
    if proofs:
        most = max(proof["max_probability_difference"] for proof in proofs.values())
        yield "fine", f"every engine answers as the trained model, to {most:.0e} in a probability: {', '.join(proofs)}"


def _facts(run: Run) -> list[tuple[str, object]]:
    start, data, manifest = run.last("start"), run.last("data"), run.manifest or {}
    model, vectors = run.recipe.get("model") or {}, run.last("vectors")
    labels = manifest.get("labels") or list(data.get("classes") or ())
    facts = [
        ("folder", run.path.resolve()),
        ("begun", str(start.get("time") or "").replace("T", " ")[:19]),
        ("domain", manifest.get("domain") or run.recipe.get("domain") or "none"),
        ("labels", join([join(labels[:12], "、"), f" and {len(labels) - 12} more" if len(labels) > 12 else ""])),
        ("model", model.get("name")),
        ("vectors", vectors.get("source")),
        ("seed", run.recipe.get("seed")),
        ("recipe", str(start.get("recipe") or "")[:16]),
    ]
    return [(name, value) for name, value in facts if value not in (None, "")]


def _versions(run: Run) -> Html:
    versions = (run.manifest or {}).get("versions") or {}
    text = ", ".join(f"{name} {version}" for name, version in versions.items())
    return paragraph(f"Made with {text}.", kind="note") if text else Html("")
