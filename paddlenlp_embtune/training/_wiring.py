"""What only the Trainer's side knows, told to callbacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.models import embedding_name
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback
from paddlenlp_embtune.training.callbacks.early_stopping import EarlyStoppingCallback
from paddlenlp_embtune.training.callbacks.embedding_health import EmbeddingHealthCallback
from paddlenlp_embtune.training.callbacks.layer_cache import LayerCacheCallback
from paddlenlp_embtune.training.callbacks.learning_rate import LearningRateCallback
from paddlenlp_embtune.training.callbacks.monitored_rows import MonitoredRows
from paddlenlp_embtune.training.callbacks.row_constraints import RowConstraintsCallback
from paddlenlp_embtune.training.callbacks.weight_averaging import WeightAveragingCallback
from paddlenlp_embtune.training.parameter_groups import ParameterGroup
from paddlenlp_embtune.training.run_log import RunRecord

__all__ = ["embedding_of", "introduce", "introduce_health", "tokens_of"]


def introduce(callback: Any, trainer: Any, record: RunRecord, tokens: Sequence[str] | None) -> None:
    """Give a callback what only the Trainer's side knows."""
    if isinstance(callback, EmbtuneCallback):
        callback.record = record
    if isinstance(callback, LayerCacheCallback) and not callback.datasets:
        callback.datasets = [rows for rows in (trainer.train_dataset, trainer.eval_dataset) if rows is not None]
    if isinstance(callback, RowConstraintsCallback) and callback.tokens is None:
        callback.tokens = tokens
    if isinstance(callback, EarlyStoppingCallback):
        compat.catch_invalid_loss(trainer, lambda loss: callback.take_invalid_loss(loss, trainer.state))
    if isinstance(callback, WeightAveragingCallback) and callback.evaluate is None and trainer.eval_dataset is not None:
        callback.evaluate = lambda: compat.evaluate_without_callbacks(trainer)


def introduce_health(
    callback: EmbeddingHealthCallback,
    trainer: Any,
    groups: list[ParameterGroup],
    rates: LearningRateCallback,
    monitored_rows: MonitoredRows,
) -> None:
    """Give the health callback the groups, where to report, what is known of the rows, and how a rate is lowered."""
    if callback.probe.monitored == MonitoredRows():
        callback.probe.monitored = monitored_rows
    callback.report = callback.report or trainer.log
    callback.writer = lambda: compat.visualdl_writer(trainer)
    callback.sampler.groups = {group.spec.name: group.parameters for group in groups if group.parameters}
    name = callback.parameter or embedding_name(trainer.model)
    owner = next(group.spec.name for group in groups if name in group.parameters)
    callback.lower_learning_rate = callback.lower_learning_rate or (lambda factor, state: rates.scale(owner, factor, state))


def embedding_of(trainer: Any) -> Any:
    """Return the embedding parameter; None where it cannot be told which one it is, and whoever needs it will say so."""
    try:
        return dict(trainer.model.named_parameters())[embedding_name(trainer.model)]
    except HostError:
        return None


def tokens_of(trainer: Any) -> list[str] | None:
    """Return the tokens of the Trainer's own tokenizer in the order of their ids; None where they cannot be told."""
    known: Any = getattr(getattr(trainer, "tokenizer", None), "get_vocab", dict)()
    by_id = {int(number): str(token) for token, number in known.items()} if isinstance(known, Mapping) else {}
    parameter = embedding_of(trainer)
    rows = 0 if parameter is None else int(parameter.shape[0])
    if not by_id or max(by_id) >= rows:
        return None
    return [by_id.get(number, f"[row {number}]") for number in range(rows)]
