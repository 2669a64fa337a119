"""Networks of PaddleNLP inside our layers: built from their settings, and how such a layer is built again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.encoders import reserved_positions
from paddlenlp_embtune.errors import EmbtuneError, HostError, RecipeError

paddle = compat.require_paddle()

__all__ = ["NetworkLayer", "build_network", "fill_network"]


class NetworkLayer(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    """A layer around a network of PaddleNLP, which remembers what it was built with.

    Args:
        config: the arguments of its class, with ``vocabulary_size``, and the network's ``architecture`` and ``settings`` among
            them.
    Raises:
        RecipeError: the settings are of another size.
    """

    padding_id = 0

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        size, rows = config["settings"].get("vocab_size"), config["vocabulary_size"]
        if size != rows:
            raise RecipeError(f"the encoder's settings have the vocab_size {size}, the vocabulary has {rows} tokens")
        self._config = {**config, "settings": dict(config["settings"])}

    def config(self) -> dict[str, Any]:
        """Return the arguments that build this layer again."""
        return dict(self._config)

    def config_with_rows(self, rows: int) -> dict[str, Any]:
        """Return the arguments that build this layer with another number of rows in its embedding."""
        config = self.config()
        return {**config, "vocabulary_size": rows, "settings": {**config["settings"], "vocab_size": rows}}

    @property
    def most_tokens(self) -> int | None:
        """The longest text that there are positions for, in tokens; None where there is no bound."""
        most = self._config["settings"].get("max_position_embeddings")
        return None if most is None else int(most) - reserved_positions(self._config["architecture"])


def build_network(architecture: str, settings: Mapping[str, Any], *, ending: str, what: str, example: str) -> Any:
    """Build a class of ``paddlenlp.transformers`` from its settings.

    Args:
        architecture: name of the class.
        settings: its configuration.
        ending: what the names of classes that will do end with.
        what: what such a class is, for messages.
        example: one of them.
    Raises:
        HostError: PaddleNLP has no such class, or it takes other settings.
    """
    with compat.quiet():
        kind: Any = compat.host_attribute("paddlenlp.transformers", architecture) if architecture.endswith(ending) else None
    if kind is None:
        raise HostError(
            f"PaddleNLP has no {what} {architecture!r}; expected a class of paddlenlp.transformers such as {example}"
        )
    # Of training alone, and PaddleNLP warns of it.
    kept = {name: value for name, value in settings.items() if name != "gradient_checkpointing"}
    try:
        return kind(kind.config_class.from_dict(kept))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise HostError(f"PaddleNLP cannot build {architecture} from these settings: {error}") from error


def fill_network(
    network: Any,
    weights: Mapping[str, npt.NDArray[np.float32]],
    *,
    source: str,
    optional: tuple[str, ...] = (),
    error: type[EmbtuneError] = HostError,
) -> None:
    """Put weights into a network, each of the shape that it has there.

    Args:
        network: as :func:`build_network` gives it.
        weights: by the names of its parameters; others are left out.
        source: where they came from, for messages.
        optional: how the names begin that may be missing; what was drawn for them stays.
        error: the exception to raise.
    Raises:
        EmbtuneError: of the type given; a weight is missing or has another shape.
    """
    for name, parameter in network.state_dict().items():
        value = weights.get(name)
        if value is None and name.startswith(optional):
            continue
        found = "missing" if value is None else str(tuple(value.shape))
        if value is None or value.shape != tuple(parameter.shape):
            raise error(
                f"{name!r} of {source} is {found}; {type(network).__name__} needs {tuple(parameter.shape)} by its settings; "
                "give the weights that were saved with these"
            )
        parameter.set_value(value)
