"""SentencePiece: the package's own pieces under our ids, places in the text as given, models that are trained and cut."""

from __future__ import annotations

import random
import unicodedata
from functools import cache
from typing import Any

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as protobuf

from paddlenlp_embtune.errors import DataError, MissingDependencyError
from paddlenlp_embtune.text import PAD, UNK, SentencePieceTokenizer, Vocabulary, sentencepiece_model, tokenizer_from_config
from paddlenlp_embtune.text.sentencepiece_model import PieceKind, PieceModel, prune_sentencepiece, train_sentencepiece
from tests.text.every_tokenizer import CORPUS, NASTY, mixtures

TYPES = ("unigram", "bpe")
WORDS = ("公司", "回购", "股份", "质押", "交易", "证券", "增长", "利润", "tesla", "stock", "的", "了", "，", "。", "2024")


@cache
def texts() -> list[str]:
    generator = random.Random(0)
    return [*CORPUS, *("".join(generator.choices(WORDS, k=12)) for _ in range(200))]


@cache
def model(kind: str = "unigram") -> bytes:
    return train_sentencepiece(texts(), size=180 if kind == "unigram" else 230, model_type=kind)


def tokenizer(kind: str = "unigram", **options: Any) -> SentencePieceTokenizer:
    vocabulary = SentencePieceTokenizer.vocabulary_of(model(kind), markers=options.get("markers", False))
    return SentencePieceTokenizer(vocabulary, model(kind), **options)


def theirs(found: bytes) -> Any:
    return sentencepiece.SentencePieceProcessor(model_proto=found)


@pytest.mark.parametrize("kind", TYPES)
def test_pieces_are_those_of_the_package(kind: str) -> None:
    ours, reference = tokenizer(kind), theirs(model(kind))
    for text in [*texts(), *(text for text in NASTY if "\ud800" not in text)]:
        pieces = reference.encode(text, out_type=str)
        assert [piece for piece in ours.tokens(text) if piece != UNK] == [piece for piece in pieces if piece not in (PAD, UNK)]
        expected = [ours.vocabulary.ids.get(piece, 1) for piece in reference.encode(text, out_type=str)]
        if not {PAD, UNK} & set(pieces):
            assert ours.encode(text) == expected


@pytest.mark.parametrize("kind", TYPES)
def test_reading_a_model_is_reading_its_protocol_buffer(kind: str) -> None:
    proto = protobuf.ModelProto.FromString(model(kind))
    read = PieceModel.read(model(kind))
    expected = [(piece.piece, piece.score, piece.type) for piece in proto.pieces]
    assert [(piece.text, piece.score, int(piece.kind)) for piece in read.pieces] == expected
    assert read.lowercase == proto.normalizer_spec.name.endswith("_cf") is True
    assert read.byte_pairs == (kind == "bpe")


def test_the_vocabulary_is_ours() -> None:
    tokens = SentencePieceTokenizer.vocabulary_of(model()).tokens
    assert tokens[:2] == (PAD, UNK)
    assert not {"<s>", "</s>", "<unk>"} & set(tokens)
    assert SentencePieceTokenizer.vocabulary_of(model(), markers=True).tokens == (PAD, UNK, "[CLS]", "[SEP]", *tokens[2:])


def test_markers() -> None:
    found = tokenizer(markers=True)
    assert (found.prefix, found.suffix) == ((2,), (3,))
    ids = found.encode("公司回购股份")
    assert ids == [2, *tokenizer_ids(found, "公司回购股份"), 3]
    assert found.encode("公司回购股份", max_length=3) == [2, ids[1], 3]
    with pytest.raises(DataError, match=r"max_length must be 3 or more, .* got 2"):
        found.encode("公司", max_length=2)
    with pytest.raises(DataError, match=r"lacks '\[CLS\]', which markers need"):
        SentencePieceTokenizer(SentencePieceTokenizer.vocabulary_of(model()), model(), markers=True)


def tokenizer_ids(found: SentencePieceTokenizer, text: str) -> list[int]:
    return [found.vocabulary.ids.get(token, 1) for token in found.tokens(text)]


@pytest.mark.parametrize("order", ["<s>", "</s>", "<unk>", "[PAD]", "[UNK]", "[CLS]", "[SEP]"])
def test_a_text_gives_no_orders(order: str) -> None:
    ids = tokenizer(markers=True).encode(f"公司{order}股份")
    assert not {0, 2, 3} & set(ids[1:-1])


