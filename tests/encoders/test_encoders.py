"""Pretrained encoders from folders answer as they do in PaddleNLP, and what is no encoder is refused with the reason."""

from __future__ import annotations

import functools
import http.server
import json
import logging
import shutil
import sys
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddlenlp import transformers
from safetensors.numpy import save_file

from paddlenlp_embtune.encoders import _hub
from paddlenlp_embtune.encoders.architectures import FAMILIES, convert_weights, reserved_positions
from paddlenlp_embtune.encoders.loading import load_encoder
from paddlenlp_embtune.encoders.pretrained import Pretrained
from paddlenlp_embtune.encoders.saving import save_encoder
from paddlenlp_embtune.encoders.tokenizers import COMPARISON_TEXTS
from paddlenlp_embtune.errors import BundleError, HostError
from paddlenlp_embtune.models.pretrained_classifier import PretrainedClassifier, classifier_on
from paddlenlp_embtune.text import PAD, UNK, CharTokenizer, SentencePieceTokenizer, Vocabulary, pad
from paddlenlp_embtune.text.ernie_m import ErnieMTokenizer
from tests.helpers import python
from tests.pickles import Bomb
from tests.text.pieces import model as pieces_model, tokens_of

TEXTS = ("公司拟回购股份", "控股股东减持2.5%的stocks", "今天 开会。" * 3, "a😀")
LETTERS = "公司拟回购股份控东减持的今天开会。，.%25"
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys(LETTERS), "stock", "##s", "##o", "a"]
SETTINGS: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "max_position_embeddings": 48,
}
KINDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("Bert", "BertTokenizer", {"layer_norm_eps": 1e-5}),
    "ernie-1.0": ("Ernie", "ErnieTokenizer", {"type_vocab_size": 2}),
    "ernie-3.0": ("Ernie", "ErnieTokenizer", {"type_vocab_size": 4, "use_task_id": True, "task_id": 1}),
    "roberta": ("Roberta", "RobertaChineseTokenizer", {"type_vocab_size": 2}),
    "roberta, padding 1": ("Roberta", "RobertaChineseTokenizer", {"type_vocab_size": 2, "pad_token_id": 1}),
    "ernie-m": ("ErnieM", "ErnieMTokenizer", {"pad_token_id": 1}),
}


def make(kind: str, folder: Path, *, head: str | None = None) -> Any:
    """Save an encoder as PaddleNLP does, under a head; return the encoder."""
    stem, name, further = KINDS[kind]
    head = head or ("ForMultipleChoice" if stem == "Roberta" else "ForSequenceClassification")  # one with a pooler
    folder.mkdir(parents=True)
    tokens = [*TOKENS]
    tokens[0], tokens[further.get("pad_token_id", 0)] = tokens[further.get("pad_token_id", 0)], tokens[0]
    files = [str(folder / "vocab.txt")]
    if stem == "ErnieM":
        tokens = tokens_of(pieces_model())
        (folder / "sentencepiece.bpe.model").write_bytes(pieces_model())
        files.append(str(folder / "sentencepiece.bpe.model"))
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    getattr(transformers, name)(*files).save_pretrained(str(folder))
    paddle.seed(3)
    model = getattr(transformers, stem + head)
    built = model(model.config_class(**SETTINGS, **further, vocab_size=len(tokens)))
    for parameter in built.parameters():  # larger than at the start, so that answers differ
        parameter.set_value(parameter + paddle.randn(parameter.shape) * 0.2)
    built.save_pretrained(str(folder))
    built.eval()
    return built if head == "Model" else getattr(built, built.base_model_prefix)


