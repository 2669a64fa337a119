"""Ways of tuning a pretrained encoder, on real data, over seeds: quality, trained parameters, time and memory of each.

Every run is a process of its own, whose result is kept as a line of JSON, so that a table of hours can be made in pieces: what
is there already is not run again. The development rows choose the epoch; the test rows are looked at once, through the bundle.
Seconds are processor seconds of the training, which on one thread are those of the clock on a machine with nothing else to do.

Environment variables:
    EMBTUNE_RESULTS: file of the results; default ``recipes.jsonl`` in the current folder.
    EMBTUNE_SETS, EMBTUNE_RECIPES, EMBTUNE_SEEDS: what to run, with commas (semicolons where a name has a comma); default all
        on all rows. A set with a number, such as ``fin_news_pn:500``, has so many of its training rows, others for every seed,
        and an encoder reads them 10 times, not 3 times.
    EMBTUNE_ENCODER: registered name, or folder of ``embtune pretrain``; default ``e5-small-zh``.
    EMBTUNE_THREADS: threads of a run; default 1, and as many runs at a time as there are processors.
    EMBTUNE_RUNS: folder in which runs are kept, as teachers for example, and go on after they were cut off; default none are.
    EMBTUNE_BUDGET_SECONDS: begin no run after so many seconds; default none.
"""

from __future__ import annotations

import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
ENCODER = os.environ.get("EMBTUNE_ENCODER", "e5-small-zh")
TEXT = {"fin_news_pn": {"max_length": 64}, "chnsenticorp": {"max_length": 128}}
BASE: dict[str, Any] = {
    "model": {"encoder": ENCODER},
    "train": {"epochs": 3, "batch_size": 32},
    "freeze": None,
    "health": None,
    "schedule": {"warmup_ratio": 0.1},
    "vectors": {"versions": False},
    "export": {"engines": ["onnxruntime"]},
}
EPOCHS_OF_FEW_ROWS = 10
RELEASE_OF_FEW_ROWS = 10
LAYERS = 12


def _lowest(number: int) -> list[str]:
    return ["embedding", *(f"layer.{depth}" for depth in range(number))]


def _layerwise(decay: float, rate: float = 1e-4) -> dict[str, float]:
    return {"rate": rate, "decay": decay, "head_rate": 5e-4}


# What is said here replaces a part of BASE; an empty part is left to the defaults.
RECIPES: dict[str, dict[str, Any]] = {
    "text CNN": {"model": {}, "train": {}, "freeze": {}, "schedule": {}, "text": {"max_length": 256}},
    "one line": {part: {} for part in (*BASE, "text") if part != "model"},
    "full": {"layerwise": _layerwise(1.0)},
    "full, default rates": {},
    "layer-wise rates": {"layerwise": _layerwise(0.9)},
    "freeze, then unfreeze": {"layerwise": _layerwise(0.9), "freeze": {"groups": ["embedding", "layer.*"]}},
    "gradual unfreezing": {
        "layerwise": _layerwise(0.9),
        "freeze": {"groups": ["layer.*", "embedding"], "gradual": True, "unfreeze_at_step": 40},
    },
    "embedding and head": {"layerwise": _layerwise(1.0, 5e-4), "freeze": {"groups": ["layer.*"], "permanent": True}},
    "head": {
        "layerwise": {**_layerwise(1.0), "head_rate": 2e-3},
        "train": {"epochs": 12, "batch_size": 32},
        "freeze": {"groups": _lowest(LAYERS), "permanent": True, "cached": True},
    },
    "last 3 layers": {"layerwise": _layerwise(0.9), "freeze": {"groups": _lowest(9), "permanent": True, "cached": True}},
    "last 6 layers": {"layerwise": _layerwise(0.9), "freeze": {"groups": _lowest(6), "permanent": True, "cached": True}},
    "LoRA": {"adapter": {"kind": "lora"}},
    "prefix": {"adapter": {"kind": "prefix"}},
    "prompt": {"adapter": {"kind": "prompt"}},
    "Houlsby": {"adapter": {"kind": "houlsby"}},
    "full, embedding dropout": {"layerwise": _layerwise(1.0), "regularization": {"embedding_dropout": 0.1}},
    "full, label smoothing": {"layerwise": _layerwise(1.0), "regularization": {"label_smoothing": 0.1}},
    "full, R-Drop": {"layerwise": _layerwise(1.0), "regularization": {"r_drop": 1.0}},
    "full, FGM": {"layerwise": _layerwise(1.0), "regularization": {"adversarial": {"kind": "fgm"}}},
    "full, FreeLB": {"layerwise": _layerwise(1.0), "regularization": {"adversarial": {"kind": "freelb"}}},
}


