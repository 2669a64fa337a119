"""Metrics for Prometheus: in a registry of the server's own, over all worker processes."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

__all__ = ["Metrics"]

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The counters, gauges and histograms of a server.

    Args:
        folder: where prometheus_client keeps the figures of all worker processes (``PROMETHEUS_MULTIPROC_DIR``, set before it
            was imported); None if there is one process.
    """

    def __init__(self, *, folder: Path | None = None) -> None:
        self._folder = folder
        self._registry = own = CollectorRegistry()
        self.requests = Counter(
            "embtune_requests", "Requests answered, by route and status.", ("route", "status"), registry=own
        )
        self.seconds = Histogram(
            "embtune_request_seconds",
            "Seconds from a request's head to the end of its response.",
            ("route",),
            buckets=_SECONDS,
            registry=own,
        )
        self.in_flight = Gauge("embtune_requests_in_flight", "Requests under way.", multiprocess_mode="livesum", registry=own)
        self.texts = Counter("embtune_texts", "Texts labelled.", ("model",), registry=own)
        self.batches = Histogram("embtune_batch_texts", "Texts of a batch.", ("model",), buckets=_TEXTS, registry=own)
        self.queued = Gauge("embtune_queued_texts", "Texts that wait for a batch.", multiprocess_mode="livesum", registry=own)
        self.reloads = Counter("embtune_reloads", "Reloads, by outcome.", ("model", "outcome"), registry=own)
        self.refused = Counter("embtune_refused", "Requests refused, by reason.", ("reason",), registry=own)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        if self._folder is None:
            return generate_latest(self._registry)
        _forget_dead(self._folder)
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone, str(self._folder))  # type: ignore[no-untyped-call]
        return generate_latest(everyone)


def _forget_dead(folder: Path) -> None:
    """Remove gauges of workers that were killed; counters stay, because they must never decrease."""
    for file in folder.glob("gauge_live*.db"):
        pid = int(file.stem.rpartition("_")[2])
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            with contextlib.suppress(FileNotFoundError):  # another process has done it at the same time
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