def theirs(network: Any, folder: Path, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """What PaddleNLP's own tokenizer and encoder make of the texts: vectors of tokens, and of texts."""
    tokenizer = getattr(transformers, KINDS[kind][1]).from_pretrained(str(folder))
    rows = [tokenizer(text)["input_ids"] for text in TEXTS]
    length = max(map(len, rows))
    ids = np.array([[*row, *[tokenizer.pad_token_id] * (length - len(row))] for row in rows])
    mask = np.array([[1.0] * len(row) + [0.0] * (length - len(row)) for row in rows], np.float32)
    with paddle.no_grad():
        outputs = network(paddle.to_tensor(ids), attention_mask=paddle.to_tensor(mask))
    return outputs[0].numpy() * mask[..., None], outputs[1].numpy()


def classifier(found: Pretrained, pooling: str) -> PretrainedClassifier:
    model = classifier_on(found, found.weights[found.embedding], num_labels=2, options={"pooling": pooling})
    model.eval()
    return model


def ours(found: Pretrained) -> tuple[np.ndarray, np.ndarray]:
    model = classifier(found, "pooler")
    ids = paddle.to_tensor(pad([found.tokenizer.encode(text) for text in TEXTS]))
    known = (ids != 0).astype("float32")
    with paddle.no_grad():
        tokens = model.network(ids, attention_mask=known)[0] * known.unsqueeze(-1)
        return tokens.numpy(), model.features(ids).numpy()


def agree(found: Pretrained, network: Any, folder: Path, kind: str) -> None:
    for mine, expected in zip(ours(found), theirs(network, folder, kind), strict=True):
        np.testing.assert_allclose(mine, expected, atol=2e-6)


def as_torch(network: Any, prefix: str) -> dict[str, Any]:
    """The weights with the names and the matrices of PyTorch."""
    renamed = {
        "layers.": "layer.",
        "self_attn.q_proj": "attention.self.query",
        "self_attn.k_proj": "attention.self.key",
        "self_attn.v_proj": "attention.self.value",
        "self_attn.out_proj": "attention.output.dense",
        "linear1": "intermediate.dense",
        "linear2": "output.dense",
        "norm1": "attention.output.LayerNorm",
        "norm2": "output.LayerNorm",
        "embeddings.layer_norm": "embeddings.LayerNorm",
    }
    found = {}
    for name, value in network.state_dict().items():
        array = value.numpy()
        turned = array.T.copy() if array.ndim == 2 and not name.startswith("embeddings.") else array
        for here, there in renamed.items():
            name = name.replace(here, there)  # noqa: PLW2901
        found[prefix + name] = turned
    return found


@pytest.fixture(scope="module", params=list(KINDS))
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path, Any]:
    folder = tmp_path_factory.mktemp("encoder") / "folder"
    return request.param, folder, make(request.param, folder)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    folder = tmp_path_factory.mktemp("bert") / "folder"
    return folder, make("bert", folder)


@pytest.fixture
def copied(bert: tuple[Path, Any], tmp_path: Path) -> Path:
    return Path(shutil.copytree(bert[0], tmp_path / "folder"))


def change(file: Path, **values: Any) -> None:
    whole = {**json.loads(file.read_text(encoding="utf-8")), **values}
    file.write_text(json.dumps({key: value for key, value in whole.items() if value is not None}), encoding="utf-8")


def test_an_encoder_answers_as_in_paddlenlp(made: tuple[str, Path, Any]) -> None:
    kind, folder, network = made
    found = load_encoder(str(folder))
    assert (found.architecture, found.pooling, found.source) == (f"{KINDS[kind][0]}Model", "pooler", str(folder))
    assert found.settings["pad_token_id"] == 0
    assert found.tokenizer.vocabulary.tokens[0] == PAD
    assert set(found.weights) == set(network.state_dict())
    agree(found, network, folder, kind)


def test_texts_of_the_most_tokens_have_positions(made: tuple[str, Path, Any]) -> None:
    found = load_encoder(str(made[1]))
    kind = getattr(transformers, found.architecture)
    network = kind(kind.config_class.from_dict(found.settings))
    most = found.settings["max_position_embeddings"] - reserved_positions(found.architecture)
    ids = paddle.ones([1, most], dtype="int64") * 5
    assert network(ids, attention_mask=paddle.ones([1, most]))[0].shape[1] == most
    with pytest.raises((ValueError, IndexError, RuntimeError)):
        network(paddle.concat([ids, ids[:, :1]], axis=1), attention_mask=paddle.ones([1, most + 1]))


