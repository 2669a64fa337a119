"""Health on real data: false alarms of healthy runs, what planted failure_modes raise, and what watching costs.

Healthy: the defaults on five data sets. Sick: the finance texts of the package, one failure at a time. Cost: all measures on,
against a run with ``health: null``, and the time of one check at 20,000 x 128 and 1,000,000 x 128.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import paddlenlp_embtune as embtune

embtune.prepare_cpu()

import numpy as np  # noqa: E402

from paddlenlp_embtune import compat  # noqa: E402
from paddlenlp_embtune.embeddings.metrics.health_metrics import TermRows, drift_metrics, geometry_metrics  # noqa: E402
from tests.failure_modes import FAILURE_MODES, plant  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
HEALTHY = ("finfe", "waimai", "weibo2018", "nlpcc14_sc", "thucnews_titles10")
STEP_SECONDS = 0.013
"""A step of the text CNN (benchmark ``step``); with a larger table it takes longer."""


def main() -> None:
    compat.quiet_logging()
    with tempfile.TemporaryDirectory() as folder:
        healthy(Path(folder))
        sick(Path(folder))
    cost()


def healthy(folder: Path) -> None:
    """Print the extremes of the watched measures, and the alarms, of a healthy run on each set."""
    if not DATA.is_dir():
        print(f"healthy runs: skipped, {DATA} is absent")
        return
    print(
        f"{'set':<20}{'alarms':>7}{'drift':>8}{'norm x':>8}{'cos +':>8}{'dir +':>8}{'unknown':>9}{'probe':>7}{'z':>7}{'one':>6}"
    )
    for name in HEALTHY:
        recipe = embtune.Recipe.from_dict(
            {
                "data": {"train": str(DATA / name / "train.tsv"), "dev": str(DATA / name / "dev.tsv")},
                "export": {"engines": []},
                "train": {"checkpoint_seconds": None},
            }
        )
        events: list[dict] = []
        embtune.train(recipe, folder / name, listeners=[lambda event, into=events: into.append(dict(event))])
        checks = [event for event in events if event["event"] == "health"]
        alarms = [event["name"] for event in events if event["event"] == "alarm"]

        def worst(key: str, checks: list[dict] = checks) -> float:
            return max((check[key] for check in checks if check.get(key) is not None), default=float("nan"))

        probe = min((check["probe_cohesion"] for check in checks if "probe_cohesion" in check), default=float("nan"))
        evaluations = [event for event in events if event["event"] == "agreement"]
        z = min((event["agreement_z"] for event in evaluations[2:]), default=float("nan"))
        one = max((event["largest_predicted_share"] for event in evaluations), default=float("nan"))
        print(
            f"{name:<20}{len(alarms):>7}{worst('cosine_drift_mean'):>8.3f}{worst('norm_ratio'):>8.3f}"
            f"{worst('mean_cosine_change'):>8.3f}{worst('first_direction_change'):>8.3f}{worst('unknown_rate'):>9.4f}"
            f"{probe:>7.1f}{z:>7.1f}{one:>6.2f}  {' '.join(alarms)}",
            flush=True,
        )


def sick(folder: Path) -> None:
    """Print what each planted failure raises."""
    for name in FAILURE_MODES:
        raised = plant(name, folder / f"sick-{name}")
        print(f"{name:<28} {', '.join(raised) or 'nothing'}", flush=True)


def cost() -> None:
    """Print the time of one check, and its share of the steps between two of them at the default cadence."""
    for rows in (20_000, 1_000_000):
        watched = min(rows, 65_536)
        generator = np.random.default_rng(0)
        start = generator.normal(0, 0.1, (watched, 128)).astype(np.float32)
        now = start + generator.normal(0, 0.01, start.shape).astype(np.float32)
        counts = generator.integers(0, 200, watched)
        cheap = _median(lambda start=start, now=now, counts=counts: drift_metrics(start, now, counts))
        dear = _median(lambda start=start, now=now: geometry_metrics(start, now, TermRows()))
        often, seldom = watched // 100, max(100, watched // 25)
        share = cheap / (often * STEP_SECONDS) + dear / (seldom * STEP_SECONDS)
        print(f"{rows:>9,} x 128, {watched:,} rows watched, {start.nbytes >> 20} MiB kept:")
        print(
            f"  {often} steps: {1e3 * cheap:.0f} ms; {seldom} steps: {1e3 * dear:.0f} ms more; {share:.2%} of the steps' time"
        )


def _median(call: object) -> float:
    times = []
    for _ in range(5):
        begin = time.perf_counter()
        call()  # type: ignore[operator]
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


if __name__ == "__main__":
    main()
