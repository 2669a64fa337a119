"""The measurements of an embedding: where it started, where it was last, where it is now."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.embeddings.metrics import cosine_drift, health_metrics
from paddlenlp_embtune.errors import EmbtuneError
from paddlenlp_embtune.plugin import cause
from paddlenlp_embtune.training.callbacks._batch_stats import StepSampler
from paddlenlp_embtune.training.callbacks.monitored_rows import MonitoredRows
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["EmbeddingProbe"]

Table = npt.NDArray[np.float32]


def _is_number(value: Any) -> bool:
    """Whether a value is one finite real number, of Python or of numpy; an array of one value is none."""
    real = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    try:
        return real and math.isfinite(float(value))
    except OverflowError:
        return False


_OF_A_TABLE = (
    "cosine_drift_mean",
    "cosine_drift_max",
    "norm_ratio",
    "update_ratio",
    "mean_cosine_change",
    "first_direction_change",
)
_MOST_SINCE = 1_024
"""Rows that are compared with the last check: more would cost time, and a copy of all of them memory."""


class EmbeddingProbe:
    """Measures the watched rows of one embedding.

    Args:
        monitored: which rows, and what is known about them.
        sampler: what passed through the steps since the last check.
        measures: further measures by name, called with ``start=`` and ``now=``, which must not change them. One that raises,
            or gives no finite number, is left out of the check, and reported once.
        report: called once for each such measure, with its name and why.
    """

    def __init__(
        self,
        monitored: MonitoredRows,
        *,
        sampler: StepSampler,
        measures: Mapping[str, Callable[..., float]] | None = None,
        report: Callable[[str, str], object] = lambda _name, _why: None,
    ) -> None:
        self.monitored = monitored
        self.sampler = sampler
        self.measures = dict(measures or {})
        self._report = report
        self._reported: set[str] = set()
        self.embedding: Any = None
        self.rows: npt.NDArray[np.int64] | None = None
        self.start: Table = np.empty((0, 0), dtype=np.float32)
        self._last = self.start
        self._sample = np.empty(0, dtype=np.int64)
        self._groups: dict[str, list[list[int]]] = {}

    def begin(self, embedding: Any, *, start: Table | None = None, last: Table | None = None) -> None:
        """Remember where the rows start, or take that from a checkpoint.

        Args:
            embedding: (V, D), the parameter.
            start: the watched rows at the start of the run; None takes them as they are.
            last: those of them that are compared with the last check, as they were then; None takes the start.
        """
        self.embedding = embedding
        count = int(embedding.shape[0])
        self.rows = self.monitored.choose(count)
        many = count if self.rows is None else self.rows.size
        terms = self.monitored.term_rows(self.rows).groups
        named = np.unique(np.array([row for group in terms.values() for term in group for row in term], dtype=np.int64))
        further = max(0, min(many, _MOST_SINCE) - named.size)
        self._sample = np.union1d(named, np.random.default_rng(0).choice(many, further, replace=False))
        self._groups = {
            name: [np.searchsorted(self._sample, term).tolist() for term in group] for name, group in terms.items() if group
        }
        self.start = self.now().copy() if start is None else start
        self._last = self.start[self._sample].copy() if last is None else last

    def now(self) -> Table:
        """Return the watched rows as they are, without a copy where all of a float32 table are watched."""
        view: Table = compat.read_only_view(self.embedding).astype(np.float32, copy=False)
        return view if self.rows is None else view[self.rows]

    def token(self, place: int) -> str | int:
        """Return the token of a watched row, or its number in the table."""
        row = place if self.rows is None else int(self.rows[place])
        return self.monitored.tokens[row] if self.monitored.tokens is not None else row

    def first_look(self) -> dict[str, float]:
        """Measure what can be wrong before the first step."""
        found = {"zero_share": health_metrics.zero_share(self.start)}
        probes = self.monitored.term_rows(self.rows).probes
        if len(probes) >= 3:
            found["probe_cohesion"] = health_metrics.probe_cohesion(self.start, probes)
        return found

    def check(self, *, geometry: bool) -> dict[str, Any]:
        """Measure now.

        Args:
            geometry: also measure the shape of the table and the term groups.
        Returns:
            What ``health_metrics.movement``, ``health_metrics.geometry`` and the sampler measure; ``group_drift``;
            the movement against the last check under ``since_…``; ``worst`` (token or row number, cosine drift) and the
            further measures. Where rows are not finite, ``rows_broken``, and NaN for what alarms watch.
        """
        now = self.now()
        found: dict[str, Any] = {"rows_watched": len(now), "rows": int(self.embedding.shape[0])}
        broken = np.flatnonzero(~np.isfinite(now).all(axis=1))
        if broken.size:  # no measure of such a table means anything
            self.sampler.take()
            return {**found, "rows_broken": int(broken.size), **dict.fromkeys(_OF_A_TABLE, float("nan"))}
        counts = self.sampler.counts_of(self.rows)
        found.update(health_metrics.drift_metrics(self.start, now, counts))
        sample = now[self._sample].copy()
        since = health_metrics.drift_metrics(self._last, sample, counts[self._sample])
        kept = ("cosine_drift_mean", "norm_drift_mean", "update_ratio", "bands", "norm_bands")
        found.update({f"since_{key}": since[key] for key in kept})
        if self._groups:
            found["group_drift"] = health_metrics.group_drift(self.start[self._sample], sample, self._groups)
            found["since_group_drift"] = health_metrics.group_drift(self._last, sample, self._groups)
        self._last = sample
        found.update(self.sampler.take())
        if geometry:
            found.update(health_metrics.geometry_metrics(self.start, now, self.monitored.term_rows(self.rows)))
        drift = cosine_drift(self.start, now)
        worst = np.argsort(-drift, kind="stable")[:5]
        found["worst"] = [[self.token(int(row)), round(float(drift[row]), 4)] for row in worst if drift[row] > 1e-5]
        found.update(self._further(now))
        return found

    def _further(self, now: Table) -> dict[str, Any]:
        """Take the further measures; ``missing_measures`` names those that failed."""
        found: dict[str, Any] = {}
        missing: list[str] = []
        start, now = self.start.view(), now.view()
        start.flags.writeable = now.flags.writeable = False
        for name, measure in self.measures.items():
            value: Any = None
            try:
                value = measure(start=start, now=now)
                why = "" if _is_number(value) else f"it returned {shorten(value)}, which is no finite number"
            except Exception as error:  # code of a plugin: a measure must not end a run
                why = str(error) if isinstance(error, EmbtuneError) else f"it raised {cause(error)}"
            if not why:
                found[name] = float(value)
                continue
            missing.append(name)
            if name not in self._reported:
                self._reported.add(name)
                self._report(name, why)
        return {**found, "missing_measures": missing} if missing else found

    def state(self) -> dict[str, Any]:
        """Return what must survive a restart."""
        return {} if self.embedding is None else {"start": self.start, "last": self._last}
