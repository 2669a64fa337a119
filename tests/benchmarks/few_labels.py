"""What a few labels reach: accuracy on test rows by rows a label, with ours beside what others would do with them.

``python -m tests.benchmarks few_labels -- --out FOLDER --sets eprstmt_fewshot --shots 8,16 --arms tfidf,frozen,setfit``. Each
cell (set, shots, seed, arm) is a file in ``--out``; the same command continues, and ends with the table of all cells there.
Seconds are CPU seconds of the fit, without answering the test texts.

Arms: ``tfidf``, the package's baseline; ``frozen``, a logistic regression of scikit-learn on the encoder's vectors as they
come; ``setfit``, Tunstall et al. 2022 as the package setfit does it (20 pairs of each kind a row, the squared error of cosines,
an epoch, all layers, then scikit-learn's regression), but each text computed once a batch; ours: ``regression``, the head
alone, ``contrastive``, and both with ``+texts``, self-training on 300 training texts without their labels.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import prepare_cpu

prepare_cpu()

import paddle  # noqa: E402

from paddlenlp_embtune import compat  # noqa: E402
from paddlenlp_embtune.config import ContrastiveSpec, Recipe, SelfTrainingSpec  # noqa: E402
from paddlenlp_embtune.data import EncodedDataset, LabelBatchSampler, collate, read_examples  # noqa: E402
from paddlenlp_embtune.evaluation.baselines import build_baseline, predict_labels  # noqa: E402
from paddlenlp_embtune.models import PSEUDO_REGULARIZATION, LayerCache, classifier_on, fit_head, pseudo_labels  # noqa: E402
from paddlenlp_embtune.text import tokenize_texts  # noqa: E402
from paddlenlp_embtune.training._contrastive import pairs_pass  # noqa: E402
from paddlenlp_embtune.training.callbacks._head_regression import vectors_of  # noqa: E402
from paddlenlp_embtune.training.initialize import initialize_embedding  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
SETS = ("eprstmt_fewshot", "fin_news_pn", "waimai", "kuake_qic")
ARMS = ("tfidf", "frozen", "setfit", "regression", "contrastive", "regression+texts", "contrastive+texts")
SHOTS = (8, 16, 32, 64)
LENGTH, UNLABELLED, PAIRS, LAYERS = 64, 300, 20, 6
Ids = npt.NDArray[np.int64]


def main() -> None:
    options = _parser().parse_args()
    if not options.data.is_dir():
        print(f"few_labels: skipped, {options.data} is absent")
        return
    options.out.mkdir(parents=True, exist_ok=True)
    encoder = None
    for name in options.sets.split(","):
        cells = itertools.product(map(int, options.shots.split(",")), range(options.seeds), options.arms.split(","))
        todo = [cell for cell in cells if not _file(options.out, name, *cell).exists()]
        if not todo:
            continue
        encoder = encoder or Encoder(options.encoder)
        rows = Rows(options.data / name, encoder, options.test_rows)
        for shots, seed, arm in todo:
            began = time.process_time()
            predicted = rows.predict(arm, shots, seed)
            right = predicted == rows.test_labels
            cell = {"set": name, "shots": shots, "seed": seed, "arm": arm, "accuracy": float(right.mean())}
            cell |= {
                "cpu_seconds": round(time.process_time() - began - rows.test_seconds, 2),
                "right": right.astype(int).tolist(),
            }
            _file(options.out, name, shots, seed, arm).write_text(json.dumps(cell), encoding="utf-8")
            print(
                f"  {name} {shots} seed {seed} {arm}: {right.mean():.3f} in {cell['cpu_seconds']} s",
                file=sys.stderr,
                flush=True,
            )
    print_table([json.loads(file.read_text(encoding="utf-8")) for file in sorted(options.out.glob("*.json"))])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--sets", default=",".join(SETS))
    parser.add_argument("--shots", default=",".join(map(str, SHOTS)))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arms", default=",".join(ARMS))
    parser.add_argument("--encoder", default="e5-small-zh")
    parser.add_argument("--test-rows", type=int, default=300)
    return parser


def _file(out: Path, name: str, shots: int, seed: int, arm: str) -> Path:
    return out / f"{name}.{shots:03}.{seed}.{arm}.json"


class Encoder:
    """A pretrained encoder that can be put back to where it started."""

    def __init__(self, name: str) -> None:
        start = initialize_embedding(Recipe.from_dict({"model": {"encoder": name}}), ())
        assert start.pretrained is not None
        self.tokenizer = start.tokenizer
        self.model = classifier_on(start.pretrained, start.table, num_labels=2, options={})
        self._weights = {name: value.numpy().copy() for name, value in self.model.state_dict().items()}
        self.model.eval()

    def restore(self) -> None:
        """Take the pretrained weights again."""
        for name, value in self.model.state_dict().items():
            value.set_value(self._weights[name])

    def ids(self, texts: tuple[str, ...]) -> list[Any]:
        return list(tokenize_texts(texts, self.tokenizer, max_length=LENGTH, windows=None).ids)


class Rows:
    """A set: its test rows, what a seed draws of its training rows, and the states of the encoder's lower layers for them."""

    def __init__(self, folder: Path, encoder: Encoder, test_rows: int) -> None:
        how = {"text_column": "text", "label_column": "label"}
        self._train, test = (read_examples(folder / f"{part}.tsv", **how) for part in ("train", "test"))
        drawn = np.sort(np.random.default_rng(0).permutation(len(test))[:test_rows])
        self.names = sorted(set(self._train.labels))
        numbers = {label: number for number, label in enumerate(self.names)}
        self._labels = np.array([numbers[label] for label in self._train.labels])
        self.test_texts = tuple(test.texts[row] for row in drawn)
        self.test_labels = np.array([numbers[test.labels[row]] for row in drawn])
        self._encoder, self._test_ids = encoder, encoder.ids(self.test_texts)
        self._train_ids: dict[int, Any] = {}
        encoder.restore()
        self._cache = LayerCache(encoder.model, LAYERS)
        self._states: dict[bytes, npt.NDArray[np.float32]] = {}
        self._compute_states(self._test_ids)
        self._frozen: dict[bytes, npt.NDArray[np.float32]] = {}
        self._tuned_for: tuple[int, int] | None = None
        self.test_seconds = 0.0

    def predict(self, arm: str, shots: int, seed: int) -> Ids:
        """Fit an arm to what the seed draws, and answer the test texts."""
        self.test_seconds = 0.0
        rows, others = self._draw(shots, seed)
        if arm == "tfidf":
            texts, labels = ([values[row] for row in rows] for values in (self._train.texts, self._train.labels))
            baseline = build_baseline("tfidf", texts, labels, seed=seed).fit(texts, labels)
            return np.array([self.names.index(label) for label in predict_labels(baseline, self.test_texts)])
        tuned = self._tuned_for == (shots, seed) and arm.startswith("contrastive")
        if not tuned:
            self._encoder.restore()
            self._tuned_for = None
        ids, labels = self._ids(rows), self._labels[rows]
        vectors: Callable[[list[Any]], npt.NDArray[np.float32]] = self._frozen_vectors
        if arm == "setfit":
            _setfit(self._encoder.model, ids, labels, seed)
            return _scikit(self._tuned(ids), labels, self._measured(self._tuned), C=1.0)
        if arm == "frozen":
            return _scikit(vectors(ids), labels, self._measured(vectors), C=0.1, scaled=True)
        if arm.startswith("contrastive"):
            if not tuned:
                self._fill(ids)
                self._cache.use()
                try:
                    _contrast(self._encoder.model, ids, labels, seed)
                finally:
                    self._cache.release()
                self._tuned_for = (shots, seed)
            return self._head(arm, ids, labels, self._ids(others), self._above_states)
        return self._head(arm, ids, labels, self._ids(others), vectors)

    def _head(self, arm: str, ids: list[Any], labels: Ids, others: list[Any], vectors: Any) -> Ids:
        """Our regression, on the pseudo-labels of other texts too, where the arm has them."""
        known, weights, inverse = vectors(ids), np.ones(len(ids)), None
        if arm.endswith("+texts"):
            spec = SelfTrainingSpec(unlabelled=("-",))
            found = pseudo_labels(
                _unit(self._frozen_vectors(ids)),
                labels,
                weights,
                _unit(self._frozen_vectors(others)),
                spec,
                num_labels=len(self.names),
            )
            if len(found.rows):
                inverse = PSEUDO_REGULARIZATION
                known = np.concatenate([known, vectors([others[row] for row in found.rows])])
                labels, weights = np.concatenate([labels, found.labels]), np.concatenate([weights, found.weights])
        regression = fit_head(known, labels, weights, num_labels=len(self.names), inverse_regularization=inverse)
        return regression(self._measured(vectors)()).argmax(axis=1)

    def _measured(self, vectors: Any) -> Callable[[], npt.NDArray[np.float32]]:
        """Return vectors of the test texts, whose time is not that of the fit."""

        def of_test() -> npt.NDArray[np.float32]:
            began = time.process_time()
            found = vectors(self._test_ids)
            self.test_seconds = time.process_time() - began
            return found

        return of_test

    def _draw(self, shots: int, seed: int) -> tuple[list[int], list[int]]:
        """Rows of each label, and as many others as are taken without their labels."""
        order = np.random.default_rng(seed).permutation(len(self._labels))
        rows = [row for label in range(len(self.names)) for row in order[self._labels[order] == label][:shots].tolist()]
        chosen = set(rows)
        return rows, [row for row in order.tolist() if row not in chosen][:UNLABELLED]

    def _ids(self, rows: list[int]) -> list[Any]:
        new = [row for row in rows if row not in self._train_ids]
        self._train_ids |= dict(zip(new, self._encoder.ids(tuple(self._train.texts[row] for row in new)), strict=True))
        return [self._train_ids[row] for row in rows]

    def _compute_states(self, ids: list[Any]) -> None:
        """Let the lower layers, which no arm leaves tuned, compute what is not known yet."""

        def compute(batch: Ids) -> npt.NDArray[np.float32]:
            states = self._cache.compute(batch)
            for row, found in zip(batch, states, strict=True):
                length = int(np.count_nonzero(row))
                self._states[_key(row[:length])] = found[:length]
            return states

        self._cache.fill([each for each in ids if _key(each) not in self._states], compute=compute)

    def _fill(self, ids: list[Any]) -> None:
        """Let the cache look texts up."""
        self._compute_states(ids)

        def look_up(batch: Ids) -> npt.NDArray[np.float32]:
            found = np.zeros((*batch.shape, self._cache.width), np.float32)
            for place, row in enumerate(batch):
                length = int(np.count_nonzero(row))
                found[place, :length] = self._states[_key(row[:length])]
            return found

        self._cache.fill(ids, compute=look_up)

    def _frozen_vectors(self, ids: list[Any]) -> npt.NDArray[np.float32]:
        """Vectors of the encoder as it comes, each text once."""
        keys = [_key(each) for each in ids]
        new = {key: each for key, each in zip(keys, ids, strict=True) if key not in self._frozen}
        if new:
            self._compute_states(list(new.values()))
            held = {name: value.numpy().copy() for name, value in self._encoder.model.state_dict().items()}
            self._encoder.restore()
            self._frozen |= dict(zip(new, self._above_states(list(new.values())), strict=True))
            for name, value in self._encoder.model.state_dict().items():
                value.set_value(held[name])
        return np.stack([self._frozen[key] for key in keys])

    def _above_states(self, ids: list[Any]) -> npt.NDArray[np.float32]:
        """Vectors of the encoder as it is now, its lower layers looked up."""
        self._fill(ids)
        self._cache.use()
        try:
            return vectors_of(self._encoder.model, ids)
        finally:
            self._cache.release()

    def _tuned(self, ids: list[Any]) -> npt.NDArray[np.float32]:
        return vectors_of(self._encoder.model, ids)


