"""Health metrics of an embedding: drift from the start, geometry, frequency buckets and term groups."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.embeddings.metrics import _frequency_buckets, _isotropy, _neighbours, _term_groups
from paddlenlp_embtune.embeddings.metrics.drift import compare_rows, cosine_drift, norm_drift

__all__ = [
    "HEALTH_METRICS",
    "PROBES",
    "TermRows",
    "drift_metrics",
    "geometry_metrics",
    "group_drift",
    "probe_cohesion",
    "zero_share",
]

Table = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int64]

HEALTH_METRICS = (
    "agreement_z",
    "alignment",
    "cosine_drift_max",
    "cosine_drift_mean",
    "cosine_drift_p50",
    "cosine_drift_p95",
    "effective_rank",
    "first_direction_change",
    "first_direction_share",
    "gradient_mean",
    "gradient_norm",
    "largest_predicted_share",
    "mean_cosine",
    "mean_cosine_change",
    "neighbourhood_overlap",
    "norm_drift_mean",
    "norm_max",
    "norm_mean",
    "norm_ratio",
    "partition_ratio",
    "probe_cohesion",
    "rows",
    "rows_moved",
    "rows_watched",
    "since_cosine_drift_mean",
    "since_norm_drift_mean",
    "since_update_ratio",
    "uniformity",
    "unknown_rate",
    "untouched_share",
    "update_ratio",
    "zero_share",
)
"""The metrics that alarms can monitor, besides those of plugins."""

PROBES: Mapping[str, str] = {
    "numerals": "一二三四五六七八九十",
    "directions": "东西南北",
    "colours": "红黄蓝绿黑白",
    "family": "父母兄弟姐妹",
    "seasons": "春夏秋冬",
    "movement": "涨跌升降",
}
"""Groups of characters that are close in any Chinese embedding trained on text; otherwise rows are mixed up."""


@dataclasses.dataclass(frozen=True)
class TermRows:
    """The rows to measure.

    Args:
        groups: rows of each term by name of a term group, as indices into the monitored rows.
        probes: rows of related characters, as indices into the monitored rows.
        seed: seed for all samples.
    """

    groups: Mapping[str, Sequence[Sequence[int]]] = dataclasses.field(default_factory=dict)
    probes: Mapping[str, Sequence[int]] = dataclasses.field(default_factory=dict)
    seed: int = 0


def drift_metrics(start: Table, now: Table, counts: npt.NDArray[np.int64] | None = None) -> dict[str, Any]:
    """Measure how far rows have moved; cheap enough for every epoch.

    Args:
        start: (V, D) float32.
        now: (V, D) float32.
        counts: (V,) how often the token of each row was seen; None leaves the buckets out.
    Returns:
        ``rows_moved``; ``cosine_drift_mean``, ``_p50``, ``_p95``, ``_max`` and ``norm_drift_mean`` of the rows that moved;
        ``norm_mean``, ``norm_max`` and ``norm_ratio`` (mean norm over that of the start); ``update_ratio``;
        ``untouched_share``; ``zero_share`` of all rows but the first, which is padding; ``bands`` and ``norm_bands``, the
        cosine drift and the norm drift by frequency.
    """
    rows = compare_rows(start, now)
    changed = np.flatnonzero(rows.touched)
    drift, before = rows.cosine[changed], _mean(rows.norms_before)
    found: dict[str, Any] = {
        "rows_moved": int(changed.size),
        "cosine_drift_mean": _mean(drift),
        "cosine_drift_p50": _percentile(drift, 50),
        "cosine_drift_p95": _percentile(drift, 95),
        "cosine_drift_max": _percentile(drift, 100),
        "norm_drift_mean": _mean(rows.norm[changed]),
        "norm_mean": _mean(rows.norms),
        "norm_max": float(rows.norms.max()) if rows.norms.size else 0.0,
        "norm_ratio": _mean(rows.norms) / before if before > 0 else 0.0,
        "update_ratio": rows.update_ratio,
        "untouched_share": 1.0 - changed.size / max(1, len(start)),
        "zero_share": zero_share(now),
    }
    if counts is not None:
        for name, values in (("bands", rows.cosine), ("norm_bands", rows.norm)):
            buckets = _frequency_buckets.by_frequency(rows.touched, values, counts)
            found[name] = [dataclasses.asdict(bucket) for bucket in buckets]
    return found


def zero_share(table: Table) -> float:
    """Return the share of rows, but for the first, that are zero."""
    below = table[1:]
    zero = below[:, :1].ravel() == 0  # few rows have more to look at
    zero[zero] = (below[zero] == 0).all(axis=1)
    return _mean(zero)


def group_drift(start: Table, now: Table, groups: Mapping[str, Sequence[Sequence[int]]]) -> dict[str, dict[str, float]]:
    """Measure how far the terms of each group have moved; a term is the mean of its rows.

    Returns:
        By group: ``cosine`` and ``norm``, the mean cosine drift and the mean relative change of the norm of its terms.
    """
    found = {}
    for name, terms in groups.items():
        before, after = (_term_groups.term_vectors(table, terms) for table in (start, now))
        found[name] = {"cosine": _mean(cosine_drift(before, after)), "norm": _mean(norm_drift(before, after))}
    return found


def geometry_metrics(start: Table, now: Table, term_rows: TermRows) -> dict[str, Any]:
    """Measure the shape of the table as a whole, and its term groups; for every few hundred steps.

    Returns:
        ``mean_cosine`` and ``mean_cosine_change``; ``partition_ratio``; ``effective_rank``; ``first_direction_share`` and
        ``first_direction_change``; ``uniformity``; ``alignment`` of terms in a group; ``neighbourhood_overlap``, with
        ``neighbourhood_overlap_error`` (half of the 95% interval); ``groups`` with ``cohesion``, ``separation`` and
        ``silhouette``, each as [start, now]; ``probe_cohesion`` with three probes or more.
    """
    cosines = _isotropy.mean_cosine(start), _isotropy.mean_cosine(now)
    shares = [_isotropy.first_direction_share(table, seed=term_rows.seed).value for table in (start, now)]
    found: dict[str, Any] = {
        "mean_cosine": cosines[1],
        "mean_cosine_change": cosines[1] - cosines[0],
        "partition_ratio": _isotropy.partition_ratio(now, seed=term_rows.seed),
        "effective_rank": _isotropy.effective_rank(now, seed=term_rows.seed).value,
        "first_direction_share": shares[1],
        "first_direction_change": shares[1] - shares[0],
        "uniformity": _isotropy.uniformity(now, seed=term_rows.seed).value,
    }
    if len(start) > 20:
        overlap = _neighbours.neighbourhood_overlap(start, now, k=10, max_rows=64, seed=term_rows.seed)
        low, high = overlap.interval
        found["neighbourhood_overlap"] = overlap.value
        found["neighbourhood_overlap_error"] = (high - low) / 2
    groups = {name: terms for name, terms in term_rows.groups.items() if len(terms) >= 2}
    if groups:
        found["groups"] = _groups(start, now, groups)
        pairs = _pairs(groups)
        if len(pairs):
            found["alignment"] = _isotropy.alignment(now, pairs, seed=term_rows.seed).value
    if len(term_rows.probes) >= 3:
        found["probe_cohesion"] = probe_cohesion(now, term_rows.probes)
    return found


def probe_cohesion(table: Table, probes: Mapping[str, Sequence[int]]) -> float:
    """Return by how many standard errors related characters are closer to each other than unrelated ones.

    Shapes:
        table: (V, D) float32
    Returns:
        The mean over probes of the cosine within a probe, less that between probes, over the standard error of the latter;
        0 with fewer than two probes. Above 3 for intact tables, about 0 for shuffled rows.
    Source:
        ours
    """
    rows = [np.asarray(ids) for ids in probes.values() if len(ids) >= 2]
    if len(rows) < 2:
        return 0.0
    unit = table[np.concatenate(rows)].astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    owner = np.repeat(np.arange(len(rows)), [len(ids) for ids in rows])
    same = owner[:, None] == owner[None, :]
    upper = np.triu(np.ones_like(same), k=1)
    within, between = cosines[same & upper], cosines[~same & upper]
    # Pairs share characters, so the number of independent ones is that of characters, not that of pairs.
    error = between.std() / np.sqrt(len(unit)) or 1.0
    return float((within.mean() - between.mean()) / error)


def _groups(start: Table, now: Table, groups: Mapping[str, Sequence[Sequence[int]]]) -> dict[str, Any]:
    shift = _term_groups.compare_groups(start, now, groups)
    separation = {"/".join(pair): [shift.start.separation[pair], value] for pair, value in shift.now.separation.items()}
    return {
        "cohesion": {name: [shift.start.cohesion[name], shift.now.cohesion[name]] for name in groups},
        "silhouette": {name: [shift.start.silhouette[name], shift.now.silhouette[name]] for name in groups},
        "separation": separation,
    }


def _pairs(groups: Mapping[str, Sequence[Sequence[int]]]) -> Ids:
    """Rows of single-row terms that stand in one group."""
    pairs = []
    for terms in groups.values():
        rows = sorted({term[0] for term in terms if len(term) == 1})
        pairs += [(a, b) for at, a in enumerate(rows) for b in rows[at + 1 :]]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _mean(values: npt.NDArray[Any]) -> float:
    return float(values.mean()) if values.size else 0.0


def _percentile(values: npt.NDArray[Any], share: float) -> float:
    return float(np.percentile(values, share)) if values.size else 0.0
