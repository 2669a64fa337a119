"""What a checkpoint's settings say is done, with PaddleNLP's own ids and answers as the measure, or it is refused by name."""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import paddlenlp.transformers as transformers
import pytest
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from paddlenlp_embtune.bundle.tokenizer_spec import tokenizer_steps
from paddlenlp_embtune.encoders import load_encoder, save_encoder
from paddlenlp_embtune.encoders._model_settings import MODEL_SETTINGS
from paddlenlp_embtune.encoders._tokenizer_settings import SPECIAL_TOKENS, TOKENIZER
from paddlenlp_embtune.encoders.reference_tokenizer import CORE_TOKENS
from paddlenlp_embtune.encoders.tokenizers import check_tokenizer
from paddlenlp_embtune.errors import BundleError, DataError, ParityError
from paddlenlp_embtune.export._origin_parity import verify_origin
from paddlenlp_embtune.export.from_checkpoint import bundle_checkpoint, read_checkpoint
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.text import Vocabulary, WordPieceTokenizer, tokenizer_from_config

LABELS = ("利空", "中性", "利好")
LETTERS = "abcdefnumxyz0123456789éàñ"
TOKENS = [
    *CORE_TOKENS,
    *(form for letter in LETTERS for form in (letter, f"##{letter}")),
    *"公司拟回购股份控东减持的今天开会净利润增长立案调查涨停跌，。！%[](){}#@$￥×～→",
    *("##股", "##票", "##份", "股票", "num", "##um", "NUM", "A", "##B", "à", "##à"),
]
TEXTS = (
    "净利润增长[NUM]",
    "[num] [NUM][NUM]x[NUM]y 公司 [NUM] 股票",
    "被立案调查了，立案调查 立案 调查",
    "ABC abc AbC abcabc xABCx",
    "à股票 é E\u0301 ÀÉÑ n\u0303 naïve",
    "股票涨停ab股份",
    "[CLS]公司[SEP]股票[MASK] [UNK] [sep]",
    "net-a_b@c, d.e(f)",
    "\t a \n b\u3000c\u00a0d\u200be ",
    "x" * 100 + " " + "x" * 101,
    "×a×b～c→",
    "",
    "  ",
    "ΑΣ İ ıI",
)


def change(file: Path, **values: Any) -> None:
    stored = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    file.write_text(json.dumps({**stored, **values}, ensure_ascii=False), encoding="utf-8")


def save(folder: Path, *, family: str = "Bert", tokenizer: str | None = None, added: tuple[str, ...] = ()) -> Path:
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(dict.fromkeys(TOKENS)) + "\n", encoding="utf-8")
    paddle.seed(5)
    kind = getattr(transformers, f"{family}ForSequenceClassification")
    config = kind.config_class(
        vocab_size=len(set(TOKENS)) + len(added),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        pad_token_id=0,
        id2label=dict(enumerate(LABELS)),
        label2id={label: number for number, label in enumerate(LABELS)},
    )
    model = kind(config)
    for parameter in model.parameters():
        parameter.set_value(parameter + paddle.randn(parameter.shape) * 0.3)
    model.save_pretrained(str(folder))
    getattr(transformers, tokenizer or f"{family}Tokenizer")(str(folder / "vocab.txt")).save_pretrained(str(folder))
    return folder


def with_special(folder: Path, *tokens: str) -> None:
    """As save_pretrained leaves it after add_special_tokens."""
    first = len(set(TOKENS))
    decoder = {str(first + at): {"content": token, "special": True} for at, token in enumerate(tokens)}
    change(folder / "tokenizer_config.json", added_tokens_decoder=decoder)
    change(folder / "special_tokens_map.json", additional_special_tokens=list(tokens))
    change(folder / "added_tokens.json", **{token: first + at for at, token in enumerate(tokens)})


