"""The head for ordered labels computes proportional odds, trains as they do, and exports like any other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import TextCNN, build_model
from paddlenlp_embtune.models.heads import CumulativeLink


def sigmoid(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


def proportional_odds(features: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Probabilities by the definition, (B, C) float64."""
    thresholds = bias[0] + np.concatenate([[0.0], np.log1p(np.exp(bias[1:])).cumsum()])
    cumulative = sigmoid(thresholds - features @ weight)
    return np.diff(np.pad(cumulative, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1))), axis=1)


def head_and_values(labels: int) -> tuple[CumulativeLink, np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(labels)
    weight, bias = generator.normal(size=(4, 1)), generator.normal(size=labels - 1)
    head = CumulativeLink(4, labels)
    head.weight.set_value(weight.astype(np.float32))
    head.bias.set_value(bias.astype(np.float32))
    return head, generator.normal(size=(7, 4)), weight, bias


@pytest.mark.parametrize("labels", [2, 3, 5])
def test_probabilities_and_gradients_are_those_of_proportional_odds(labels: int) -> None:
    head, features, weight, bias = head_and_values(labels)
    truth = np.arange(len(features)) % labels
    logits = head(paddle.to_tensor(features.astype(np.float32)))
    np.testing.assert_allclose(np.exp(logits.numpy()), proportional_odds(features, weight, bias), atol=1e-6)
    paddle.nn.functional.cross_entropy(logits, paddle.to_tensor(truth)).backward()

    def loss(values: np.ndarray) -> float:
        probabilities = proportional_odds(features, values[:4, None], values[4:])
        return float(-np.log(probabilities[np.arange(len(truth)), truth]).mean())

    at = np.concatenate([weight[:, 0], bias])
    steps = np.eye(len(at)) * 1e-5
    expected = [(loss(at + step) - loss(at - step)) / 2e-5 for step in steps]
    found = np.concatenate([head.weight.grad.numpy()[:, 0], head.bias.grad.numpy()])
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.mark.parametrize("labels", [2, 3, 5])
def test_a_new_head_finds_all_labels_equally_likely_and_stays_finite_far_away(labels: int) -> None:
    head = CumulativeLink(1, labels)
    head.weight.set_value(np.ones((1, 1), dtype=np.float32))
    logits = head(paddle.to_tensor([[0.0], [80.0], [-80.0]])).numpy()
    np.testing.assert_allclose(np.exp(logits[0]), 1 / labels, atol=1e-6)
    assert np.isfinite(logits).all()
    assert logits.argmax(axis=1).tolist()[1:] == [labels - 1, 0]
    assert (np.diff(head.thresholds().numpy()) > 0).all()


@pytest.mark.parametrize("labels", [pytest.param(2, marks=pytest.mark.slow), 4])
def test_it_exports_as_it_computes(labels: int, tmp_path: Path) -> None:
    from paddlenlp_embtune.export import export_onnx

    net = TextCNN(vocabulary_size=40, dimension=6, num_labels=labels, filters=5, ngram_buckets=17, head="cumulative_link")
    net.eval()
    export_onnx(net, tmp_path)
    import onnxruntime

    (program,) = tmp_path.rglob("*.onnx")
    session = onnxruntime.InferenceSession(str(program))
    ids = np.random.default_rng(0).integers(1, 40, (3, 9))
    found, *_ = session.run(["logits"], {session.get_inputs()[0].name: ids})
    np.testing.assert_allclose(found, net(paddle.to_tensor(ids)).numpy(), atol=1e-5)


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(RecipeError, match="head of textcnn is 'cumulative'; did you mean 'cumulative_link'"):
        build_model("textcnn", vocabulary_size=9, dimension=4, num_labels=3, options={"head": "cumulative"})
