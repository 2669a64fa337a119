"""Adapters: what they compute, what they freeze, and that gradients reach them correctly."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import paddle
import paddlenlp.transformers as transformers
import pytest

from paddlenlp_embtune.compat.lora import lora_layers
from paddlenlp_embtune.config.adapter import ADAPTER_KINDS, AdapterSpec
from paddlenlp_embtune.config.recipe import LayerwiseSpec
from paddlenlp_embtune.errors import HostError, PatternError, RecipeError
from paddlenlp_embtune.models.adapters.insertion import AdapterInfo, adapter_groups, add_adapter, merge_adapter
from paddlenlp_embtune.models.layers import layerwise_groups
from paddlenlp_embtune.models.pretrained_classifier import PretrainedClassifier
from paddlenlp_embtune.models.sequence_classifier import Encoder
from paddlenlp_embtune.models.textcnn import TextCNN
from paddlenlp_embtune.training import resolve_groups

FAMILIES = ("BertModel", "ErnieModel", "RobertaModel", "ErnieMModel")
SPECS = {
    "lora": AdapterSpec(kind="lora", rank=4),
    "prefix": AdapterSpec(kind="prefix", tokens=5),
    "prompt": AdapterSpec(kind="prompt", tokens=5),
    "houlsby": AdapterSpec(kind="houlsby", bottleneck=4),
}
SETTINGS: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 20,
    "type_vocab_size": 2,
    "pad_token_id": 0,
    "initializer_range": 0.2,
}
IDS = np.array([[3, 4, 5, 6, 0, 0], [7, 8, 9, 10, 11, 12], [13, 0, 0, 0, 0, 0]])


def scatter_norms(model: Any) -> None:
    """Give norms the scales of a trained encoder: those that are drawn are 1, where mistakes about them do not show."""
    generator = np.random.default_rng(0)
    for layer in model.sublayers():
        if isinstance(layer, paddle.nn.LayerNorm):
            layer.weight.set_value(generator.normal(1.0, 0.3, layer.weight.shape).astype(np.float32))


def classifier(family: str = "BertModel", **options: Any) -> PretrainedClassifier:
    paddle.seed(1)
    options = {"pooling": "pooler", "dropout": 0.0, "encoder_dropout": 0.0, **options}
    model = PretrainedClassifier(
        vocabulary_size=50, dimension=16, num_labels=3, architecture=family, settings=SETTINGS, **options
    )
    scatter_norms(model)
    model.eval()
    return model


def answers(model: Any, ids: np.ndarray = IDS) -> np.ndarray:
    return np.asarray(model(paddle.to_tensor(ids)).numpy())


def shake(model: Any) -> None:
    """Move all that trains, as training would."""
    generator = np.random.default_rng(3)
    for parameter in model.parameters():
        if not parameter.stop_gradient:
            moved = parameter.numpy() + generator.normal(0.0, 0.3, parameter.shape)
            parameter.set_value(moved.astype(np.float32))


def tuned(kind: str, family: str = "BertModel", **options: Any) -> tuple[PretrainedClassifier, AdapterInfo]:
    model = classifier(family, **options)
    info = add_adapter(model, SPECS[kind])
    shake(model)
    return model, info


def values(model: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.named_parameters()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_padding_and_company_change_nothing(kind: str, family: str) -> None:
    model, _ = tuned(kind, family, pooling="mean")
    found = answers(model)
    np.testing.assert_allclose(answers(model, np.pad(IDS, ((0, 0), (0, 3)))), found, atol=1e-5)
    np.testing.assert_allclose(answers(model, IDS[:1, :4])[0], found[0], atol=1e-5)
    assert np.abs(found - answers(classifier(family, pooling="mean"))).max() > 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_lora_computes_its_definition_and_begins_as_the_encoder_was(family: str) -> None:
    plain, model = classifier(family), classifier(family)
    spec = AdapterSpec(kind="lora", rank=3, alpha=7.5, targets=("*layers.0*linear?", "k_proj"))
    info = add_adapter(model, spec)
    chosen = {"encoder.layers.0.linear1", "encoder.layers.0.linear2", *(f"encoder.layers.{n}.self_attn.k_proj" for n in (0, 1))}
    assert set(info.tensors) == {f"network.{layer}.lora_{part}" for layer in chosen for part in "AB"}
    np.testing.assert_array_equal(answers(model), answers(plain))
    shake(model)
    with paddle.no_grad():
        for name, layer in lora_layers(model.network).items():
            target = dict(plain.network.named_sublayers())[name]
            product = layer.lora_A.numpy() @ layer.lora_B.numpy() * (7.5 / 3)
            target.weight.set_value(target.weight.numpy() + product)
        for name in ("pooler.dense.weight", "pooler.dense.bias"):
            dict(plain.network.named_parameters())[name].set_value(dict(model.network.named_parameters())[name].numpy())
        plain.head.set_state_dict(model.head.state_dict())
    np.testing.assert_allclose(answers(model), answers(plain), atol=1e-5)


def test_lora_takes_queries_and_values_by_default() -> None:
    _, info = tuned("lora")
    layers = [f"network.encoder.layers.{n}.self_attn.{part}" for n in (0, 1) for part in ("q_proj", "v_proj")]
    assert info.tensors == tuple(f"{layer}.lora_{part}" for layer in layers for part in "AB")


def test_lora_drops_its_inputs_in_training_only() -> None:
    model = classifier()
    add_adapter(model, AdapterSpec(kind="lora", rank=2, dropout=0.5))
    shake(model)
    np.testing.assert_array_equal(answers(model), answers(model))
    model.train()
    assert np.abs(answers(model) - answers(model)).max() > 1e-3


@pytest.mark.parametrize("family", FAMILIES)
def test_folding_lora_leaves_a_plain_model_with_the_same_answers(family: str) -> None:
    model, _ = tuned("lora", family)
    expected = answers(model)
    assert merge_adapter(model)
    np.testing.assert_allclose(answers(model), expected, rtol=1e-6, atol=1e-6)
    plain = PretrainedClassifier(**model.config())
    assert {type(layer) for layer in model.sublayers()} == {type(layer) for layer in plain.sublayers()}
    assert [*values(model)] == [*values(plain)]
    assert all("forward" not in vars(layer) for layer in model.sublayers())
    with pytest.raises(HostError, match="has no adapter"):
        merge_adapter(model)
    add_adapter(model, SPECS["prefix"])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prefix_is_what_past_keys_and_values_are_with_positions_unchanged(family: str) -> None:
    model, _ = tuned("prefix", family)
    plain = classifier(family)
    known = (IDS != 0).astype(np.float32)
    seen = np.concatenate([np.ones((3, 5), np.float32), known], axis=1)
    positions = np.broadcast_to(np.arange(6), (3, 6))
    if family == "RobertaModel":
        positions = np.cumsum(IDS != 0, axis=1) * (IDS != 0)
    past = [
        tuple(paddle.expand(part, [3, -1, -1, -1]) for part in (layer.self_attn.prefix_keys, layer.self_attn.prefix_values))
        for layer in model.network.encoder.layers
    ]
    expected = plain.network(
        paddle.to_tensor(IDS),
        attention_mask=paddle.to_tensor((1 - seen)[:, None, None] * -1e4),
        past_key_values=past,
        position_ids=paddle.to_tensor(positions),
    )[0]
    found = model.network(paddle.to_tensor(IDS), attention_mask=paddle.to_tensor(known))[0]
    np.testing.assert_allclose(found.numpy()[known > 0], expected.numpy()[known > 0], atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_stands_before_the_tokens_and_is_cut_off(family: str) -> None:
    model, _ = tuned("prompt", family)
    plain = classifier(family).network
    known = (IDS != 0).astype(np.float32)
    seen = np.concatenate([np.ones((3, 5), np.float32), known], axis=1)
    embedded = plain.embeddings(input_ids=paddle.to_tensor(IDS))
    wide = paddle.concat([paddle.expand(model.network.encoder.prompt, [3, 5, 16]), embedded], axis=1)
    expected = plain.encoder(wide, paddle.to_tensor((1 - seen)[:, None, None] * -1e4))[:, 5:]
    options = {"output_hidden_states": True, "output_attentions": True, "return_dict": True}
    found = model.network(paddle.to_tensor(IDS), attention_mask=paddle.to_tensor(known), **options)
    np.testing.assert_allclose(found.last_hidden_state.numpy()[known > 0], expected.numpy()[known > 0], atol=1e-5)
    assert [tuple(states.shape) for states in found.hidden_states] == [(3, 6, 16)] * 3
    assert [tuple(weights.shape) for weights in found.attentions] == [(3, 2, 11, 11)] * 2
    np.testing.assert_array_equal(found.hidden_states[-1].numpy(), found.last_hidden_state.numpy())


@pytest.mark.parametrize("family", FAMILIES)
def test_prefix_and_prompt_start_as_a_text(family: str) -> None:
    prompted, prefixed = classifier(family), classifier(family)
    for model, kind in ((prompted, "prompt"), (prefixed, "prefix")):
        model.train()
        paddle.seed(7)
        add_adapter(model, SPECS[kind])
        assert model.network.training
        model.eval()
    paddle.seed(7)
    text = paddle.randint(1, 50, [1, 5])
    hidden = classifier(family).network(text, output_hidden_states=True, return_dict=True).hidden_states
    np.testing.assert_allclose(prompted.network.encoder.prompt.numpy(), hidden[0].numpy(), atol=1e-6)
    for states, layer in zip(hidden, prefixed.network.encoder.layers, strict=False):
        keys, values = layer.self_attn.compute_kv(states, states)
        np.testing.assert_allclose(layer.self_attn.prefix_keys.numpy(), keys.numpy(), atol=1e-5)
        np.testing.assert_allclose(layer.self_attn.prefix_values.numpy(), values.numpy(), atol=1e-5)


@pytest.mark.parametrize("family", ["BertModel", "ErnieModel"])
def test_bottlenecks_stand_behind_both_projections_before_the_residual(family: str) -> None:
    model, _ = tuned("houlsby", family)
    plain = classifier(family)
    plain.set_state_dict({name: value for name, value in model.state_dict().items() if ".adapter." not in name})

    def behind(part: Any) -> Any:
        down, up = part.adapter["down"], part.adapter["up"]

        def add(_layer: Any, _inputs: Any, hidden: Any) -> Any:
            inner = hidden @ down.weight + down.bias
            inner = inner * 0.5 * (1.0 + paddle.erf(inner / np.sqrt(2.0)))
            return hidden + inner @ up.weight + up.bias

        return add

    for layer, twin in zip(model.network.encoder.layers, plain.network.encoder.layers, strict=True):
        twin.self_attn.register_forward_post_hook(behind(layer.dropout1))
        twin.linear2.register_forward_post_hook(behind(layer.dropout2))
    np.testing.assert_allclose(answers(model), answers(plain), atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["houlsby", "lora"])
def test_an_untrained_adapter_hardly_changes_an_answer(kind: str, family: str) -> None:
    model, before = classifier(family), answers(classifier(family))
    add_adapter(model, SPECS[kind])
    np.testing.assert_allclose(answers(model), before, atol=2e-3)


@pytest.mark.parametrize("family", ["BertModel", "ErnieModel"])
@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_gradients_are_those_of_a_model_whose_norms_all_train(kind: str, family: str) -> None:
    gradients = []
    for frozen in (True, False):
        model, _ = tuned(kind, family)
        trained = [name for name, parameter in model.named_parameters() if not parameter.stop_gradient]
        if not frozen:
            for parameter in model.parameters():
                parameter.stop_gradient = False
        loss = paddle.nn.functional.cross_entropy(model(paddle.to_tensor(IDS)), paddle.to_tensor([0, 1, 2]))
        loss.backward()
        named = dict(model.named_parameters())
        gradients.append({name: named[name].grad.numpy() for name in trained})
    assert gradients[0].keys() == gradients[1].keys()
    for name, found in gradients[0].items():
        np.testing.assert_allclose(found, gradients[1][name], rtol=1e-3, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_the_config_builds_the_model_with_its_adapter_again(kind: str) -> None:
    model, _ = tuned(kind)
    twin = PretrainedClassifier(**model.config())
    assert [*values(twin)] == [*values(model)]
    twin.set_state_dict(model.state_dict())
    twin.eval()
    np.testing.assert_array_equal(answers(twin), answers(model))
    again = add_adapter(twin, dataclasses.replace(SPECS[kind], train_embedding=True))
    assert again.embedding_trains
    assert [*values(twin)] == [*values(model)]
    np.testing.assert_array_equal(answers(twin), answers(model))
    assert merge_adapter(twin) == (kind == "lora")


@pytest.mark.parametrize("pooling", ["pooler", "mean"])
@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_adapter_and_head_train_and_are_counted(kind: str, pooling: str) -> None:
    model = classifier(pooling=pooling)
    before = values(model)
    info = add_adapter(model, SPECS[kind])
    after = dict(model.named_parameters())
    new = after.keys() - before.keys()
    trained = {name for name, parameter in after.items() if not parameter.stop_gradient}
    head = {"head.weight", "head.bias"}
    if pooling == "pooler":
        head |= {"network.pooler.dense.weight", "network.pooler.dense.bias"}
    norms = {name for name in before if "norm" in name} if kind == "houlsby" else set()
    assert set(info.tensors) == new
    assert trained == new | head | norms
    assert before.keys() <= after.keys()
    sizes = {"lora": 4 * 2 * 16 * 4, "prefix": 2 * 2 * 5 * 16, "prompt": 5 * 16, "houlsby": 4 * (2 * 16 * 4 + 4 + 16)}
    assert info.adapter == sizes[kind]
    assert (info.total, info.embedding) == (sum(int(p.size) for p in after.values()), 50 * 16)
    assert info.trained == sum(int(after[name].size) for name in trained)
    assert info.share == info.trained / info.total
    assert info.share_without_embedding == info.trained / (info.total - 800)


def test_more_trains_when_asked_for() -> None:
    model = classifier()
    info = add_adapter(model, AdapterSpec(kind="lora", train_embedding=True, train_norms=True, train_pooler=False))
    trained = {name for name, parameter in model.named_parameters() if not parameter.stop_gradient}
    assert "network.embeddings.word_embeddings.weight" in trained
    assert sum("norm" in name for name in trained) == 10
    assert not any("pooler" in name for name in trained)
    assert info.share_without_embedding == (info.trained - 800) / (info.total - 800)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_groups_take_every_parameter_once(kind: str, family: str) -> None:
    model, info = tuned(kind, family)
    groups = {group.spec.name: group for group in resolve_groups(model, adapter_groups(model, SPECS[kind]))}
    assert sum(int(p.size) for p in groups["adapter"].parameters.values()) == info.adapter
    assert set(groups) == {"adapter", "embedding", "head", "rest"} | ({"norms"} if kind == "houlsby" else set())
    assert all(p.stop_gradient for name in ("embedding", "rest") for p in groups[name].parameters.values())
    assert not any(p.stop_gradient for name in ("adapter", "head") for p in groups[name].parameters.values())
    layerwise = {group.spec.name: group for group in resolve_groups(model, layerwise_groups(model, LayerwiseSpec()))}
    assert set(layerwise) == {"embedding", "layer.0", "layer.1", "head"}


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
@pytest.mark.parametrize("name", ["Bert", "Ernie", "Roberta", "ErnieM"])
def test_somebody_elses_classifier_takes_an_adapter(name: str, kind: str) -> None:
    paddle.seed(1)
    config = getattr(transformers, f"{name}Config").from_dict({**SETTINGS, "num_labels": 3})
    model = getattr(transformers, f"{name}ForSequenceClassification")(config)
    model.eval()
    before = answers(model)
    add_adapter(model, SPECS[kind])
    trained = {name for name, parameter in model.named_parameters() if not parameter.stop_gradient}
    after = dict(model.named_parameters())
    assert {each for each in after if each.startswith("classifier.") or ".pooler." in each} <= trained
    assert all(after[each].stop_gradient for each in after if each.endswith((".q_proj.weight", "_embeddings.weight")))
    np.testing.assert_allclose(answers(model), before, atol=0.5)
    shake(model)
    found = answers(model)
    np.testing.assert_allclose(answers(model, np.pad(IDS, ((0, 0), (0, 3)))), found, atol=1e-5)
    if merge_adapter(model):
        np.testing.assert_allclose(answers(model), found, rtol=1e-6, atol=1e-6)
    resolve_groups(model, layerwise_groups(model, LayerwiseSpec()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "adaptor"}, "adapter.kind is 'adaptor'; expected houlsby, lora, prefix or prompt"),
        ({"kind": "lora", "rank": 0}, "adapter.rank must be 1 or more, got 0"),
        ({"kind": "lora", "alpha": 0}, "adapter.alpha must be above 0, got 0.0"),
        ({"kind": "lora", "alpha": float("nan")}, "adapter.alpha must be a finite number"),
        ({"kind": "lora", "dropout": 1.0}, "adapter.dropout must be 0 or more and below 1, got 1.0"),
        ({"kind": "lora", "targets": ()}, "adapter.targets"),
        ({"kind": "lora", "targets": "q_proj"}, "adapter.targets must be a list"),
        (
            {"kind": "lora", "tokens": 3},
            "adapter.tokens must be left out for 'lora', which takes rank, alpha, dropout, targets",
        ),
        ({"kind": "prefix", "tokens": 0}, "adapter.tokens must be 1 or more, got 0"),
        ({"kind": "prompt", "rank": 8}, "adapter.rank must be left out for 'prompt', which takes tokens"),
        ({"kind": "houlsby", "bottleneck": 0}, "adapter.bottleneck must be 1 or more, got 0"),
    ],
)
def test_illegal_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        AdapterSpec(**options)


def test_targets_that_match_nothing_are_refused_with_those_there_are() -> None:
    model = classifier()
    before = values(model)
    with pytest.raises(
        PatternError, match=r"'query' matched none of the 12 linear layers of BertModel; .*expected k_proj, linear1"
    ):
        add_adapter(model, AdapterSpec(kind="lora", targets=("q_proj", "query")))
    assert [*values(model)] == [*before]
    assert not any(parameter.stop_gradient for parameter in model.parameters())


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (AdapterSpec(kind="lora", rank=17), "adapter.rank is 17; expected 1 to 16, the least width of 'encoder.layers"),
        (
            AdapterSpec(kind="houlsby", bottleneck=16),
            "adapter.bottleneck is 16; expected 1 to 15, below the encoder's width of 16",
        ),
    ],
)
def test_what_is_as_wide_as_the_encoder_is_refused(spec: AdapterSpec, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        add_adapter(classifier(), spec)


def test_more_tokens_than_positions_are_legal_as_they_take_none() -> None:
    for kind in ("prefix", "prompt"):
        model = classifier()
        add_adapter(model, AdapterSpec(kind=kind, tokens=30))
        assert np.isfinite(answers(model, np.full((1, 20), 7))).all()


def test_a_second_adapter_is_refused() -> None:
    model, _ = tuned("lora")
    with pytest.raises(HostError, match=r"has an adapter of kind 'lora' already; .*merge_adapter"):
        add_adapter(model, SPECS["prefix"])


@pytest.mark.parametrize("kind", ["prefix", "prompt", "houlsby"])
def test_an_encoder_of_other_layers_is_refused(kind: str) -> None:
    config = transformers.AlbertConfig.from_dict(
        {**SETTINGS, "embedding_size": 8, "num_hidden_groups": 1, "inner_group_num": 1}
    )
    model = transformers.AlbertForSequenceClassification(config)
    with pytest.raises(HostError, match=r"has 0 layers of Paddle's class TransformerEncoder.*kind 'lora' with the targets"):
        add_adapter(model, SPECS[kind])
    with pytest.raises(PatternError, match=r"expected .*query.*value"):
        add_adapter(model, SPECS["lora"])
    add_adapter(model, AdapterSpec(kind="lora", rank=2, targets=("query", "value")))


def test_a_model_without_an_encoder_is_refused() -> None:
    with pytest.raises(HostError, match="TextCNN has no PaddleNLP encoder; expected a PretrainedModel such as"):
        add_adapter(TextCNN(vocabulary_size=40, dimension=6, num_labels=3, filters=5), SPECS["lora"])


def test_a_model_that_cannot_note_an_adapter_takes_lora_only() -> None:
    def built() -> Encoder:
        options = {"architecture": "BertForSequenceClassification", "settings": SETTINGS}
        return Encoder(vocabulary_size=50, dimension=16, num_labels=3, **options)

    with pytest.raises(HostError, match="Encoder cannot note an adapter in its config"):
        add_adapter(built(), SPECS["prefix"])
    model = built()
    add_adapter(model, SPECS["lora"])
    assert merge_adapter(model)
    assert [*values(model)] == [*values(built())]


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
def test_past_keys_and_values_beside_those_of_an_adapter_are_refused(kind: str) -> None:
    model, _ = tuned(kind)
    part = paddle.zeros([3, 2, 1, 8])
    with pytest.raises(HostError, match=f"kind '{kind}' takes no past_key_values"):
        model.network(paddle.to_tensor(IDS), past_key_values=[(part, part)] * 2)


def test_a_prompt_needs_a_mask_for_keys() -> None:
    model, _ = tuned("prompt")
    with pytest.raises(HostError, match=r"needs a mask \(B, 1, 1, L\)"):
        model.network(paddle.to_tensor(IDS), attention_mask=paddle.zeros([3, 1, 6, 6]))


@pytest.mark.parametrize("kind", ["prefix", "prompt"])
def test_masks_of_any_type_hide_the_same(kind: str) -> None:
    model, _ = tuned(kind)
    hidden = model.network.embeddings(input_ids=paddle.to_tensor(IDS))
    known = (IDS != 0)[:, None, None]
    masks = [(1 - known.astype(np.float32)) * -1e9, known.astype(np.int64), known]
    found = [model.network.encoder(hidden, paddle.to_tensor(mask)).numpy() for mask in masks]
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    np.testing.assert_allclose(found[2], found[0], atol=1e-6)
    assert np.isfinite(model.network.encoder(hidden).numpy()).all()
