"""``embtune distill``."""

from __future__ import annotations

import json
from pathlib import Path

from paddlenlp_embtune.config.recipe import DistillSpec, Recipe
from tests.helpers import Run, TinyRun, error_of


def test_a_student_is_taught_from_the_command_line(work: Path, run: Run, tiny_run: TinyRun) -> None:
    (work / "more.txt").write_text("保险业绩亏损扩大\n\n公司拟回购股份\n", encoding="utf-8")
    options = ("--data", "train.tsv", "--unlabelled", "more.txt", "--epochs", "2", "--out", "student", "--seed", "3")
    kept = ("--answers", "answers.safetensors", "--temperature", "3", "--alpha", "0.5", "--max-length", "32")
    code, out, talk = run("distill", tiny_run.folder, *options, *kept, "--json")
    assert code == 0, talk
    answer = json.loads(out)
    assert answer["teacher"]["name"] == "run/bundle"
    assert "unlabelled: 1 of 3 texts" in talk
    assert "compared with its teacher run/bundle" in talk
    recipe = Recipe.load(work / "student" / "recipe.yaml")
    assert recipe.model.name == "textcnn"
    assert (recipe.seed, recipe.train.epochs, recipe.text.max_length) == (3, 2, 32)
    assert recipe.distill == DistillSpec(
        teacher=str(tiny_run.folder),
        temperature=3.0,
        alpha=0.5,
        unlabelled=(str(work / "more.txt"),),
        answers=str(work / "answers.safetensors"),
    )
    assert (work / "answers.safetensors").is_file()


def test_what_cannot_be_is_said_in_one_line(work: Path, run: Run, tiny_run: TinyRun) -> None:
    data = ("--data", "train.tsv", "--out", "student")
    assert "is not a bundle" in error_of(run("distill", work, *data), 1)
    assert "distill.alpha must be above 0 and at most 1, got 2.0" in error_of(
        run("distill", tiny_run.folder, *data, "--alpha", "2"), 2
    )
    assert "there is no file none.txt" in error_of(run("distill", tiny_run.folder, *data, "--unlabelled", "none.txt"), 1)
    (work / "two.tsv").write_text("text\tlabel\n公司\t利好\n集团\t利空\n", encoding="utf-8")
    told = error_of(run("distill", tiny_run.folder, "--data", "two.tsv", "--dev", "two.tsv", "--out", "student"), 1)
    assert "the labels are 利好, 利空, those of the teacher" in told
    assert not (work / "student").exists()


def test_help_names_the_options(run: Run) -> None:
    code, out, _ = run("distill", "--help")
    assert code == 0
    for option in ("--student", "--unlabelled", "--temperature", "--alpha", "--hidden", "--answers", "--resume", "--json"):
        assert option in out
