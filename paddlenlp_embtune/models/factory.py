"""Build registered models, fill their embedding, and find the embedding of any model."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import EmbtuneError, HostError, PluginError, RecipeError, expected_names
from paddlenlp_embtune.plugin import cause, registry
from paddlenlp_embtune.utils.json_yaml import shorten
from paddlenlp_embtune.utils.schema import MAX_COUNT, convert

paddle = compat.require_paddle()

__all__ = ["build_model", "checked_options", "embedding_name", "set_embedding", "try_model", "with_table"]

_SIZES = ("vocabulary_size", "dimension", "num_labels")


def build_model(name: str, *, vocabulary_size: int, dimension: int, num_labels: int, options: Mapping[str, Any]) -> Any:
    """Build a registered model.

    Args:
        name: what it is registered as.
        vocabulary_size: V.
        dimension: D.
        num_labels: C.
        options: the model's own options; those that the builder annotates must be of that type.
    Raises:
        PluginError: no model has that name, or a plugin's builder fails or gives no layer.
        RecipeError: the model does not know an option, which the message answers with those it knows; or one is of another
            type, or the model cannot be built with it.
    """
    builder = registry.current().get("model", name)
    if not callable(builder):
        raise registry.current().breach("model", name, f"is {shorten(builder)}, which cannot be called")
    sizes = {"vocabulary_size": vocabulary_size, "dimension": dimension, "num_labels": num_labels}
    for size, value in sizes.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_COUNT:
            raise RecipeError(
                f"{size} of the model {name!r} must be a whole number from 1 to {MAX_COUNT:,}, got {shorten(value)}"
            )
    checked = checked_options(builder, options, where="model.options", name=name, reserved=_SIZES)
    try:
        model = builder(**sizes, **checked)
    except EmbtuneError:
        raise
    except Exception as error:
        raise _not_built(name, checked, error) from error
    if not isinstance(model, paddle.nn.Layer):
        raise registry.current().breach("model", name, f"returned {shorten(model)}")
    if not callable(getattr(model, "config", None)):
        raise registry.current().breach("model", name, f"returned a {type(model).__name__} without config()")
    return model


def try_model(model: Any, name: str, *, vocabulary_size: int, num_labels: int) -> None:
    """Run two invented rows through the model of a plugin in evaluation mode, before anything is trained.

    Raises:
        PluginError: it raises, or its logits are of another shape.
    """
    known = registry.current()
    if known.owner("model", name) in ("", registry.BUILTIN):
        return
    ids = np.array([[1, 2, 1], [2, 0, 0]], dtype=np.int64) % vocabulary_size
    model.eval()
    try:
        with paddle.no_grad():
            logits = model(paddle.to_tensor(ids))
    except EmbtuneError:
        raise
    except Exception as error:
        raise known.breach("model", name, f"built a layer that raised {cause(error)}") from error
    model.train()
    if not isinstance(logits, paddle.Tensor) or tuple(logits.shape) != (len(ids), num_labels):
        what = f"a tensor of the shape {tuple(logits.shape)}" if isinstance(logits, paddle.Tensor) else shorten(logits)
        raise known.breach(
            "model", name, f"built a layer that mapped ids of the shape {ids.shape} to {what}, not (2, {num_labels})"
        )


def checked_options(
    builder: Any, options: Mapping[str, Any], *, where: str, name: str, reserved: Sequence[str]
) -> dict[str, Any]:
    """Refuse options that a builder does not know, or that are of another type than it annotates; return them converted.

    Args:
        builder: a class, a function, or an object that can be called.
        options: as a recipe states them.
        where: the part of the recipe, for messages.
        name: what the builder is registered as.
        reserved: parameters that no recipe states.
    Raises:
        RecipeError: there is no such option, or it is of another type.
    """
    parameters = inspect.signature(builder).parameters
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        allowed = [parameter for parameter in parameters if parameter not in reserved]
        for option in options:
            if option not in allowed:
                raise RecipeError(f"{where} of {name} has no {shorten(option)}; {expected_names(option, allowed)}")
    hints = _hints_of(builder)
    checked = dict(options)
    for option, value in options.items():
        default = parameters[option].default if option in parameters else inspect.Parameter.empty
        if option in hints and not (value is None and default is None):
            checked[option] = convert(hints[option], value, where=f"{where}.{option}", error=RecipeError)
    return checked


def _hints_of(builder: Any) -> dict[str, Any]:
    """The annotations of what a builder is called with; none where they cannot be resolved."""
    function = getattr(builder, "func", builder)  # of a functools.partial
    if inspect.isclass(function):
        function = function.__init__
    elif not inspect.isroutine(function):
        function = type(function).__call__
    try:
        return typing.get_type_hints(function)
    except Exception:  # a name that only type checkers import
        return {}


def _not_built(name: str, options: Mapping[str, Any], error: Exception) -> EmbtuneError:
    text = " ".join(str(error).split())
    why = f"{type(error).__name__}: {text[-300:] if len(text) > 300 else text}"
    given = f"the options {shorten(dict(options))}" if options else "no options"
    if _owner(name) == registry.BUILTIN:
        return RecipeError(f"the model {name!r} cannot be built with {given}: {why}; correct model.options")
    return PluginError(
        f"the model {name!r} of the plugin {_owner(name)!r} cannot be built with {given}: {why}; correct model.options, or the "
        "plugin (see embtune_register_models)"
    )


def _owner(name: str) -> str:
    return registry.current().owner("model", name)


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
        if stated not in names.values():
            raise HostError(
                f"embedding_parameter of {type(model).__name__} is {shorten(stated)}, which is none of its {len(names)} "
                f"parameters; {expected_names(str(stated), names.values())}"
            )
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
