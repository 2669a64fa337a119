"""ERNIE-M's tokenizer gives the ids of PaddleNLP's, and says where its pieces come from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.text import Vocabulary
from paddlenlp_embtune.text.ernie_m import ErnieMTokenizer
from paddlenlp_embtune.text.sentencepiece_model import train_sentencepiece
from tests.text.every_tokenizer import CORPUS, NASTY, mixtures
from tests.text.pieces import TEXTS, model, tokens_of


def both(folder: Path, found: bytes, *, lowercase: bool) -> tuple[ErnieMTokenizer, Any]:
    from paddlenlp.transformers import ErnieMTokenizer as Theirs

    tokens = tokens_of(found, padding=0)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    (folder / "pieces.model").write_bytes(found)
    theirs = Theirs(str(folder / "vocab.txt"), str(folder / "pieces.model"), do_lower_case=lowercase)
    return ErnieMTokenizer(Vocabulary(tokens), found, lowercase), theirs


def same(ours: ErnieMTokenizer, theirs: Any, texts: list[str]) -> None:
    for text in texts:
        if found := ours.encode(text):
            assert found == theirs(text)["input_ids"], ascii(text)


@pytest.mark.parametrize("lowercase", [False, True])
def test_ids_are_those_of_the_host(tmp_path: Path, lowercase: bool) -> None:
    ours, theirs = both(tmp_path, model(), lowercase=lowercase)
    allowed = [text for text in [*NASTY, *mixtures(500, seed=3)] if not {"\ud800"} & set(text) and "[" not in text]
    same(ours, theirs, [*TEXTS, *CORPUS, *allowed])


@pytest.mark.slow
@pytest.mark.shared_data
def test_ids_are_those_of_the_host_for_real_texts(shared_data: Path, tmp_path: Path) -> None:
    texts: list[str] = []
    for name in ("finance_forum", "legal", "product_reviews"):
        lines = (shared_data / "unlabelled" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
        texts += [line for line in lines if "[" not in line][:1500]
    found = train_sentencepiece(texts[::3], size=4000, lowercase=False)
    same(*both(tmp_path, found, lowercase=False), texts)


def test_scripts_digits_and_marks_part() -> None:
    tokenizer = ErnieMTokenizer(Vocabulary(tokens_of(model(), padding=0)), model())
    tokens = tokenizer.tokens("净利润20.5%，abc")
    assert tokens[:3] == ["净", "利", "润"]
    assert all(token.isdigit() == any(map(str.isdigit, token)) for token in tokens)
    assert "，" in tokens or "," in tokens


def test_places_are_those_of_the_characters() -> None:
    tokenizer = ErnieMTokenizer(Vocabulary(tokens_of(model(), padding=0)), model())
    text = " 净利润 2024 Tesla！"
    for token, (begin, end) in zip(tokenizer.tokens(text), tokenizer.offsets(text), strict=True):
        assert text[begin:end].replace("！", "!") == token.lstrip("▁")


def test_a_text_gives_no_orders() -> None:
    tokenizer = ErnieMTokenizer(Vocabulary(tokens_of(model(), padding=0)), model())
    special = {tokenizer.vocabulary.ids[name] for name in ("[CLS]", "[SEP]", "[PAD]", "[MASK]")}
    assert not special & set(tokenizer.encode("[CLS]公司[SEP][PAD][MASK]")[1:-1])


def test_what_cannot_be_is_refused() -> None:
    vocabulary = Vocabulary(tokens_of(model(), padding=0))
    with pytest.raises(DataError, match=r"must be 000000000000.*restore the original model"):
        ErnieMTokenizer(vocabulary, model(), model_sha256="0" * 64)
    with pytest.raises(DataError, match=r"lacks '\[SEP\]', which ERNIE-M needs"):
        ErnieMTokenizer(Vocabulary(["[PAD]", "[UNK]", "[CLS]"]), model())
    with pytest.raises(DataError, match="damaged"):
        ErnieMTokenizer(vocabulary, model()[:-50])
    with pytest.raises(DataError, match=r"max_length must be 3 or more, .* got 2"):
        ErnieMTokenizer(vocabulary, model()).encode("公司", max_length=2)
    assert json.loads(json.dumps(ErnieMTokenizer(vocabulary, model()).config()))["name"] == "ernie_m"
