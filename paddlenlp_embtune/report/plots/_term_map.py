"""Maps of terms: from many dimensions to two, with as many names as there is room for."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import MissingDependencyError, RecipeError, expected_names
from paddlenlp_embtune.report.plots._canvas import COLOURS, FONT_SIZE, INK, Canvas, text_width

__all__ = ["METHODS", "Place", "check_method", "place_terms", "plot_map"]

METHODS = {"pca": "principal axes", "tsne": "t-SNE", "umap": "UMAP"}
_PACKAGES = {"tsne": ("sklearn.manifold", "scikit-learn"), "umap": ("umap", "umap-learn")}
_MARKERS = "os^DvPX*p<>h"
_GREY = "#9aa5b1"
Floats = npt.NDArray[np.float64]
Place = tuple[str, str | None, tuple[float, float], tuple[float, float]]
"""A term, its group or None, and its coordinates before and after."""


def check_method(method: str) -> None:
    """Check that a method exists and can be used, before any work is done.

    Raises:
        RecipeError: there is no such method.
        MissingDependencyError: its package is not installed.
    """
    if method not in METHODS:
        raise RecipeError(f"the method for maps is {method!r}; {expected_names(method, METHODS)}")
    if method in _PACKAGES:
        _package(method)


def _package(method: str) -> Any:
    module, package = _PACKAGES[method]
    try:
        return importlib.import_module(module)
    except ImportError:
        raise MissingDependencyError(
            f"a map by {METHODS[method]} needs {package}; install it with: pip install {package}, or take the method pca"
        ) from None


def place_terms(found: Mapping[str, Any], method: str) -> list[Place]:
    """Project the points of a map onto one plane for before and after.

    Args:
        found: the map as ``embeddings.metrics.describe_drift`` returns it: ``points`` with coordinates on principal axes.
        method: ``pca`` takes the first two of those axes; the others start from all of them, with a fixed seed.
    """
    points = found["points"]
    wide = np.array([point[side] for side in ("before", "after") for point in points], dtype=np.float64)
    flat = wide[:, :2] if method == "pca" else _flatten(wide, method)
    old, new = np.split(flat, 2)
    return [
        (point["term"], point["group"], (float(one[0]), float(one[1])), (float(other[0]), float(other[1])))
        for point, one, other in zip(points, old, new, strict=True)
    ]


def _flatten(wide: Floats, method: str) -> Floats:
    package = _package(method)
    if method == "tsne":
        model = package.TSNE(n_components=2, init="pca", random_state=0, perplexity=min(30.0, max(1.0, (len(wide) - 1) / 3)))
    else:
        start = "spectral" if len(wide) >= 20 else "random"  # works with any number of points
        model = package.UMAP(n_components=2, random_state=0, n_neighbors=min(15, len(wide) - 1), n_jobs=1, init=start)
    return np.asarray(model.fit_transform(wide), dtype=np.float64)


def plot_map(canvas: Canvas, *, places: Sequence[Place], after: bool) -> Any:
    """Draw the terms before or after tuning; after it, a thin line leads back to where each term was."""
    groups = list(dict.fromkeys(group for _, group, _, _ in places if group is not None))
    looks = {group: (COLOURS[at % len(COLOURS)], _MARKERS[at % len(_MARKERS)]) for at, group in enumerate(groups)}
    figure, axes = canvas.axes(width=4.2, height=4.0, left=0.1, right=0.1, bottom=0.1)
    axes.set(xticks=[], yticks=[], **_limits(places))
    axes.spines[:].set_visible(True)
    entries = []
    for group in [*groups, None]:
        colour, marker = looks[group] if group is not None else (_GREY, ".")
        order = 1 if group is None else 2  # what belongs to no group lies below
        members = [place for place in places if place[1] == group]
        if after:
            for _, _, old, new in members:
                axes.plot(*zip(old, new, strict=True), color=colour, linewidth=0.7, alpha=0.45, zorder=order)
        spots = [place[3] if after else place[2] for place in members]
        (drawn,) = axes.plot(
            *np.array(spots).reshape(-1, 2).T, marker, color=colour, alpha=0.9, markeredgewidth=0, zorder=order
        )
        if members:
            entries.append((group or "moved most", drawn))
    canvas.legend(axes, entries)
    _write_names(canvas, axes, places, after=after)
    return figure


def _limits(shown: Sequence[Place]) -> dict[str, tuple[float, float]]:
    """Return the limits of one square for before and after, so that both can be compared."""
    spots = np.array([place[side] for place in shown for side in (2, 3)])
    centre = (spots.max(axis=0) + spots.min(axis=0)) / 2
    half = max(float(np.ptp(spots, axis=0).max()) / 2, 1e-9) * 1.12
    return {"xlim": (centre[0] - half, centre[0] + half), "ylim": (centre[1] - half, centre[1] + half)}


def _write_names(canvas: Canvas, axes: Any, shown: Sequence[Place], *, after: bool) -> None:
    """Write the names for which there is room without overlap, one of each group in turn."""
    box = axes.get_window_extent()
    scale = 72 / axes.figure.dpi
    spots = {id(place): (axes.transData.transform(place[3 if after else 2]) - (box.x0, box.y0)) * scale for place in shown}
    taken = [(x - 2.0, y - 2.0, x + 2.0, y + 2.0) for x, y in spots.values()]
    for place in _in_turn(shown):
        (x, y), term = spots[id(place)], place[0]
        text = canvas.text(term, 9)
        for left, low in _around(x, y, text_width(text, FONT_SIZE)):
            area = (left, low, left + text_width(text, FONT_SIZE), low + FONT_SIZE)
            inside = area[0] > 0 and area[1] > 0 and area[2] < box.width * scale and area[3] < box.height * scale
            if inside and not any(_overlap(area, other) for other in taken):
                taken.append(area)
                corner = (left / (box.width * scale), low / (box.height * scale))
                axes.text(*corner, text, size=FONT_SIZE, color=INK, transform=axes.transAxes, va="bottom")
                break


def _in_turn(shown: Sequence[Place]) -> Iterator[Place]:
    """Yield the first term of every group, then the second of every group; terms without a group count as one group."""
    by_group: dict[str | None, list[Place]] = {}
    for place in shown:
        by_group.setdefault(place[1], []).append(place)
    for row in itertools.zip_longest(*by_group.values()):
        yield from (place for place in row if place is not None)


def _around(x: float, y: float, width: float) -> Iterator[tuple[float, float]]:
    yield x + 4, y - FONT_SIZE / 2
    yield x - 4 - width, y - FONT_SIZE / 2
    yield x - width / 2, y + 3
    yield x - width / 2, y - 3 - FONT_SIZE


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]
