"""Integrated gradients: the contributions add up to the answer, for our model and for others, and leave the model as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.inference._occlusion import log_odds
from paddlenlp_embtune.models._integrated_gradients import Parts, attribute, parts_of
from paddlenlp_embtune.models.paddle_engine import load_layer
from paddlenlp_embtune.models.textcnn import TextCNN
from tests.models.small_textcnn import by_hand, model
from tests.planted import LABELS, PLANTED, planted_rows


class Bag(paddle.nn.Layer):
    """Sum of embeddings and a linear head: in two classes, log-odds are a sum over tokens."""

    def __init__(self, *, hidden: bool = False, masked: bool = False) -> None:
        super().__init__()
        paddle.seed(5)
        self.embedding = paddle.nn.Embedding(30, 8)
        self.hidden = paddle.nn.Linear(8, 8) if hidden else None
        self.head = paddle.nn.Linear(8, 3 if hidden else 2)
        self.masked = masked
        self.eval()

    def forward(self, input_ids: Any) -> Any:
        vectors = self.embedding(input_ids)
        if self.masked:
            kept = (input_ids != 0).astype("float32").unsqueeze(-1)
            total = (vectors * kept).sum(axis=1) / (kept.sum(axis=1) + 1e-6)
        else:
            total = vectors.sum(axis=1)
        return self.head(total if self.hidden is None else paddle.tanh(self.hidden(total)))


class Counting(Bag):
    """Looks at the ids themselves, beside the embedding: a token with an even number speaks for class 0."""

    def forward(self, input_ids: Any) -> Any:
        even = ((input_ids % 2 == 0).astype("int64") * (input_ids != 0).astype("int64")).astype("float32").sum(axis=1)
        return super().forward(input_ids) + paddle.stack([even, paddle.zeros_like(even)], axis=1)


def answer(net: Any, ids: list[int], label: int, temperature: float = 1.0) -> float:
    return float(log_odds(net(paddle.to_tensor([ids])).numpy(), label=label, temperature=temperature)[0])


@pytest.mark.parametrize("buckets", [0, 17])
@pytest.mark.parametrize(("length", "label"), [(1, 0), (2, 1), (9, 2), (40, 0)])
def test_the_contributions_to_a_text_cnn_add_up(buckets: int, length: int, label: int) -> None:
    net = model(ngram_buckets=buckets)
    ids = np.random.default_rng(length).integers(1, 40, length).tolist()
    found = attribute(net, ids, label=label, temperature=1.5)
    expected = answer(net, ids, label, 1.5) - answer(net, [0] * length, label, 1.5)
    assert found.method == "integrated_gradients"
    assert (found.contributions.shape, found.contributions.dtype) == ((length,), np.float32)
    assert found.difference == pytest.approx(expected, abs=1e-4)
    assert abs(found.residual) < 1e-3


def test_the_parts_of_a_text_cnn_are_the_whole_of_it() -> None:
    net = model()
    for length in (1, 2, 12):
        ids = np.random.default_rng(length).integers(1, 40, length)
        parts = parts_of(net)
        assert parts.beside is not None
        network = parts.through(paddle.to_tensor(ids[None])).numpy()[0]
        spread = parts.beside(ids)
        assert spread.shape == (length, 3)
        np.testing.assert_allclose(network + spread.sum(axis=0) + parts.constant, by_hand(net, ids.tolist()), atol=1e-4)


def test_an_n_gram_speaks_through_its_own_tokens() -> None:
    net = TextCNN(vocabulary_size=40, dimension=6, num_labels=3, filters=5, ngram_buckets=100_003, ngram_checked=False)
    table = np.zeros((100_003, 4), dtype=np.float32)
    table[(7 * 7919 + 8) % 100_002 + 1] = [2.0, 0.0, 0.0, 1.0]
    table[9 * 7919 % 100_002 + 1] = [0.0, 1.0, 0.0, 3.0]
    net.ngram_table.set_value(table)
    beside = parts_of(net).beside
    assert beside is not None
    share = net.ngram_share.item()
    expected = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]]) * share / 2  # the length of the text's vector is 2
    np.testing.assert_allclose(beside(np.array([5, 7, 8, 9])), expected, atol=1e-6)


@pytest.mark.parametrize("start", [0.0, 0.3])
def test_contributions_are_exact_where_tokens_add_up(start: float) -> None:
    net = Bag()
    table = net.embedding.weight.numpy()
    table[0] = start
    net.embedding.weight.set_value(table)
    ids = [3, 4, 3, 29]
    direction = net.head.weight.numpy()[:, 1] - net.head.weight.numpy()[:, 0]
    found = attribute(net, ids, label=1)
    np.testing.assert_allclose(found.contributions, (table[ids] - table[0]) @ direction, atol=1e-4)
    assert found.contributions[0] == pytest.approx(float(found.contributions[2]), abs=1e-6)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_the_contributions_to_any_layer_add_up(masked: bool, label: int) -> None:
    net = Bag(hidden=True, masked=masked)
    found = attribute(net, [5, 6, 7, 5], label=label)
    assert abs(found.residual) < 1e-3
    if not masked:
        expected = answer(net, [5, 6, 7, 5], label) - answer(net, [0] * 4, label)
        assert found.difference == pytest.approx(expected, abs=1e-4)


def test_a_layer_with_other_uses_of_its_ids_is_refused_until_it_tells_them() -> None:
    net = Counting()
    # Rows 1 to 4 of the exchanged table are as even as these tokens only by chance.
    with pytest.raises(HostError, match="it uses ids for more than its embedding; register its parts"):
        attribute(net, [4, 6, 8, 10], label=0)

    def beside(ids: np.ndarray) -> np.ndarray:
        return np.stack([(ids % 2 == 0) & (ids != 0), np.zeros_like(ids)], axis=1).astype(np.float32)

    @parts_of.register(Counting)
    def _(net: Any) -> Parts:
        return Parts(through=lambda ids: Bag.forward(net, ids), beside=beside)

    found = attribute(net, [4, 6, 8, 11], label=0)
    plain = attribute(Bag(), [4, 6, 8, 11], label=0)
    np.testing.assert_allclose(found.contributions - plain.contributions, [1.0, 1.0, 1.0, 0.0], atol=1e-3)


def test_the_layer_is_left_as_it_was() -> None:
    net = model()
    before = {name: value.numpy().copy() for name, value in net.state_dict().items()}
    names, weight = [name for name, _ in net.named_parameters()], net.embedding.weight
    attribute(net, [3, 4, 5], label=0)
    assert net.embedding.weight is weight
    assert "weight" not in vars(net.embedding)
    assert [name for name, _ in net.named_parameters()] == names
    assert all(parameter.grad is None for parameter in net.parameters())
    for name, value in net.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])


def test_the_table_comes_back_when_the_layer_fails() -> None:
    net = Bag()
    weight = net.embedding.weight
    net.head.forward = None
    with pytest.raises(TypeError):
        attribute(net, [3, 4], label=0)
    assert net.embedding.weight is weight


def test_both_methods_name_the_planted_word(planted: Bundle) -> None:
    net = load_layer(planted.path)
    texts = [text for text, label in planted_rows(60) if label != "中性"][:12]
    for explanation in Predictor(planted).explain(texts):
        ids = planted.tokenizer.encode(explanation.text)
        found = attribute(net, ids, label=LABELS.index(explanation.label or ""))
        assert abs(found.residual) < 1e-3
        (word,) = [word for word in PLANTED if word in explanation.text]
        planted_at = set(range(explanation.text.index(word), explanation.text.index(word) + 4))
        for values in (found.contributions, explanation.attribution.contributions):
            assert set(np.argsort(-values)[:2].tolist()) <= planted_at, explanation.text
        assert np.corrcoef(found.contributions, explanation.attribution.contributions)[0, 1] > 0.7
        assert found.difference == pytest.approx(explanation.attribution.difference, abs=1e-3)


def test_the_engine_of_the_layer_itself_explains_by_integrated_gradients(planted: Bundle) -> None:
    predictor = Predictor(planted, engine="paddle")
    (found,) = predictor.explain(["今天被立案调查了"])
    assert found.attribution.method == "integrated_gradients"
    assert abs(found.attribution.residual) < 1e-3
    (other,) = predictor.explain(["今天被立案调查了"], method="occlusion")
    assert other.attribution.method == "occlusion"
    assert found.terms()[0][:2] == other.terms()[0][:2]
