"""One contender of the serving benchmark: ``python -m tests.benchmarks.serving_peers KIND FOLDER OPTIONS``.

It says ``{}`` when it has loaded, then labels the texts that are named on stdin and says how long that took. Needs nothing of
the other contenders: Hugging Face's runs in an environment without Paddle.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

LAYERS, WIDTH, HEADS = 4, 312, 12
VOCABULARY = Path(__file__).resolve().parents[3] / "shared" / "data" / "vocab" / "ernie-3.0-base-zh.vocab.txt"
STEPS, MAX_LENGTH = 150, 512

Label = Callable[[list[str]], list[str]]


def main() -> None:
    kind, folder, options = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    if kind == "prepare":
        prepare(folder)
        return
    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
    if kind == "latency":
        say({})
        sys.stdin.readline()
        say(latency(folder, texts["short"]))
        return
    label: Label = {"stock": stock, "hugging_face": hugging_face, "bare": bare, "embtune": embtune}[kind](folder, **options)
    label(texts["short"][:64])
    say({})
    for line in sys.stdin:
        chosen = texts[line.strip()]
        started = time.perf_counter()
        labels = label(chosen)
        say({"seconds": time.perf_counter() - started, "labels": labels})


def say(answer: dict[str, Any]) -> None:
    """Write one line that the parent reads."""
    print("\n" + json.dumps(answer), flush=True)


def prepare(folder: Path) -> None:
    """Train the checkpoint for a moment, so that its labels mean something; make the bundle, and its program in 8 bits."""
    from paddlenlp_embtune.data import read_examples
    from paddlenlp_embtune.export import quantize
    from paddlenlp_embtune.export.from_checkpoint import bundle_checkpoint
    from tests.benchmarks.encoders import train_checkpoint  # sets the threads before Paddle loads

    finfe = VOCABULARY.parents[1] / "finfe"
    train, dev = (read_examples(finfe / name, text_column="text", label_column="label") for name in ("train.tsv", "dev.tsv"))
    rows = len(train) - 2000  # the last 2,000 are what is timed
    train_checkpoint(folder / "checkpoint", train.texts[:rows], train.labels[:rows], layers=LAYERS, width=WIDTH, steps=STEPS)
    bundle = bundle_checkpoint(folder / "checkpoint", folder / "bundle", max_length=MAX_LENGTH, sample_texts=dev.texts[:64])
    program = quantize(bundle, dev.texts, dev.labels).manifest.quantized["int8"]
    print(
        f"int8, {program.method}: {program.bytes / 1e6:.1f} MB against {program.bytes_fp32 / 1e6:.1f}, "
        f"{program.agreement:.2%} of {program.rows} labels alike, accuracy {program.accuracy:.4f} against "
        f"{program.accuracy_fp32:.4f}, {program.speedup:.2f} times as fast"
    )


def stock(folder: Path, **options: Any) -> Label:
    """PaddleNLP's own task."""
    import paddlenlp_embtune  # noqa: F401, I001 - first: PaddleNLP does not load without it where aistudio-sdk is new
    from paddlenlp import Taskflow

    task = Taskflow("text_classification", mode="finetune", task_path=str(folder / "checkpoint"), **options)

    def label(texts: list[str]) -> list[str]:
        return [answer["predictions"][0]["label"] for answer in task(texts)]

    return label


def hugging_face(folder: Path, *, threads: int, batch_size: int) -> Label:
    """A pipeline on PyTorch over a model of the same architecture and size, with weights of its own."""
    import torch
    import transformers

    del folder
    torch.set_num_threads(threads)
    vocabulary = VOCABULARY.read_text(encoding="utf-8").rstrip("\n").split("\n")
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=WIDTH,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH,
        max_position_embeddings=2048,
        num_labels=3,
    )
    ids = {token: number for number, token in enumerate(vocabulary)}
    try:
        tokenizer = transformers.BertTokenizer(vocab=ids, do_lower_case=True)
    except TypeError:  # before version 5
        tokenizer = transformers.BertTokenizerFast(vocab_file=str(VOCABULARY), do_lower_case=True)
    model = transformers.BertForSequenceClassification(config).eval()
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")

    def label(texts: list[str]) -> list[str]:
        pipeline(texts, batch_size=batch_size, truncation=True, max_length=MAX_LENGTH)
        return []

    return label


def bare(folder: Path, *, threads: int) -> Label:
    """A loop over ids that were tokenized and sorted beforehand; the texts must be asked for by number."""
    import numpy as np
    import onnxruntime

    from paddlenlp_embtune.bundle import Bundle
    from paddlenlp_embtune.text import pad

    bundle = Bundle.open(folder / "bundle")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(folder / "bundle" / "onnx" / "model.onnx"), options)
    prepared: dict[int, tuple[list[Any], list[int]]] = {}

    def batches_of(texts: list[str]) -> tuple[list[Any], list[int]]:
        encoded = [bundle.tokenizer.encode(text, max_length=MAX_LENGTH) for text in texts]
        order = sorted(range(len(texts)), key=lambda row: len(encoded[row]))
        rows = [order[start : start + 32] for start in range(0, len(order), 32)]
        return [pad([encoded[row] for row in batch]) for batch in rows], order

    for texts in json.loads((folder / "texts.json").read_text(encoding="utf-8")).values():
        prepared[len(texts)] = batches_of(texts)

    def label(texts: list[str]) -> list[str]:
        batches, order = prepared.get(len(texts)) or batches_of(texts)
        best = np.concatenate([session.run(None, {"input_ids": batch})[0].argmax(axis=1) for batch in batches])
        labels = [""] * len(texts)
        for row, number in zip(order, best.tolist(), strict=True):
            labels[row] = bundle.manifest.labels[number]
        return labels

    return label


def embtune(folder: Path, **options: Any) -> Label:
    """Our predictor."""
    from paddlenlp_embtune.inference import Predictor

    predictor = Predictor(folder / "bundle", **options)

    def label(texts: list[str]) -> list[str]:
        return [answer["label"] for answer in predictor.predict(texts)]

    return label


def latency(folder: Path, texts: list[str]) -> dict[str, float]:
    """One text at a time, in turns with a bare session; then from 8 threads."""
    import numpy as np
    import onnxruntime

    from paddlenlp_embtune.inference import Predictor

    predictor = Predictor(folder / "bundle")
    tokenizer = predictor.bundle.tokenizer
    session = onnxruntime.InferenceSession(str(folder / "bundle" / "onnx" / "model.onnx"))

    def plain(text: str) -> None:
        ids = tokenizer.encode(text, max_length=MAX_LENGTH)
        session.run(None, {"input_ids": np.array([ids])})

    def timed(call: Callable[[], object]) -> float:
        started = time.perf_counter()
        call()
        return (time.perf_counter() - started) * 1000

    ours, theirs = [], []
    for text in texts:
        ours.append(timed(lambda text=text: predictor.predict([text])))
        theirs.append(timed(lambda text=text: plain(text)))
    waits: list[float] = []

    def client(own: Iterator[str]) -> None:
        for text in own:
            waits.append(timed(lambda text=text: predictor.predict([text])))

    clients = [threading.Thread(target=client, args=(iter(texts[number::8]),)) for number in range(8)]
    started = time.perf_counter()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    seconds = time.perf_counter() - started
    return {
        "predict_ms": float(np.median(ours)),
        "bare_ms": float(np.median(theirs)),
        "median_ms": float(np.median(waits)),
        "p99_ms": float(np.percentile(waits, 99)),
        "per_second": len(texts) / seconds,
    }


if __name__ == "__main__":
    main()
