"""The text CNN: what it computes, and that its shortcuts change nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import normalize

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import HostError, RecipeError
from paddlenlp_embtune.models import build_model, load_layer, set_embedding
from paddlenlp_embtune.models.textcnn import TextCNN
from paddlenlp_embtune.text import pad
from paddlenlp_embtune.utils.safetensors_io import write_safetensors_file
from tests.models.small_textcnn import by_hand, model


@pytest.mark.parametrize("window", [2, 3, 4])
@pytest.mark.parametrize("length", [1, 2, 5, 30])
def test_it_computes_the_definition(window: int, length: int) -> None:
    net = model(window=window)
    ids = np.random.default_rng(length).integers(1, 40, length).tolist()
    found = net(paddle.to_tensor([ids])).numpy()[0]
    np.testing.assert_allclose(found, by_hand(net, ids), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", [1, 3, 50])
def test_padding_changes_nothing(padding: int) -> None:
    net = model()
    ids = np.random.default_rng(0).integers(1, 40, (4, 9))
    padded = np.pad(ids, ((0, 0), (0, padding)))
    np.testing.assert_allclose(net(paddle.to_tensor(padded)).numpy(), net(paddle.to_tensor(ids)).numpy(), atol=1e-6)


def test_training_leaves_the_row_of_padding_at_zero() -> None:
    net = model()
    net.train()
    optimizer = paddle.optimizer.AdamW(0.1, parameters=net.parameters(), weight_decay=0.1)
    for _ in range(3):
        ids = paddle.to_tensor(np.array([[3, 4, 5, 0, 0], [6, 7, 0, 0, 0]]))
        paddle.nn.functional.cross_entropy(net(ids), paddle.to_tensor([0, 1])).backward()
        optimizer.step()
        optimizer.clear_grad()
    assert not net.embedding.weight.numpy()[0].any()
    assert net.embedding.weight.numpy()[3].any()


def test_tokens_are_blanked_in_training_only() -> None:
    net = model(token_dropout=0.9, dropout=0.0, ngram_buckets=0)
    ids = paddle.to_tensor(np.random.default_rng(0).integers(1, 40, (2, 30)))
    calm = net(ids).numpy()
    np.testing.assert_array_equal(net(ids).numpy(), calm)
    net.train()
    assert np.abs(net(ids).numpy() - calm).max() > 1e-3


def test_config_builds_the_same_layer_again() -> None:
    net = model(window=4)
    twin = TextCNN(**net.config())
    assert [(n, list(p.shape)) for n, p in twin.named_parameters()] == [(n, list(p.shape)) for n, p in net.named_parameters()]


def gradients(net: TextCNN, ids: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients of a training step."""
    net.train()
    paddle.seed(7)
    loss = paddle.nn.functional.cross_entropy(net(paddle.to_tensor(ids)), paddle.to_tensor([0, 1, 2, 1]))
    loss.backward()
    found = {name: compat.read_only_view(p.grad).copy() for name, p in net.named_parameters()}
    for parameter in net.parameters():
        parameter.clear_gradient(False)
    return float(loss), found


