"""Experts on an encoder, each for itself: sentence vectors, and a regression over the characters of pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import paddle
import pytest

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.export.onnx import export_onnx
from paddlenlp_embtune.inference import open_session
from paddlenlp_embtune.models.character_ngrams import (
    CharacterNgrams,
    characters_of,
    fit_character_ngrams,
    ngram_logits,
    piece_characters,
)
from paddlenlp_embtune.models.sentence_vectors import SentenceVectors, sentence_vectors_of
from paddlenlp_embtune.text import pad
from tests.encoders import ids_of, tiny_encoder

TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "▁", "▁公司", "利", "好", "##er", "abcdefghijk")


def vectors_above(*layers: int, prefix: tuple[int, ...] = ()) -> SentenceVectors:
    encoder = tiny_encoder()
    return sentence_vectors_of(encoder, encoder.table, layers=layers, prefix=prefix)


def test_a_prefix_stands_behind_the_first_id_and_nothing_else_changes() -> None:
    ids = [[2, 7, 9, 3], [2, 8, 3]]
    with_prefix = vectors_above(3, prefix=(5, 6))(paddle.to_tensor(pad(ids))).numpy()
    written_out = vectors_above(3)(paddle.to_tensor(pad([[2, 5, 6, *row[1:]] for row in ids]))).numpy()
    np.testing.assert_allclose(with_prefix, written_out, atol=1e-6)
    assert vectors_above(3, prefix=(5, 6)).most_tokens == 62


def test_a_text_without_tokens_has_the_vector_0_and_padding_does_not_count() -> None:
    vectors = vectors_above(2, 3, prefix=(5,))
    found = vectors(paddle.to_tensor(pad([[2, 7, 3], []]))).numpy()
    wider = vectors(paddle.to_tensor(pad([[2, 7, 3], []], min_length=9))).numpy()
    assert not found[1].any()
    np.testing.assert_allclose(found, wider, atol=1e-6)


def test_an_encoder_is_built_no_higher_than_it_is_read() -> None:
    ids = paddle.to_tensor(pad(ids_of(4)))
    whole, low = vectors_above(1, 2, 3), vectors_above(2)
    np.testing.assert_allclose(low(ids).numpy(), whole.by_layer(ids)[1].numpy(), atol=1e-6)
    assert not any(".layers.2." in name for name, _ in low.named_parameters())


@pytest.mark.parametrize("layers", [(), (0,), (4,), (3, 2), (2, 2)])
def test_layers_that_are_not_there_are_refused(layers: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match="expected numbers from 1 to 3, ascending"):
        vectors_above(*layers)


def test_pieces_are_read_as_their_characters() -> None:
    table = piece_characters(TOKENS, longest=4)
    numbers = {"公": 1, "司": 2, "利": 3, "好": 4, "e": 5, "r": 6, "a": 7, "b": 8, "c": 9, "d": 10}
    assert characters_of([[2, 4, 5, 1, 6, 3], [], [8, 9]], table) == [
        [numbers[each] for each in "公司利"],
        [],
        [numbers[each] for each in "erabcd"],
    ]


def test_the_layer_and_its_program_answer_as_held_out_rows_were_answered(tmp_path: Path) -> None:
    table = piece_characters(TOKENS, longest=4)
    generator = np.random.default_rng(0)
    ids = [generator.integers(1, len(TOKENS), generator.integers(1, 9)).tolist() for _ in range(60)]
    labels = np.array([int(6 in row) for row in ids])
    characters = characters_of(ids, table)
    fitted = fit_character_ngrams(characters, labels, class_weights=np.ones(2, np.float32), buckets=512)
    layer = CharacterNgrams(vocabulary_size=len(TOKENS), num_labels=2, buckets=512, longest=4)
    for name, value in (("characters", table.astype(np.float32)), ("table", fitted[0]), ("bias", fitted[1])):
        getattr(layer, name).set_value(value)
    layer.eval()
    batch = pad([*ids, []])
    expected = ngram_logits([*characters, []], *fitted)
    np.testing.assert_allclose(layer(paddle.to_tensor(batch)).numpy(), expected, atol=1e-4)
    (name,) = export_onnx(layer, tmp_path)
    session = open_session(tmp_path / name, ["CPUExecutionProvider"], num_threads=1)
    np.testing.assert_allclose(session.run(None, {"input_ids": batch})[0], expected, atol=1e-4)


@pytest.mark.parametrize(("characters", "labels"), [([[], []], [0, 1]), ([[1], [2]], [0, 1]), ([[1], [1]], [1, 1])])
def test_n_grams_that_tell_nothing_say_nothing(characters: list[list[int]], labels: list[int]) -> None:
    table, bias = fit_character_ngrams(characters, np.array(labels), class_weights=np.ones(2, np.float32), buckets=64)
    assert not table.any()
    assert not bias.any()