def with_plain(folder: Path, *tokens: str) -> None:
    """As older releases leave it after add_tokens: the ids in added_tokens.json alone."""
    stored = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    stored.pop("added_tokens_decoder", None)
    (folder / "tokenizer_config.json").write_text(json.dumps(stored), encoding="utf-8")
    first = len(set(TOKENS))
    change(folder / "added_tokens.json", **{token: first + at for at, token in enumerate(tokens)})


def options(**values: Any) -> Callable[[Path], None]:
    return lambda folder: change(folder / "tokenizer_config.json", **values)


def flagged(folder: Path) -> None:
    with_special(folder, "[NUM]")
    flags = {"content": "[NUM]", "lstrip": True, "rstrip": True, "single_word": True, "normalized": False}
    change(folder / "special_tokens_map.json", additional_special_tokens=[flags])


UNDERSTOOD: dict[str, tuple[str, Callable[[Path], None], int]] = {
    "nothing special": ("Bert", lambda folder: None, 0),
    "additional_special_tokens": ("Bert", lambda folder: with_special(folder, "[NUM]", "立案调查", "A[B", "[NUM]x"), 4),
    "added_tokens_decoder": ("Bert", lambda folder: with_special(folder, "abc", "ABC", "ab"), 3),
    "flags of special tokens": ("Bert", flagged, 1),
    "added_tokens.json": ("Bert", lambda folder: with_plain(folder, "[num]", "立案调查", "abc"), 3),
    "special tokens of ERNIE": ("Ernie", lambda folder: with_special(folder, "[NUM]", "ABC", "立案"), 3),
    "added tokens of ERNIE": ("Ernie", lambda folder: with_plain(folder, "[NUM]", "ABC"), 2),
    "special tokens of RoBERTa": ("Roberta", lambda folder: with_special(folder, "[NUM]", "ABC"), 2),
    "mask_token": ("Bert", lambda folder: change(folder / "special_tokens_map.json", mask_token="[num]"), 1),
    "bos_token": ("Bert", lambda folder: change(folder / "special_tokens_map.json", bos_token="NUM"), 0),
    "eos_token": ("Bert", lambda folder: change(folder / "special_tokens_map.json", eos_token="股票"), 0),
    "do_lower_case": ("Bert", options(do_lower_case=False), 0),
    "do_lower_case of ERNIE": ("Ernie", options(do_lower_case=False), 0),
    "strip_accents": ("Bert", options(strip_accents=False), 0),
    "strip_accents alone": ("Bert", options(do_lower_case=False, strip_accents=True), 0),
    "strip_accents of RoBERTa": ("Roberta", options(strip_accents=False), 0),
    "tokenize_chinese_chars": ("Bert", options(tokenize_chinese_chars=False), 0),
    "do_basic_tokenize": ("Bert", options(do_basic_tokenize=False), 0),
    "do_basic_tokenize with case": ("Bert", options(do_basic_tokenize=False, do_lower_case=False), 0),
    "all at once": (
        "Roberta",
        lambda folder: (
            with_special(folder, "[NUM]"),
            options(strip_accents=False, tokenize_chinese_chars=False)(folder),
        ),  # type: ignore[return-value]
        1,
    ),
}


@pytest.fixture(params=list(UNDERSTOOD))
def understood(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, Any]]:
    family, spoil, added = UNDERSTOOD[request.param]
    names = {"Roberta": "RobertaChineseTokenizer"}
    kind = getattr(transformers, names.get(family, f"{family}Tokenizer"))
    attributes = list(kind.SPECIAL_TOKENS_ATTRIBUTES)
    folder = save(tmp_path / "checkpoint", family=family, tokenizer=names.get(family), added=("",) * added)
    spoil(folder)
    yield folder, kind.from_pretrained(str(folder))
    assert attributes == kind.SPECIAL_TOKENS_ATTRIBUTES