def test_saving_and_reading_gives_the_same(made: tuple[str, Path, Any], tmp_path: Path) -> None:
    kind, folder, network = made
    found = load_encoder(str(folder))
    save_encoder(found, tmp_path / "saved")
    again = load_encoder(str(tmp_path / "saved"))
    assert (again.architecture, again.settings, again.pooling) == (found.architecture, found.settings, found.pooling)
    assert again.fingerprint() == found.fingerprint()
    assert again.tokenizer.config() == found.tokenizer.config()
    assert again.tokenizer.vocabulary.tokens == found.tokenizer.vocabulary.tokens
    for name, value in found.weights.items():
        np.testing.assert_array_equal(again.weights[name], value)
    agree(again, network, folder, kind)
    stem = KINDS[kind][0]
    if stem != "ErnieM":  # PaddleNLP reads the folder too
        model = transformers.AutoModel.from_pretrained(str(tmp_path / "saved"))
        model.eval()
        assert type(model).__name__ == f"{stem}Model"
        agree(again, model, tmp_path / "saved", kind)
        tokenizer = transformers.AutoTokenizer.from_pretrained(str(tmp_path / "saved"))
        assert type(tokenizer).__name__ == ("ErnieTokenizer" if stem == "Ernie" else "BertTokenizer")


@pytest.mark.parametrize("head", ["Model", "ForMaskedLM", "ForTokenClassification"])
def test_heads_are_left_out_and_named_in_the_log(tmp_path: Path, head: str, caplog: pytest.LogCaptureFixture) -> None:
    network = make("bert", tmp_path / "folder", head=head)
    with caplog.at_level(logging.INFO, logger="paddlenlp_embtune"):
        agree(load_encoder(str(tmp_path / "folder")), network, tmp_path / "folder", "bert")
    assert ("arrays that are not part of the encoder" in caplog.text) == (head != "Model")


def test_an_encoder_without_pooler_takes_the_first_vector(copied: Path) -> None:
    weights = paddle.load(str(copied / "model_state.pdparams"))
    save_file({name: value.numpy() for name, value in weights.items() if "pooler" not in name}, copied / "model.safetensors")
    found = load_encoder(str(copied))
    assert found.pooling == "first"
    assert not any(name.startswith("pooler") for name in found.weights)


def test_a_head_that_needs_no_pooler_has_none(tmp_path: Path) -> None:
    network = make("roberta", tmp_path / "folder", head="ForSequenceClassification")
    found = load_encoder(str(tmp_path / "folder"))
    assert found.pooling == "first"
    assert set(found.weights) == set(network.state_dict())


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("kind", ["bert", "roberta", "ernie-3.0"])
def test_checkpoints_of_pytorch_are_read(tmp_path: Path, kind: str, file: str) -> None:
    folder = tmp_path / "folder"
    network = make(kind, folder)
    weights = as_torch(network, f"{network.base_model_prefix}.")
    weights["classifier.weight"] = np.zeros((2, 16), np.float32)
    (folder / "model_state.pdparams").unlink()
    if file == "pytorch_model.bin":
        torch = pytest.importorskip("torch")
        tensors = {name: torch.from_numpy(value.copy()) for name, value in weights.items()}
        torch.save({**tensors, "embeddings.position_ids": torch.arange(48)}, folder / file)
    else:
        save_file(weights, folder / file, metadata={"format": "pt"})
    agree(load_encoder(str(folder)), network, folder, kind)
    if kind == "bert":  # the host's own conversion gives the same
        change(folder / "config.json", architectures=["BertForMaskedLM"])
        converted = transformers.BertModel.from_pretrained(str(folder), convert_from_torch=True)
        found = load_encoder(str(folder))
        for name, value in converted.state_dict().items():
            np.testing.assert_array_equal(found.weights[name], value.numpy(), err_msg=name)


