"""Parameter-efficient tuning of an encoder: insert an adapter, and freeze everything but it and the head."""

from __future__ import annotations

import dataclasses
import fnmatch
import importlib
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import merge_lora
from paddlenlp_embtune.config import AdapterSpec, GroupSpec
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.models.adapters._layers import insert_adapter
from paddlenlp_embtune.models.factory import embedding_name
from paddlenlp_embtune.utils.schema import to_plain

paddle = compat.require_paddle()

__all__ = ["AdapterInfo", "adapter_groups", "add_adapter", "has_adapter", "merge_adapter"]

_PATTERNS = {
    "lora": ("*.lora_A", "*.lora_B"),
    "prefix": ("*.prefix_keys", "*.prefix_values"),
    "prompt": ("*.prompt",),
    "houlsby": ("*.adapter.down.*", "*.adapter.up.*"),
}
_RATES = {"lora": 5e-4, "prefix": 5e-3, "prompt": 5e-3, "houlsby": 1e-3}
_HEAD_RATE, _EMBEDDING_RATE = 5e-4, 5e-5


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdapterInfo:
    """What an adapter has made of a model, in numbers of values.

    Args:
        kind: as in the recipe.
        tensors: names of the adapter's own parameters.
        adapter: values of the adapter alone.
        trained: values that train: the adapter's, the head's, and what the recipe asks for.
        total: all values of the model, the adapter's included.
        embedding: values of the token embedding.
        embedding_trains: whether they are among those that train.
    """

    kind: str
    tensors: tuple[str, ...]
    adapter: int
    trained: int
    total: int
    embedding: int
    embedding_trains: bool

    @property
    def share(self) -> float:
        """Share of all values that train, 0 to 1."""
        return self.trained / self.total

    @property
    def share_without_embedding(self) -> float:
        """Share of the values beside the token embedding that train, 0 to 1."""
        return (self.trained - self.embedding * self.embedding_trains) / (self.total - self.embedding)


def add_adapter(model: Any, spec: AdapterSpec) -> AdapterInfo:
    """Put an adapter into a model, in place, and freeze all but it, the head, and what the recipe asks for.

    The head is what stands outside the encoder, and the encoder's pooler where answers depend on it. What is frozen has
    ``stop_gradient`` and stays bit-equal; the names of all former parameters stay as they are. A ``PretrainedClassifier`` notes
    the adapter in its ``config()``, so that a bundle of it can be loaded. For any other model, call this again before weights
    that were saved with the adapter are loaded, or fold them first: see :func:`merge_adapter`.

    An adapter of the same kind and options that is there already, as in a model loaded from a bundle, is kept as it is.

    Gradients through the norms that are frozen now are put right at once, as ``attach`` would do it when training begins: see
    ``compat.fix_layer_norm_gradients``.

    Args:
        model: a model whose ``network`` is a PaddleNLP ``PretrainedModel``, or such a model itself, for example a
            ``BertForSequenceClassification``; with its pretrained weights.
        spec: the adapter.
    Returns:
        What was changed, and how many values train.
    Raises:
        HostError: it is no such model, it has another adapter already, or the adapter cannot be put into its encoder.
        PatternError: targets of LoRA match no linear layer; the message lists those there are.
        RecipeError: the rank or the bottleneck is too large.
    """
    network = _encoder_of(model)
    there = getattr(network, "embtune_adapter", None)
    if there is not None and not there.same_structure_as(spec):
        raise HostError(
            f"{type(network).__name__} has an adapter of kind {there.kind!r} already; expected one; fold LoRA into the weights "
            "with merge_adapter first, or begin from a model without an adapter"
        )
    if spec.kind != "lora" and callable(getattr(model, "config", None)) and not hasattr(model, "note_adapter"):
        raise HostError(
            f"{type(model).__name__} cannot note an adapter in its config, so a bundle of it could not be loaded; expected "
            "kind 'lora', folded by merge_adapter; or build a PretrainedClassifier"
        )
    if there is None:
        insert_adapter(network, spec)
    network.embtune_adapter = spec
    if hasattr(model, "note_adapter"):
        model.note_adapter(to_plain(spec))
    named = dict(model.named_parameters())
    new = {name for pattern in _PATTERNS[spec.kind] for name in fnmatch.filter(named, pattern)}
    table = named[embedding_name(model)]
    trained = {*(id(named[name]) for name in new), *_head(model, network, spec)}
    trained |= (_norms(network) if spec.train_norms else set()) | ({id(table)} if spec.train_embedding else set())
    for parameter in named.values():
        parameter.stop_gradient = id(parameter) not in trained
    compat.fix_layer_norm_gradients(model)
    return AdapterInfo(
        kind=spec.kind,
        tensors=tuple(name for name in named if name in new),
        adapter=sum(int(named[name].size) for name in new),
        trained=sum(int(parameter.size) for parameter in named.values() if not parameter.stop_gradient),
        total=sum(int(parameter.size) for parameter in named.values()),
        embedding=int(table.size),
        embedding_trains=not table.stop_gradient,
    )