def random_texts(number: int = 300) -> Iterator[str]:
    generator = random.Random(3)
    parts = [
        "[NUM]",
        "[num]",
        "立案调查",
        "立案",
        "ABC",
        "abc",
        "ab",
        " ",
        "股票",
        "à",
        "x",
        "[",
        "NUM",
        "[SEP]",
        "，",
        "É",
        "1",
    ]
    for _ in range(number):
        yield "".join(generator.choice(parts) for _ in range(generator.randrange(1, 9)))


def test_the_ids_are_those_of_the_origin(understood: tuple[Path, Any]) -> None:
    folder, theirs = understood
    found = read_checkpoint(folder)
    assert check_tokenizer(found.tokenizer, found.files, found.origin, padding=0) > 20
    rebuilt = tokenizer_from_config(found.tokenizer.config(), found.tokenizer.vocabulary)
    for text in (*TEXTS, *random_texts()):
        expected = theirs(text)["input_ids"]
        assert (found.tokenizer.encode(text) or expected[:1] + expected[-1:]) == expected, text
        assert rebuilt.encode(text) == found.tokenizer.encode(text)
        own = found.tokenizer.encode(text)[1:-1]
        assert len(found.tokenizer.offsets(text)) == len(found.tokenizer.tokens(text)) == len(own)
        for length in (3, 5, 9):
            cut = theirs(text, max_length=length, truncation=True)["input_ids"]
            assert (found.tokenizer.encode(text, max_length=length) or cut[:1] + cut[-1:]) == cut


def test_each_setting_that_is_understood_has_its_test() -> None:
    elsewhere = {"tokenizer_class", "init_class", "model_max_length", "max_len"}
    assert set(TOKENIZER.understood) - elsewhere <= set(UNDERSTOOD)
    assert not set(TOKENIZER.understood) & TOKENIZER.harmless
    assert not set(MODEL_SETTINGS.understood) & MODEL_SETTINGS.harmless


def test_tokens_that_are_found_whole_have_their_places(tmp_path: Path) -> None:
    folder = save(tmp_path / "checkpoint", added=("",))
    with_special(folder, "[NUM]")
    tokenizer = read_checkpoint(folder).tokenizer
    text = "公司 [NUM] 股é[NUM]"
    assert [text[begin:end] for begin, end in tokenizer.offsets(text)] == ["公", "司", "[NUM]", "股", "é", "[NUM]"]
    assert tokenizer.offsets(text, limit=3) == tokenizer.offsets(text)[:3]
    (_, step, *_) = tokenizer_steps(tokenizer.config())
    assert step.startswith("Find the tokens that `whole` lists in the text")


def test_a_token_that_paddlenlp_loses_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = save(tmp_path / "checkpoint", added=("",))
    decoder = {str(len(set(TOKENS))): {"content": "立案调查"}}
    change(folder / "tokenizer_config.json", added_tokens_decoder=decoder)
    read_checkpoint(folder)
    assert "the added token '立案调查'" in caplog.text
    assert "does not match it in texts" in caplog.text


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("plain") / "checkpoint")


@pytest.fixture
def copied(plain: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for file in plain.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


ODD: dict[str, Any] = {
    "problem_type": "multi_label_classification",
    "pad_token_id": 3,
    "tensor_parallel_degree": 2,
    "pipeline_parallel_degree": 2,
    "quantization_config": {"weight_quantize_algo": "weight_only_int8"},
    "pruned_heads": {"0": [1]},
    "do_lower_case": "yes",
    "strip_accents": "no",
    "never_split": ["股票"],
    "truncation_side": "left",
    "padding_side": "left",
    "max_input_chars_per_word": 200,
    "wordpieces_prefix": "@@",
    "clean_text": False,
    "pad_token_type_id": 1,
    "tokenize_chinese_chars": "no",
    "do_basic_tokenize": "no",
    "encoding": "gbk",
}
FILES = {"config.json": MODEL_SETTINGS, "tokenizer_config.json": TOKENIZER, "special_tokens_map.json": SPECIAL_TOKENS}


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, known in FILES.items() for name in known.only])
def test_a_value_that_is_not_understood_is_refused(copied: Path, tmp_path: Path, file: str, name: str) -> None:
    value = ODD.get(name, True if False in FILES[file].only[name] else "<odd>")
    change(copied / file, **{name: value})
    with pytest.raises(BundleError, match=rf"{name} in .*{file} must be .*, got .*: .+") as caught:
        bundle_checkpoint(copied, tmp_path / "bundle")
    assert str(value).strip("{}[]")[:8].lower() in str(caught.value).lower()
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("file", list(FILES))
def test_a_setting_that_nobody_knows_is_refused(copied: Path, tmp_path: Path, file: str) -> None:
    change(copied / file, reverse_every_text=True)
    with pytest.raises(BundleError, match=rf"{file} has the unknown setting reverse_every_text true"):
        bundle_checkpoint(copied, tmp_path / "bundle")