# Of bge-small-zh-v1.5, but for the sizes: what stands in its files beside those of any BERT.
BGE_CONFIG: dict[str, Any] = {
    "architectures": ["BertModel"],
    "classifier_dropout": None,
    "id2label": {"0": "LABEL_0"},
    "label2id": {"LABEL_0": 0},
    "position_embedding_type": "absolute",
    "torch_dtype": "float32",
    "transformers_version": "4.30.0",
    "use_cache": True,
}
BGE_TOKENIZER: dict[str, Any] = {
    "clean_up_tokenization_spaces": True,
    "do_basic_tokenize": True,
    "do_lower_case": True,
    "model_max_length": 1000000000000000019884624838656,
    "never_split": None,
    "strip_accents": None,
    "tokenize_chinese_chars": True,
    "tokenizer_class": "BertTokenizer",
}


def as_bge(folder: Path, network: Any, **pooling: bool) -> Path:
    """Turn a folder into one of sentence-transformers with PyTorch's weights."""
    (folder / "model_state.pdparams").unlink()
    save_file(as_torch(network, ""), folder / "model.safetensors")
    change(folder / "config.json", **BGE_CONFIG)
    change(folder / "tokenizer_config.json", **BGE_TOKENIZER)
    modules = [{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    (folder / "1_Pooling").mkdir()
    modes = {f"pooling_mode_{name}": stated for name, stated in pooling.items()}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 16, **modes}), encoding="utf-8")
    return folder


@pytest.mark.parametrize(("mode", "pooling"), [("cls_token", "first"), ("mean_tokens", "mean")])
def test_a_folder_of_sentence_transformers_pools_as_it_says(
    copied: Path, bert: tuple[Path, Any], mode: str, pooling: str
) -> None:
    modes = {"cls_token": False, "mean_tokens": False, "max_tokens": False, mode: True}
    found = load_encoder(str(as_bge(copied, bert[1], **modes)))
    assert found.pooling == pooling
    agree(found, bert[1], bert[0], "bert")
    tokens = theirs(bert[1], bert[0], "bert")[0]
    lengths = [len(found.tokenizer.encode(text)) for text in TEXTS]
    means = np.stack([row[:length].mean(axis=0) for row, length in zip(tokens, lengths, strict=True)])
    ids = paddle.to_tensor(pad([found.tokenizer.encode(text) for text in TEXTS]))
    features = classifier(found, pooling).features(ids).numpy()
    np.testing.assert_allclose(features, tokens[:, 0] if pooling == "first" else means, atol=2e-6)


def test_a_pooling_that_we_do_not_have_is_refused(copied: Path, bert: tuple[Path, Any]) -> None:
    as_bge(copied, bert[1], cls_token=True, max_tokens=True)
    with pytest.raises(BundleError, match=r"1_Pooling.config\.json pools by cls_token, max_tokens; expected cls_token or mean"):
        load_encoder(str(copied))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_precisions_become_float32(copied: Path, bert: tuple[Path, Any], dtype: str) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_tensors

    turned = as_torch(bert[1], "").items()
    weights = {name: torch.from_numpy(value.copy()).to(getattr(torch, dtype)) for name, value in turned}
    (copied / "model_state.pdparams").unlink()
    torch.save(weights, copied / "pytorch_model.bin")
    pickled = load_encoder(str(copied)).weights
    save_tensors(weights, copied / "model.safetensors")
    for name, value in load_encoder(str(copied)).weights.items():
        assert value.dtype == np.float32
        np.testing.assert_array_equal(value, pickled[name])
        np.testing.assert_allclose(value, bert[1].state_dict()[name].numpy(), atol=0.01)


def test_old_names_of_norms_are_known() -> None:
    found = convert_weights({"bert.encoder.layer.0.output.LayerNorm.gamma": np.ones(3)}, FAMILIES[0])
    assert list(found) == ["encoder.layers.0.norm2.weight"]


