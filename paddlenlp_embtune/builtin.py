"""The built-in features, registered through the same hooks as any plugin. Each is imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.config import AlarmSpec, Domain, GroupSpec, LayerwiseSpec, Recipe
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.plugin import Lazy, hookimpl

__all__ = ["FINANCE"]

FINANCE = Path(__file__).parent / "assets" / "finance"
_FEW_ROWS = 64
"""Rows of a step up to which the rates of a text CNN hold."""


@hookimpl
def embtune_register_domains() -> list[Domain]:
    """Finance, in five levels."""
    terms = {
        "easing": ("降准", "降息", "宽松"),
        "tightening": ("加息", "收紧", "缩表"),
        "buying": ("增持", "回购", "举牌"),
        "selling": ("减持", "抛售", "清仓"),
        "distress": ("违约", "退市", "爆雷", "立案"),
    }
    labels = ("强烈利空", "轻微利空", "中性", "轻微利好", "强烈利好")
    return [Domain(name="finance", labels=labels, term_groups=terms, bundle=FINANCE / "bundle")]


@hookimpl
def embtune_register_models() -> Mapping[str, Lazy]:
    """The text CNN, encoders under a classifier, PaddleNLP's own sequence classifiers, and experts on an encoder together."""
    return {
        "textcnn": Lazy("paddlenlp_embtune.models:TextCNN"),
        "pretrained": Lazy("paddlenlp_embtune.models:PretrainedClassifier"),
        "encoder": Lazy("paddlenlp_embtune.models:Encoder"),
        "experts": Lazy("paddlenlp_embtune.models:Experts"),
    }


@hookimpl
def embtune_register_losses() -> Mapping[str, Lazy]:
    """Cross-entropy, focal, squared earth mover's distance; of several labels a text, binary cross-entropy and asymmetric."""
    return {
        "cross_entropy": Lazy("paddlenlp_embtune.models:CrossEntropy"),
        "focal": Lazy("paddlenlp_embtune.models:Focal"),
        "squared_emd": Lazy("paddlenlp_embtune.models:SquaredEMD"),
        "binary_cross_entropy": Lazy("paddlenlp_embtune.models:BinaryCrossEntropy"),
        "asymmetric": Lazy("paddlenlp_embtune.models:Asymmetric"),
    }


@hookimpl
def embtune_register_vector_formats() -> Mapping[str, Lazy]:
    """word2vec, GloVe, fastText, arrays, checkpoints, bundles, and the LAC table inside jieba."""
    return {
        "lac": Lazy("paddlenlp_embtune.embeddings.io:read_lac"),
        "word2vec": Lazy("paddlenlp_embtune.embeddings.io:WORD2VEC"),
        "word2vec-binary": Lazy("paddlenlp_embtune.embeddings.io:WORD2VEC_BINARY"),
        "glove": Lazy("paddlenlp_embtune.embeddings.io:GLOVE"),
        "fasttext": Lazy("paddlenlp_embtune.embeddings.io:FASTTEXT"),
        "npy": Lazy("paddlenlp_embtune.embeddings.io:NPY"),
        "npz": Lazy("paddlenlp_embtune.embeddings.io:NPZ"),
        "safetensors": Lazy("paddlenlp_embtune.embeddings.io:SAFETENSORS"),
        "checkpoint": Lazy("paddlenlp_embtune.embeddings.io:CHECKPOINT"),
        "bundle": Lazy("paddlenlp_embtune.embeddings.io:BUNDLE"),
    }


@hookimpl
def embtune_register_exporters() -> Mapping[str, Lazy]:
    """ONNX and Paddle Inference."""
    return {
        "onnxruntime": Lazy("paddlenlp_embtune.export:export_onnx"),
        "paddle_inference": Lazy("paddlenlp_embtune.export:export_paddle_inference"),
    }


@hookimpl
def embtune_register_engines() -> Mapping[str, Lazy]:
    """ONNX Runtime, Paddle Inference, and the layer itself."""
    return {
        "onnxruntime": Lazy("paddlenlp_embtune.inference:OnnxRuntimeEngine"),
        "paddle_inference": Lazy("paddlenlp_embtune.inference:PaddleInferenceEngine"),
        "paddle": Lazy("paddlenlp_embtune.models:PaddleEngine"),
    }