@pytest.mark.parametrize("problem", ["regression", "multi_label_classification"])
def test_other_problems_are_refused(copied: Path, tmp_path: Path, problem: str) -> None:
    change(copied / "config.json", problem_type=problem)
    with pytest.raises(BundleError, match=f"problem_type in .* must be null or 'single_label_classification', got '{problem}'"):
        bundle_checkpoint(copied, tmp_path / "bundle")


def answers(folder: Path) -> np.ndarray:
    """PaddleNLP's own, from the folder."""
    model = transformers.BertForSequenceClassification.from_pretrained(str(folder))
    tokenizer = transformers.BertTokenizer.from_pretrained(str(folder))
    model.eval()
    rows = []
    with paddle.no_grad():
        for text in filter(str.strip, TEXTS):
            inputs = {key: paddle.to_tensor([value]) for key, value in tokenizer(text, max_length=64, truncation=True).items()}
            rows.append(paddle.nn.functional.softmax(model(**inputs), axis=-1).numpy()[0])
    return np.stack(rows)


def test_harmless_settings_change_no_answer(copied: Path, tmp_path: Path) -> None:
    expected = answers(copied)
    odd = dict.fromkeys(MODEL_SETTINGS.harmless - {"dtype", "torch_dtype", "task_specific_params", "language"}, True)
    shares = dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout", "dropout"), 0.5)
    change(copied / "config.json", **{**odd, **shares, "initializer_range": 0.5, "tie_word_embeddings": True})
    change(copied / "tokenizer_config.json", **dict.fromkeys(TOKENIZER.harmless - {"from_slow"}, "x"), _of_nobody=1)
    made = bundle_checkpoint(copied, tmp_path / "bundle")
    found = Predictor(made).probabilities(list(filter(str.strip, TEXTS)))
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("family", ["Bert", "Ernie"])
def test_answers_with_added_tokens_are_those_of_paddlenlp(
    family: str, tmp_path: Path, run: Callable[..., tuple[int, str, str]]
) -> None:
    folder = save(tmp_path / "checkpoint", family=family, added=("", ""))
    with_special(folder, "[NUM]", "立案")
    code, _, err = run("adopt", folder, "--out", tmp_path / "bundle")
    assert code == 0
    assert "parity: paddlenlp differs by at most" in err
    predictor = Predictor(tmp_path / "bundle")
    record = predictor.bundle.manifest.parity["paddlenlp"]
    assert record.texts > 30
    assert record.tolerance == 1e-5
    assert record.same_labels
    if family == "Bert":
        texts = [text for text in TEXTS if text.strip()]
        np.testing.assert_allclose(predictor.probabilities(texts), answers(folder), atol=1e-5)
    code, _, err = run("export", tmp_path / "bundle", "--engine", "paddle_inference", "--out", tmp_path / "again")
    assert code == 0, err
    assert set(Predictor(tmp_path / "again").bundle.manifest.parity) >= {"paddlenlp", "paddle_inference"}


