"""Correct gradients through layer norms whose scale is frozen."""

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
        """Replace the gradients of the model's frozen norms."""
        self._model = kwargs["model"]
        compat.fix_layer_norm_gradients(self._model)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Restore the norms when training ends."""
        self.teardown()

    def teardown(self) -> None:
        """Restore the norms; also called when training was interrupted."""
        if self._model is not None:
            compat.restore_layer_norms(self._model)
            self._model = None
