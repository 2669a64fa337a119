"""Classifiers that were fine-tuned with PaddleNLP alone become bundles, and nothing in their folders is executed."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest
from paddlenlp.transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertTokenizer,
    ErnieConfig,
    ErnieForSequenceClassification,
    ErnieTokenizer,
    RobertaChineseTokenizer,
    RobertaConfig,
    RobertaForSequenceClassification,
)
from safetensors.numpy import save_file

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.export.from_checkpoint import bundle_checkpoint
from paddlenlp_embtune.inference import Predictor
from tests.pickles import Bomb

LABELS = ("利空", "中性", "利好")
TEXTS = ("公司拟回购股份", "控股股东减持2.5%的stocks", "", "今天 开会。" * 9, "unknownwords 😀")
TOKENS = [
    "[PAD]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "[UNK]",
    *"公司拟回购股份控东减持的今天开会。，.%25",
    "stock",
    "##s",
    "##o",
    "u",
    "##n",
]
KINDS: dict[str, tuple[Any, Any, Any]] = {
    "ernie": (ErnieConfig, ErnieForSequenceClassification, ErnieTokenizer),
    "bert": (BertConfig, BertForSequenceClassification, BertTokenizer),
    "roberta": (RobertaConfig, RobertaForSequenceClassification, RobertaChineseTokenizer),
}


def save(kind: str, folder: Path, *, name_labels: bool = True) -> None:
    config_class, model_class, tokenizer_class = KINDS[kind]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(TOKENS)) + "\n", encoding="utf-8")
    tokenizer = tokenizer_class(str(folder / "vocab.txt"))
    paddle.seed(3)
    config = config_class(
        vocab_size=len(set(TOKENS)),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=48,
        num_labels=3,
        **({"id2label": dict(enumerate(LABELS))} if name_labels else {}),
    )
    model = model_class(config)
    for parameter in model.parameters():  # larger than at the start, so that answers differ
        parameter.set_value(parameter + paddle.randn(parameter.shape) * 0.2)
    model.save_pretrained(str(folder))
    tokenizer.save_pretrained(str(folder))


@pytest.fixture(scope="module", params=list(KINDS))
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param) / "checkpoint"
    save(request.param, folder)
    return folder


@pytest.fixture(scope="module")
def bundle(checkpoint: Path) -> Bundle:
    engines = ("onnxruntime", "paddle_inference")
    return bundle_checkpoint(checkpoint, checkpoint.with_name("bundle"), max_length=40, engines=engines)


@pytest.fixture
def damaged(checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(checkpoint, tmp_path / "checkpoint"))


def host_classes(checkpoint: Path) -> tuple[Any, Any, Any]:
    return KINDS[checkpoint.parent.name.rstrip("0123456789")]


def host_answers(checkpoint: Path, texts: tuple[str, ...]) -> np.ndarray:
    _, model_class, tokenizer_class = host_classes(checkpoint)
    model, tokenizer = model_class.from_pretrained(str(checkpoint)), tokenizer_class.from_pretrained(str(checkpoint))
    model.eval()
    answers = []
    for text in texts:
        encoded = tokenizer(text, max_length=40, truncation=True)
        inputs = {name: paddle.to_tensor([encoded[name]]) for name in ("input_ids", "token_type_ids")}
        with paddle.no_grad():
            answers.append(paddle.nn.functional.softmax(model(**inputs), axis=-1).numpy()[0])
    return np.stack(answers)


def test_every_engine_answers_as_the_host_does(checkpoint: Path, bundle: Bundle) -> None:
    visible = tuple(text for text in TEXTS if text)
    expected = host_answers(checkpoint, visible)
    for engine in ("onnxruntime", "paddle_inference", "paddle"):
        found = Predictor(bundle, engine=engine).probabilities(visible)
        np.testing.assert_allclose(found, expected, atol=1e-5, err_msg=engine)
    assert bundle.manifest.labels == LABELS
    assert Predictor(bundle).predict([""])[0]["label"] is None


def test_the_program_holds_every_weight_once(checkpoint: Path, bundle: Bundle) -> None:
    weights = (bundle.path / "weights.safetensors").stat().st_size
    assert (bundle.path / "onnx" / "model.onnx").stat().st_size < weights + 60_000


def test_long_texts_are_read_in_windows_and_explained(bundle: Bundle) -> None:
    text = "今天开会，公司拟回购股份。" * 12
    predictor = Predictor(bundle, windows={"overlap_tokens": 8})
    (answer,) = predictor.predict([text])
    window = answer["window"]
    assert window["windows"] > 2
    (explanation,) = predictor.explain([text])
    assert all(window["start"] <= start < end <= window["end"] for start, end in explanation.offsets)
    assert len(explanation.tokens) == len(explanation.attribution.contributions)


def test_integrated_gradients_add_up_beside_the_tokens_that_frame_a_text(bundle: Bundle) -> None:
    (explanation,) = Predictor(bundle, engine="paddle").explain(["公司拟回购股份"])
    assert explanation.attribution.method == "integrated_gradients"
    assert len(explanation.attribution.contributions) == 7
    assert abs(explanation.attribution.residual) < 1e-2


def test_weights_in_safetensors_are_the_same(checkpoint: Path, damaged: Path, bundle: Bundle, tmp_path: Path) -> None:
    model = host_classes(checkpoint)[1].from_pretrained(str(damaged))
    save_file({name: value.numpy() for name, value in model.state_dict().items()}, damaged / "model.safetensors")
    (damaged / "model_state.pdparams").unlink()
    again = bundle_checkpoint(damaged, tmp_path / "again", max_length=40)
    np.testing.assert_array_equal(Predictor(again).probabilities(TEXTS), Predictor(bundle).probabilities(TEXTS))


def test_a_pickle_that_would_do_something_is_refused(damaged: Path, tmp_path: Path) -> None:
    with (damaged / "model_state.pdparams").open("wb") as file:
        pickle.dump({"weight": Bomb(tmp_path / "touched")}, file)
    with pytest.raises(BundleError, match="only arrays are read"):
        bundle_checkpoint(damaged, tmp_path / "bundle", max_length=40)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


def change(file: Path, **values: Any) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text(encoding="utf-8")), **values}), encoding="utf-8")


BREAKS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no config": (lambda folder: (folder / "config.json").unlink(), r"is not a PaddleNLP checkpoint: it lacks config\.json"),
    "no weights": (
        lambda folder: (folder / "model_state.pdparams").unlink(),
        r"lacks model.safetensors, model_state.pdparams and pytorch_model\.bin",
    ),
    "no vocabulary": (lambda folder: (folder / "vocab.txt").unlink(), "the vocabulary of .* cannot be read"),
    "not JSON": (lambda folder: (folder / "config.json").write_text("{", encoding="utf-8"), "is not valid JSON"),
    "a list": (lambda folder: (folder / "config.json").write_text("[]", encoding="utf-8"), "must contain a JSON object"),
    "two architectures": (
        lambda folder: change(folder / "config.json", architectures=["A", "B"]),
        "not of one sequence classifier",
    ),
    "another tokenizer": (
        lambda folder: change(folder / "tokenizer_config.json", tokenizer_class="GPTTokenizer"),
        "has the tokenizer 'GPTTokenizer'; expected BertTokenizer, ErnieTokenizer",
    ),
    "another vocabulary": (
        lambda folder: (folder / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n", encoding="utf-8"),
        "has 4 tokens, but config.json says",
    ),
    "cut weights": (
        lambda folder: (folder / "model_state.pdparams").write_bytes((folder / "model_state.pdparams").read_bytes()[:500]),
        "cannot be read as arrays",
    ),
    "another width": (lambda folder: change(folder / "config.json", hidden_size=32), "ForSequenceClassification needs"),
    "more layers": (
        lambda folder: change(folder / "config.json", num_hidden_layers=3),
        "is missing; .*ForSequenceClassification needs",
    ),
}


@pytest.mark.parametrize("what", list(BREAKS))
def test_a_folder_that_is_not_whole_is_refused(damaged: Path, tmp_path: Path, what: str) -> None:
    spoil, message = BREAKS[what]
    spoil(damaged)
    with pytest.raises(BundleError, match=message):
        bundle_checkpoint(damaged, tmp_path / "bundle", max_length=40)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


def test_labels_and_length_must_fit(damaged: Path, tmp_path: Path) -> None:
    most = 47 if "Roberta" in (damaged / "config.json").read_text(encoding="utf-8") else 48  # one position is of padding
    with pytest.raises(DataError, match="needs as many distinct labels, got a, b"):
        bundle_checkpoint(damaged, tmp_path / "bundle", labels=("a", "b"))
    for length in (2, most + 1):
        with pytest.raises(DataError, match=f"max_length is {length}; expected 3 to {most}"):
            bundle_checkpoint(damaged, tmp_path / "bundle", max_length=length)
    made = bundle_checkpoint(damaged, tmp_path / "bundle", max_length=most)
    assert np.isfinite(Predictor(made).probabilities(["公司" * most])).all()


def test_labels_that_nobody_named_are_asked_for(tmp_path: Path) -> None:
    save("ernie", tmp_path / "checkpoint", name_labels=False)
    with pytest.raises(DataError, match="does not name its 3 labels; pass them in output order, for example --labels a,b"):
        bundle_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", max_length=40)
    made = bundle_checkpoint(tmp_path / "checkpoint", tmp_path / "bundle", max_length=40, labels=LABELS, ordered=True)
    assert made.manifest.labels == LABELS
    assert "level" in Predictor(made).predict(["公司"], scores=True)[0]


def test_the_command_line_adopts(checkpoint: Path, tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    code, out, err = run("adopt", checkpoint, "--out", tmp_path / "bundle", "--max-length", "40")
    assert (code, out) == (0, f"{tmp_path / 'bundle'}\n")
    assert "parity: onnxruntime differs by at most" in err
    code, out, err = run("adopt", tmp_path / "nothing", "--out", tmp_path / "other")
    assert (code, out) == (1, "")
    assert "it lacks config.json" in err