def test_the_longest_text_is_the_checkpoints_own(copied: Path, tmp_path: Path) -> None:
    assert read_checkpoint(copied).longest == 64
    change(copied / "tokenizer_config.json", max_len=18)
    assert read_checkpoint(copied).longest == 18
    for stated, longest in ((20, 20), (512, 64), (1_000_000_000_000_000_019_884_624_838_656, 64)):
        change(copied / "tokenizer_config.json", model_max_length=stated)
        assert read_checkpoint(copied).longest == longest
    change(copied / "tokenizer_config.json", model_max_length=18)
    made = bundle_checkpoint(copied, tmp_path / "bundle")
    assert made.manifest.max_length == 18
    assert bundle_checkpoint(copied, tmp_path / "other", max_length=30).manifest.max_length == 30


LABEL_FAULTS: dict[str, tuple[Mapping[str, Any], str]] = {
    "a gap": (
        {"id2label": {"0": "a", "2": "b", "3": "c"}, "label2id": None},
        "must have the indices 0 to 2 without gaps, got 0, 2, 3",
    ),
    "not numbers": ({"id2label": {"a": "0", "b": "1", "c": "2"}, "label2id": None}, "without gaps, got a, b, c"),
    "a contradiction": ({"label2id": {"利空": 2, "中性": 1, "利好": 0}}, "label2id .* contradicts id2label"),
    "another number": ({"num_labels": 5}, "has num_labels 5, but 3 labels in id2label"),
    "two numbers": ({"id2label": None, "num_labels": 3, "num_classes": 4}, "has contradicting numbers of labels"),
    "one output": (
        {"id2label": {"0": "x"}, "label2id": {"x": 0}},
        "must have 2 labels or more, got 1: the model was trained for regression",
    ),
    "a list": ({"id2label": ["a", "b", "c"], "label2id": None}, "id2label in .* must map each index to a label"),
}


@pytest.mark.parametrize("what", list(LABEL_FAULTS))
def test_label_maps_that_do_not_fit_are_refused(copied: Path, tmp_path: Path, what: str) -> None:
    values, message = LABEL_FAULTS[what]
    change(copied / "config.json", **values)
    with pytest.raises(BundleError, match=message):
        bundle_checkpoint(copied, tmp_path / "bundle")


def test_labels_in_another_order_are_refused(copied: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"are those of .* in another order; they must be 利空, 中性, 利好; omit --labels"):
        bundle_checkpoint(copied, tmp_path / "bundle", labels=LABELS[::-1])
    change(copied / "config.json", id2label={"2": "利好", "0": "利空", "1": "中性"})
    assert read_checkpoint(copied).labels == LABELS
    change(copied / "config.json", id2label={str(n): f"LABEL_{n}" for n in range(3)}, label2id=None)
    with pytest.raises(DataError, match="does not name its 3 labels"):
        bundle_checkpoint(copied, tmp_path / "bundle")


def test_other_ids_are_refused_with_the_text(copied: Path) -> None:
    found = read_checkpoint(copied)
    other = WordPieceTokenizer(found.tokenizer.vocabulary, strip_accents=False)
    message = (
        r"gives other ids with PaddleNLP's BertTokenizer than with ours: for '.*', from token \d+ on, \[.*\] there, \[.*\] here"
    )
    with pytest.raises(BundleError, match=message):
        check_tokenizer(other, found.files, found.origin, padding=0)


def test_other_answers_are_refused_before_anything_is_written(
    copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from paddlenlp_embtune.models.sequence_classifier import Encoder

    monkeypatch.setattr(
        Encoder, "forward", lambda self, input_ids: self.network(input_ids, token_type_ids=paddle.ones_like(input_ids))
    )
    with pytest.raises(ParityError, match=r"PaddleNLP's own model of .* answers '.*' otherwise: a probability differs by"):
        bundle_checkpoint(copied, tmp_path / "bundle")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]
    assert verify_origin.__doc__


