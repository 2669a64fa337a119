"""Large tables: steps whose time and memory do not grow with the rows of the embedding."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.models import embedding_name
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback

__all__ = ["SparseEmbeddingCallback"]

logger = logging.getLogger("paddlenlp_embtune")


class SparseEmbeddingCallback(EmbtuneCallback):
    """Trains only those rows of the embedding that a batch has read: the table by lazy AdamW, the rest as before.

    Rows without a gradient keep their values and moments; with a dense gradient, AdamW moves them on by momentum and decay.
    Put it before callbacks that look at gradients. In several processes, call :meth:`prepare` before replicas are wrapped.

    Args:
        parameter: name of the embedding parameter; None finds it.
    """

    def __init__(self, *, parameter: str | None = None) -> None:
        super().__init__()
        self.parameter = parameter
        self._embedding: Any = None
        self._layers: list[Any] = []
        self._padding: int | None = None

    def settings(self) -> Mapping[str, Any]:
        """Which parameter has its gradient by rows."""
        return {"parameter": self.parameter}

    def prepare(self, model: Any) -> None:
        """Ask the model's embedding for gradients by rows.

        Raises:
            HostError: no ``nn.Embedding`` of the model looks the table up, or those that do cannot give gradients by rows.
        """
        name = self.parameter or embedding_name(model)
        self._embedding = dict(model.named_parameters())[name]
        self._layers = compat.embedding_layers(model, self._embedding)
        if not self._layers:
            raise HostError(
                f"{name!r} belongs to no nn.Embedding of {type(model).__name__}, so its gradient is not available by rows; set "
                "sparse to null"
            )
        self._padding = compat.padding_row(self._layers)
        compat.set_sparse(self._layers, sparse=True)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the optimizer take gradients by rows; where it cannot, have them whole and say so."""
        super().on_train_begin(args, state, control, **kwargs)
        self.prepare(kwargs["model"])
        try:
            compat.refuse_loss_scale(args)
            compat.enable_lazy_updates(kwargs["optimizer"])
        except HostError as error:
            if args.world_size > 1:
                raise HostError(f"{error}; set sparse to null") from None
            compat.set_sparse(self._layers, sparse=False)
            logger.warning("the embedding trains with dense gradients: %s", error)
            self.record.write("sparse", used=False, why=str(error))
            return
        self.record.write("sparse", used=True, rows=int(self._embedding.shape[0]))

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Give every row once to those who look at gradients, and padding none."""
        compat.merge_gradient(self._embedding, padding_row=self._padding)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave model and optimizer as they were found."""
        compat.disable_lazy_updates(kwargs["optimizer"])
        if args.world_size <= 1:
            compat.set_sparse(self._layers, sparse=False)
