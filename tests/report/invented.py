"""An invented run folder, small and full of text that would like to be markup."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_embtune.embeddings.metrics.drift_report import describe_drift
from paddlenlp_embtune.evaluation.error_analysis import analyze_predictions

SCRIPT = "<script>window.hit=1</script>"
IMAGE = '"><img src="http://nowhere.example/x.png" onerror="window.hit=1">'
MEASURE = "my measure " + IMAGE
LABELS = ("强烈利空" + SCRIPT, "$x^2$ & $\\frac$", "强烈利好")
TOKENS = ("[PAD]", "[UNK]", *"降准加息增持减回购立案", SCRIPT, IMAGE, "\u20e3", " ")
GROUPS = {"easing " + SCRIPT: ("降准", "降"), "buying": ("增持", "回购", "购"), "lonely": ("案",), "unknown": ("龘",)}
TEXTS = ("净利润翻番 " + SCRIPT, IMAGE, "\u202e逆\x00序\ud800 a\nb", "", "长" * 900)


def events(*, alarms: int = 2) -> list[dict[str, Any]]:
    """A record in which one group is frozen for two epochs and another for three, of four epochs with ten steps each."""
    found: list[dict[str, Any]] = [
        {"event": "start", "recipe": "ab" * 32, "cpu": {"threads": 1}},
        {"event": "data", **data()},
        {"event": "vectors", "source": "made " + IMAGE, "found": 0.5, "origins": {"exact": 8}, "missing_examples": ["\u20e3"]},
        {"event": "groups", "table": [group("embedding", 1e-3), group("head " + SCRIPT, 2e-3)]},
        phase(0, "frozen", "embedding", "head " + SCRIPT),
    ]
    for step in range(5, 41, 5):
        rates = {"embedding": 0.0 if step < 20 else 1e-3, "head " + SCRIPT: 0.0 if step < 30 else 2e-3}
        found.append({"event": "rates", "epoch": step / 10, "step": step, "loss": 1.0 / step, "rates": rates})
        if step % 10 == 0:
            found += [health(step), {"event": "agreement", "epoch": step / 10, "step": step, "agreement_z": step}]
            found.append(evaluation(step))
        if step in (20, 30):
            found.append(phase(step, "released", "embedding" if step == 20 else "head " + SCRIPT))
        if step > 40 - 10 * alarms and step % 10 == 0:
            alarm = {"measure": MEASURE, "done": "lowered " + SCRIPT} if step == 40 else {}
            found.append({"event": "alarm", "epoch": step / 10, "step": step, "message": f"drifted at {step}", **alarm})
    found.append({"event": "rate_scaled", "epoch": 3.0, "step": 30, "group": "embedding", "factor": 0.5})
    found.append({"event": "stopped", "reason": "no_improvement", "epoch": 4.0, "step": 40})
    found.append({"event": "restored", "step": 20, "epoch": 2.0, "metric": "eval_f1_macro", "value": 0.9})
    found.append({"event": "trained", "seconds": 1.5, "steps": 40, "epochs": 4.0})
    return [{"time": "2026-01-02T03:04:05.000+00:00", **event} for event in found]


def data() -> dict[str, Any]:
    return {
        "train": f"/data/{SCRIPT}.tsv",
        "dev": "dev.tsv",
        "train_rows": 30,
        "dev_rows": 5,
        "classes": dict.fromkeys(LABELS, 10),
        "duplicates": 1,
        "conflicts": 0,
        "leaks": 0,
        "skipped_empty": 0,
        "warnings": ["1 of 30 training rows are duplicates " + IMAGE],
        "vocabulary": len(TOKENS),
        "dev_unknown_rate": 0.25,
        "sha256": {"/data/<i>.tsv": "cd" * 32},
    }


def group(name: str, rate: float) -> dict[str, Any]:
    return {"name": name, "tensors": 1, "parameters": 64, "rate": rate, "weight_decay": 0.0, "trainable": True, "phase": "all"}


def phase(step: int, what: str, *units: str) -> dict[str, Any]:
    return {"event": "phase", "epoch": step // 10, "step": step, "what": what, "units": list(units), "parameters": 64}


def health(step: int) -> dict[str, Any]:
    fields = ("rows_moved", "cosine_drift_mean", "cosine_drift_p95", "cosine_drift_max", "norm_mean", "norm_max", MEASURE)
    check: dict[str, Any] = {name: float(step) for name in fields}
    gradient = None if step == 10 else 0.5
    groups = {"cohesion": {"easing " + SCRIPT: [0.1, step / 100]}, "silhouette": {}}
    shares = {"embedding": 0.5, "head " + SCRIPT: step / 100}
    other = {"gradient_norm": gradient, "never": None, "sure": True, "worst": [[SCRIPT, 0.5]]}
    check.update(gradient_share=shares, groups=groups)
    return {"event": "health", "epoch": step / 10, "step": step, **check, **other}


def evaluation(step: int) -> dict[str, Any]:
    value = 0.9 if step == 20 else 0.5
    return {
        "event": "early_stopping",
        "epoch": step / 10,
        "step": step,
        "metric": "eval_f1_macro",
        "value": value,
        "improved": 0,
    }


def answers() -> dict[str, Any]:
    shares = [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.34, 0.33, 0.33], [0.0, 0.02, 0.98]]
    return analyze_predictions(shares, [0, 1, 2, 0, 1], LABELS, TEXTS)


def moves() -> dict[str, Any]:
    start = np.random.default_rng(0).standard_normal((len(TOKENS), 6), dtype=np.float32)
    end = start.copy()
    end[2:] += 0.5 * np.random.default_rng(1).standard_normal(end[2:].shape, dtype=np.float32)
    return describe_drift(start, end, TOKENS, GROUPS, counts=np.arange(len(TOKENS)), k=3)


def manifest() -> dict[str, Any]:
    proof = {"max_probability_difference": 1e-7, "tolerance": 1e-5, "texts": 9, "batches": 2, "same_labels": True}
    return {
        "schema_version": 1,
        "labels": LABELS,
        "engines": {"onnxruntime": ["onnx/<b>.onnx"], "paddle": ["weights.safetensors"]},
        "parity": {"onnxruntime": proof},
        "versions": {"python": "3", SCRIPT: "0"},
    }


def write_run(folder: Path, **parts: Any) -> Path:
    """Write a run; a part given as None is left out, one given as a text or bytes is written as it is."""
    dev = answers()
    metrics = {name: dev[name] for name in ("n", "accuracy", "f1_macro", "confusion", "per_class")}
    whole: Mapping[str, Any] = {
        "recipe.yaml": f"train: {{epochs: 6}}\nhealth: {{drift_alarm: 0.5}}\n# {SCRIPT}\n",
        "record.jsonl": lines(events()),
        "metrics.json": metrics,
        "insight.json": {"dev": dev, "movement": moves()},
        "bundle/bundle.json": manifest(),
        "bundle/onnx/<b>.onnx": "0" * 3000,
        **parts,
    }
    for name, content in whole.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return folder


def lines(record: Sequence[Mapping[str, Any]]) -> str:
    """Lay events out as a record."""
    return "".join(json.dumps(event) + "\n" for event in record)