def test_added_tokens_must_have_rows_and_ids_of_their_own(copied: Path) -> None:
    with_special(copied, "[NUM]")
    with pytest.raises(BundleError, match=r"the added token '\[NUM\]' .* has the id \d+, but the model rows 0 to"):
        read_checkpoint(copied)
    change(copied / "tokenizer_config.json", added_tokens_decoder={"7": {"content": "[NUM]", "special": True}})
    with pytest.raises(BundleError, match=r"the added token '\[NUM\]' .* has the id 7, but vocab.txt has"):
        read_checkpoint(copied)


def test_a_static_export_is_named(tmp_path: Path, run: Callable[..., tuple[int, str, str]]) -> None:
    for names in (("model.pdmodel", "model.pdiparams"), ("inference.json", "inference.pdiparams")):
        folder = tmp_path / names[0]
        folder.mkdir()
        for name in names:
            (folder / name).write_bytes(b"{}")
        code, out, err = run("adopt", folder, "--out", tmp_path / "bundle")
        assert (code, out) == (1, "")
        assert f"is a static export without config.json, and the weights of its program {names[0]} have" in " ".join(
            err.split()
        )


def of_tokenizers(folder: Path, *, framed: bool = True, **normalizer: Any) -> Path:
    """Put tokenizer.json in the place of vocab.txt."""
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    ids = {token: number for number, token in enumerate(tokens)}
    made = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(**{"lowercase": True, **normalizer})
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    if framed:
        marks = [(token, ids[token]) for token in ("[CLS]", "[SEP]")]
        made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=marks)
    made.add_special_tokens(list(CORE_TOKENS))
    made.save(str(folder / "tokenizer.json"))
    for name in ("vocab.txt", "special_tokens_map.json"):
        (folder / name).unlink()
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": made.normalizer.lowercase}
    given = {"strip_accents": "strip_accents", "handle_chinese_chars": "tokenize_chinese_chars"}
    config |= {given[name]: value for name, value in normalizer.items() if name in given}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    "given",
    [{}, {"framed": False}, {"lowercase": False}, {"strip_accents": False}, {"handle_chinese_chars": False}],
    ids=lambda given: "-".join(given) or "defaults",
)
def test_tokenizer_json_alone_is_enough(copied: Path, given: dict[str, Any]) -> None:
    of_tokenizers(copied, **given)
    theirs = transformers.AutoTokenizer.from_pretrained(str(copied), use_fast=True)
    found = read_checkpoint(copied)
    assert check_tokenizer(found.tokenizer, found.files, found.origin, padding=0) > 20
    for text in TEXTS:
        expected = theirs(text)["input_ids"]
        assert (found.tokenizer.encode(text) or [*found.tokenizer.prefix, *found.tokenizer.suffix]) == expected, text
    assert bool(found.tokenizer.prefix) == given.get("framed", True)


def test_a_bundle_of_tokenizer_json_answers(copied: Path, tmp_path: Path) -> None:
    made = bundle_checkpoint(of_tokenizers(copied), tmp_path / "bundle")
    assert made.manifest.tokenizer["symbols"] is False
    assert Predictor(made).predict(["公司×股票", ""])[1]["label"] is None


