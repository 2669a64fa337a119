"""An encoder that guesses hidden tokens."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.encoders import Pretrained
from paddlenlp_embtune.models.pretrained_classifier import build_encoder

paddle = compat.require_paddle()

__all__ = ["MaskedLanguageModel"]


class MaskedLanguageModel(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    """A pretrained encoder with a head that gives each token a score at each place asked for.

    The head is that of BERT: a linear layer, GELU, a layer norm, and the product with the token embedding, which is the
    encoder's own, so that what the guesses teach goes into its rows. It is the encoder's own head, with the encoder's own
    activation; or else a new one, whose linear layer begins as the identity, where the widths allow it, and whose bias as the
    logarithm of how often a token occurs.

    With ``bf16_steps`` set, training steps multiply by the token embedding in bfloat16.

    Args:
        pretrained: the encoder.
        log_frequencies: (V,) float32, where the guesses of a new head begin; None takes the encoder's own head.
    Shapes:
        forward: (B, L) int64 ids, and (M,) int64 places in the flattened batch, to (M, V) float32 logits
    Source:
        Devlin et al. 2019, "BERT", section 3.1; Press and Wolf 2017, "Using the Output Embedding to Improve Language Models"
    """

    def __init__(self, pretrained: Pretrained, *, log_frequencies: npt.NDArray[np.float32] | None = None) -> None:
        super().__init__()
        self.network = build_encoder(pretrained, pretrained.table)
        self._embedding = pretrained.embedding
        self.bf16_steps = False
        hidden, width = int(pretrained.settings["hidden_size"]), pretrained.dimension
        self.transform = paddle.nn.Linear(hidden, width)
        if hidden == width:
            self.transform.weight.set_value(np.eye(hidden, dtype=np.float32))
        self.norm = paddle.nn.LayerNorm(width)
        self.scores = self.create_parameter([len(pretrained.table)], is_bias=True)
        self._activation = "gelu"
        if log_frequencies is not None:
            self.scores.set_value(log_frequencies)
        else:
            self._activation = str(pretrained.settings.get("hidden_act", "gelu"))
            for name, value in self._head().items():
                value.set_value(pretrained.masked_head[name])

    def get_input_embeddings(self) -> Any:
        """Return the token embedding."""
        return self.network.embeddings.word_embeddings

    @property
    def table(self) -> Any:
        """The token embedding, (V, D)."""
        return dict(self.network.named_parameters())[self._embedding]

    def forward(self, input_ids: Any, places: Any) -> Any:
        """Map (B, L) int64 ids and (M,) int64 places to (M, V) float32 logits."""
        known = (input_ids != 0).astype(self.scores.dtype)
        states = self.network(input_ids, attention_mask=known)[0]
        asked = paddle.gather(states.reshape([-1, states.shape[-1]]), places)
        guesses = self.norm(getattr(paddle.nn.functional, self._activation)(self.transform(asked)))
        if self.bf16_steps and self.training and paddle.is_grad_enabled():
            return compat.tied_linear(guesses, self.table, self.scores)
        return paddle.matmul(guesses, self.table, transpose_y=True) + self.scores

    def weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the encoder's weights by name."""
        return {name: value.numpy() for name, value in self.network.state_dict().items()}

    def head_weights(self) -> dict[str, npt.NDArray[np.float32]]:
        """Return the head's weights, by the names of ``MASKED_HEAD``."""
        return {name: value.numpy() for name, value in self._head().items()}

    def _head(self) -> dict[str, Any]:
        return {
            "transform.weight": self.transform.weight,
            "transform.bias": self.transform.bias,
            "norm.weight": self.norm.weight,
            "norm.bias": self.norm.bias,
            "scores": self.scores,
        }
