"""Layer norms whose scale is frozen, by whomever."""

from __future__ import annotations

from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import TrainerCallback

__all__ = ["LayerNormFixCallback"]


class LayerNormFixCallback(TrainerCallback):  # type: ignore[misc]
    """Corrects gradients through frozen layer norms: see ``compat.fix_layer_norm_gradients``."""

    def __init__(self) -> None:
        self._model: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Change the model's norms."""
        self._model = kwargs["model"]
        compat.fix_layer_norm_gradients(self._model)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put them back."""
        self.put_back()

    def put_back(self) -> None:
        """Put the norms back; also after a training that broke off."""
        if self._model is not None:
            compat.restore_layer_norms(self._model)
            self._model = None
