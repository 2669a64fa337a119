"""Bundles carry what their tokenizers need, through every revision, and refuse what has been tampered with."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paddle
import pytest

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.bundle.tokenizer_spec import tokenizer_steps
from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.export import BundleContent, add_engines, write_bundle
from paddlenlp_embtune.export.bundle_writer import reseal
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.models.textcnn import TextCNN
from paddlenlp_embtune.text import Tokenizer, clean
from paddlenlp_embtune.utils.files.atomic_io import sha256_of
from tests.helpers import edit_manifest
from tests.text.every_tokenizer import CORPUS, NASTY, made

FILES = {
    "char": set[str](),
    "word": {"user_dictionary.txt"},
    "sentencepiece, markers": {"sentencepiece.model"},
    "word + terms": {"user_dictionary.txt"},
    "sentencepiece + terms": {"sentencepiece.model"},
    "wordpiece + terms": set[str](),
}


def content(tokenizer: Tokenizer) -> BundleContent:
    paddle.seed(1)
    size = len(tokenizer.vocabulary)
    model = TextCNN(vocabulary_size=size, dimension=8, num_labels=2, filters=4, ngram_buckets=0)
    return BundleContent(
        model=model,
        model_name="textcnn",
        tokenizer=tokenizer,
        labels=("利空", "利好"),
        ordered=True,
        max_length=32,
        sample_texts=CORPUS,
    )


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("bundles")
    return {kind: write_bundle(folder / str(at), content(made(kind)), engines=[]) for at, kind in enumerate(FILES)}


@pytest.mark.parametrize("kind", FILES)
def test_a_bundle_reads_as_the_tokenizer_did(kind: str, bundles: dict[str, Bundle]) -> None:
    bundle, tokenizer = Bundle.open(bundles[kind].path), made(kind)
    assert [bundle.tokenizer.encode(text) for text in NASTY] == [tokenizer.encode(text) for text in NASTY]
    expected = {"bundle.json", "fixtures.jsonl", "interface.json", "model.json", "vocab.txt", "weights.safetensors"}
    assert {path.name for path in bundle.path.iterdir()} == expected | FILES[kind]
    assert set(bundle.manifest.files) == expected - {"bundle.json"} | FILES[kind]
    assert bundle.manifest.schema_version == 2
    answers = Predictor(bundle, engine="paddle").predict([*CORPUS, ""])
    assert [answer["label"] is None for answer in answers] == [False] * len(CORPUS) + [True]


@pytest.mark.parametrize("kind", ["word + terms", "sentencepiece, markers"])
def test_revisions_keep_the_files(kind: str, bundles: dict[str, Bundle], tmp_path: Path) -> None:
    changed = reseal(bundles[kind], tmp_path / "resealed", temperature=2.0)
    added = add_engines(changed, tmp_path / "added", engines=["onnxruntime"], sample_texts=CORPUS)
    for bundle in (changed, added):
        for name in FILES[kind]:
            assert (bundle.path / name).read_bytes() == (bundles[kind].path / name).read_bytes()
        assert bundle.tokenizer.encode(CORPUS[2]) == made(kind).encode(CORPUS[2])


@pytest.fixture
def copied(bundles: dict[str, Bundle], tmp_path: Path) -> Callable[[str], Path]:
    return lambda kind: Path(shutil.copytree(bundles[kind].path, tmp_path / "copy"))


def test_a_changed_or_missing_file_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("word")
    terms = folder / "user_dictionary.txt"
    terms.write_text(terms.read_text(encoding="utf-8") + "更多\n", encoding="utf-8")
    with pytest.raises(BundleError, match=r"the file user_dictionary.txt of the bundle .* has changed"):
        Bundle.open(folder)
    terms.unlink()
    with pytest.raises(BundleError, match=r"lacks its file user_dictionary.txt"):
        Bundle.open(folder)


def test_a_file_without_a_hash_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("sentencepiece, markers")
    edit_manifest(folder, lambda manifest: manifest["files"].pop("sentencepiece.model"))
    with pytest.raises(BundleError, match=r"lists 'sentencepiece.model' for 'tokenizer' without its SHA-256"):
        Bundle.open(folder)


def test_another_model_with_a_right_hash_is_refused(copied: Callable[[str], Path]) -> None:
    folder = copied("sentencepiece, markers")
    (folder / "sentencepiece.model").write_bytes(b"other")
    digest = sha256_of(folder / "sentencepiece.model")
    edit_manifest(folder, lambda manifest: manifest["files"].update({"sentencepiece.model": digest}))
    with pytest.raises(DataError, match="restore the original model"):
        _ = Bundle.open(folder).tokenizer


@pytest.mark.parametrize("config", [{"name": "syllable"}, {"name": "terms", "count": -1, "base": {"name": "char"}}])
def test_an_unknown_tokenizer_is_refused_at_once(config: dict[str, Any], copied: Callable[[str], Path]) -> None:
    folder = copied("char")
    edit_manifest(folder, lambda manifest: manifest.update(tokenizer=config))
    with pytest.raises(BundleError, match=r"bundle.json is not valid: unknown tokenizer .*; expected "):
        Bundle.open(folder)


@pytest.mark.parametrize("kind", FILES)
def test_the_interface_says_how(kind: str, bundles: dict[str, Bundle]) -> None:
    about = json.loads((bundles[kind].path / "interface.json").read_text(encoding="utf-8"))["tokenizer"]
    assert about["steps"] == tokenizer_steps(made(kind).config())
    assert len(about["steps"]) >= 4
    assert about.get("files", []) == sorted(FILES[kind])
    assert ("files" in about) == bool(FILES[kind])


def ported(text: str, terms: list[str], vocabulary: list[str]) -> list[int]:
    """What somebody writes who has the steps for terms on characters; the cleaning is tested elsewhere."""
    ids = {token: number for number, token in enumerate(vocabulary)}
    cleaned, found, at = clean(text, lowercase=True), list[int](), 0
    while at < len(cleaned):
        fits = [term for term in sorted(terms, key=len, reverse=True) if cleaned.startswith(term, at)]
        fits = [term for term in fits if not inside(cleaned, at) and not inside(cleaned, at + len(term))]
        found.append(ids[fits[0]] if fits else ids.get(cleaned[at], 1) if cleaned[at] not in terms else 1)
        at += len(fits[0]) if fits else 1
    return found


def inside(text: str, at: int) -> bool:
    return 0 < at < len(text) and all(c.isascii() and c.isalnum() for c in text[at - 1 : at + 1])


def test_the_steps_for_terms_lead_to_the_ids(bundles: dict[str, Bundle]) -> None:
    tokenizer = made("char + terms")
    vocabulary = list(tokenizer.vocabulary.tokens)
    terms = vocabulary[len(made("char").vocabulary) :]
    generator = random.Random(3)
    for _ in range(500):
        # Without spaces, which are left out beside terms, and without characters that become several.
        text = "".join(
            generator.choice(["质押式", "回购", "股份", "ＥＴＦ", "etf", "基金", "a", "股", "科创5", "0"]) for _ in range(8)
        )
        assert tokenizer.encode(text) == ported(text, terms, vocabulary), text
