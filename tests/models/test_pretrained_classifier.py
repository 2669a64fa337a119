"""A classifier on a pretrained encoder: it computes what PaddleNLP's encoder computes."""

from __future__ import annotations

import numpy as np
import paddle
import paddlenlp.transformers as transformers
import pytest

from paddlenlp_embtune.errors import HostError, RecipeError
from paddlenlp_embtune.models import embedding_name, with_table
from paddlenlp_embtune.models.pretrained_classifier import classifier_on
from paddlenlp_embtune.text import pad
from tests.encoders import texts, tiny_encoder

FAMILIES = ("BertModel", "ErnieModel", "RobertaModel")


def original(architecture: str, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Vectors and pooled vectors by PaddleNLP's class alone, which masks padding by itself."""
    found = tiny_encoder(architecture)
    kind = getattr(transformers, architecture)
    model = kind(kind.config_class.from_dict(dict(found.settings)))
    model.set_state_dict({name: paddle.to_tensor(value) for name, value in found.weights.items()})
    model.eval()
    with paddle.no_grad():
        states, pooled = model(paddle.to_tensor(ids))[:2]
    return states.numpy(), pooled.numpy()


@pytest.mark.parametrize("architecture", FAMILIES)
@pytest.mark.parametrize("pooling", ["pooler", "first", "mean"])
def test_features_are_those_of_the_original(architecture: str, pooling: str) -> None:
    found = tiny_encoder(architecture)
    model = classifier_on(found, found.table, num_labels=2, options={"pooling": pooling})
    model.eval()
    ids = pad([found.tokenizer.encode(text) for text in texts(6)])
    states, pooled = original(architecture, ids)
    known = (ids != 0)[:, :, None]
    wanted = {"pooler": pooled, "first": states[:, 0], "mean": (states * known).sum(1) / known.sum(1)}[pooling]
    with paddle.no_grad():
        np.testing.assert_allclose(model.features(paddle.to_tensor(ids)).numpy(), wanted, atol=2e-6)
    assert embedding_name(model) == "network.embeddings.word_embeddings.weight"


def test_padding_changes_nothing() -> None:
    found = tiny_encoder()
    model = classifier_on(found, found.table, num_labels=3, options={})
    model.eval()
    ids = pad([found.tokenizer.encode(text) for text in texts(4)])
    with paddle.no_grad():
        wide = model(paddle.to_tensor(np.pad(ids, ((0, 0), (0, 7))))).numpy()
        np.testing.assert_allclose(wide, model(paddle.to_tensor(ids)).numpy(), atol=1e-6)


def test_a_text_without_tokens_is_answered() -> None:
    found = tiny_encoder()
    model = classifier_on(found, found.table, num_labels=2, options={})
    model.eval()
    with paddle.no_grad():
        assert np.isfinite(model(paddle.zeros([1, 4], "int64")).numpy()).all()


def test_config_builds_it_again() -> None:
    found = tiny_encoder()
    model = classifier_on(found, found.table, num_labels=2, options={"encoder_dropout": 0.0, "dropout": 0.3})
    longer = with_table(model, "pretrained", np.vstack([found.table, found.table[:2]]))
    assert longer.config()["settings"]["vocab_size"] == len(found.table) + 2
    ids = paddle.to_tensor(pad([found.tokenizer.encode(text) for text in texts(3)]))
    model.eval()
    with paddle.no_grad():
        np.testing.assert_array_equal(longer(ids).numpy(), model(ids).numpy())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "max"}, r"pooling of the encoder is 'max'; did you mean 'mean'\? Expected first, mean or pooler"),
        ({"dropout": 1.0}, "dropout of the encoder is 1.0"),
        ({"encoder_dropout": -0.1}, "encoder_dropout of the encoder is -0.1"),
        ({"size": 3}, "model.options of pretrained has no 'size'"),
    ],
)
def test_illegal_options(options: dict[str, object], message: str) -> None:
    found = tiny_encoder()
    with pytest.raises(RecipeError, match=message):
        classifier_on(found, found.table, num_labels=2, options=options)


def test_weights_of_another_shape() -> None:
    import dataclasses

    found = tiny_encoder()
    name = "encoder.layers.1.linear1.weight"
    wrong = dataclasses.replace(found, weights={**found.weights, name: found.weights[name].T})
    with pytest.raises(HostError, match=r"linear1.weight' of a tiny BertModel is \(32, 16\); BertModel needs \(16, 32\)"):
        classifier_on(wrong, found.table, num_labels=2, options={})
    missing = dataclasses.replace(found, weights={key: value for key, value in found.weights.items() if key != name})
    with pytest.raises(HostError, match="is missing"):
        classifier_on(missing, found.table, num_labels=2, options={})


def test_an_encoder_without_a_pooler_begins_one_anew() -> None:
    import dataclasses

    found = tiny_encoder()
    bare = {name: value for name, value in found.weights.items() if not name.startswith("pooler.")}
    model = classifier_on(dataclasses.replace(found, weights=bare), found.table, num_labels=2, options={})
    assert "network.pooler.dense.weight" in dict(model.named_parameters())