def test_fast_steps_have_the_same_loss_and_gradients_and_draw_the_same() -> None:
    net = model(dropout=0.3)
    ids = np.pad(np.random.default_rng(0).integers(1, 40, (4, 12)), ((0, 0), (0, 3)))
    plain_loss, plain = gradients(net, ids)
    net.fast_steps = True
    fast_loss, fast = gradients(net, ids)
    assert fast_loss == pytest.approx(plain_loss, rel=1e-6)
    for name, expected in plain.items():
        np.testing.assert_allclose(fast[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)
    assert not np.array_equal(fast["convolution.weight"], plain["convolution.weight"]), "both went the same way"


def test_fast_steps_evaluate_the_same_and_are_not_traced() -> None:
    net = model()
    ids = paddle.to_tensor(np.pad(np.random.default_rng(0).integers(1, 40, (4, 12)), ((0, 0), (0, 3))))
    with paddle.no_grad():
        plain = net(ids).numpy()
        net.fast_steps = True
        np.testing.assert_allclose(net(ids).numpy(), plain, atol=1e-5)
        spec = [paddle.static.InputSpec([None, None], "int64")]
        traced = paddle.jit.to_static(net.forward, input_spec=spec, full_graph=True)
        with compat.quiet():
            np.testing.assert_allclose(traced(ids).numpy(), plain, atol=1e-5)


def test_fast_steps_give_the_gradient_of_the_embedding_by_rows_where_it_is_asked_for() -> None:
    net = model(token_dropout=0.0, dropout=0.0)
    net.fast_steps = True
    ids = np.array([[3, 4, 5, 5], [6, 3, 0, 0], [7, 7, 7, 7], [1, 2, 3, 4]])
    whole = gradients(net, ids)[1]["embedding.weight"]
    compat.set_sparse([net.embedding], sparse=True)
    net.train()
    paddle.nn.functional.cross_entropy(net(paddle.to_tensor(ids)), paddle.to_tensor([0, 1, 2, 1])).backward()
    compat.merge_gradient(net.embedding.weight, padding_row=0)
    rows, values = compat.gradient_rows(net.embedding.weight), compat.gradient_values(net.embedding.weight).numpy()
    assert sorted(rows.tolist()) == [0, 1, 2, 3, 4, 5, 6, 7]
    np.testing.assert_array_equal(values, whole[rows])


@pytest.mark.parametrize("name", ["embedding", "convolution"])
def test_a_hook_on_a_layer_changes_the_features_of_fast_steps_too(name: str) -> None:
    net = model(token_dropout=0.0, dropout=0.0)
    ids = paddle.to_tensor([[3, 4, 5, 6]])
    net.fast_steps = True
    net.train()
    assert net.features(ids).numpy().any()
    helper = getattr(net, name).register_forward_post_hook(lambda layer, inputs, output: output * 0.0 - 10.0)
    changed = net.features(ids).numpy()
    helper.remove()
    if name == "convolution":
        assert not changed.any()
    assert not np.allclose(changed, net.features(ids).numpy())


@pytest.mark.parametrize(
    "options",
    [
        {"filters": 0},
        {"window": 1},
        {"ngram_buckets": 1},
        {"ngram_rows": 1},
        {"ngram_rows": 300_000},
        {"ngram_length": 0},
        {"ngram_length": 5},
        {"dropout": 1.0},
        {"token_dropout": -0.1},
    ],
)
def test_illegal_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        model(**options)


def test_an_unknown_option_lists_those_there_are() -> None:
    with pytest.raises(RecipeError, match="has no 'filter'; did you mean 'filters'"):
        build_model("textcnn", vocabulary_size=10, dimension=4, num_labels=2, options={"filter": 3})


def test_a_table_of_another_shape_is_refused() -> None:
    with pytest.raises(HostError, match=r"\(40, 6\), the table \(41, 6\)"):
        set_embedding(model(), np.zeros((41, 6), dtype=np.float32))


@pytest.mark.parametrize("checked", [False, True])
def test_the_regression_is_the_one_that_scikit_learn_fits_on_weighted_tf_idf(checked: bool) -> None:
    generator = np.random.default_rng(0)
    # No token twice in a text: there the two ways to measure the length of a vector agree.
    ids = [generator.permutation(np.arange(1, 40))[: generator.integers(2, 12)].tolist() for _ in range(300)]
    labels = [int(text[0] % 3) for text in ids]
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), lowercase=False, norm=None)
    texts = ["".join(chr(0x4E00 + token) for token in text) for text in ids]
    counted = vectorizer.fit_transform(texts)
    classes = [np.asarray((counted[np.equal(labels, label)] > 0).sum(axis=0)).ravel() for label in range(3)]
    shares = [(count + 1) / (count + 1).sum() for count in classes]
    others = [(sum(classes) - count + 1) / (sum(classes) - count + 1).sum() for count in classes]
    ratios = np.maximum(np.abs(np.log(shares) - np.log(others)).max(axis=0), 1e-3)
    features = normalize(counted.multiply(ratios / np.sqrt(np.square(ratios).mean())))
    reference = LogisticRegression(C=4.0, max_iter=2000).fit(features, labels).decision_function(features)
    net = TextCNN(vocabulary_size=40, dimension=4, num_labels=3, filters=2, ngram_checked=checked, ngram_buckets=4_000_037)
    net.fit_before_training(ids, labels, class_weights=np.ones(3, dtype=np.float32))
    found = net._ngram_logits(paddle.to_tensor(pad(ids))).numpy()
    if not checked:
        np.testing.assert_allclose(found, reference, atol=3e-2)
    # A table that is checked is smaller, and leaves out n-grams that fall into the bucket of another one.
    assert (found.argmax(1) == reference.argmax(1)).mean() > (0.95 if checked else 0.99)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_regression_alone_learns_what_single_tokens_tell(classes: int) -> None:
    generator = np.random.default_rng(1)
    ids = [generator.integers(1, 40, 8).tolist() for _ in range(600)]
    labels = [int(sum(token < 4 for token in text) > 0) if classes == 2 else text[0] % classes for text in ids]
    net = TextCNN(vocabulary_size=40, dimension=4, num_labels=classes, filters=2, ngram_buckets=4096)
    net.fit_before_training(ids, labels, class_weights=np.ones(classes, dtype=np.float32))
    found = net._ngram_logits(paddle.to_tensor(pad(ids))).numpy().argmax(1)
    assert (found == labels).mean() > (0.95 if classes == 2 else 0.6)


