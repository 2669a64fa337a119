"""What adapters are made of, and how they are put into the encoders of PaddleNLP."""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Callable, Iterator
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.compat import insert_lora
from paddlenlp_embtune.config import AdapterSpec
from paddlenlp_embtune.errors import HostError, PatternError, RecipeError, expected_names

paddle = compat.require_paddle()

__all__ = ["AdaptedDropout", "PrefixAttention", "PromptEncoder", "insert_adapter"]


class PrefixAttention(paddle.nn.MultiHeadAttention):  # type: ignore[misc, name-defined]
    """Self-attention that also sees trained keys and values, in front of those of the tokens.

    They pass through attention as ``past_key_values`` of PaddleNLP's encoders do, but the tokens keep their positions, which
    those encoders would count from the end of the prefix. Every token sees the whole prefix, padding stays hidden, and the
    encoder gives as many vectors as there are tokens.

    Shapes:
        prefix_keys, prefix_values: (1, heads, tokens, width of a head) float32
    """

    @classmethod
    def adapt(cls, attention: Any, keys: Any, values: Any) -> None:
        """Turn a layer into this one, in place.

        Shapes:
            keys, values: (1, heads, tokens, width of a head) float32, where the prefix starts
        """
        attention.__class__ = cls
        for name, start in (("prefix_keys", keys), ("prefix_values", values)):
            draw = paddle.nn.initializer.Assign(start)
            attention.add_parameter(name, attention.create_parameter(start.shape, default_initializer=draw))

    def forward(self, query: Any, key: Any = None, value: Any = None, attn_mask: Any = None, cache: Any = None) -> Any:
        """Attend; the mask is without the prefix."""
        if cache is not None:
            raise HostError("an encoder with an adapter of kind 'prefix' takes no past_key_values, it has its own")
        rows = _rows(query)
        prefix = self.Cache(*(paddle.expand(p, [rows, *p.shape[1:]]) for p in (self.prefix_keys, self.prefix_values)))
        mask = _see_front(attn_mask, int(self.prefix_keys.shape[2]))
        outputs = super().forward(query, key, value, mask, prefix)[:-1]
        return outputs[0] if len(outputs) == 1 else outputs


class PromptEncoder(paddle.nn.TransformerEncoder):  # type: ignore[misc, name-defined]
    """The layers of an encoder, with trained vectors in front of those of the tokens.

    The vectors come in behind the embedding layer, its norm included, so they have no positions and the tokens keep theirs.
    Every token sees them, padding stays hidden, and they are cut off again from what the layers give.

    Shapes:
        prompt: (1, tokens, H) float32
    """

    @classmethod
    def adapt(cls, encoder: Any, start: Any) -> None:
        """Turn an encoder into this one, in place.

        Shapes:
            start: (tokens, H) float32
        """
        encoder.__class__ = cls
        draw = paddle.nn.initializer.Assign(start.unsqueeze(0))
        encoder.add_parameter("prompt", encoder.create_parameter([1, *start.shape], default_initializer=draw))

    def forward(self, src: Any, src_mask: Any = None, cache: Any = None, **options: Any) -> Any:
        """Run the layers; the mask, (B, 1, 1, L), is without the prompt."""
        if cache is not None:
            raise HostError("an encoder with an adapter of kind 'prompt' takes no past_key_values")
        if src_mask is not None and src_mask.shape[-2] != 1:
            raise HostError(
                f"an encoder with an adapter of kind 'prompt' needs a mask (B, 1, 1, L), not {list(src_mask.shape)}"
            )
        tokens = int(self.prompt.shape[1])
        prompt = paddle.expand(self.prompt, [_rows(src), *self.prompt.shape[1:]])
        outputs = super().forward(paddle.concat([prompt, src], axis=1), _see_front(src_mask, tokens), **options)

        def cut(value: Any) -> Any:
            if isinstance(value, (tuple, list)):
                return type(value)(cut(each) for each in value)
            # Attention weights have four axes; they are given with the prompt in them.
            return value[:, tokens:] if value is not None and value.ndim == 3 else value

        if hasattr(outputs, "last_hidden_state"):
            return type(outputs)(**{name: cut(value) for name, value in outputs.items()})
        return cut(outputs)


class AdaptedDropout(paddle.nn.Dropout):  # type: ignore[misc, name-defined]
    """The dropout behind a projection, with a small network behind it: down, GELU, up, added to what comes in.

    It begins as good as absent: the network's weights are drawn with a deviation of 0.01, its biases are 0.

    Source:
        Houlsby et al. 2019, section 2.1 and figure 2; section 3.6 for the deviation
    """

    @classmethod
    def adapt(cls, dropout: Any, width: int, bottleneck: int) -> None:
        """Turn a layer into this one, in place."""
        dropout.__class__ = cls

        def linear(rows: int, columns: int) -> Any:
            draw = paddle.ParamAttr(initializer=paddle.nn.initializer.TruncatedNormal(std=1e-2))
            return paddle.nn.Linear(rows, columns, weight_attr=draw)

        dropout.adapter = paddle.nn.LayerDict({"down": linear(width, bottleneck), "up": linear(bottleneck, width)})

    def forward(self, hidden: Any) -> Any:
        """Drop, then add what the network makes of it."""
        hidden = super().forward(hidden)
        return hidden + self.adapter["up"](paddle.nn.functional.gelu(self.adapter["down"](hidden)))


