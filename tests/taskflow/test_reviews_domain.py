"""The domain of an example plugin, installed as a stranger would, answers with the bundle that the plugin carries."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

PLUGIN = Path(__file__).parents[2] / "plugins" / "embtune_reviews"
BUNDLE = PLUGIN / "embtune_reviews" / "bundle"
LIMIT_BYTES = 4_000_000
GOOD = [
    "非常满意，质量很好，送货也快，强烈推荐！",
    "酒店干净整洁，服务热情，下次还会再来",
    "这本书写得太好了，孩子非常喜欢",
    "性价比很高，做工精致，用着很舒服",
]
BAD = [
    "太差了，再也不会来了",
    "质量很差，用了两天就坏了，客服态度恶劣，要求退货",
    "房间又脏又旧，隔音很差，非常失望",
    "内容空洞，浪费钱，千万别买",
]


def pip_install(source: Path, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*command, "--target", str(target), str(source)], check=True, capture_output=True)


def copy_of_plugin(folder: Path) -> Path:
    ignored = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    return Path(shutil.copytree(PLUGIN, folder / "embtune_reviews", ignore=ignored))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    pip_install(copy_of_plugin(tmp_path_factory.mktemp("source")), target)
    return target


def run(site: Path, code: str, *arguments: Any) -> Any:
    """Run a script beside the installed plugin, in a process of its own; return what it leaves in ``found``."""
    answer = site.parent / f"{hashlib.sha256(code.encode()).hexdigest()[:8]}.json"
    whole = f"import json, sys\n{code}\nopen({str(answer)!r}, 'w').write(json.dumps(found))\n"
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-W", "ignore", "-c", whole, json.dumps(arguments)]
    done = subprocess.run(command, check=False, text=True, capture_output=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(answer.read_text())


PREDICTOR = """
import paddlenlp_embtune as embtune
from paddlenlp_embtune.plugin import registry

domain = registry.current().get("domain", "reviews")
predictor = embtune.Predictor(domain.bundle)
(texts,) = json.loads(sys.argv[1])
found = {
    "bundle": str(domain.bundle),
    "domain": [predictor.bundle.manifest.domain, list(domain.labels), list(predictor.labels)],
    "answers": predictor.predict([*texts, " "]),
    "sure": embtune.Predictor(domain.bundle, abstain_below=0.0).predict(texts),
    "unsure": embtune.Predictor(domain.bundle, abstain_below={"差评": 1.0, "好评": 0.0}).predict(texts),
    "modules": sorted({"paddle", "paddlenlp"} & set(sys.modules)),
}
"""


@pytest.mark.slow
def test_the_predictor_answers_without_paddle(site: Path) -> None:
    found = run(site, PREDICTOR, GOOD + BAD)
    assert Path(found["bundle"]) == site / "embtune_reviews" / "bundle"
    assert found["domain"] == ["reviews", ["差评", "好评"], ["差评", "好评"]]
    *answers, blank = found["answers"]
    assert [answer["label"] for answer in answers] == ["好评"] * len(GOOD) + ["差评"] * len(BAD)
    assert blank["label"] is None
    assert found["modules"] == []
    thresholds = json.loads((BUNDLE / "bundle.json").read_text(encoding="utf-8"))["thresholds"]
    assert [answer["abstained"] for answer in answers] == [answer["score"] < thresholds[answer["label"]] for answer in answers]
    assert not any(answer.get("abstained") for answer in found["sure"])
    assert [answer["abstained"] for answer in found["unsure"]] == [False] * len(GOOD) + [True] * len(BAD)


TASKFLOW = """
import paddlenlp_embtune as embtune
from paddlenlp import Taskflow
from paddlenlp_embtune.builtin import FINANCE

(texts,) = json.loads(sys.argv[1])


def task(**arguments):
    return Taskflow("domain_sentiment", model="reviews", **arguments)


plain = task()
sized = task(batch_size=3, engine="paddle", scores=True)
other = task(task_path=str(FINANCE / "bundle"))
try:
    task(engine="paddle_inference")
except embtune.BundleError as error:
    refused = str(error)
