"""The events of a run in a terminal, printed as they come."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from paddlenlp_embtune.bundle import ParityRecord
from paddlenlp_embtune.cli._console import per_class_table, print_notes
from paddlenlp_embtune.cli._terminal import err
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["RunDisplay", "print_event", "print_parity"]

_MANY_GROUPS = 4
_WORTH_SAYING = 60.0  # seconds


def print_event(event: Mapping[str, Any]) -> None:
    """Print one event of a run's record to stderr; other events are ignored."""
    show = _FORMS.get(str(event["event"]))
    if show is not None:
        show(event)


def print_parity(parity: Mapping[str, ParityRecord]) -> None:
    """Print how far each engine of a bundle differs from its model, by name of the engine."""
    for engine, record in parity.items():
        print_event({"event": "parity", "engine": engine, **to_plain(record)})


class RunDisplay:
    """Shows the events of one run as they come, and how long its training will still take."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def __call__(self, event: Mapping[str, Any]) -> None:
        """Print one event."""
        if event["event"] == "rates":
            _learning_rates(event, self._seconds_left(event))
        else:
            print_event(event)

    def _seconds_left(self, event: Mapping[str, Any]) -> float | None:
        """Go by the steps since the first ones of this process, evaluations included."""
        now, step = datetime.datetime.fromisoformat(event["time"]).timestamp(), event["step"]
        if self._first is None:
            self._first = now, step
        began, first = self._first
        return (now - began) / (step - first) * (event["steps"] - step) if step > first else None


def _data(event: Mapping[str, Any]) -> None:
    err.print(
        f"data: {event['train_rows']} training rows, {event['dev_rows']} development rows, {len(event['classes'])} labels, "
        f"vocabulary {event['vocabulary']}, unknown in dev {event['dev_unknown_rate']:.2%}"
    )
    for line in event["warnings"]:
        err.print(f"  [yellow]note:[/] {escape(line)}", markup=True)


def _augmentation(event: Mapping[str, Any]) -> None:
    rows = ", ".join(f"{name} {number}" for name, number in event["rows"].items())
    left_out = {"nothing to change": event["unchanged"], "a text that is there already": event["repeated"]}
    reasons = ", ".join(f"{total} {why}" for why, found in left_out.items() if (total := sum(found.values())))
    err.print(f"augmentation: {event['added']} rows added ({rows})" + (f"; left out: {reasons}" if reasons else ""))


def _self_training(event: Mapping[str, Any]) -> None:
    if event["left_out"]:
        print_notes([f"none of the {event['texts']} unlabelled texts is trained on: {event['left_out']}"])
        return
    labels = ", ".join(f"{label} {number}" for label, number in event["by_label"].items())
    err.print(
        f"self-training: {event['added']} of {event['texts']} unlabelled texts added ({labels}); out of fold "
        f"{event['accuracy']:.2f} of the rows are right, at a confidence of {event['confidence']:.2f}",
        markup=False,
    )


def _continual(event: Mapping[str, Any]) -> None:
    methods = ", ".join(f"{name} {strength:g}" for name, strength in event["methods"].items()) or "no method"
    former = f" after {', '.join(event['former_tasks'])}" if event["former_tasks"] else ""
    again = f"; {event['replayed']} stored examples are trained on again" if event["replayed"] else ""
    err.print(f"task {event['task']}{former}: {methods}{again}", markup=False, soft_wrap=True)


def _interpolated(event: Mapping[str, Any]) -> None:
    err.print(f"weights: {event['new_share']:.0%} new, {1 - event['new_share']:.0%} of the former bundle")


def _tasks(event: Mapping[str, Any]) -> None:
    err.print(
        "accuracy by task: " + ", ".join(f"{name} {value:.4f}" for name, value in event["accuracies"].items()), markup=False
    )
    if (sequence := event.get("sequence")) and sequence["forgetting"] is not None:
        err.print(
            f"average accuracy {sequence['average_accuracy']:.4f}, backward transfer {sequence['backward_transfer']:+.4f}, "
            f"forgetting {sequence['forgetting']:.4f}"
        )


def _tuning(event: Mapping[str, Any]) -> None:
    err.print(f"tuning: {event['chosen']}; {event['why']}; --tuning or the recipe's tuning states another", markup=False)


def _head(event: Mapping[str, Any]) -> None:
    err.print(f"head: a regression on the vectors of {event['rows']} rows, C {event['inverse_regularization']:g}")


def _vectors(event: Mapping[str, Any]) -> None:
    origins = ", ".join(f"{count} {origin}" for origin, count in event["origins"].items())
    err.print(f"vectors: {event['source']}; {event['found']:.1%} of tokens found ({origins})")


def _teacher(event: Mapping[str, Any]) -> None:
    asked, files = event["asked"], event["unlabelled_files"]
    how = "answers read from a file" if asked["from_file"] else f"{asked['texts']} texts answered in {asked['seconds']:.1f} s"
    err.print(f"teacher: {event['name']} by {event['engine']}; {how}, {asked['bytes'] / 1e6:.1f} MB")
    if files["read"]:
        reasons = {"in_dev": "among the dev rows", "in_train": "among the training rows"}
        left_out = (f"{files[name]} {reasons.get(name, name)}" for name in ("in_dev", "in_train", "duplicates", "blank"))
        kept = event["unlabelled"] - files["recombined"]
        err.print(f"  unlabelled: {kept} of {files['read']} texts; left out: {', '.join(left_out)}")
    if files["recombined"]:
        err.print(f"  recombined: {files['recombined']} texts of clauses and words of the training rows")


def _groups(event: Mapping[str, Any]) -> None:
    table = Table("group", "parameters", "learning rate", "weight decay", "trains")
    for row in event["table"]:
        cells = (row["name"], f"{row['parameters']:,}", f"{row['rate']:.1e}", f"{row['weight_decay']:g}", row["phase"])
        table.add_row(*cells)
    err.print(table)


def _phase(event: Mapping[str, Any]) -> None:
    names = ", ".join(event["units"])
    err.print(f"[cyan]epoch {event['epoch']}:[/] {event['what']} {escape(names)} ({event['parameters']:,} values)", markup=True)


def _learning_rates(event: Mapping[str, Any], left: float | None) -> None:
    rates = [f"{name} {rate:.1e}" for name, rate in event["rates"].items()]
    shown = "  ".join(rates if len(rates) <= _MANY_GROUPS else (rates[0], "…", *rates[-2:]))
    minutes = "" if left is None or left < _WORTH_SAYING else f"  {left / 60:.0f} min left at most"
    err.print(
        f"  epoch {event['epoch']:.2f}  loss {event['loss']:.4f}{minutes}  [dim]learning rates: {escape(shown)}[/]",
        markup=True,
        soft_wrap=True,
    )


def _early_stopping(event: Mapping[str, Any]) -> None:
    mark = "[green]best so far[/]" if event["improved"] else f"no gain for {event['bad_evals']}"
    metric = escape(event["metric"].removeprefix("eval_"))
    err.print(f"[cyan]epoch {event['epoch']:.2f}:[/] {metric} {event['value']:.4f}  {mark}", markup=True)


def _health(event: Mapping[str, Any]) -> None:
    if event.get("rows_broken"):
        err.print(
            f"[bold yellow]  embedding: {event['rows_broken']} of {event['rows_watched']} rows are not finite[/]", markup=True
        )
        return
    parts = [
        f"{event['rows_moved']} rows moved",
        f"drift {event['cosine_drift_mean']:.4f} (p95 {event['cosine_drift_p95']:.4f})",
        f"norm {event['norm_mean']:.3f}",
    ]
    if event.get("gradient_norm") is not None:
        parts.append(f"gradient {event['gradient_norm']:.2e}")
    if "effective_rank" in event:
        parts.append(f"rank {event['effective_rank']:.0f}, mean cosine {event['mean_cosine']:.3f}")
    if "neighbourhood_overlap" in event:
        parts.append(f"neighbours kept {event['neighbourhood_overlap']:.0%}")
    err.print(f"[dim]  embedding: {', '.join(parts)}[/]", markup=True)


def _alarm(event: Mapping[str, Any]) -> None:
    done = f" [bold]{escape(event['done'])}[/]" if event.get("done") else ""
    err.print(f"[bold yellow]alarm:[/] {escape(event['message'])}{done}", markup=True)


def _stopped(event: Mapping[str, Any]) -> None:
    err.print(f"stopped early: {event['reason'].replace('_', ' ')}")


def _resumed(event: Mapping[str, Any]) -> None:
    err.print(f"[cyan]resumed[/] from {escape(event['checkpoint'])}, epoch {event['epoch']:.2f}", markup=True)


def _learning_rate_scaled(event: Mapping[str, Any]) -> None:
    group = escape(event["group"])
    err.print(f"[cyan]epoch {event['epoch']:.2f}:[/] learning rate of {group} lowered to {event['factor']:.1%}", markup=True)


def _average(event: Mapping[str, Any]) -> None:
    metric = event["metric"].removeprefix("eval_")
    err.print(f"  {metric} of the average {event['average']:.4f}, of the weights {event['last']:.4f}")


def _averaged(event: Mapping[str, Any]) -> None:
    metric, average, last = event["metric"].removeprefix("eval_"), event["average"], event["last"]
    figures = "" if average is None or last is None else f" ({metric} of the average {average:.4f}, of the weights {last:.4f})"
    err.print(f"kept: the {event['kept']}{figures}")


def _shipped(event: Mapping[str, Any]) -> None:
    weights = {"average": "the average of the weights", "best": "the best weights", "last": "the last weights"}
    weights["fitted"] = "the experts as they were fitted"
    err.print(f"the bundle has {weights[event['weights']]}: {event['metric']} {event['value']:.4f} on the development rows")


def _restored(event: Mapping[str, Any]) -> None:
    err.print(f"best weights restored: epoch {event['epoch']:.2f}, {event['metric']} {event['value']:.4f}")


def _parity(event: Mapping[str, Any]) -> None:
    err.print(
        f"parity: {event['engine']} differs by at most {event['max_probability_difference']:.1e} in a probability over "
        f"{event['texts']} texts in {event['batches']} batches (allowed: below {event['tolerance']:.0e})"
    )


def _calibrated(event: Mapping[str, Any]) -> None:
    if "labels" in event:
        how = f"{event['labels']} labels calibrated, each with its threshold"
    else:
        how = f"temperature {event['temperature']:.3f}"
    err.print(
        f"calibrated: {how}; calibration error {event['ece_before']:.4f} -> "
        f"{event['ece_held_out']:.4f}, negative log-likelihood {event['nll_before']:.4f} -> {event['nll_held_out']:.4f} (both "
        f"on rows that it was not fitted on), {event['rows']} rows, {event['errors']} of them wrong",
        soft_wrap=True,
    )
    if event["note"]:
        print_notes([event["note"]])
    if event["target_precision"] is not None:
        precision = "none" if event["precision"] is None else f"{event['precision']:.1%}"
        other = "none" if event["precision_held_out"] is None else f"{event['precision_held_out']:.1%}"
        thresholds = ", ".join(f"{label} {value:.2f}" for label, value in event["thresholds"].items())
        err.print(
            f"thresholds for a precision of {event['target_precision']:.0%}: {thresholds}; they "
            f"answer {event['answered']:.1%} of the rows, {precision} of them correctly; on rows that they were not fitted on, "
            f"{other}",
            soft_wrap=True,
        )


def _quantized(event: Mapping[str, Any]) -> None:
    speed = "speed not measured without a GPU" if event["speedup"] is None else f"{event['speedup']:.2f} times as fast"
    err.print(
        f"{event['precision']}, {event['method']}: {event['bytes'] / 1e6:.2f} MB (fp32 {event['bytes_fp32'] / 1e6:.2f}), "
        f"{speed}, accuracy {event['accuracy']:.4f} (fp32 {event['accuracy_fp32']:.4f}), {event['agreement']:.2%} of "
        f"{event['rows']} labels alike; the rest of the batch changes a probability by at most {event['company']:.1e}"
    )


def _stages(event: Mapping[str, Any]) -> None:
    parts = event["seconds"]
    err.print(f"seconds: {', '.join(f'{name} {value:.1f}' for name, value in parts.items())}; {sum(parts.values()):.1f} in all")


def _trained(event: Mapping[str, Any]) -> None:
    err.print(f"trained: {event['steps']} steps in {event['seconds']:.1f} s")


def _cut(event: Mapping[str, Any]) -> None:
    if event["train"] or event["dev"]:
        err.print(
            f"  [yellow]note:[/] cut at {event['max_length']} tokens: {event['train']} training texts, {event['dev']} "
            "development texts; raise text.max_length, or set text.windows",
            markup=True,
            soft_wrap=True,
        )


def _experts(event: Mapping[str, Any]) -> None:
    shares = ", ".join(f"{name} {share:.0%}" for name, share in event["shares"].items())
    layers = f"; vectors of layer {' + '.join(map(str, event['layers']))}, by {event['engine']}" if event["layers"] else ""
    err.print(f"experts: {shares}{layers}; {event['seconds']:.1f} s", soft_wrap=True)
    for where, figures in (("out of fold", event["out_of_fold"]), ("on the development rows", event.get("dev", {}))):
        if figures:
            err.print(f"  accuracy {where}: {', '.join(f'{name} {value:.4f}' for name, value in figures.items())}")


def _metrics(event: Mapping[str, Any]) -> None:
    err.print(f"on {event['data']}, through {event['engine']}:")
    err.print(per_class_table(event))
    if teacher := event.get("teacher"):
        kept = "" if teacher["f1_macro_kept"] is None else f", of which the student keeps {teacher['f1_macro_kept']:.1%}"
        err.print(
            f"compared with its teacher {teacher['name']}: {teacher['agreement']:.1%} of the labels agree, divergence "
            f"{teacher['divergence']:.3f}; the teacher's macro F1 {teacher['teacher_f1_macro']:.4f}{kept}"
        )


def _baseline(event: Mapping[str, Any]) -> None:
    if "left_out" in event:
        print_notes([f"the model is not compared with a baseline: {event['left_out']}"])
    elif event["ahead"] == "model":
        err.print(event["summary"], soft_wrap=True)
    else:
        print_notes([event["summary"]])


_FORMS = {
    "alarm": _alarm,
    "augmentation": _augmentation,
    "average": _average,
    "averaged": _averaged,
    "baseline": _baseline,
    "calibrated": _calibrated,
    "continual": _continual,
    "cut": _cut,
    "data": _data,
    "early_stopping": _early_stopping,
    "experts": _experts,
    "groups": _groups,
    "head": _head,
    "health": _health,
    "interpolated": _interpolated,
    "metrics": _metrics,
    "parity": _parity,
    "phase": _phase,
    "quantized": _quantized,
    "rate_scaled": _learning_rate_scaled,
    "restored": _restored,
    "resumed": _resumed,
    "self_training": _self_training,
    "shipped": _shipped,
    "stages": _stages,
    "stopped": _stopped,
    "tasks": _tasks,
    "teacher": _teacher,
    "tuning": _tuning,
    "trained": _trained,
    "vectors": _vectors,
}