def test_n_grams_that_the_rows_do_not_have_count_for_nothing_in_a_full_table() -> None:
    generator = np.random.default_rng(0)
    ids = [generator.integers(1, 20, 6).tolist() for _ in range(200)]
    labels = [int(text[0] > 9) for text in ids]
    net = TextCNN(vocabulary_size=40, dimension=4, num_labels=2, filters=2, ngram_length=1, ngram_buckets=64)
    net.fit_before_training(ids, labels, class_weights=np.ones(2, dtype=np.float32))
    assert net.ngram_buckets == net.config()["ngram_rows"] == len(net.ngram_table) == 64  # the least with room for twice 19
    known, strange = (net._ngram_logits(paddle.to_tensor([text])).numpy() for text in ([3, 12], [3, 12, 25, 31, 22]))
    np.testing.assert_array_equal(known, strange)


def test_a_table_with_more_n_grams_than_buckets_keeps_the_frequent_ones() -> None:
    ids = [[1, 2, 3, 4, 5, 6, 7, 8, 9], *([4, 6] for _ in range(9)), *([5, 6] for _ in range(9))]
    labels = [0, *[0] * 9, *[1] * 9]
    net = TextCNN(vocabulary_size=40, dimension=4, num_labels=2, filters=2, ngram_buckets=8)
    net.fit_before_training(ids, labels, class_weights=np.ones(2, dtype=np.float32))
    assert len(net.ngram_table) == 8
    found = net._ngram_logits(paddle.to_tensor([[4, 6], [5, 6]])).numpy().argmax(axis=1)
    assert found.tolist() == [0, 1]


def test_training_leaves_the_regression_alone_and_sees_the_network_alone() -> None:
    net = model(token_dropout=0.0, dropout=0.0)
    ids = paddle.to_tensor(np.random.default_rng(0).integers(1, 40, (2, 9)))
    together = net(ids).numpy()
    net.train()
    alone = net(ids).numpy()
    np.testing.assert_allclose(0.7 * alone + 0.3 * net._ngram_logits(ids).numpy(), together, atol=1e-6)
    assert {name for name, _ in net.named_parameters()}.isdisjoint({"ngram_table", "ngram_bias", "ngram_share"})


