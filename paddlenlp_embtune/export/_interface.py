"""What a port to another language needs: how text becomes ids and logits become answers, with worked examples."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

from paddlenlp_embtune.bundle import INPUT_NAME, OUTPUT_NAME, VECTORS_NAME, Bundle, Manifest, tokenizer_steps
from paddlenlp_embtune.inference import BatchRunner, Engine, kind_of
from paddlenlp_embtune.text import PAD_ID, tokenize_texts
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["FIXTURES", "INTERFACE", "interface_of", "write_interface"]

INTERFACE, FIXTURES = "interface.json", "fixtures.jsonl"
_TEXTS = (
    "公司拟回购股份",
    "ＡＢＣ　ａｂｃ　１２３，标点。",
    "今天涨停了😀👍",
    "Cafe\u0301 Straße ﬁ ㈱ ①",
    "  空格\t和\n换行  ",
    "國際會議延期",
    "\u200b零宽\ufeff字符\x07",
    "⻓期⻛险⾦融❤\ufe0f",
    "\u3164\u2800\ufe0f",
    "<b>粗体</b> &amp; [SEP] http://example.com/?a=1",
    "",
    "订单增加，利润上升。费用下降！后市如何？仍需观察；" * 40,
)

_SCORES_OF_SEVERAL = (
    "sigmoid(logits) of each window, aggregated over the windows of a text (max is not divided by the sum), then calibrated: "
    "sigmoid(scale * ln(p / (1 - p)) + offset) with the label's scaling, or 1 and 0; of a single window this is "
    "sigmoid(scale * logits + offset)"
)
_SCORES = "softmax(logits / temperature) of each window, aggregated over the windows of a text"
_SCORES_OF_WINDOWS = (
    "softmax(logits) of each window, aggregated over the windows of a text, each to the power of 1 / temperature, divided by "
    "the sum of these; of a single window this is softmax(logits / temperature)"
)


def interface_of(bundle: Bundle) -> dict[str, Any]:
    """Describe how text becomes a bundle's input, and its output answers, for programs in any language."""
    manifest, tokenizer = bundle.manifest, bundle.tokenizer
    config = tokenizer.config()
    return {
        "version": 1,
        "about": "From text to an answer in any language; fixtures.jsonl holds worked examples. Places in texts are counted in "
        "Unicode code points, from 0. Where windows begin and end is not specified: send texts that fit, or cut them yourself.",
        "unicode": unicodedata.unidata_version,
        "tokenizer": {
            **config,
            "steps": tokenizer_steps(config),
            "vocabulary": "vocab.txt",
            **({"files": sorted(tokenizer.files())} if tokenizer.files() else {}),
            "unknown_id": tokenizer.vocabulary.unknown_id,
            "prefix": list(tokenizer.prefix),
            "suffix": list(tokenizer.suffix),
            "max_length": manifest.max_length,
        },
        "windows": to_plain(manifest.windows),
        "input": {
            "name": INPUT_NAME,
            "dtype": "int64",
            "shape": ["batch", "length"],
            "padding_id": PAD_ID,
            "padding_side": "right",
        },
        "output": {"name": OUTPUT_NAME, "dtype": "float32", "shape": ["batch", len(manifest.labels)]},
        **_vectors_of(manifest),
        "answer": {
            **({} if manifest.kind is None else {"kind": manifest.kind}),
            "scores": _scores(manifest),
            "labels": list(manifest.labels),
            "ordered": manifest.ordered,
            "temperature": manifest.temperature,
            "thresholds": dict(manifest.thresholds),
            "cut": "true in an answer where the text has more ids than max_length without windows, and the rest was left out",
            **_decision(manifest),
        },
        "programs": {
            **({"fp32": "onnx/model.onnx"} if "onnxruntime" in manifest.engines else {}),
            **{precision: program.file for precision, program in manifest.quantized.items()},
        },
    }


def _vectors_of(manifest: Manifest) -> dict[str, Any]:
    """Describe the second output, where there is one."""
    if (output := manifest.sentence_vectors) is None:
        return {}
    return {
        "vectors": {
            "name": VECTORS_NAME,
            "dtype": "float32",
            "shape": ["batch", output.width],
            "pooling": output.pooling,
            "answer": "the mean over the windows of a text weighted by their ids, the first values of it where fewer "
            "dimensions are wanted, divided by its Euclidean length; 0 for a text without a visible character",
        }
    }


def _scores(manifest: Manifest) -> str:
    if kind_of(manifest).several:
        return _SCORES_OF_SEVERAL
    return _SCORES if manifest.windows is None else _SCORES_OF_WINDOWS


def _decision(manifest: Manifest) -> dict[str, Any]:
    """How scores become an answer."""
    if not kind_of(manifest).several:
        return {"abstain": "where the score is below its label's threshold, or that threshold is 1; labels without one have 0"}
    return {
        "scaling": to_plain(manifest.scaling),
        "given": "each label whose score is its threshold or more, unless that is 1; labels without one have 0.5; no label is "
        "an answer",
    }


def write_interface(folder: Path, bundle: Bundle, engine: Engine) -> None:
    """Write ``interface.json``, and ``fixtures.jsonl``: texts of ours with their windows, ids, logits and scores.

    Args:
        folder: the bundle that is being written.
        bundle: what it says so far.
        engine: computes the logits.
    """
    manifest = bundle.manifest
    tokenized = tokenize_texts(_TEXTS, bundle.tokenizer, max_length=manifest.max_length, windows=manifest.windows)
    runner = BatchRunner(engine, num_labels=len(manifest.labels), batch_size=1, num_threads=1)
    logits = runner.submit(tokenized.ids)()
    kind = kind_of(manifest)
    scores, _ = kind.combine(logits, tokenized, temperature=manifest.temperature, windows=manifest.windows)
    lines = []
    for text, first, end, row in zip(_TEXTS, tokenized.first, tokenized.first[1:], scores.tolist(), strict=False):
        windows = []
        for number in range(first, end):
            start, stop = tokenized.spans[number] if tokenized.spans is not None else (0, len(text))
            values = logits[number].tolist()
            windows.append({"start": start, "end": stop, "ids": list(tokenized.ids[number]), "logits": values})
        blank = not windows[0]["ids"]
        line = {"text": text, "windows": [] if blank else windows, "scores": None if blank else row}
        lines.append(json.dumps(line, ensure_ascii=False) + "\n")
    write_text(folder / INTERFACE, json.dumps(interface_of(bundle), ensure_ascii=False, indent=1) + "\n")
    write_text(folder / FIXTURES, "".join(lines))