def test_other_pipelines_are_refused_by_name(copied: Path) -> None:
    of_tokenizers(copied)
    whole = json.loads((copied / "tokenizer.json").read_text(encoding="utf-8"))
    for part, value, message in (
        ("normalizer", {"type": "NFKC"}, "has the normalizer type 'NFKC', expected 'BertNormalizer'"),
        ("pre_tokenizer", {"type": "Whitespace"}, "has the pre_tokenizer type 'Whitespace'"),
        (
            "model",
            {**whole["model"], "max_input_chars_per_word": 50},
            "has the model max_input_chars_per_word 50, expected 100",
        ),
    ):
        (copied / "tokenizer.json").write_text(json.dumps({**whole, part: value}), encoding="utf-8")
        with pytest.raises(BundleError, match=message):
            read_checkpoint(copied)
    (copied / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(BundleError, match=r"cannot read .*tokenizer\.json"):
        read_checkpoint(copied)
    (copied / "tokenizer.json").unlink()
    with pytest.raises(BundleError, match=r"no vocab\.txt and no tokenizer\.json"):
        read_checkpoint(copied)


NAMES = (
    ("encoder.layers.", "encoder.layer."),
    (".self_attn.q_proj.", ".attention.self.query."),
    (".self_attn.k_proj.", ".attention.self.key."),
    (".self_attn.v_proj.", ".attention.self.value."),
    (".self_attn.out_proj.", ".attention.output.dense."),
    (".norm1.", ".attention.output.LayerNorm."),
    (".norm2.", ".output.LayerNorm."),
    (".linear1.", ".intermediate.dense."),
    (".linear2.", ".output.dense."),
    ("embeddings.layer_norm.", "embeddings.LayerNorm."),
)


def test_weights_of_pytorch_are_turned(copied: Path, tmp_path: Path) -> None:
    before = bundle_checkpoint(copied, tmp_path / "before")
    model = transformers.BertForSequenceClassification.from_pretrained(str(copied))
    arrays = {}
    for name, value in model.state_dict().items():
        array = value.numpy()
        renamed = name
        for here, there in NAMES:
            renamed = renamed.replace(here, there)
        arrays[renamed] = np.ascontiguousarray(array.T) if array.ndim == 2 and "embeddings" not in name else array
    (copied / "model_state.pdparams").unlink()
    save_file(arrays, copied / "model.safetensors")
    assert load_file(copied / "model.safetensors")["classifier.weight"].shape == (3, 16)
    after = bundle_checkpoint(copied, tmp_path / "after")
    texts = [text for text in TEXTS if text.strip()]
    np.testing.assert_array_equal(Predictor(after).probabilities(texts), Predictor(before).probabilities(texts))


def test_an_encoder_keeps_added_tokens_and_settings(tmp_path: Path) -> None:
    folder = save(tmp_path / "checkpoint", added=("",))
    with_special(folder, "[NUM]")
    options(strip_accents=False)(folder)
    change(folder / "config.json", problem_type="multi_label_classification")  # of the head, which is left out
    found = load_encoder(str(folder))
    theirs = transformers.BertTokenizer.from_pretrained(str(folder))
    for text in ("净利润增长[NUM]", "à股票", "[num] x[NUM]y"):
        assert found.tokenizer.encode(text) == theirs(text)["input_ids"]
    # A text gives no orders to a model that is trained from here on.
    assert found.tokenizer.vocabulary.ids["[SEP]"] not in found.tokenizer.encode("公司[SEP]股票")[:-1]
    again = load_encoder(str(save_encoder(found, tmp_path / "saved")))
    assert again.tokenizer.config() == found.tokenizer.config()
    assert again.tokenizer.encode("净利润增长[NUM]") == found.tokenizer.encode("净利润增长[NUM]")
    change(folder / "config.json", position_embedding_type="relative_key")
    with pytest.raises(BundleError, match=r"position_embedding_type .* must be absolute, .* got 'relative_key'"):
        load_encoder(str(folder))
    change(folder / "config.json", position_embedding_type="absolute", is_decoder=True)
    with pytest.raises(BundleError, match=r"is_decoder in .* must be null or false, got true"):
        load_encoder(str(folder))


def test_records_of_the_proof_are_plain(copied: Path, tmp_path: Path) -> None:
    made = bundle_checkpoint(copied, tmp_path / "bundle", sample_texts=["公司拟回购股份", "AB" * 40])
    record = dataclasses.asdict(made.manifest.parity["paddlenlp"])
    assert record["max_probability_difference"] < record["tolerance"] == 1e-5
    assert record["texts"] > 20


def test_wordpiece_needs_the_tokens_that_it_finds_whole() -> None:
    with pytest.raises(DataError, match=r"lacks '\[NUM\]'"):
        WordPieceTokenizer(Vocabulary(["[PAD]", "[UNK]", "[CLS]", "[SEP]"]), whole=["[NUM]"])
