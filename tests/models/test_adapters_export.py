"""Adapters in a bundle: every engine answers as the live model does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from safetensors.numpy import load_file

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.config.adapter import ADAPTER_KINDS, AdapterSpec
from paddlenlp_embtune.export import BundleContent, write_bundle
from paddlenlp_embtune.models import with_table
from paddlenlp_embtune.models._integrated_gradients import attribute
from paddlenlp_embtune.models.adapters.insertion import add_adapter, merge_adapter
from paddlenlp_embtune.models.paddle_engine import load_layer
from paddlenlp_embtune.models.pretrained_classifier import PretrainedClassifier
from paddlenlp_embtune.text import CharTokenizer, Vocabulary

TEXTS = ("公司拟回购股份", "控股股东减持", "净利润同比增长五成，超出预期")
OPTIONS: dict[str, dict[str, Any]] = {
    "lora": {"rank": 2},
    "prefix": {"tokens": 3},
    "prompt": {"tokens": 3},
    "houlsby": {"bottleneck": 4},
}
FAMILIES = {"lora": "BertModel", "prefix": "BertModel", "prompt": "ErnieModel", "houlsby": "ErnieModel"}
OWN = {"lora": "lora_A", "prefix": "prefix_keys", "prompt": "encoder.prompt", "houlsby": "adapter.down.weight"}


def trained(kind: str) -> tuple[PretrainedClassifier, CharTokenizer]:
    characters = sorted({character for text in TEXTS for character in text})
    tokenizer = CharTokenizer(Vocabulary(["[PAD]", "[UNK]", *characters]))
    settings = {
        "vocab_size": len(tokenizer.vocabulary),
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "max_position_embeddings": 24,
        "type_vocab_size": 2,
        "pad_token_id": 0,
        "initializer_range": 0.2,
    }
    paddle.seed(1)
    model = PretrainedClassifier(
        vocabulary_size=len(tokenizer.vocabulary),
        dimension=16,
        num_labels=3,
        architecture=FAMILIES[kind],
        settings=settings,
    )
    add_adapter(model, AdapterSpec(kind=kind, **OPTIONS[kind]))
    generator = np.random.default_rng(3)
    for parameter in model.parameters():
        if not parameter.stop_gradient:
            parameter.set_value((parameter.numpy() + generator.normal(0.0, 0.2, parameter.shape)).astype(np.float32))
    model.eval()
    return model, tokenizer


def bundle_of(folder: Path, model: Any, tokenizer: CharTokenizer, engines: tuple[str, ...]) -> Bundle:
    content = BundleContent(
        model=model,
        model_name="pretrained",
        tokenizer=tokenizer,
        labels=("利空", "中性", "利好"),
        ordered=True,
        max_length=24,
        sample_texts=TEXTS,
    )
    return write_bundle(folder / "bundle", content, engines=engines)


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_every_engine_is_proven(tmp_path: Path, kind: str) -> None:
    model, tokenizer = trained(kind)
    folded = merge_adapter(model)
    assert folded == (kind == "lora")
    bundle = bundle_of(tmp_path, model, tokenizer, ("onnxruntime", "paddle_inference"))
    for record in bundle.manifest.parity.values():
        assert record.max_probability_difference < 1e-5
        assert record.same_labels
    stored = load_file(bundle.path / "weights.safetensors")
    assert any(name.endswith(OWN[kind]) for name in stored) != folded


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_a_bundle_gives_the_layer_back_with_its_adapter(tmp_path: Path, kind: str) -> None:
    model, tokenizer = trained(kind)
    layer = load_layer(bundle_of(tmp_path, model, tokenizer, ()).path)
    ids = paddle.to_tensor([[2, 3, 4, 5], [6, 7, 0, 0]])
    np.testing.assert_array_equal(layer(ids).numpy(), model(ids).numpy())
    before = {name: value.numpy() for name, value in model.state_dict().items()}
    assert any(name.endswith(OWN[kind]) for name in before)
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name], err_msg=name)


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_an_embedding_with_more_rows_keeps_the_adapter(kind: str) -> None:
    model, _ = trained(kind)
    table = model.get_input_embeddings().weight.numpy()
    longer = with_table(model, "pretrained", np.vstack([table, table[2:4]]))
    ids = paddle.to_tensor([[2, 3, 4, 5], [6, 7, 0, 0]])
    np.testing.assert_array_equal(longer(ids).numpy(), model(ids).numpy())
    np.testing.assert_allclose(longer(ids + (len(table) - 2) * (ids == 2)).numpy(), model(ids).numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", ADAPTER_KINDS)
def test_attributions_add_up_through_an_adapter(kind: str) -> None:
    model, _ = trained(kind)
    found = attribute(model, [2, 3, 4, 5, 6], label=1)
    assert abs(found.difference) > 0.01
    assert abs(found.residual) < 0.02 * max(1.0, abs(found.difference))