def _key(ids: Any) -> bytes:
    return np.asarray(ids, np.int32).tobytes()


def _unit(vectors: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    unit: npt.NDArray[np.float32] = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _scikit(known: npt.NDArray[np.float32], labels: Ids, test: Callable[[], Any], *, C: float, scaled: bool = False) -> Ids:  # noqa: N803
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = LogisticRegression(C=C, max_iter=2000)
    fitted = (make_pipeline(StandardScaler(), model) if scaled else model).fit(known, labels)
    found: Ids = fitted.predict(test())
    return found


def _contrast(model: Any, ids: list[Any], labels: Ids, seed: int) -> None:
    """Tune as ``embtune train`` does by default, without its Trainer."""
    spec = ContrastiveSpec()
    names = tuple(f"network.encoder.layers.{layer}." for layer in range(LAYERS, 99))
    rows = EncodedDataset(ids, labels.tolist())
    steps = spec.steps_for(len(ids), batch_size=16)
    sampler = LabelBatchSampler(rows, batch_size=16, steps=steps, seed=seed)
    batches = ([*batch] for batch in sampler)
    _tune(
        model,
        [p for name, p in model.named_parameters() if name.startswith(names)],
        rows,
        batches,
        steps,
        spec.rate,
        spec,
        seed,
    )


def _setfit(model: Any, ids: list[Any], labels: Ids, seed: int) -> None:
    """Tune on drawn pairs: as many of one kind as of the other for every row."""
    generator = np.random.default_rng(seed)
    pairs = []
    for row, label in enumerate(labels):
        same, other = np.flatnonzero((labels == label) & (np.arange(len(labels)) != row)), np.flatnonzero(labels != label)
        for kind, target in ((same, 1.0), (other, 0.0)):
            pairs += [(row, int(partner), target) for partner in generator.choice(kind, PAIRS)]
    order = generator.permutation(len(pairs))
    batches = [[pairs[pair] for pair in order[start : start + 16]] for start in range(0, len(order), 16)]
    rows = EncodedDataset(ids, labels.tolist())
    _tune(model, list(model.network.parameters()), rows, iter(batches), len(batches), 2e-5, None, seed)


def _tune(
    model: Any,
    parameters: list[Any],
    rows: Any,
    batches: Iterator[Any],
    steps: int,
    rate: float,
    spec: ContrastiveSpec | None,
    seed: int,
) -> None:
    """AdamW with warm-up over a tenth of the steps and a linear decay, in bfloat16 where that is faster."""
    paddle.seed(seed)
    held = [(p, p.stop_gradient) for p in model.parameters()]
    for p, _ in held:
        p.stop_gradient = all(p is not each for each in parameters)
    kernels = compat.onednn.cpu_kernels()
    bf16 = compat.onednn.use_precision("auto").precision == "bf16"
    optimizer = paddle.optimizer.AdamW(
        rate, parameters=parameters, weight_decay=0.01, grad_clip=paddle.nn.ClipGradByGlobalNorm(1.0)
    )
    undo = compat.speed_up_encoder(model, bf16=bf16)
    model.train()
    try:
        for step, batch in enumerate(batches):
            optimizer.set_lr(rate * min((step + 1) / max(1.0, 0.1 * steps), (steps - step) / max(1.0, 0.9 * steps)))
            loss = _setfit_loss(model, rows, batch) if spec is None else _our_loss(model, rows, batch, spec)
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
    finally:
        undo()
        compat.onednn.restore_kernels(kernels)
        model.eval()
        for p, frozen in held:
            p.stop_gradient = frozen


def _our_loss(model: Any, rows: Any, batch: list[int], spec: ContrastiveSpec) -> Any:
    given = collate([rows[row] for row in batch])
    return pairs_pass(model, paddle.to_tensor(given["input_ids"]), paddle.to_tensor(given["labels"]), spec)


def _setfit_loss(model: Any, rows: Any, batch: list[tuple[int, int, float]]) -> Any:
    first, second, targets = (np.array(values) for values in zip(*batch, strict=True))
    distinct, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    order = sorted(range(len(distinct)), key=lambda number: rows.lengths[distinct[number]])
    parts = [
        model.features(paddle.to_tensor(collate([rows[distinct[number]] for number in part])["input_ids"]))
        for part in np.array_split(np.array(order), 4)
        if len(part)
    ]
    back = np.argsort(order)
    vectors = paddle.nn.functional.normalize(paddle.concat(parts), axis=1)
    one, other = (
        paddle.gather(vectors, paddle.to_tensor(back[places[half]])) for half in (slice(len(batch)), slice(len(batch), None))
    )
    return paddle.square((one * other).sum(axis=1) - paddle.to_tensor(targets.astype(np.float32))).mean()


def print_table(cells: list[dict[str, Any]]) -> None:
    """Print mean accuracy over seeds with an interval by a bootstrap of seeds and test rows, and CPU seconds of a fit."""
    arms = [arm for arm in ARMS if any(cell["arm"] == arm for cell in cells)]
    print(f"| {'set':<16}| rows a label | {' | '.join(arms)} |\n|{' --- |' * (len(arms) + 2)}")
    for name, shots in sorted({(cell["set"], cell["shots"]) for cell in cells}):
        shown = []
        for arm in arms:
            found = [cell for cell in cells if (cell["set"], cell["shots"], cell["arm"]) == (name, shots, arm)]
            shown.append(_shown(found) if found else "")
        print(f"| {name:<16}| {shots} | {' | '.join(shown)} |")


def _shown(cells: list[dict[str, Any]]) -> str:
    right = np.array([cell["right"] for cell in cells], dtype=np.float64)
    generator = np.random.default_rng(0)
    means = [
        right[
            np.ix_(generator.integers(0, len(right), len(right)), generator.integers(0, right.shape[1], right.shape[1]))
        ].mean()
        for _ in range(1000)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    seconds = np.mean([cell["cpu_seconds"] for cell in cells])
    return f"{right.mean():.3f} ({low:.3f} to {high:.3f}), {seconds:.0f} s"


if __name__ == "__main__":
    main()