def test_a_piece_of_the_users_named_like_a_marker_is_unknown() -> None:
    made = train_sentencepiece(texts(), size=180, user_terms=["[PAD]", "[SEP]"])
    vocabulary = SentencePieceTokenizer.vocabulary_of(made, markers=True)
    assert vocabulary.tokens.count(PAD) == vocabulary.tokens.count("[SEP]") == 1
    found = SentencePieceTokenizer(vocabulary, made, markers=True)
    assert found.encode("公司[PAD][SEP]")[-3:-1] == [1, 1]
    assert found.tokens("公司[PAD][SEP]")[-2:] == [UNK, UNK]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("公司回购", ["公司", "回购"]),
        ("  公司   股份 ", ["公司", "股份"]),
        ("ＴＥＳＬＡ公司", ["ＴＥＳＬＡ", "公司"]),
        ("公司\ud800囧", ["公司", "\ud800", "囧"]),
        ("公司😀👍股份", ["公司", "😀👍", "股份"]),
        ("公司e\u0301股份", ["公司", "e\u0301", "股份"]),
    ],
)
def test_places(text: str, expected: list[str]) -> None:
    found = tokenizer()
    assert [text[a:b] for a, b in found.offsets(text)] == expected


@pytest.mark.parametrize("kind", TYPES)
def test_places_point_at_what_gives_the_pieces(kind: str) -> None:
    found = tokenizer(kind)
    for text in [*texts()[:40], *(t for t in mixtures(200, seed=2) if not any(unicodedata.combining(c) for c in t))]:
        for (start, end), token in zip(found.offsets(text), found.tokens(text), strict=True):
            bare = token.replace("\u2581", "").strip()
            here = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text[start:end]).casefold())
            # SentencePiece folds a dotted I otherwise.
            assert bare.replace("İ", "i\u0307") in here, (ascii(text), token)


def test_expanded_characters_share_a_place() -> None:
    found = tokenizer()
    text = "㈱公司ﬁ"
    places = found.offsets(text)
    assert {places[index] for index, token in enumerate(found.tokens(text)) if token in ("(", "株", ")", "(株)")} <= {(0, 1)}
    assert places[-1] == (3, 4)


def test_training_is_deterministic_and_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    first = train_sentencepiece(iter(texts()), size=150)
    assert first == train_sentencepiece(texts(), size=150)
    assert len(PieceModel.read(first).pieces) <= 150
    with pytest.raises(DataError):
        train_sentencepiece(texts(), size=10)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_long_and_odd_texts_are_learnt_from() -> None:
    odd = ["公司回购" * 5000, "\ud800公司\x00\n回购", "", " \n"]
    found = {piece.text for piece in PieceModel.read(train_sentencepiece(odd, size=60)).pieces}
    assert {"公", "司"} <= set("".join(found))


def test_case_is_kept_where_told() -> None:
    kept = train_sentencepiece(["Tesla ABC"] * 9, size=40, lowercase=False)
    vocabulary = SentencePieceTokenizer.vocabulary_of(kept)
    assert not SentencePieceTokenizer(vocabulary, kept).lowercase
    assert any("T" in token for token in vocabulary.tokens)
    assert tokenizer().lowercase


def test_terms_are_pieces() -> None:
    made = train_sentencepiece(texts(), size=180, user_terms=["质押式回购", "etf基金"])
    found = SentencePieceTokenizer(SentencePieceTokenizer.vocabulary_of(made), made)
    assert "质押式回购" in found.tokens("股票质押式回购交易")
    assert "etf基金" in found.tokens("买ＥＴＦ基金")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"texts": [], "size": 100}, "there is no text"),
        ({"texts": [" ", ""], "size": 100}, "there is no text"),
        ({"size": 20}, "size must be greater than .*, the number of distinct characters of the .* texts, got 20"),
        ({"size": 5000, "model_type": "bpe"}, "size must be at most .*, the number of pieces that the .* texts give, got 5000"),
        ({"size": 100, "model_type": "word"}, "model_type must be unigram or bpe"),
        ({"size": 100, "character_coverage": 2.0}, "0.98 to 1"),
    ],
)
def test_training_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        train_sentencepiece(**{"texts": texts(), **options})


@pytest.mark.parametrize("kind", TYPES)
def test_texts_of_kept_pieces_keep_their_pieces_when_a_model_is_cut(kind: str) -> None:
    whole = theirs(model(kind))
    for seed in range(8):
        chosen = random.Random(seed).sample(texts(), 12)
        keep = {piece for text in chosen for piece in whole.encode(text, out_type=str)}
        cut = prune_sentencepiece(model(kind), keep & {piece.text for piece in PieceModel.read(model(kind)).pieces})
        part = theirs(cut)
        assert part.get_piece_size() < whole.get_piece_size()
        for text in [*texts(), *CORPUS]:
            pieces = whole.encode(text, out_type=str)
            if set(pieces) <= keep:
                assert part.encode(text, out_type=str) == pieces, text
        for text in chosen:
            assert part.encode(text, out_type=str) == whole.encode(text, out_type=str)


