"""What callbacks and plugins may need of a Trainer that a recipe is put on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import HostError, RecipeError, expected_names
from paddlenlp_embtune.models import embedding_name

if TYPE_CHECKING:
    from paddlenlp_embtune.config import Recipe
    from paddlenlp_embtune.training.callbacks.learning_rate import LearningRateCallback
    from paddlenlp_embtune.training.callbacks.monitored_rows import MonitoredRows
    from paddlenlp_embtune.training.parameter_groups import ParameterGroup
    from paddlenlp_embtune.training.run_log import RunRecord

__all__ = ["TrainingContext", "embedding_of", "tokens_of"]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TrainingContext:
    """One run, as ``attach`` hands it to every callback's ``setup`` and to the hooks of plugins.

    Args:
        trainer: the Trainer.
        recipe: what was put on it.
        groups: the parameter groups, each with its parameters of the Trainer's model.
        record: where events go.
        tokens: the token of each row of the embedding; None where they are not known.
        monitored_rows: what is known about the rows of the embedding.
        learning_rates: the callback that sets the learning rate of every group.
    """

    trainer: Any
    recipe: Recipe
    groups: Sequence[ParameterGroup]
    record: RunRecord
    tokens: Sequence[str] | None
    monitored_rows: MonitoredRows
    learning_rates: LearningRateCallback

    @property
    def model(self) -> Any:
        """The model, without the wrappers that training puts around it."""
        return self.trainer.model

    @property
    def state(self) -> Any:
        """The Trainer's state as it is now: steps, epochs, metrics so far."""
        return self.trainer.state

    @property
    def control(self) -> Any:
        """The flags by which training is stopped, evaluated and saved."""
        return self.trainer.control

    @property
    def datasets(self) -> list[Any]:
        """The rows to train on and the evaluation rows, as far as there are any."""
        return [rows for rows in (self.trainer.train_dataset, self.trainer.eval_dataset) if rows is not None]

    @cached_property
    def token_counts(self) -> npt.NDArray[np.int64] | None:
        """How often each row of the embedding occurs in the training data, (V,); None where the data has no ``ids``."""
        ids, embedding = getattr(self.trainer.train_dataset, "ids", None), embedding_of(self.trainer)
        if ids is None or embedding is None:
            return None
        flat = np.fromiter(chain.from_iterable(ids), dtype=np.int64)
        return np.bincount(flat, minlength=int(embedding.shape[0])).astype(np.int64)

    def evaluate(self) -> Mapping[str, float]:
        """Evaluate the model as it stands, without a word to any callback; metrics are named ``eval_…``."""
        return compat.evaluate_without_callbacks(self.trainer)

    def log(self, values: Mapping[str, float]) -> None:
        """Write numbers to the Trainer's log, and so to whatever it reports to."""
        self.trainer.log(dict(values))

    def visualdl_writer(self) -> Any:
        """Return the ``LogWriter`` of the Trainer's VisualDL callback; None if it does not report there."""
        return compat.visualdl_writer(self.trainer)

    def group_of(self, parameter: str) -> str:
        """Return the name of the group that has a parameter.

        Raises:
            RecipeError: the model has no parameter of that name.
        """
        names = {name: group.spec.name for group in self.groups for name in group.parameters}
        if parameter not in names:
            raise RecipeError(
                f"{type(self.model).__name__} has no parameter {parameter!r}; {expected_names(parameter, names)}; list them "
                "with: embtune params"
            )
        return names[parameter]

    def scale_learning_rate(self, group: str, factor: float) -> None:
        """Multiply the learning rate of a group by a factor from now on, on top of its schedule."""
        self.learning_rates.scale(group, factor, self.state)


def embedding_of(trainer: Any) -> Any:
    """Return the embedding parameter; None where it is not clear which parameter it is; whoever needs it then raises."""
    try:
        return dict(trainer.model.named_parameters())[embedding_name(trainer.model)]
    except HostError:
        return None


def tokens_of(trainer: Any) -> list[str] | None:
    """Return the tokens of the Trainer's own tokenizer in the order of their ids; None where they are not known."""
    known: Any = getattr(getattr(trainer, "tokenizer", None), "get_vocab", dict)()
    by_id = {int(number): str(token) for token, number in known.items()} if isinstance(known, Mapping) else {}
    parameter = embedding_of(trainer)
    rows = 0 if parameter is None else int(parameter.shape[0])
    if not by_id or max(by_id) >= rows:
        return None
    return [by_id.get(number, f"[row {number}]") for number in range(rows)]