def main() -> None:
    if not DATA.is_dir():
        print(f"recipes: skipped, {DATA} is absent")
        return
    results = Path(os.environ.get("EMBTUNE_RESULTS", "recipes.jsonl"))
    waiting = [run for run in _wanted() if run not in _done(results)]
    _run_all(waiting, results)
    _print(results)


def _wanted() -> list[tuple[str, str, int]]:
    def chosen(variable: str, default: list[str]) -> list[str]:
        given = os.environ.get(variable)
        return [each.strip() for each in given.split(";" if ";" in given else ",")] if given else default

    sets, names = chosen("EMBTUNE_SETS", list(TEXT)), chosen("EMBTUNE_RECIPES", list(RECIPES))
    return [(name, data, int(seed)) for data in sets for seed in chosen("EMBTUNE_SEEDS", ["0", "1", "2"]) for name in names]


def _done(results: Path) -> dict[tuple[str, str, int], dict[str, Any]]:
    if not results.is_file():
        return {}
    rows = [json.loads(line) for line in results.read_text(encoding="utf-8").splitlines()]
    ours = (row for row in rows if row.get("encoder", ENCODER) == ENCODER)
    return {(row["recipe"], row["set"], row["seed"]): row for row in ours}


def _run_all(waiting: list[tuple[str, str, int]], results: Path) -> None:
    threads = int(os.environ.get("EMBTUNE_THREADS", "1"))
    until = time.monotonic() + float(os.environ.get("EMBTUNE_BUDGET_SECONDS", "inf"))
    lock, runs = threading.Lock(), iter(waiting)

    def work() -> None:
        while time.monotonic() < until:
            with lock:
                run = next(runs, None)
            if run is None:
                return
            command = [sys.executable, "-W", "ignore", "-m", "tests.benchmarks.recipes", *map(str, run)]
            done = subprocess.run(command, text=True, capture_output=True, env=_environment(threads), check=False)
            line = next((line for line in reversed(done.stdout.splitlines()) if line.startswith("{")), None)
            if done.returncode or line is None:
                print(f"{run} failed: {done.stderr[-1500:]}", file=sys.stderr, flush=True)
                continue
            with lock, results.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    workers = [threading.Thread(target=work) for _ in range(max(1, (os.cpu_count() or 1) // threads))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _environment(threads: int) -> dict[str, str]:
    count = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "FLAGS_paddle_num_threads"), str(threads))
    return {**os.environ, **count}


def one(name: str, data: str, seed: int) -> dict[str, Any]:
    """Run one recipe once."""
    import paddlenlp_embtune as embtune

    embtune.prepare_cpu()
    from paddlenlp_embtune.bundle import Bundle
    from paddlenlp_embtune.data import read_examples
    from paddlenlp_embtune.evaluation import classification_report
    from paddlenlp_embtune.inference import Predictor
    from paddlenlp_embtune.training import run as run_module
    from paddlenlp_embtune.utils.run_layout import checkpoints_of

    folder, _, rows = data.partition(":")
    plain = {**BASE, "text": TEXT[folder], **RECIPES[name]}
    plain = {key: value for key, value in plain.items() if value != {}}
    if rows and plain.get("train") == BASE["train"]:
        plain["train"] = {**BASE["train"], "epochs": EPOCHS_OF_FEW_ROWS}
    if rows and "unfreeze_at_step" in (plain.get("freeze") or {}):
        plain["freeze"] = {**plain["freeze"], "unfreeze_at_step": RELEASE_OF_FEW_ROWS}
    events: list[Any] = []
    with tempfile.TemporaryDirectory() as scratch:
        train = _some_of(DATA / folder / "train.tsv", int(rows), seed, Path(scratch)) if rows else DATA / folder / "train.tsv"
        plain |= {"seed": seed, "data": {"train": str(train), "dev": str(DATA / folder / "dev.tsv")}}
        kept = os.environ.get("EMBTUNE_RUNS")
        out = Path(kept, f"{data} {name} {Path(ENCODER).name} {seed}".replace(" ", "-")) if kept else Path(scratch, "run")
        resume = checkpoints_of(out).is_dir()
        started = time.process_time()
        result = run_module.train(
            embtune.Recipe.from_dict(plain), out, overwrite=not resume, resume=resume, listeners=[events.append]
        )
        seconds = time.process_time() - started
        bundle = Bundle.open(result.bundle)
        test = read_examples(DATA / folder / "test.tsv", text_column="text", label_column="label")
        started = time.perf_counter()
        probabilities = Predictor(bundle).probabilities(test.texts)
        serving = time.perf_counter() - started
    labels = bundle.manifest.labels
    truth = [labels.index(label) for label in test.labels]
    report = classification_report(truth, probabilities.argmax(axis=1).tolist(), labels)
    table = next(event["table"] for event in events if event["event"] == "groups")
    trained = next(event for event in events if event["event"] == "trained")
    return {
        "recipe": name,
        "set": data,
        "seed": seed,
        "encoder": ENCODER,
        "f1_macro": report["f1_macro"],
        "accuracy": report["accuracy"],
        "dev_f1_macro": result.metrics["f1_macro"],
        "trained": sum(row["parameters"] for row in table if row["phase"] not in ("frozen", "frozen before training")),
        "parameters": sum(row["parameters"] for row in table),
        "seconds": seconds,
        "resumed": resume,
        "epochs": trained["epochs"],
        "texts_per_second": len(test) / serving,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def _some_of(path: Path, rows: int, seed: int, folder: Path) -> Path:
    """Draw rows of a file with a header."""
    head, *lines = path.read_text(encoding="utf-8").splitlines()
    out = folder / "train.tsv"
    out.write_text("\n".join([head, *random.Random(seed).sample(lines, rows)]) + "\n", encoding="utf-8")
    return out


def _print(results: Path) -> None:
    rows = list(_done(results).values())
    head = f"{'set':<18}{'recipe':<26}{'seeds':>6}{'macro-F1 (min to max)':>26}{'accuracy (min to max)':>26}"
    print(head + f"{'trained':>12}{'share':>8}{'s/epoch':>9}{'MB':>7}")
    for data, name in _kinds(rows):
        runs = [row for row in rows if (row["set"], row["recipe"]) == (data, name)]
        shown = "".join(f"{_spread([run[key] for run in runs]):>26}" for key in ("f1_macro", "accuracy"))
        trained, all_of_it = runs[-1]["trained"], runs[-1]["parameters"]
        # A run that was cut off does not know what its first part took.
        timed = [run["seconds"] / run["epochs"] for run in runs if not run["resumed"]]
        epoch = f"{statistics.median(timed):.0f}" if timed else "-"
        memory = max(run["peak_mb"] for run in runs)
        print(
            f"{data:<18}{name:<26}{len(runs):>6}{shown}{trained:>12,}{trained / all_of_it:>8.1%}{epoch:>9}{memory:>7.0f}",
            flush=True,
        )


def _kinds(rows: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    known = {(row["set"], row["recipe"]) for row in rows}
    sets = sorted({data for data, _ in known}, key=lambda data: (list(TEXT).index(data.partition(":")[0]), data))
    yield from ((data, name) for data in sets for name in RECIPES if (data, name) in known)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})"


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(json.dumps(one(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
    else:
        main()
