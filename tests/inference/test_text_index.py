"""Labels and evidence by the nearest texts."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.inference import Predictor, TextIndex

TEXTS = ["公司拟回购股份", "公司回购注销股份", "控股股东拟减持股份", "股东减持公司股份", "召开股东大会"]
LABELS = ["好", "好", "坏", "坏", "平"]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor(FINANCE / "bundle", num_threads=1)


def test_the_nearest_texts_decide_and_are_shown(predictor: Predictor) -> None:
    index = TextIndex(predictor, TEXTS, LABELS)
    answer, blank = index.classify([TEXTS[2], " "], k=3)
    assert (answer["label"], answer["neighbours"][0]["text"], "abstained" in answer) == ("坏", TEXTS[2], False)
    assert answer["neighbours"][0]["cosine"] == pytest.approx(1.0, abs=1e-5)
    assert 0.5 < answer["score"] <= 1
    assert (blank["label"], blank["score"], blank["neighbours"]) == (None, 0.0, [])


def test_labels_come_and_go(predictor: Predictor) -> None:
    index = TextIndex(predictor, TEXTS, LABELS)
    index.add(["今天下雨"], ["天气"])
    assert index.labels_there == ("好", "坏", "平", "天气")
    assert index.classify(["今天下雨"])[0]["label"] == "天气"
    assert (index.remove_label("天气"), len(index)) == (1, 5)
    assert index.classify(["今天下雨"])[0]["label"] != "天气"
    with pytest.raises(DataError, match="0 of 5 rows of the label '天气'"):
        index.remove_label("天气")


def test_far_texts_abstain(predictor: Predictor) -> None:
    index = TextIndex(predictor, TEXTS, LABELS)
    near, far = index.classify([TEXTS[0], "zzz"], abstain_below=0.999)
    assert (near["abstained"], far["abstained"]) == (False, True)
    assert 0 < index.usual_cosine(share=0.9) <= index.usual_cosine(share=0.1) <= 1


def test_an_index_is_read_again_with_its_bundle_alone(predictor: Predictor, bundle: Bundle, tmp_path: Path) -> None:
    index = TextIndex(predictor, TEXTS, LABELS, dimensions=32)
    index.save(tmp_path / "index")
    again = TextIndex.load(tmp_path / "index", predictor)
    assert again.classify(TEXTS) == index.classify(TEXTS)
    with pytest.raises(BundleError, match="vectors of two models cannot be compared"):
        TextIndex.load(tmp_path / "index", Predictor(bundle))
    (tmp_path / "mine.txt").write_text("x", encoding="utf-8")
    with pytest.raises(BundleError, match="something else than an index"):
        index.save(tmp_path)
    with pytest.raises(BundleError, match="is no index"):
        TextIndex.load(tmp_path, predictor)


def test_what_cannot_be_compared_is_refused(predictor: Predictor) -> None:
    for texts, labels in (([], []), (["a"], []), (["公司", " "], ["a", "b"])):
        with pytest.raises(DataError, match=r"an index needs|have no vector"):
            TextIndex(predictor, texts, labels)
    with pytest.raises(DataError, match="no labels"):
        TextIndex(predictor, TEXTS).classify(["a"])
