"""What the tables of a comparison hold, as text: the same on a page and in Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune.report._formatting import plural

__all__ = [
    "average_cells",
    "average_head",
    "curve_rows",
    "explanation",
    "reach_sentences",
    "size_of",
    "table_cells",
    "table_head",
    "table_title",
]

NAMES = {"accuracy": "accuracy", "f1_macro": "macro F1"}


def table_head(found: Mapping[str, Any]) -> list[str]:
    """Return the heads of the columns of an arm on one data set."""
    shown = ("arm", "accuracy", "macro F1", f"{NAMES[found['metric']]}: 95%", f"difference to {found['against']}", "p (Holm)")
    return [*shown, "fit", "memory", "size", "texts/s"]


def average_head(found: Mapping[str, Any]) -> list[str]:
    """Return the heads of the columns of an arm over several data sets."""
    return ["arm", "accuracy", "macro F1", f"difference to {found['against']}", "fit", "best, or within noise of it, on"]


def curve_rows(curve: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the rows of the table of a learning curve."""
    sizes = sorted({rows for points in curve["curves"].values() for rows, _ in points})
    values = {arm: dict(points) for arm, points in curve["curves"].items()}
    rows = [[arm, *(f"{of[size]:.4f}" if size in of else "" for size in sizes)] for arm, of in values.items()]
    return ["arm", *(f"{size:,}" for size in sizes)], rows


def table_title(table: Mapping[str, Any]) -> str:
    """Return what a table is about."""
    return f"{table['data']}, {table['train_rows']:,} labelled rows, measured on {table['test_rows']:,}"


def size_of(part: Mapping[str, Any]) -> str:
    """Return the size that a part of a comparison is about; nothing for all rows."""
    return "" if part["size"] is None else f", {part['size']:,} labelled rows"


def table_cells(row: Mapping[str, Any], metric: str) -> list[str]:
    """Return the cells of one arm, in the order of :func:`table_head`."""
    low, high = row[metric]["interval"]
    difference, p = difference_cell(row["difference"])
    figures = (figure_cell(row[name]) for name in ("accuracy", "f1_macro"))
    return [row["arm"], *figures, f"{low:.4f} to {high:.4f}", difference, p, *cost_cells(row["cost"])]


def average_cells(row: Mapping[str, Any], sets: int) -> list[str]:
    """Return the cells of one arm over several data sets."""
    difference = row["difference"]
    shown = "" if difference is None else _signed(difference)
    figures = (f"{row[name]:.4f}" for name in ("accuracy", "f1_macro"))
    return [row["arm"], *figures, shown, f"{row['seconds']:.1f} s", f"{row['best_on']} of {sets}"]


def figure_cell(figure: Mapping[str, Any]) -> str:
    """Return mean and standard deviation over seeds."""
    return f"{figure['mean']:.4f}" + ("" if figure["sd"] is None else f" ± {figure['sd']:.4f}")


def difference_cell(difference: Mapping[str, Any] | None) -> tuple[str, str]:
    """Return a difference with its interval, and its corrected p."""
    return ("", "") if difference is None else (_signed(difference), f"{difference['p_holm']:.3g}")


def cost_cells(cost: Mapping[str, float]) -> list[str]:
    """Return seconds, memory, size and speed."""
    return [
        f"{cost['seconds']:.1f} s",
        f"{cost['peak_bytes'] / 1e6:,.0f} MB",
        f"{cost['size_bytes'] / 1e6:.1f} MB",
        f"{cost['texts_per_second']:,.0f}",
    ]


def reach_sentences(curve: Mapping[str, Any]) -> list[str]:
    """Say how many labelled rows each arm needs for what another reaches."""
    found = []
    for each in curve["reach"]:
        what = (
            f"{each['arm']} reaches the {each['value']:.4f} that {each['other']} has with {each['other_rows']:,} labelled rows"
        )
        if each["rows"] is None:
            found.append(f"{what}: not with {each['most']:,}")
        else:
            found.append(f"{what}: with about {each['rows']:,}")
    return found


def explanation(found: Mapping[str, Any]) -> str:
    """Say what the columns are, and how intervals and p were found."""
    return (
        f"± is the standard deviation over {plural(len(found['seeds']), 'seed')}. Intervals: 95%, of the "
        f"{NAMES[found['metric']]}, by {found['resamples']:,} paired resamples of rows and seeds; p is corrected for all "
        "differences of one size (Holm). Arms are sorted by their mean, which is no order among those within noise of each "
        "other. fit: seconds of one fit with one thread; memory: the most of its process."
    )


def _signed(difference: Mapping[str, Any]) -> str:
    low, high = difference["interval"]
    return f"{difference['value']:+.4f} ({low:+.4f} to {high:+.4f})"