def test_a_cut_model_is_a_whole_model() -> None:
    keep = {"公司", "回购"}
    cut = prune_sentencepiece(model(), keep)
    proto = protobuf.ModelProto.FromString(cut)
    assert proto.trainer_spec.vocab_size == len(proto.pieces) < 20
    assert proto.normalizer_spec == protobuf.ModelProto.FromString(model()).normalizer_spec
    texts_of_pieces = {piece.piece for piece in proto.pieces}
    assert {"<unk>", "<s>", "</s>", *keep, *"公司回购"} <= texts_of_pieces
    assert prune_sentencepiece(model(), [piece.text for piece in PieceModel.read(model()).pieces][3:]) == prune_sentencepiece(
        prune_sentencepiece(model(), [piece.text for piece in PieceModel.read(model()).pieces][3:]),
        [piece.text for piece in PieceModel.read(model()).pieces][3:],
    )


def test_what_is_not_in_a_model_cannot_be_kept() -> None:
    with pytest.raises(DataError, match=r"lacks \['nowhere'\]"):
        prune_sentencepiece(model(), ["公司", "nowhere"])


def test_bytes_are_kept_and_give_no_orders() -> None:
    proto = protobuf.ModelProto.FromString(model())
    proto.trainer_spec.byte_fallback = True
    for value in range(256):
        proto.pieces.add(piece=f"<0x{value:02X}>", score=0, type=6)
    found = SentencePieceTokenizer(SentencePieceTokenizer.vocabulary_of(proto.SerializeToString()), proto.SerializeToString())
    assert found.tokens("公司囧")[-3:] == ["<0xE5>", "<0x9B>", "<0xA7>"]
    assert {found.offsets("公司囧")[at] for at in (-3, -2, -1)} == {(2, 3)}
    assert "<0x41>" not in found.tokens("公司<0x41>")
    read = PieceModel.read(prune_sentencepiece(proto.SerializeToString(), ["公司"]))
    assert sum(piece.kind is PieceKind.BYTE for piece in read.pieces) == 256


@pytest.mark.parametrize(
    "damage",
    [
        lambda model: b"",
        lambda model: b"\x00",
        lambda model: b"PK\x03\x04 a zip",
        lambda model: b"[PAD]\n[UNK]\n",
        lambda model: model[:1000],
        lambda model: model[:-3],
        lambda model: model[: len(model) // 2],
        lambda model: b"\xff" * 40,
        lambda model: model + model,
    ],
)
def test_a_damaged_model_is_refused(damage: Any) -> None:
    vocabulary = SentencePieceTokenizer.vocabulary_of(model())
    with pytest.raises(DataError, match=r"the SentencePiece model of \d+ bytes is damaged"):
        SentencePieceTokenizer(vocabulary, damage(model()))


def test_another_model_and_another_vocabulary_are_refused() -> None:
    found = tokenizer()
    with pytest.raises(DataError, match="restore the original model"):
        tokenizer_from_config(found.config(), found.vocabulary, {"sentencepiece.model": model("bpe")})
    with pytest.raises(DataError, match=r"none of the model's \d+ pieces"):
        SentencePieceTokenizer(Vocabulary([PAD, UNK, "没有"]), model())
    with pytest.raises(DataError, match=r"needs the file 'sentencepiece.model', which is missing"):
        tokenizer_from_config(found.config(), found.vocabulary)


def test_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(sentencepiece_model.importlib, "import_module", missing)
    with pytest.raises(MissingDependencyError, match="pip install sentencepiece"):
        train_sentencepiece(texts(), size=100)


def test_the_older_package_gives_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    found = tokenizer()

    class Piece:
        def __init__(self, begin: int, end: int) -> None:
            self.begin, self.end = begin, end

    class Older:
        def __init__(self) -> None:
            self.inner = theirs(model())

        def encode(self, text: str, out_type: Any) -> Any:
            assert out_type == "immutable_proto"
            places = self.inner.encode(text, return_type="offset_mapping")["offsets"]
            return type("Proto", (), {"pieces": [Piece(*place) for place in places]})()

    expected = [found.offsets(text) for text in CORPUS]
    monkeypatch.setattr(found, "_processor", Older())
    assert [found.offsets(text) for text in CORPUS] == expected