@hookimpl
def embtune_register_group_rules(recipe: Recipe, model: Any) -> list[GroupSpec]:
    """Rates for the text CNN and for adapters; for others one group a layer, or else the embedding against the rest."""
    from paddlenlp_embtune.models import TextCNN, embedding_name, layerwise_groups
    from paddlenlp_embtune.models.adapters import adapter_groups

    embedding = embedding_name(model)
    if recipe.adapter is not None:
        return adapter_groups(model, recipe.adapter)
    if not isinstance(model, TextCNN):
        try:
            return list(layerwise_groups(model, LayerwiseSpec(rate=5e-5, decay=0.9, head_rate=5e-4)))
        except RecipeError:
            return [
                GroupSpec(name="embedding", parameters=(embedding,), rate=5e-5),
                GroupSpec(name="head", rate=2e-4, weight_decay=0.01),
            ]
    rows = (recipe.train.batch_size or _FEW_ROWS) * recipe.train.accumulation_steps
    # As the root of the batch: Malladi et al. 2022, "On the SDEs and Scaling Rules for Adaptive Gradient Algorithms".
    factor = max(1.0, rows / _FEW_ROWS) ** 0.5
    return [
        GroupSpec(name="embedding", parameters=(embedding,), rate=1e-3 * factor),
        GroupSpec(name="backbone", parameters=("convolution.*",), rate=2e-3 * factor, weight_decay=0.01),
        GroupSpec(name="head", parameters=("head.*",), rate=2e-3 * factor, weight_decay=0.01),
    ]


@hookimpl
def embtune_register_callbacks(recipe: Recipe, model: Any, groups: Sequence[Any]) -> list[Any]:
    """Freezing, rows, clipping, health, early stopping and averaging, as far as the recipe asks for them, in this order."""
    from paddlenlp_embtune.models import TextCNN
    from paddlenlp_embtune.plugin import registry
    from paddlenlp_embtune.training import callbacks, chance_loss, groups_named

    made: list[Any] = []
    freezing, rows, stopping = None, None, None
    if (freeze := recipe.freeze) is not None:
        chosen = groups_named(groups, freeze.groups, what="freeze.groups")
        freezing = callbacks.FreezingCallback.from_spec(freeze, {group.spec.name: tuple(group.parameters) for group in chosen})
        made.append(freezing)
        if freeze.cached:
            made.append(callbacks.LayerCacheCallback())
    if recipe.rows is not None:
        rows = callbacks.RowConstraintsCallback(recipe.rows)
        made.append(rows)
    if recipe.clip is not None:
        members = {group.spec.name: tuple(group.parameters) for group in groups}
        made.append(callbacks.GradientClippingCallback(recipe.clip, groups=members))
    if (health := recipe.health) is not None:
        known = registry.current()
        made.append(
            callbacks.EmbeddingHealthCallback(
                every_epochs=health.every_epochs,
                geometry_every_steps=health.geometry_every_steps,
                gradient_every_steps=health.gradient_every_steps,
                alarms=callbacks.resolve_alarms(
                    health.alarms, known.all_instances("alarm", AlarmSpec), drift=health.drift_alarm
                ),
                measures=known.all_guarded("health metric"),
            )
        )
    if (stop := recipe.early_stopping) is not None:
        epochs = recipe.train.epochs or 0
        to_the_end = isinstance(model, TextCNN) and recipe.schedule.kind in ("linear", "cosine")
        patience = stop.patience_evals or max(4, epochs if to_the_end else -(-epochs // 3))
        errors = stop.standard_errors if stop.standard_errors is not None else float(to_the_end)
        waiting = (lambda: freezing.waiting) if freezing is not None else None
        stopping = callbacks.EarlyStoppingCallback.from_spec(
            stop,
            patience_evals=patience,
            standard_errors=errors,
            waiting=waiting,
            chance=chance_loss(model, recipe.distill),
        )
        made.append(stopping)
    if recipe.average is not None:
        made.append(
            callbacks.WeightAveragingCallback(
                recipe.average.resolved(stop),
                project=rows.turn_back if rows is not None else None,
                stopped=(lambda: stopping.stop_reason is not None) if stopping is not None else None,
                best_restored=stop is not None and stop.restore_best,
            )
        )
    return made
