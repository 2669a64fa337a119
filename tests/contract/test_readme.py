"""What the README and the pages under docs show is run: its Python, its recipe, its commands, and the example scripts."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.config.recipe import Recipe

ROOT = Path(__file__).parents[2]
READMES = [ROOT / "README_en.md", ROOT / "README.md"]
PAGES = [*READMES, *sorted((ROOT / "docs").rglob("*.md"))]
README = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page != READMES[1])


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs(code: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=False, cwd=tmp_path, text=True, capture_output=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", blocks("yaml"))
def test_recipes_are_accepted_as_they_stand(text: str) -> None:
    stated = yaml.safe_load(text)
    assert Recipe.from_dict(Recipe.from_dict(stated).to_dict()) == Recipe.from_dict(stated)


def block_with(command: str) -> str:
    found, *_ = [block for block in blocks("sh") if command in block]
    return found


@pytest.mark.parametrize("page", READMES, ids=lambda page: page.name)
def test_the_readme_is_short(page: Path) -> None:
    assert len(page.read_bytes()) <= 8192


def test_both_readmes_say_the_same_in_two_languages() -> None:
    """Blocks of code, sections, links and rows of tables are alike; each names the other."""
    english, chinese = (page.read_text(encoding="utf-8") for page in READMES)
    for what in (r"```\w+\n.*?```", r"\]\((?!README)([^)]+)\)"):
        assert re.findall(what, english, re.DOTALL) == re.findall(what, chinese, re.DOTALL)
    for begin in ("## ", "| ", "- "):
        counts = [sum(line.startswith(begin) for line in text.splitlines()) for text in (english, chinese)]
        assert counts[0] == counts[1], begin
    assert "(README.md)" in english
    assert "(README_en.md)" in chinese


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        assert target.startswith("https://") or (page.parent / target).exists(), target


def test_every_figure_has_its_command_and_date() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert "**Machine**" in page
    known = set(
        re.findall(r'^    "(\w+)": "tests\.benchmarks', (ROOT / "tests/benchmarks/__main__.py").read_text(), re.MULTILINE)
    )
    for section in page.split("\n## ")[1:]:
        first = section.split("\n\n")[1]
        assert re.search(r"`[^`]+`.*, [A-Z][a-z]+ 20\d\d\.", first), first
        for names in re.findall(r"`python -m tests\.benchmarks ([^`]+)`", first):
            assert set(names.split()) <= known, names


ENVIRONMENT = {**os.environ, "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])}


def shell(commands: str, folder: Path) -> str:
    """Run commands; gives what they wrote to stdout."""
    done = subprocess.run(["bash", "-euc", commands], check=False, cwd=folder, env=ENVIRONMENT, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def copy_texts(folder: Path) -> None:
    """The finance texts of the package, of the training texts those that were written one by one."""
    for name, most in (("train.tsv", 945), ("dev.tsv", None), ("test.tsv", None)):
        lines = (FINANCE / name).read_text(encoding="utf-8").splitlines()
        kept = lines if most is None else lines[: 1 + most]
        (folder / name).write_text("\n".join(kept) + "\n", encoding="utf-8")


@pytest.mark.slow
def test_commands_run(tmp_path: Path) -> None:
    copy_texts(tmp_path)
    out = shell(block_with("embtune train --data"), tmp_path)
    assert '"f1_macro"' in out
    assert '"label"' in out
    calibrate, quantize = block_with("embtune calibrate").splitlines()
    shell(calibrate, tmp_path)
    # The 234 development rows leave 117 to measure on, and one of these is more than the tolerance.
    shell(quantize.replace("dev.tsv", "train.tsv"), tmp_path)


SMALL = "model: {options: {filters: 8, ngram_buckets: 0}}\ntrain: {epochs: 2}\nexport: {engines: [onnxruntime]}\n"


@pytest.mark.slow
def test_commands_about_vectors_and_vocabulary_run(tmp_path: Path) -> None:
    copy_texts(tmp_path)
    texts = [line.split("\t")[0] for line in (tmp_path / "train.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    for name in ("domain.txt", "unlabelled.txt"):
        (tmp_path / name).write_text("\n".join(texts * 2) + "\n", encoding="utf-8")
    characters = sorted(set("".join(texts)) - {" "})
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *characters]) + "\n", encoding="utf-8")
    (tmp_path / "terms.txt").write_text("回购股份\n退市风险\n", encoding="utf-8")
    (tmp_path / "small.yaml").write_text(SMALL, encoding="utf-8")
    shell("embtune vectors convert lac tencent.vec.gz", tmp_path)
    # 质押 is a word, and these are characters.
    before = block_with("embtune vectors inspect").replace("--term 质押", "--term 押")
    assert "押" in shell(before, tmp_path)
    assert (tmp_path / "proposed.txt").read_text(encoding="utf-8").count("\n") > 2
    for name in ("x", "z"):
        shell(f"embtune train small.yaml --domain finance --data train.tsv --dev dev.tsv --out runs/{name}", tmp_path)
    rows = "data: {train: train.tsv, dev: dev.tsv}\ndomain: finance\n"
    rest = SMALL.partition("\n")[2]  # the model brings its own options
    (tmp_path / "continue.yaml").write_text(f"{rows}model: {{start: longer}}\n{rest}", encoding="utf-8")
    shell(block_with("embtune vocabulary extend"), tmp_path)
    shell("embtune vectors save runs/x --name monday --store store", tmp_path)
    assert "减" in shell(block_with("embtune vectors diff"), tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
def test_bundles_are_served(tmp_path: Path) -> None:
    for name in ("x", "y"):
        shutil.copytree(FINANCE / "bundle", tmp_path / "runs" / name / "bundle")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    serve, *clients = block_with("embtune serve").replace("8000", port).splitlines()
    with subprocess.Popen(["bash", "-euc", f"exec {serve}"], cwd=tmp_path, env=ENVIRONMENT) as server:
        try:
            shell(f"curl -sf --retry 20 --retry-connrefused --retry-delay 1 localhost:{port}/ready", tmp_path)
            out = shell("\n".join(clients), tmp_path)
        finally:
            server.terminate()
    assert server.returncode == 0
    assert '"scores":{"强烈利空":' in out
    assert (tmp_path / "models" / "domain_sentiment" / "config.pbtxt").is_file()


@pytest.mark.slow
def test_the_example_script_runs(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(ROOT / "examples" / "own_trainer.py")],
        check=False,
        cwd=tmp_path,
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert "cosine drift" in done.stdout


def test_the_changelog_knows_this_version() -> None:
    import paddlenlp_embtune

    assert f"## {paddlenlp_embtune.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