def insert_adapter(network: Any, spec: AdapterSpec) -> None:
    """Put an adapter into an encoder, in place.

    Raises:
        PatternError: targets of LoRA match no linear layer.
        RecipeError: a rank or bottleneck is not smaller than the layer it is for.
        HostError: the encoder is not built of Paddle's transformer layers, so only LoRA can be put into it.
    """
    _INSERT[spec.kind](network, spec)
    # New layers begin in training mode, whatever the mode of those around them.
    (network.train if network.training else network.eval)()


def _insert_lora(network: Any, spec: AdapterSpec) -> None:
    rank, linears = spec.rank or 0, _linears(network)
    chosen: set[str] = set()
    for pattern in spec.targets or ():
        matched = [name for name in linears if fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(_last(name), pattern)]
        if not matched:
            known = {_last(name) for name in linears}
            raise PatternError(
                f"adapter.targets pattern {pattern!r} matched none of the {len(linears)} linear layers of "
                f"{type(network).__name__}; {expected_names(pattern, known)}, or whole names such as "
                f"{next(iter(linears), None)!r}"
            )
        chosen.update(matched)
    for name in chosen:
        least = min(linears[name].weight.shape)
        if rank > least:
            raise RecipeError(f"adapter.rank is {rank}; expected 1 to {least}, the least width of {name!r}")
    names = [name for name in linears if name in chosen]
    insert_lora(network, names, rank=rank, alpha=spec.alpha or 0.0, dropout=spec.dropout or 0.0)


def _insert_prefix(network: Any, spec: AdapterSpec) -> None:
    layers, tokens = _stack(network, spec).layers, spec.tokens or 0
    starts = []
    with _evaluating(network):
        hidden = _embedded_text(network, tokens)
        for layer in layers:
            read = layer.norm1(hidden) if layer.normalize_before else hidden
            # (texts, heads, length, width) to one row of so many keys
            parts = [part.transpose([1, 0, 2, 3]).flatten(1, 2) for part in layer.self_attn.compute_kv(read, read)]
            starts.append([part[:, :tokens].unsqueeze(0) for part in parts])
            hidden = layer(hidden)
    for layer, (keys, values) in zip(layers, starts, strict=True):
        PrefixAttention.adapt(layer.self_attn, keys, values)


def _insert_prompt(network: Any, spec: AdapterSpec) -> None:
    stack, tokens = _stack(network, spec), spec.tokens or 0
    with _evaluating(network):
        start = _embedded_text(network, tokens).flatten(0, 1)[:tokens]
    PromptEncoder.adapt(stack, start)


def _insert_houlsby(network: Any, spec: AdapterSpec) -> None:
    width, inner = int(network.config.hidden_size), spec.bottleneck or 0
    if inner >= width:
        raise RecipeError(f"adapter.bottleneck is {inner}; expected 1 to {width - 1}, below the encoder's width of {width}")
    for layer in _stack(network, spec).layers:
        AdaptedDropout.adapt(layer.dropout1, width, inner)
        AdaptedDropout.adapt(layer.dropout2, width, inner)


_INSERT: dict[str, Callable[[Any, AdapterSpec], None]] = {
    "lora": _insert_lora,
    "prefix": _insert_prefix,
    "prompt": _insert_prompt,
    "houlsby": _insert_houlsby,
}


def _linears(network: Any) -> dict[str, Any]:
    """The linear layers of an encoder but for its pooler, which belongs to the head."""
    return {
        name: layer
        for name, layer in network.named_sublayers()
        if type(layer) is paddle.nn.Linear and not name.startswith("pooler.")
    }


def _stack(network: Any, spec: AdapterSpec) -> Any:
    """The stack of an encoder's layers."""
    found = [layer for layer in network.sublayers() if type(layer) is paddle.nn.TransformerEncoder]
    if len(found) != 1:
        raise HostError(
            f"{type(network).__name__} has {len(found)} layers of Paddle's class TransformerEncoder, an adapter of kind "
            f"{spec.kind!r} needs one; expected for it: kind 'lora' with the targets stated"
        )
    return found[0]


@contextlib.contextmanager
def _evaluating(network: Any) -> Iterator[None]:
    """Leave out dropout and gradients for a while."""
    training = network.training
    network.eval()
    try:
        with paddle.no_grad():
            yield
    finally:
        if training:
            network.train()


def _embedded_text(network: Any, tokens: int) -> Any:
    """What the embedding layer makes of at least so many tokens drawn at random, as one text, or several where it is too long.

    A prefix or prompt that starts from a text disturbs a pretrained encoder least: with 16 tokens, sentence vectors of e5-small
    keep a mean-centred cosine of 0.9 with what they were; keys and values drawn from a normal distribution leave 0.6.

    Shapes:
        returns: (texts, length, H) float32
    """
    rows = int(network.config.vocab_size)
    # RoBERTa and ERNIE-M do not use their first positions.
    most = int(getattr(network.config, "max_position_embeddings", tokens + 4)) - 4
    length = max(1, min(tokens, most))
    return network.embeddings(input_ids=paddle.randint(1, rows, [-(-tokens // length), length]))


def _rows(tensor: Any) -> Any:
    """The size of a batch, also where it is left open in a traced program."""
    return tensor.shape[0] if paddle.in_dynamic_mode() else paddle.shape(tensor)[0]


def _see_front(mask: Any, count: int) -> Any:
    """Widen an attention mask by columns that are seen, in front of its last axis."""
    if mask is None:
        return None
    kind = str(mask.dtype)
    if "float" not in kind:
        mask = mask.astype("int64")
    seen = paddle.zeros_like(mask[..., :1]) if "float" in kind else paddle.ones_like(mask[..., :1])
    return paddle.concat([paddle.tile(seen, [1, 1, 1, count]), mask], axis=-1)


def _last(name: str) -> str:
    return name.rsplit(".", 1)[-1]
