"""Where a run comes from and what it leaves: data, export, recipe."""

from __future__ import annotations

from pathlib import Path

from paddlenlp_embtune.report._html import Html, absent, count, escape, folded, join, listing, paragraph, size, table
from paddlenlp_embtune.report.plots._classification import paint_bars
from paddlenlp_embtune.report.plots._figure import Studio
from paddlenlp_embtune.report.run_reader import Run

__all__ = ["data", "export", "recipe"]

_MOST_BARS = 40


def data(run: Run, studio: Studio) -> Html:
    """What the checks of the data found."""
    found = run.last("data") or (run.manifest or {}).get("data")
    if not found:
        return absent("the record does not describe the data", "record.jsonl")
    classes = dict(list(found["classes"].items())[:_MOST_BARS])
    drawn = studio.figure(
        "classes",
        "Training rows of each label",
        lambda pen: paint_bars(pen, classes, unit="rows"),
        alt=", ".join(f"{label}: {number}" for label, number in classes.items()),
    )
    facts = [
        ("training rows", f"{found['train_rows']:,}"),
        ("development rows", f"{found['dev_rows']:,}"),
        ("duplicates", f"{count(found['duplicates'], 'training text')} that stand there before"),
        ("conflicts", f"{count(found['conflicts'], 'training text')} with more than one label"),
        ("leaks", f"{count(found['leaks'], 'development text')} among the training texts"),
        ("left out", f"{count(found['skipped_empty'], 'training row')} without text"),
        ("vocabulary", count(found["vocabulary"], "token")),
        ("unknown", f"{found['dev_unknown_rate']:.2%} of the tokens of the development rows"),
    ]
    notes = [paragraph(line, kind="look") for line in found["warnings"]]
    quiet = paragraph("The checks found nothing to fix.", kind="note")
    side = [*(notes or [quiet]), listing(facts)]
    sums = [(Path(name).name, Html(f"<code>{escape(value)}</code>")) for name, value in (found.get("sha256") or {}).items()]
    pair = Html(f'<div class="figures two">{drawn}<div>{join(side)}</div></div>')
    prints = folded("Fingerprints of the files (SHA-256)", listing(sums)) if sums else ""
    return join([pair, _vectors(run), prints])


def _vectors(run: Run) -> Html:
    found = run.last("vectors") or (run.manifest or {}).get("vectors")
    if not found:
        return Html("")
    origins = ", ".join(f"{number:,} {origin}" for origin, number in found["origins"].items())
    text = f"Vectors: {found['source']}; {found['found']:.1%} of the tokens were found there ({origins})."
    if running := found.get("running"):
        text += f" Of the running tokens of the training texts, {running['found']:.1%} were found"
        text += f", {running['approximated']:.1%} approximated." if running["approximated"] else "."
    missing = found.get("missing_examples") or ()
    told = paragraph(text, " Not found, for example: " if missing else "", join(missing, "、"))
    examples = [(origin, join(shown, "; ")) for origin, shown in (found.get("examples") or {}).items()]
    return join([told, folded("Rows that come from something else, for example", listing(examples)) if examples else ""])


def export(run: Run, _: Studio) -> Html:
    """What was exported, how large it is, and the proof that it answers as the trained model."""
    failed = [paragraph(f"An engine could not be exported: {e['message']}", kind="alarm") for e in run.of("export_failed")]
    if run.manifest is None:
        return join([*failed, absent("there is no bundle", "bundle/bundle.json")])
    parity = run.manifest.get("parity") or {}
    rows = []
    for engine, files in (run.manifest.get("engines") or {}).items():
        proof = parity.get(engine) or {}
        there = "max_probability_difference" in proof
        rows.append(
            (
                engine,
                size(sum(run.sizes.get(name, 0) for name in files)),
                f"{proof['max_probability_difference']:.1e}" if there else "not proved",
                f"{proof['tolerance']:.0e}" if there else "",
                f"{proof['texts']:,} in {count(proof['batches'], 'batch').replace('batchs', 'batches')}" if there else "",
                ("yes" if proof["same_labels"] else "no") if there else "",
            )
        )
    told = paragraph(
        "Every engine ran the same texts as the trained model; the difference is the largest one in a probability of any label."
    )
    head = ("engine", "size", "difference", "allowed below", "texts compared", "same labels")
    whole = paragraph(f"The whole bundle: {size(sum(run.sizes.values()))} in {count(len(run.sizes), 'file')}.")
    listed = table(("file", "size"), [(name, size(number)) for name, number in run.sizes.items()], numbers=(1,))
    return join([*failed, told, table(head, rows, numbers=(1, 2, 3)), whole, folded("Files of the bundle", listed)])


def recipe(run: Run, _: Studio) -> Html:
    """The recipe as it stands in the run."""
    if run.recipe_text is None:
        return absent("the run has no recipe", "recipe.yaml")
    text = Html(f'<pre tabindex="0">{escape(run.recipe_text)}</pre>')
    return folded("The whole recipe, with every default", text)
