"""The predictor: as many answers as texts, in their order."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError, PluginError
from paddlenlp_embtune.inference import Predictor
from tests.bundles import TEXTS


def test_answers_line_up_with_the_texts(bundle: Bundle) -> None:
    predictor = Predictor(bundle, batch_size=2)
    answers = predictor.predict(TEXTS)
    assert [answer["text"] for answer in answers] == list(TEXTS)
    alone = [predictor.predict([text])[0] for text in TEXTS]
    assert [answer["label"] for answer in answers] == [answer["label"] for answer in alone]
    np.testing.assert_allclose([a["score"] for a in answers], [a["score"] for a in alone], atol=1e-6)


@pytest.mark.parametrize("blank", ["", " ", "\n\t", "\u200b", "\ufeff \x00"])
def test_a_blank_text_gets_an_answer_without_a_label(bundle: Bundle, blank: str) -> None:
    middle = Predictor(bundle).predict(["利好", blank, "减持"])[1]
    assert middle == {"text": blank, "label": None, "score": 0.0}


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "😀" * 50, "<b>利好</b>", "ＡＢＣ", "股" * 100_000, "國際", "\u2028x"])
def test_odd_texts_are_answered(bundle: Bundle, text: str) -> None:
    (answer,) = Predictor(bundle).predict([text], scores=True)
    assert answer["label"] in bundle.manifest.labels
    assert sum(answer["scores"].values()) == pytest.approx(1.0, abs=1e-5)
    assert answer["score"] == max(answer["scores"].values())


@pytest.mark.parametrize("wrong", [None, 3, b"bytes", ["nested"]])
def test_what_is_not_a_text_is_named_by_its_index(bundle: Bundle, wrong: Any) -> None:
    with pytest.raises(TypeError, match="text number 1 must be a str"):
        Predictor(bundle).predict(["good", wrong])


def test_one_text_instead_of_a_list_is_refused(bundle: Bundle) -> None:
    with pytest.raises(TypeError, match="pass a list"):
        Predictor(bundle).predict("利好")


def test_nothing_in_nothing_out(bundle: Bundle) -> None:
    assert Predictor(bundle).predict([]) == []


def test_an_unknown_engine_lists_those_there_are(bundle: Bundle) -> None:
    with pytest.raises(PluginError, match="did you mean 'onnxruntime'"):
        Predictor(bundle, engine="onnx_runtime")


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Any) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        Predictor(tmp_path)


@pytest.mark.parametrize("engine", ["onnxruntime", "paddle_inference", "paddle"])
def test_threads_get_the_answers_that_one_thread_gets(bundle: Bundle, engine: str) -> None:
    predictor = Predictor(bundle, engine=engine)
    expected = predictor.probabilities(TEXTS)
    found: list[np.ndarray] = []

    def work() -> None:
        for _ in range(5):
            found.append(predictor.probabilities(TEXTS))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    for answer in found:
        np.testing.assert_allclose(answer, expected, atol=1e-6)