found = {
    "plain": plain(texts),
    "path": plain.task_path(),
    "engines": [one.task_instance.predictor.engine_name for one in (plain, sized)],
    "batch_size": sized.task_instance.predictor.batch_size,
    "scores": sized(texts),
    "sure": task(abstain_below=0.0)(texts),
    "unsure": task(abstain_below={"差评": 1.0, "好评": 0.0})(texts),
    "other": [other.task_path(), list(other.task_instance.predictor.labels), other(texts)],
    "finance": list(Taskflow("domain_sentiment").task_instance.predictor.labels),
    "refused": refused,
}
"""


@pytest.fixture(scope="module")
def answered(site: Path) -> Any:
    return run(site, TASKFLOW, GOOD + BAD)


@pytest.mark.slow
def test_taskflow_answers_out_of_the_box(answered: Any, site: Path) -> None:
    assert Path(answered["path"]) == site / "embtune_reviews" / "bundle"
    assert [answer["text"] for answer in answered["plain"]] == GOOD + BAD
    assert [answer["label"] for answer in answered["plain"]] == ["好评"] * len(GOOD) + ["差评"] * len(BAD)
    assert all(answer["score"] > 0.5 for answer in answered["plain"])


@pytest.mark.slow
def test_arguments_of_the_user_win_over_the_entry(answered: Any) -> None:
    assert answered["engines"] == ["onnxruntime", "paddle"]
    assert answered["batch_size"] == 3
    assert all("scores" not in answer for answer in answered["plain"])
    for plain, scored in zip(answered["plain"], answered["scores"], strict=True):
        assert set(scored["scores"]) == {"差评", "好评"}
        assert scored["label"] == plain["label"]
        assert scored["score"] == pytest.approx(plain["score"], abs=1e-5)
    assert not any(answer.get("abstained") for answer in answered["sure"])
    assert [answer["abstained"] for answer in answered["unsure"]] == [False] * len(GOOD) + [True] * len(BAD)


@pytest.mark.slow
def test_the_bundle_of_the_user_wins_over_that_of_the_domain(answered: Any) -> None:
    path, labels, answers = answered["other"]
    assert path.endswith("finance/bundle")
    assert labels == answered["finance"] != ["差评", "好评"]
    assert {answer["label"] for answer in answers} <= set(labels)


@pytest.mark.slow
def test_an_engine_that_the_bundle_has_no_files_for_is_refused(answered: Any) -> None:
    assert "paddle_inference" in answered["refused"]


def test_the_bundle_is_small_whole_and_calibrated() -> None:
    files = {str(path.relative_to(BUNDLE)): path for path in BUNDLE.rglob("*") if path.is_file()}
    assert sum(path.stat().st_size for path in files.values()) <= LIMIT_BYTES
    manifest = json.loads(files["bundle.json"].read_text(encoding="utf-8"))
    assert {"interface.json", "fixtures.jsonl", "vocab.txt", "weights.safetensors", "onnx/model.onnx"} <= set(files)
    for name, digest in manifest["files"].items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == digest, name
    assert set(manifest["engines"]) == {"onnxruntime", "paddle"}
    assert manifest["temperature"] != 1.0
    assert set(manifest["thresholds"]) == {"差评", "好评"}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["build_wheel", "build_sdist"])
def test_what_is_built_carries_the_bundle_and_the_notice(tmp_path: Path, what: str) -> None:
    source = copy_of_plugin(tmp_path)
    code = f"from setuptools import build_meta; build_meta.{what}({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, capture_output=True, cwd=source)
    if what == "build_wheel":
        (built,) = tmp_path.glob("*.whl")
        names = set(zipfile.ZipFile(built).namelist())
        assert any(name.endswith("/NOTICE") for name in names)
    else:
        (built,) = tmp_path.glob("*.tar.gz")
        with tarfile.open(built) as archive:
            names = {name.partition("/")[2] for name in archive.getnames()}
        assert {"NOTICE", "MODEL_CARD.md", "recipe.yaml", "build_bundle.py", "rows.py", "figures.py", "card.md"} <= names
    carried = {f"embtune_reviews/bundle/{path.relative_to(BUNDLE)}" for path in BUNDLE.rglob("*") if path.is_file()}
    assert carried
    assert carried <= names


def test_the_domain_and_the_bundle_have_the_same_labels() -> None:
    manifest = json.loads((BUNDLE / "bundle.json").read_text(encoding="utf-8"))
    assert manifest["labels"] == ["差评", "好评"]
    assert manifest["domain"] == "reviews"
