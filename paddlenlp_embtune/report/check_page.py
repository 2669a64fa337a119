"""The page of checked data: what ``embtune check`` found, as one HTML file that needs nothing beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.report._formatting import plural
from paddlenlp_embtune.report._templates import check_jinja, render
from paddlenlp_embtune.utils.files.atomic_io import write_text

__all__ = ["write_check_page"]

_SHOWN = 200
_LONGEST = 300

Rows = list[tuple[object, ...]]


def write_check_page(path: str | Path, found: Mapping[str, Any], *, shown: int = _SHOWN) -> Path:
    """Write what the checks of labelled rows found.

    Args:
        path: of the file.
        found: the object that ``embtune check --json`` prints.
        shown: rows of each table at most.
    Returns:
        The file that was written.
    Raises:
        MissingDependencyError: jinja2 is not installed.
    """
    check_jinja()
    sections = [
        ("At a glance", _overview(found)),
        ("Labels", _labels(found)),
        ("Leaks between splits", _table(("kind", "row", "text", "is in", "as", "similarity", "label"), _leaks(found), shown)),
        ("Duplicates", _table(("split", "rows", "text", "labels"), _duplicates(found), shown)),
        ("Near-duplicates", _table(("split", "row", "text", "row", "text", "similarity", "labels"), _near(found), shown)),
        ("Conflicting labels", _table(("text", "labels", "rows"), _conflicts(found), shown)),
        (
            "Suspected label errors",
            _table(("row", "label", "proposal", "confidence", "text"), _suspects(found), shown, note=_SUSPECTS),
        ),
        ("Texts", _texts(found)),
        ("Damage and markup", _table(("row", "kind", "found", "times"), _oddities(found), shown)),
        ("Shared beginnings and ends", _table(("where", "text", "texts", "labels"), _boilerplate(found), shown)),
    ]
    names = ", ".join(Path(file["path"]).name for file in found["files"])
    lead = f"Checked in {found['seconds']:.1f} seconds, before training"
    write_text(Path(path), render("page.html", title=names, lead=lead, by="embtune check", sections=sections))
    return Path(path)


_SUSPECTS = (
    "A model that had not seen the row finds its label unlikely. Where labels are mostly clean, about half of these are wrong; "
    "where people disagree about them, far fewer. Read from the top, and stop where most are right."
)


def _overview(found: Mapping[str, Any]) -> Any:
    files = [
        (
            Path(file["path"]).name,
            file["split"],
            f"{file['rows']:,}",
            f"{len(file['empty']):,}",
            f"{len(file['unlabelled']):,}",
            f"{found['ceilings'].get(file['split'], 1):.2%}",
        )
        for file in found["files"]
    ]
    cards = [
        ("rows", f"{found['rows']:,}"),
        ("labels", f"{len(found['labels']):,}"),
        ("leaks", f"{len({(row['row']['file'], row['row']['row']) for row in found['leaks']}):,}"),
        ("duplicates", f"{sum(len(group['rows']) - 1 for group in found['duplicates']):,}"),
        ("conflicts", f"{len(found['conflicts']):,}"),
        ("suspects", f"{len(found['suspects']):,}"),
    ]
    findings = [(finding["severity"], finding["message"]) for finding in found["findings"]]
    return render("sections/check_overview.html", cards=cards, findings=findings, files=files, notes=found["notes"])


def _labels(found: Mapping[str, Any]) -> Any:
    total = max(1, sum(found["labels"].values()))
    rows = [(label, f"{count:,}", count / total) for label, count in sorted(found["labels"].items(), key=lambda each: -each[1])]
    return render("sections/check_labels.html", rows=rows, variants=found["label_variants"], balance=found["balance"])


def _texts(found: Mapping[str, Any]) -> Any:
    lengths, unknown = found["lengths"], found["unknown_tokens"]
    names = ("min", "median", "mean", "p95", "p99", "max")
    table = [(what, *(f"{lengths[what][name]:,.0f}" for name in names)) for what in ("characters", "tokens")]
    cut = [(length, f"{count:,}", f"{count / found['rows']:.1%}") for length, count in lengths["cut_at"].items()]
    return render(
        "sections/check_texts.html",
        names=names,
        lengths=table,
        cut=cut,
        told=f"{plural(lengths['cut'], 'text')} above {lengths['max_length']} tokens, {lengths['lost']:.2%} of all tokens",
        unknown=[(split, f"{share:.2%}", f"{unknown['rows'][split]:,}") for split, share in unknown["share"].items()],
        vocabulary=f"{unknown['tokenizer']}, {plural(unknown['vocabulary'], 'token')}",
        worst=[(token, f"{count:,}") for token, count in unknown["worst"].items()],
        scripts=[(name, f"{share:.2%}") for name, share in found["languages"]["characters"].items()],
        languages=[(name, f"{count:,}") for name, count in found["languages"]["rows"].items()],
    )


def _table(head: Sequence[str], rows: Rows, shown: int, *, note: str | None = None) -> Any:
    return render("sections/check_table.html", head=head, rows=rows[:shown], more=max(0, len(rows) - shown), note=note)


def _leaks(found: Mapping[str, Any]) -> Rows:
    return [
        (
            leak["kind"],
            _place(leak["row"]),
            _short(leak["text"]),
            _place(leak["of"]),
            "the same" if leak["kind"] == "exact" else _short(leak["of_text"]),
            f"{leak['similarity']:.2f}",
            "same" if leak["same_label"] else "another",
        )
        for leak in found["leaks"]
    ]


def _duplicates(found: Mapping[str, Any]) -> Rows:
    return [
        (group["split"], _places(group["rows"]), _short(group["text"]), "same" if group["same_label"] else "differ")
        for group in found["duplicates"]
    ]


def _near(found: Mapping[str, Any]) -> Rows:
    return [
        (
            pair["split"],
            str(pair["rows"][0]["row"]),
            _short(pair["texts"][0]),
            str(pair["rows"][1]["row"]),
            _short(pair["texts"][1]),
            f"{pair['similarity']:.2f}",
            "same" if pair["same_label"] else "differ",
        )
        for pair in found["near_duplicates"]
    ]


def _conflicts(found: Mapping[str, Any]) -> Rows:
    return [(_short(each["text"]), _counts(each["labels"]), _places(each["rows"])) for each in found["conflicts"]]


def _suspects(found: Mapping[str, Any]) -> Rows:
    return [
        (_place(each), each["label"], each["proposal"], f"{each['confidence']:.2f}", _short(each["text"]))
        for each in found["suspects"]
    ]


def _oddities(found: Mapping[str, Any]) -> Rows:
    order = Counter(each["kind"] for each in found["oddities"])
    ordered = sorted(found["oddities"], key=lambda each: order[each["kind"]])
    return [(_place(each), each["kind"], each["found"], f"{each['count']:,}") for each in ordered]


def _boilerplate(found: Mapping[str, Any]) -> Rows:
    return [(each["where"], each["text"], f"{each['rows']:,}", _counts(each["labels"])) for each in found["boilerplate"]]


def _place(place: Mapping[str, Any]) -> str:
    return f"{Path(place['file']).name} {place['row']}"


def _places(places: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(map(_place, places[:8])) + (f", ... ({len(places):,} in all)" if len(places) > 8 else "")


def _counts(labels: Mapping[str, int]) -> str:
    return ", ".join(f"{label} {count:,}" for label, count in list(labels.items())[:8])


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
