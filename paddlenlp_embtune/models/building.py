"""Building registered models, filling their embedding, and finding the embedding of anybody's model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import host, registry
from paddlenlp_embtune.errors import HostError, RecipeError, legal_names

paddle = host.require_paddle()

__all__ = ["build_model", "embedding_name", "set_embedding", "with_table"]

_SIZES = ("vocabulary_size", "dimension", "num_labels")


def build_model(name: str, *, vocabulary_size: int, dimension: int, num_labels: int, options: Mapping[str, Any]) -> Any:
    """Build a registered model.

    Args:
        name: what it is registered as.
        vocabulary_size: V.
        dimension: D.
        num_labels: C.
        options: the model's own options.
    Raises:
        PluginError: no model has that name.
        RecipeError: the model does not know an option; the message lists those it knows.
    """
    builder = registry.current().get("model", name)
    signature = inspect.signature(builder)
    if not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        legal = [parameter for parameter in signature.parameters if parameter not in _SIZES]
        for option in options:
            if option not in legal:
                raise RecipeError(f"model.options of {name} has no {option!r}; {legal_names(option, legal)}")
    return builder(vocabulary_size=vocabulary_size, dimension=dimension, num_labels=num_labels, **options)


def embedding_name(model: Any) -> str:
    """Return the name of a model's token embedding parameter.

    The model may state it (``embedding_parameter``), give the layer (``get_input_embeddings``, as PaddleNLP's models do), or
    have one ``nn.Embedding`` with more rows than any other.

    Raises:
        HostError: none of these.
    """
    names: dict[int, str] = {id(parameter): name for name, parameter in model.named_parameters()}
    stated = getattr(model, "embedding_parameter", None)
    if stated is not None:
        return str(stated)
    if hasattr(model, "get_input_embeddings"):
        try:
            return names[id(model.get_input_embeddings().weight)]
        except (NotImplementedError, AttributeError, KeyError):
            pass
    layers = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.Embedding)]
    layers.sort(key=lambda layer: int(layer.weight.shape[0]), reverse=True)
    if not layers or (len(layers) > 1 and layers[0].weight.shape[0] == layers[1].weight.shape[0]):
        raise HostError(
            f"cannot tell which parameter of {type(model).__name__} is the token embedding: it has {len(layers)} embedding "
            "layers; set embedding_parameter on the model to the parameter's name"
        )
    return names[id(layers[0].weight)]


def with_table(model: Any, name: str, table: npt.NDArray[np.float32]) -> Any:
    """Build a model again with another number of rows in its embedding, and all other weights as they are.

    Args:
        model: of a registered kind; it may say by ``config_with_rows(V)`` how it is built with V rows.
        name: what it is registered as.
        table: the new embedding.
    Shapes:
        table: (V, D) float32, D as it was
    Raises:
        HostError: another parameter depends on the number of rows.
    """
    rows = len(table)
    resize = getattr(model, "config_with_rows", None)
    options = dict(resize(rows)) if resize is not None else {**model.config(), "vocabulary_size": rows}
    sizes = {size: options.pop(size) for size in _SIZES}
    grown = build_model(name, **sizes, options=options)
    embedding, before = embedding_name(model), model.state_dict()
    for key, value in grown.state_dict().items():
        if key == embedding:
            continue
        if key not in before or tuple(before[key].shape) != tuple(value.shape):
            raise HostError(
                f"{key!r} of {type(model).__name__} depends on the number of rows of the embedding, so it cannot be changed; "
                "train a model with the new vocabulary instead"
            )
        value.set_value(before[key])
    set_embedding(grown, table)
    grown.eval()
    return grown


def set_embedding(model: Any, table: npt.NDArray[np.float32]) -> None:
    """Put a table into a model's token embedding.

    Shapes:
        table: (V, D) float32, as the model was built
    Raises:
        HostError: the model's embedding has another shape.
    """
    parameter = dict(model.named_parameters())[embedding_name(model)]
    if tuple(parameter.shape) != table.shape:
        raise HostError(f"the model's embedding is {tuple(parameter.shape)}, the table {table.shape}; they must agree")
    parameter.set_value(table)