@pytest.mark.parametrize(("truth_of", "least", "most"), [("network", 0.0, 0.3), ("regression", 0.7, 1.0)])
def test_the_share_goes_to_whoever_knows_better(truth_of: str, least: float, most: float) -> None:
    net = model(ngram_checked=False)
    ids = paddle.to_tensor(np.random.default_rng(0).integers(1, 40, (200, 9)))
    net.train()
    net.dropout.p, net.token_dropout = 0.0, 0.0
    network = net(ids).numpy()
    net.eval()
    known = network if truth_of == "network" else net._ngram_logits(ids).numpy()
    net.fit_after_training(lambda: net(ids).numpy() * 5, known.argmax(axis=1).tolist())
    assert least - 1e-6 <= net.ngram_share.item() <= most + 1e-6


def test_a_few_rows_choose_no_share() -> None:
    net = model(ngram_checked=False)
    ids = paddle.to_tensor(np.random.default_rng(0).integers(1, 40, (49, 9)))
    net.eval()
    net.fit_after_training(lambda: net(ids).numpy(), net._ngram_logits(ids).numpy().argmax(axis=1).tolist())
    assert net.ngram_share.item() == 0.5


def test_the_share_is_found_in_one_pass_and_is_the_one_that_a_pass_for_each_would_find() -> None:
    net = model()
    net.eval()
    batches = [paddle.to_tensor(np.random.default_rng(seed).integers(1, 40, (20, 4 + seed))) for seed in range(3)]
    truth = np.random.default_rng(5).integers(0, 3, 60).tolist()
    by_share = {}
    passes = []
    features = net.features
    net.features = lambda ids: (passes.append(1), features(ids))[1]

    def logits_of() -> np.ndarray:
        found = np.concatenate([net(batch).numpy() for batch in batches])
        by_share[round(net.ngram_share.item(), 1)] = found
        return found

    net.fit_after_training(logits_of, truth)
    assert len(passes) == len(batches)
    assert len(by_share) == 11
    for share, logits in by_share.items():
        net.ngram_share.set_value(np.array([share], dtype=np.float32))
        np.testing.assert_array_equal(np.concatenate([net(batch).numpy() for batch in batches]), logits)


def test_a_model_of_an_older_bundle_reads_pairs_alone_and_counts_all_n_grams_of_a_bucket(tmp_path: Path) -> None:
    net = model(ngram_length=2, ngram_checked=False)
    arrays = {key: value.numpy() for key, value in net.state_dict().items()}
    write_safetensors_file(tmp_path / "weights.safetensors", arrays)
    config = {
        name: value for name, value in net.config().items() if name not in ("ngram_length", "ngram_checked", "ngram_rows")
    }
    (tmp_path / "model.json").write_text(json.dumps({"name": "textcnn", "config": config}))
    read = load_layer(tmp_path)
    ids = [3, 4, 3, 29, 8]
    np.testing.assert_allclose(read(paddle.to_tensor([ids])).numpy()[0], by_hand(net, ids), atol=1e-5)
    assert read.config() == net.config()


def test_a_share_that_is_stated_is_not_chosen() -> None:
    net = TextCNN(vocabulary_size=40, dimension=4, num_labels=2, filters=2, ngram_buckets=64, ngram_share=1.0)
    ids = paddle.to_tensor(np.random.default_rng(0).integers(1, 40, (4, 6)))
    net.eval()
    net.fit_after_training(lambda: net(ids).numpy(), [0, 1, 0, 1])
    np.testing.assert_array_equal(net(ids).numpy(), net._ngram_logits(ids).numpy())
    with pytest.raises(RecipeError, match=r"ngram_share of textcnn is 1\.5; expected 0 to 1"):
        TextCNN(vocabulary_size=40, dimension=4, num_labels=2, ngram_share=1.5)