def test_a_pickle_of_pytorch_that_would_do_something_is_refused(copied: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    (copied / "model_state.pdparams").unlink()
    torch.save({"weight": Bomb(tmp_path / "touched")}, copied / "pytorch_model.bin")
    with pytest.raises(BundleError, match="only tensors are read; save the model as safetensors"):
        load_encoder(str(copied))
    assert not (tmp_path / "touched").exists()


def test_a_table_may_be_a_little_longer_than_the_vocabulary(copied: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokens = [*TOKENS, *(f"x{number}" for number in range(170))]
    (copied / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    rows = len(tokens) + 2
    weights = {name: value.numpy() for name, value in paddle.load(str(copied / "model_state.pdparams")).items()}
    weights["bert.embeddings.word_embeddings.weight"] = np.ones((rows, 16), np.float32)
    save_file(weights, copied / "model.safetensors")
    change(copied / "config.json", vocab_size=rows)
    found = load_encoder(str(copied))
    assert len(found.tokenizer.vocabulary) == rows
    assert f"has {len(tokens)} tokens for {rows} rows; the last 2 rows stay unused" in caplog.text


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "rows"), [("ernie-1.0", 18000), ("ernie-3.0-base-zh", 40000), ("bert-base-chinese", 21128)])
def test_real_vocabularies_give_the_ids_of_the_host(shared_data: Path, tmp_path: Path, name: str, rows: int) -> None:
    kind = "Bert" if name.startswith("bert") else "Ernie"
    shutil.copy(shared_data / "vocab" / f"{name}.vocab.txt", tmp_path / "vocab.txt")
    getattr(transformers, f"{kind}Tokenizer")(str(tmp_path / "vocab.txt")).save_pretrained(str(tmp_path))
    config = {**SETTINGS, "num_hidden_layers": 1, "vocab_size": rows, "architectures": [f"{kind}Model"]}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    model = getattr(transformers, f"{kind}Model")
    state = model(model.config_class.from_dict(config)).state_dict()
    save_file({key: value.numpy() for key, value in state.items()}, tmp_path / "model.safetensors")
    found = load_encoder(str(tmp_path))  # compares the ids of CHECKED_TEXTS
    assert all(rows > max(found.tokenizer.encode(text), default=0) for text in COMPARISON_TEXTS)
    assert len(found.tokenizer.vocabulary) == rows


@pytest.mark.parametrize("kind", ["sentencepiece", "char"])
def test_other_tokenizers_of_ours_are_saved_too(bert: tuple[Path, Any], tmp_path: Path, kind: str) -> None:
    found = load_encoder(str(bert[0]))
    if kind == "char":
        tokenizer: Any = CharTokenizer(Vocabulary([PAD, UNK, *dict.fromkeys(LETTERS)]))
    else:
        vocabulary = SentencePieceTokenizer.vocabulary_of(pieces_model(), markers=True)
        tokenizer = SentencePieceTokenizer(vocabulary, pieces_model(), markers=True)
    rows = len(tokenizer.vocabulary)
    weights = {**found.weights, "embeddings.word_embeddings.weight": np.ones((rows, 16), np.float32)}
    settings = {**found.settings, "vocab_size": rows}
    whole = Pretrained(
        architecture="BertModel", settings=settings, weights=weights, tokenizer=tokenizer, source="a test", pooling="mean"
    )
    save_encoder(whole, tmp_path / "saved")
    assert json.loads((tmp_path / "saved" / "tokenizer_config.json").read_text())["tokenizer_class"] == "EmbtuneTokenizer"
    again = load_encoder(str(tmp_path / "saved"))
    assert again.pooling == "mean"
    assert again.tokenizer.config() == tokenizer.config()
    assert [again.tokenizer.encode(text) for text in TEXTS] == [tokenizer.encode(text) for text in TEXTS]
    assert transformers.BertModel.from_pretrained(str(tmp_path / "saved")).config.vocab_size == rows


def test_saving_that_fails_leaves_what_was_there(
    bert: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load_encoder(str(bert[0]))
    save_encoder(found, tmp_path / "saved")
    before = (tmp_path / "saved" / "model.safetensors").read_bytes()
    monkeypatch.setattr("paddlenlp_embtune.encoders.saving._tokenizer_config", lambda _: {"unwritable": object()})
    with pytest.raises(TypeError):
        save_encoder(found, tmp_path / "saved")
    assert (tmp_path / "saved" / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["saved"]


def rewrite(folder: Path, alter: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    weights = {name: value.numpy() for name, value in paddle.load(str(folder / "model_state.pdparams")).items()}
    save_file(alter(weights), folder / "model.safetensors")


def cut(folder: Path) -> None:
    rewrite(folder, dict)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


LAYER = "bert.encoder.layers.1.linear1.weight"
BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda at: (at / "config.json").unlink(), "it lacks config.json"),
    "damaged config": (lambda at: (at / "config.json").write_text("{"), r"config\.json is not valid JSON"),
    "T5": (
        lambda at: change(at / "config.json", architectures=["T5Model"]),
        r"architectures \['T5Model'\].*expected BertModel, ErnieModel, .*embtune_register_encoders returns a Pretrained",
    ),
    "nothing named": (
        lambda at: change(at / "config.json", architectures=None, model_type="gpt"),
        "model_type 'gpt', which is not a supported family",
    ),
    "no positions": (
        lambda at: change(at / "config.json", max_position_embeddings=None),
        "max_position_embeddings of .* must be 1 or more, got None",
    ),
    "heads that do not divide": (
        lambda at: change(at / "config.json", num_attention_heads=3),
        "PaddleNLP cannot build Bert",
    ),
    "relative positions": (
        lambda at: change(at / "config.json", position_embedding_type="relative_key"),
        "position_embedding_type .* must be absolute, .* got 'relative_key'",
    ),
    "no weights": (
        lambda at: (at / "model_state.pdparams").unlink(),
        "lacks model.safetensors, model_state.pdparams and pytorch",
    ),
    "parts": (
        lambda at: (at / "model_state.pdparams").rename(at / "model.safetensors.index.json"),
        "got several, listed in model.safetensors.index.json",
    ),
    "cut weights": (cut, "cannot be read: .*cut off or damaged"),
    "ModernBERT": (
        lambda at: change(at / "config.json", architectures=["ModernBertForMaskedLM"], model_type="modernbert"),
        "model_type 'modernbert', which is not a supported family; expected BertModel, ErnieModel, .*can be declared",
    ),
    "another family": (
        lambda at: rewrite(at, lambda all_: {name.replace("bert.", "ernie."): value for name, value in all_.items()}),
        "has no weight of BertModel: it has names such as .*ernie.embeddings",
    ),
    "one missing": (
        lambda at: rewrite(at, lambda all_: {name: value for name, value in all_.items() if name != LAYER}),
        "lacks 'encoder.layers.1.linear1.weight' and 0 more of the 39 weights",
    ),
    "half a pooler": (
        lambda at: rewrite(at, lambda all_: {name: value for name, value in all_.items() if "pooler.dense.b" not in name}),
        "lacks 'pooler.dense.bias'",
    ),
    "another shape": (
        lambda at: rewrite(at, lambda all_: {**all_, LAYER: np.zeros((16, 32), np.float32)}),
        r"has the shape \(16, 32\), but config.json requires \(16, 64\)",
    ),
    "another vocabulary": (
        lambda at: (at / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n"),
        f"has 4 tokens, but config.json says {len(TOKENS)}",
    ),
    "no vocabulary": (lambda at: (at / "vocab.txt").unlink(), "cannot read the vocabulary of"),
    "another tokenizer": (
        lambda at: change(at / "tokenizer_config.json", tokenizer_class="XLMRobertaTokenizer"),
        "has the tokenizer 'XLMRobertaTokenizer', which is not supported; expected BertTokenizer",
    ),
    "another padding": (lambda at: change(at / "config.json", pad_token_id=3), "has id 3 in config.json but 0 in vocab.txt"),
    "options of the tokenizer": (
        lambda at: change(at / "tokenizer_config.json", never_split=["利好"]),
        r"never_split in .*tokenizer_config\.json must be null or \[\], got \['利好'\]",
    ),
    "a bundle": (lambda at: (at / "bundle.json").write_text("{}"), "is a bundle, .*model.start"),
}


@pytest.mark.parametrize("what", list(BREAKS))
def test_a_folder_that_is_no_encoder_is_refused(copied: Path, what: str) -> None:
    spoil, message = BREAKS[what]
    spoil(copied)
    with pytest.raises(BundleError, match=message):
        load_encoder(str(copied))


def test_settings_may_name_no_class_and_no_tokenizer(copied: Path, bert: tuple[Path, Any]) -> None:
    change(copied / "config.json", architectures=None, model_type="bert")
    (copied / "tokenizer_config.json").unlink()
    agree(load_encoder(str(copied)), bert[1], bert[0], "bert")


def test_files_and_folders_that_are_not_there_are_refused(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is a file; expected the folder"):
        load_encoder(str(copied / "config.json"))
    for source in (str(tmp_path / "nothing"), "./nothing", "tests/nothing", "a/b/c", "x/"):
        with pytest.raises(BundleError, match=r"is not a folder on this machine; expected .*a registered encoder \(e5-small\)"):
            load_encoder(source, known=["e5-small"])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of PaddleNLP's, and no network."""
    folder = tmp_path / "cache"
    folder.mkdir()
    monkeypatch.setattr("paddlenlp.utils.env.MODEL_HOME", str(folder))
    monkeypatch.delenv(_hub.FETCH_SECONDS, raising=False)

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("there is no network")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return folder


@pytest.mark.parametrize("name", ["ernie-3.0-medium-zh", "hfl/roberta-wwm-ext", "ernie-3.0-mediun-zh", "somebody/some-bert"])
def test_a_name_that_cannot_be_fetched_says_what_there_is(cache: Path, name: str) -> None:
    (cache / "bert-wwm-chinese").mkdir()
    (cache / "bert-wwm-chinese" / "model_state.pdparams").touch()
    with pytest.raises(HostError) as caught:
        load_encoder(name, known=["e5-small"])
    message = str(caught.value)
    assert f"the encoder {name!r} is not on this machine and cannot be downloaded: https://" in message
    assert "there is no network" in message
    assert "a registered encoder (expected e5-small)" in message
    assert f"{cache} (bert-wwm-chinese)" in message
    assert ("the closest PaddleNLP name is 'ernie-3.0-medium-zh'" in message) == (name == "ernie-3.0-mediun-zh")


def test_a_host_that_never_answers_is_given_up(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: time.sleep(5))
    started = time.monotonic()
    with pytest.raises(HostError, match=r"did not answer within 0.2 seconds"):
        load_encoder("ernie-1.0", limit_seconds=0.2)
    monkeypatch.setenv(_hub.FETCH_SECONDS, "0.3")
    with pytest.raises(HostError, match=r"did not answer within 0.3 seconds"):
        load_encoder("ernie-1.0")
    assert time.monotonic() - started < 3
    for stated, message in (("0", "EMBTUNE_FETCH_SECONDS is 0"), ("soon", "must be a number of seconds .*, got 'soon'")):
        monkeypatch.setenv(_hub.FETCH_SECONDS, stated)
        with pytest.raises(HostError, match=message):
            load_encoder("ernie-1.0")


def test_a_download_that_stops_is_ended(tmp_path: Path) -> None:
    stalls = "import sys, time; print('ready', flush=True); open(sys.argv[1], 'w').write('x' * 9); time.sleep(60)"
    started = time.monotonic()
    command = [sys.executable, "-c", stalls, str(tmp_path / "part")]
    assert _hub._watch(command, [tmp_path], limit=0.6) == "the download made no progress for 0.6 seconds"
    assert time.monotonic() - started < 20
    fails = [sys.executable, "-c", "raise SystemExit('no such model')"]
    assert _hub._watch(fails, [tmp_path], limit=5) == "no such model"
    assert _hub._watch([sys.executable, "-c", ""], [tmp_path], limit=5) == ""


def test_what_is_in_the_cache_needs_no_network(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = make("ernie-3.0", cache / "somebody" / "tiny")
    found = load_encoder("somebody/tiny")
    assert found.source == "somebody/tiny"
    agree(found, network, cache / "somebody" / "tiny", "ernie-3.0")
    settings = json.loads((cache / "somebody" / "tiny" / "config.json").read_text(encoding="utf-8"))
    monkeypatch.setitem(transformers.ErnieModel.pretrained_init_configuration, "ernie-1.0", settings)
    (cache / "somebody" / "tiny").rename(cache / "ernie-1.0")
    (cache / "ernie-1.0" / "config.json").unlink()
    vocabulary = transformers.ErnieTokenizer.pretrained_resource_files_map["vocab_file"]["ernie-1.0"].rsplit("/", 1)[-1]
    (cache / "ernie-1.0" / "vocab.txt").rename(cache / "ernie-1.0" / vocabulary)
    listed = load_encoder("ernie-1.0")
    assert listed.settings == found.settings
    for name, value in found.weights.items():
        np.testing.assert_array_equal(listed.weights[name], value)


def test_names_of_other_families_are_refused_before_anything_is_fetched() -> None:
    with pytest.raises(
        BundleError,
        match=r"is a GPTModel of PaddleNLP, which is not supported; expected BertModel, .*embtune_register_encoders",
    ):
        load_encoder("gpt-cpm-large-cn")


def test_another_architecture_can_be_declared(tmp_path: Path) -> None:
    """What the hook ``embtune_register_encoders`` returns may be of any class by convention, and can be saved and read."""
    kind = transformers.TinyBertModel
    settings = {**SETTINGS, "vocab_size": len(TOKENS), "pad_token_id": 0}
    network = kind(kind.config_class.from_dict(settings))
    declared = Pretrained(
        architecture="TinyBertModel",
        settings=settings,
        weights={name: value.numpy() for name, value in network.state_dict().items()},
        tokenizer=CharTokenizer(Vocabulary(TOKENS)),
        source="a plugin",
        pooling="first",
    )
    save_encoder(declared, tmp_path / "saved")
    again = load_encoder(str(tmp_path / "saved"))
    assert (again.architecture, again.settings, again.pooling) == ("TinyBertModel", settings, "first")
    model = classifier(again, "first")
    network.eval()
    ids = paddle.to_tensor(pad([again.tokenizer.encode(text) for text in TEXTS]))
    expected = network(ids, attention_mask=(ids != 0).astype("float32"))[0][:, 0]
    np.testing.assert_allclose(model.features(ids).numpy(), expected.numpy(), atol=1e-6)


def test_the_tokenizer_of_ernie_m_is_rebuilt_with_padding_first(tmp_path: Path) -> None:
    make("ernie-m", tmp_path / "folder")
    found = load_encoder(str(tmp_path / "folder"))
    assert isinstance(found.tokenizer, ErnieMTokenizer)
    assert found.tokenizer.vocabulary.tokens[:2] == (PAD, "[CLS]")
    stored = paddle.load(str(tmp_path / "folder" / "model_state.pdparams"))["ernie_m.embeddings.word_embeddings.weight"].numpy()
    np.testing.assert_array_equal(found.weights["embeddings.word_embeddings.weight"][[1, 0]], stored[:2])


FETCH = """
import sys
import threading
from paddlenlp_embtune.encoders.loading import load_encoder
found = load_encoder("somebody/tiny", limit_seconds=10)
print(found.architecture, len(found.weights), found.source)
try:
    load_encoder("somebody/other", limit_seconds=10)
except Exception as error:
    print(error)
"""


@pytest.mark.slow
def test_a_name_is_fetched_into_the_cache(bert: tuple[Path, Any], tmp_path: Path) -> None:
    community = tmp_path / "site" / "models" / "community" / "somebody"
    community.mkdir(parents=True)
    shutil.copytree(bert[0], community / "tiny")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        environment = {
            "PPNLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "PPNLP_HOME": str(tmp_path / "home"),
            "NO_PROXY": "127.0.0.1",
        }
        (tmp_path / "home").mkdir()
        done = python("-c", FETCH, cwd=tmp_path, env=environment)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "BertModel 39 somebody/tiny" in lines
    assert "config.json returned 404: there is no such model" in lines[-1]
    assert (tmp_path / "home" / "models" / "somebody" / "tiny" / "model_state.pdparams").is_file()