def merge_adapter(model: Any) -> bool:
    """Fold LoRA into the linear layers that it is added to, in place, so that the model is as it was built, with other weights.

    Adapters of other kinds cannot be folded; they stay, and a ``PretrainedClassifier`` is exported and loaded with them.

    Returns:
        Whether the model is without an adapter now.
    Raises:
        HostError: there is none.
    """
    network = _encoder_of(model)
    spec = getattr(network, "embtune_adapter", None)
    if spec is None:
        raise HostError(f"{type(network).__name__} has no adapter; put one in with add_adapter first")
    if spec.kind != "lora":
        return False
    merge_lora(network)
    compat.restore_layer_norms(model)
    network.embtune_adapter = None
    if hasattr(model, "note_adapter"):
        model.note_adapter(None)
    return True


def has_adapter(model: Any) -> bool:
    """Tell whether a model has an adapter, from :func:`add_adapter` or from its config."""
    return any(getattr(layer, "embtune_adapter", None) is not None for layer in model.sublayers(include_self=True))


def adapter_groups(model: Any, spec: AdapterSpec) -> list[GroupSpec]:
    """Return parameter groups for a model with an adapter: ``adapter``, ``head``, and ``embedding``, ``norms`` and ``rest``.

    Rates are absolute; those of adapters are of the size that the papers use, not measured here. ``embedding`` and ``rest``
    may be frozen altogether; no group is without parameters.

    Args:
        model: as :func:`add_adapter` left it.
        spec: the adapter that it got.
    """
    network = _encoder_of(model)
    named = dict(model.named_parameters())
    embedding = embedding_name(model)
    head, norms = _head(model, network, spec), _norms(network) if spec.train_norms else set()
    rate = _RATES[spec.kind]
    groups = [
        GroupSpec(name="adapter", parameters=_PATTERNS[spec.kind], rate=rate),
        GroupSpec(name="embedding", parameters=(embedding,), rate=_EMBEDDING_RATE),
    ]
    chosen = {
        "head": tuple(name for name, parameter in named.items() if id(parameter) in head),
        "norms": tuple(name for name, parameter in named.items() if id(parameter) in norms),
    }
    rates = {"head": GroupSpec(name="head", rate=_HEAD_RATE, weight_decay=0.01), "norms": GroupSpec(name="norms", rate=rate)}
    groups += [dataclasses.replace(rates[name], parameters=names) for name, names in chosen.items() if names]
    return [*groups, GroupSpec(name="rest", rate=_EMBEDDING_RATE)]


def _encoder_of(model: Any) -> Any:
    """The encoder inside a model, without its head."""
    with compat.quiet():
        transformers = importlib.import_module("paddlenlp.transformers")
    outer = getattr(model, "network", model)
    if not isinstance(outer, transformers.PretrainedModel):
        raise HostError(
            f"{type(model).__name__} has no PaddleNLP encoder; expected a PretrainedModel such as "
            "BertForSequenceClassification, or a layer whose network is one, such as PretrainedClassifier"
        )
    return getattr(outer, outer.base_model_prefix, outer)


def _head(model: Any, network: Any, spec: AdapterSpec) -> dict[int, Any]:
    """What stands outside the encoder, and its pooler where answers depend on it, by identity."""
    inside = {id(parameter) for parameter in network.parameters()}
    head = {id(parameter): parameter for parameter in model.parameters() if id(parameter) not in inside}
    pooler = getattr(network, "pooler", None)
    if pooler is not None and spec.train_pooler and getattr(model, "pooling", "pooler") == "pooler":
        head.update((id(parameter), parameter) for parameter in pooler.parameters())
    return head


def _norms(network: Any) -> set[int]:
    layers = [layer for layer in network.sublayers() if isinstance(layer, paddle.nn.LayerNorm)]
    return {id(parameter) for layer in layers for parameter in layer.parameters()}
