"""Search by meaning on real data: rows of the same label, found by BM25, by a frozen encoder, and by tuned vectors.

Queries are the rows of ``--part``, the index is all training rows. Every tuned run is kept as a line of JSON in ``--results``
and is not run again. Options: ``--sets``, ``--seeds``, ``--part dev|test`` (nothing is to be chosen on test), ``--arms``, and
``--vectors FOLDER`` with ``SET-SPLIT-query.npy`` of a frozen encoder, in place of computing them with ``--encoder``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SETS = ("kuake_qic", "thucnews_titles10")
FIGURES = ("mrr", "recall_at_k", "ndcg_at_k", "median_rank", "alignment", "uniformity")
PLAIN: dict[str, Any] = {"export": {"engines": ["onnxruntime"], "calibrate": False}, "evaluation": {"baseline": None}}
# What is said here is put over PLAIN.
ARMS: dict[str, dict[str, Any]] = {
    "text CNN": {},
    "text CNN, supervised contrastive": {"retrieval": {}},
    "text CNN, ranking": {"retrieval": {"loss": "ranking"}},
    "text CNN, triplet": {"retrieval": {"loss": "triplet"}},
    "encoder, supervised contrastive": {"model": {"encoder": "e5-small-zh"}, "retrieval": {"layers": 3}},
}
FROZEN = ("BM25", "frozen encoder")


def main() -> None:
    options = _options()
    if not options.data.is_dir():
        print(f"retrieval: skipped, {options.data} is absent")
        return
    results = Path(options.results)
    done = {(row["arm"], row["set"], row["seed"], row["part"]): row for row in _lines(results)}
    for name in options.sets:
        for arm in options.arms:
            for seed in [0] if arm in FROZEN else options.seeds:
                key = (arm, name, seed, options.part)
                if key in done:
                    continue
                found = _frozen(arm, name, options) if arm in FROZEN else _tuned(ARMS[arm], name, seed, options)
                if found is None:
                    continue
                done[key] = dict(zip(("arm", "set", "seed", "part"), key, strict=True)) | found
                with results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(done[key], ensure_ascii=False) + "\n")
    for name in options.sets:
        print(f"\n{name}, {options.part} rows in the training rows")
        print(
            "| vectors | MRR | recall at 10 | nDCG at 10 | median rank | alignment | uniformity | seeds |\n"
            + "| --- " * 8
            + "|"
        )
        for arm in options.arms:
            rows = [row for key, row in done.items() if (key[0], key[1], key[3]) == (arm, name, options.part)]
            if rows:
                print(f"| {arm} | {' | '.join(_shown([row[figure] for row in rows]) for figure in FIGURES)} | {len(rows)} |")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--arms", nargs="+", default=[*FROZEN, *ARMS], choices=[*FROZEN, *ARMS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--part", choices=("dev", "test"), default="dev")
    parser.add_argument("--results", default="retrieval.jsonl")
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--encoder", default="e5-small-zh")
    parser.add_argument("--rows", type=int, help="as many training rows at most, drawn by the seed, to tune an encoder on")
    return parser.parse_args()


def _lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def _shown(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return ""
    spread = f" ({min(known):.3f} to {max(known):.3f})" if len(known) > 1 else ""
    return f"{statistics.mean(known):.3f}{spread}"


def _rows(folder: Path, part: str) -> Any:
    from paddlenlp_embtune.data import read_examples

    return read_examples(folder / f"{part}.tsv", text_column="text", label_column="label")


def _figures(queries: Any, index: Any, asked: Any, rows: Any) -> dict[str, Any]:
    from paddlenlp_embtune.evaluation import class_alignment, retrieval_metrics, uniformity

    groups = asked.labels, rows.labels
    found = retrieval_metrics(queries, index, *groups)
    return {**found, "alignment": class_alignment(queries, index, *groups), "uniformity": uniformity(index)}


def _tuned(arm: dict[str, Any], name: str, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    import paddlenlp_embtune as embtune

    embtune.prepare_cpu()
    data: dict[str, Any] = {part: str(options.data / name / f"{part}.tsv") for part in ("train", "dev")}
    asked, rows = (_rows(options.data / name, part) for part in (options.part, "train"))
    with tempfile.TemporaryDirectory() as scratch:
        if options.rows is not None and "model" in arm:
            data["train"] = _drawn(rows, options.rows, seed, Path(scratch))
        recipe = embtune.Recipe.from_dict({**PLAIN, **arm, "data": data, "seed": seed, "text": {"max_length": 64}})
        started = time.process_time()
        result = embtune.train(recipe, Path(scratch, "run"))
        seconds = time.process_time() - started
        with embtune.Predictor(result.bundle) as predictor:
            queries, index = predictor.embed(asked.texts), predictor.embed(rows.texts)
    accuracy = result.metrics["accuracy"]
    return {**_figures(queries, index, asked, rows), "seconds": round(seconds, 1), "dev_accuracy": accuracy}


def _drawn(rows: Any, count: int, seed: int, folder: Path) -> str:
    chosen = np.random.default_rng(seed).permutation(len(rows))[:count]
    lines = [f"{rows.texts[row]}\t{rows.labels[row]}" for row in chosen.tolist()]
    (folder / "drawn.tsv").write_text("text\tlabel\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return str(folder / "drawn.tsv")


def _frozen(arm: str, name: str, options: argparse.Namespace) -> dict[str, Any] | None:
    asked, rows = (_rows(options.data / name, part) for part in (options.part, "train"))
    if arm == "BM25":
        from paddlenlp_embtune.evaluation import retrieval_metrics

        queries, index = _bm25(asked.texts, rows.texts)
        found = retrieval_metrics(queries, index, asked.labels, rows.labels)
        return {**found, "alignment": None, "uniformity": None}
    return _figures(*(_encoded(name, part, options) for part in (options.part, "train")), asked, rows)


def _encoded(name: str, part: str, options: argparse.Namespace) -> Any:
    from paddlenlp_embtune.inference import unit_vectors

    if options.vectors is not None and (file := options.vectors / f"{name}-{part}-query.npy").is_file():
        return unit_vectors(np.load(file))
    from paddlenlp_embtune.config import Recipe
    from paddlenlp_embtune.training._encoder_vectors import EncoderVectors

    recipe = Recipe.from_dict({"model": {"encoder": options.encoder}})
    return unit_vectors(EncoderVectors(recipe)([f"query: {text}" for text in _rows(options.data / name, part).texts]))


def _bm25(queries: Sequence[str], texts: Sequence[str]) -> tuple[Any, Any]:
    """Vectors whose products are BM25's scores (k1 = 1.2, b = 0.75) over characters and pairs of them."""
    from sklearn.feature_extraction.text import CountVectorizer

    counter = CountVectorizer(analyzer="char", ngram_range=(1, 2))
    counts = counter.fit_transform(texts).astype(np.float64)
    lengths = np.asarray(counts.sum(axis=1)).ravel()
    present = Counter(counts.nonzero()[1].tolist())
    held = np.array([present[term] for term in range(counts.shape[1])])
    weights = np.log(1 + (len(texts) - held + 0.5) / (held + 0.5))
    rows, terms = counts.nonzero()
    damped = counts.data + 1.2 * (0.25 + 0.75 * lengths / lengths.mean())[rows]
    counts.data = 2.2 * counts.data / damped * weights[terms]
    asked = counter.transform(queries)
    asked.data[:] = 1
    return _Sparse(asked.astype(np.float64)), _Sparse(counts)


class _Sparse:
    """Rows of a sparse matrix, with as much of an array's face as ranking needs."""

    def __init__(self, rows: Any) -> None:
        self._rows = rows

    def __getitem__(self, part: slice) -> _Sparse:
        return _Sparse(self._rows[part])

    @property
    def T(self) -> Any:  # noqa: N802
        return self._rows.T

    def __matmul__(self, other: Any) -> Any:
        return (self._rows @ other).toarray()


if __name__ == "__main__":
    main()
