"""Reading unlabelled texts, asking a teacher, and keeping its answers."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune import Predictor
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.config.recipe import DistillSpec, Recipe
from paddlenlp_embtune.data import Examples
from paddlenlp_embtune.data.unlabelled import read_unlabelled
from paddlenlp_embtune.errors import BundleError, DataError, RecipeError
from paddlenlp_embtune.export.bundle_writer import reseal
from paddlenlp_embtune.report.run_reader import read_run
from paddlenlp_embtune.report.sections._overview import findings
from paddlenlp_embtune.text.windows import WindowSpec
from paddlenlp_embtune.training import _teacher as teaching
from paddlenlp_embtune.training._teacher import compute_teacher_logits, prepare_teaching
from paddlenlp_embtune.training.run import train
from tests.helpers import ROWS, TinyRun, tsv

TRAIN = Examples(("公司拟回购股份", "集团被立案调查"), ("利好", "利空"), "train.tsv")
DEV = Examples(("银行业绩亏损扩大",), ("利空",), "dev.tsv")
LABELS = ("中性", "利好", "利空")
FURTHER = ("保险业绩亏损扩大", "信托召开股东大会")


def settled(run: TinyRun, labels: tuple[str, ...] = LABELS, **options: Any) -> teaching.Teaching:
    spec = DistillSpec(**{"teacher": str(run.folder), **options})
    return prepare_teaching(spec, labels, TRAIN, DEV, text_column="text")


def test_texts_are_kept_once_and_those_of_labelled_rows_left_out(tmp_path: Path) -> None:
    lines = [*FURTHER, "", "公司拟回购股份。", " 银行业绩亏损扩大", FURTHER[0] + "！", "\u200b"]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (tmp_path / "b.tsv").write_text(f"text\tlabel\n{FURTHER[1]}\tx\nnew\tx\n", encoding="utf-8")
    paths = [str(tmp_path / name) for name in ("a.txt", "b.tsv")]
    found = read_unlabelled(paths, TRAIN.texts, DEV.texts, text_column="text")
    assert found.texts == (*FURTHER, "new")
    counts = (found.read, found.blank, found.duplicates, found.in_train, found.in_dev)
    assert counts == (9, 2, 2, 1, 1)


def test_files_of_texts_that_teach_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "old.txt").write_text("公司拟回购股份\n\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"old\.txt contains no text to learn from \(2 read, 1 blank, 1 in train\)"):
        read_unlabelled([str(tmp_path / "old.txt")], TRAIN.texts, DEV.texts, text_column="text")
    with pytest.raises(DataError, match=r"there is no file .*none\.txt"):
        read_unlabelled([str(tmp_path / "none.txt")], TRAIN.texts, DEV.texts, text_column="text")


def test_texts_made_of_the_rows_are_asked_about_behind_the_unlabelled_ones(tmp_path: Path, tiny_run: TinyRun) -> None:
    (tmp_path / "more.txt").write_text("\n".join(FURTHER), encoding="utf-8")
    spec = DistillSpec(teacher=str(tiny_run.folder), unlabelled=(str(tmp_path / "more.txt"),), recombined=5)
    found = prepare_teaching(spec, LABELS, TRAIN, DEV, text_column="text")
    made = found.unlabelled.texts[2:]
    assert found.unlabelled.texts[:2] == FURTHER
    assert (len(made), found.summary()["unlabelled"], found.summary()["unlabelled_files"]["recombined"]) == (5, 7, 5)
    assert found.texts == (*TRAIN.texts, *FURTHER, *made, *DEV.texts)
    answers, _ = compute_teacher_logits(found)
    assert answers.train.shape == (2 + 7, 3)


@pytest.mark.parametrize("labels", [LABELS, ("利空", "中性", "利好")])
def test_answers_are_the_predictors_in_the_order_of_the_students_labels(labels: tuple[str, ...], tiny_run: TinyRun) -> None:
    asked = settled(tiny_run, labels)
    soft_targets, figures = compute_teacher_logits(asked)
    with Predictor(tiny_run.bundle) as predictor:
        known = predictor.labels
        expected = predictor.scaled_probabilities(asked.texts)(1.0)[:, [known.index(label) for label in labels]]
    assert asked.texts == (*TRAIN.texts, *DEV.texts)
    np.testing.assert_allclose(np.exp(soft_targets.logits), expected, atol=1e-6)
    np.testing.assert_array_equal(soft_targets.train, soft_targets.logits[:2])
    np.testing.assert_array_equal(soft_targets.dev, soft_targets.logits[2:])
    assert (figures["texts"], figures["bytes"], figures["from_file"]) == (3, 36, False)


def test_vectors_come_with_the_same_answers_centred_and_of_one_size(tiny_run: TinyRun) -> None:
    plain, _ = compute_teacher_logits(settled(tiny_run))
    soft_targets, _ = compute_teacher_logits(settled(tiny_run, hidden=1.0))
    assert soft_targets.vectors is not None
    assert soft_targets.vectors.shape == (3, 16)
    np.testing.assert_allclose(soft_targets.logits, plain.logits, atol=1e-4)
    vectors = soft_targets.vectors.astype(np.float64)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-3)
    assert np.square(vectors).mean() == pytest.approx(1.0, rel=1e-2)


def test_long_texts_are_read_as_the_teacher_reads_them(tiny_run: TinyRun, tmp_path: Path) -> None:
    windows = WindowSpec(overlap_tokens=4, aggregate="mean")
    reseal(Bundle.open(tiny_run.bundle), tmp_path / "teacher", windows=windows)
    rows = dataclasses.replace(TRAIN, texts=("公司拟回购股份" * 12, "集团被立案调查"))
    spec = DistillSpec(teacher=str(tmp_path / "teacher"))
    soft_targets, _ = compute_teacher_logits(prepare_teaching(spec, LABELS, rows, DEV, text_column="text"))
    with Predictor(tmp_path / "teacher") as predictor:
        expected = predictor.scaled_probabilities(rows.texts)(1.0)
    np.testing.assert_allclose(np.exp(soft_targets.train), expected, atol=1e-6)
    vectors, _ = compute_teacher_logits(
        prepare_teaching(dataclasses.replace(spec, hidden=1.0), LABELS, rows, DEV, text_column="text")
    )
    np.testing.assert_allclose(vectors.logits, soft_targets.logits, atol=1e-4)


def test_kept_answers_are_not_asked_for_again_unless_something_changed(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "deep" / "answers.safetensors"
    asked = settled(tiny_run, answers=str(file))
    first, _ = compute_teacher_logits(asked)
    monkeypatch.setattr(teaching, "_asked", lambda *_: pytest.fail("the teacher was asked again"))
    again, figures = compute_teacher_logits(asked)
    assert figures["from_file"]
    np.testing.assert_array_equal(again.logits, first.logits)
    with pytest.raises(pytest.fail.Exception, match="asked again"):
        compute_teacher_logits(settled(tiny_run, ("利空", "中性", "利好"), answers=str(file)))
    with pytest.raises(pytest.fail.Exception, match="asked again"):
        compute_teacher_logits(settled(tiny_run, answers=str(file), hidden=1.0))
    file.write_text("text\tlabel\n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"answers\.safetensors holds no answers of a teacher"):
        compute_teacher_logits(asked)
    assert file.read_text(encoding="utf-8") == "text\tlabel\n"


def test_a_checkpoint_belongs_to_one_teacher_and_the_same_texts(tiny_run: TinyRun, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(FURTHER[0] + "\n", encoding="utf-8")
    (tmp_path / "b.txt").write_text(FURTHER[0][::-1] + "\n", encoding="utf-8")
    first, second = (settled(tiny_run, unlabelled=(str(tmp_path / name),)).identity() for name in ("a.txt", "b.txt"))
    assert {key for key in first if first[key] != second[key]} == {"texts"}
    reseal(Bundle.open(tiny_run.bundle), tmp_path / "other", max_length=16)
    other = settled(tiny_run, teacher=str(tmp_path / "other"), unlabelled=(str(tmp_path / "a.txt"),)).identity()
    assert {key for key in first if first[key] != other[key]} == {"teacher"}


def test_a_teacher_with_other_labels_is_refused_with_both_shown(tiny_run: TinyRun) -> None:
    with pytest.raises(
        DataError, match=r"the labels are 利好, 利空, those of the teacher .* are 中性, 利好, 利空; expected the same"
    ):
        settled(tiny_run, ("利好", "利空"))


def test_what_is_no_whole_bundle_is_refused(tiny_run: TinyRun, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not a bundle"):
        settled(tiny_run, teacher=str(tmp_path))
    shutil.copytree(tiny_run.bundle, tmp_path / "damaged")
    (tmp_path / "damaged" / "weights.safetensors").write_bytes(b"0")
    with pytest.raises(BundleError, match="has changed"):
        settled(tiny_run, teacher=str(tmp_path / "damaged"))


def test_the_engine_is_one_that_can_run_here(tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    assert settled(tiny_run).engine == "onnxruntime"
    assert settled(tiny_run, hidden=0.5).engine == "paddle"
    find = teaching.importlib.util.find_spec
    monkeypatch.setattr(teaching.importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else find(name))
    assert settled(tiny_run).engine == "paddle_inference"
    monkeypatch.setattr(teaching.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BundleError, match=r"no engine of the teacher .* can run here"):
        settled(tiny_run)


def student(run: TinyRun, folder: Path, **changes: Any) -> Recipe:
    (folder / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (folder / "more.txt").write_text("\n".join(FURTHER) + "\n", encoding="utf-8")
    plain = {
        "data": {"train": str(folder / "train.tsv")},
        "text": {"extra_rows": 0, "max_length": 32},
        "model": {"options": {"filters": 8, "ngram_buckets": 64}},
        "train": {"epochs": 4, "batch_size": 16, "checkpoint_seconds": 0},
        "distill": {"teacher": str(run.folder), "unlabelled": [str(folder / "more.txt")], "hidden": 0.2},
        "export": {"engines": []},
    }
    return Recipe.from_dict({**plain, **changes})


class KilledError(Exception):
    pass


def kill_at_second_epoch(event: Any) -> None:
    if event["event"] == "early_stopping" and event["epoch"] > 1.5:
        raise KilledError


def test_a_run_that_was_cut_ends_with_the_same_weights_and_needs_no_second_asking(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = student(tiny_run, tmp_path)
    whole = train(recipe, tmp_path / "whole").bundle
    with pytest.raises(KilledError):
        train(recipe, tmp_path / "cut", listeners=[kill_at_second_epoch])
    warmer = dataclasses.replace(recipe, distill=dataclasses.replace(recipe.distill, temperature=3.0))
    with pytest.raises(RecipeError, match=r"distill\.temperature: 2\.0 in the checkpoint, 3\.0 now"):
        train(warmer, tmp_path / "cut", resume=True)
    monkeypatch.setattr(teaching, "_asked", lambda *_: pytest.fail("the teacher was asked again"))
    cut = train(recipe, tmp_path / "cut", resume=True).bundle
    weights = [(bundle / "weights.safetensors").read_bytes() for bundle in (whole, cut)]
    assert weights[0] == weights[1]
    assert not (tmp_path / "cut.checkpoints").exists()
    assert b"teacher_map" not in weights[0]


def test_the_bundle_says_who_taught_it(tiny_run: TinyRun, tmp_path: Path) -> None:
    result = train(student(tiny_run, tmp_path), tmp_path / "run")
    manifest = json.loads((result.bundle / "bundle.json").read_text(encoding="utf-8"))
    teacher, theirs = manifest["teacher"], json.loads((tiny_run.bundle / "bundle.json").read_text(encoding="utf-8"))
    assert teacher["name"] == "run/bundle"
    assert teacher["weights_sha256"] == theirs["files"]["weights.safetensors"]
    assert teacher["metrics"] == theirs["metrics"]
    assert (teacher["temperature"], teacher["alpha"], teacher["hidden"], teacher["unlabelled"]) == (2.0, 0.7, 0.2, 2)
    assert teacher["unlabelled_files"]["names"] == ["more.txt"]
    assert 0 <= teacher["dev"]["agreement"] <= 1
    assert teacher["dev"]["divergence"] >= 0
    assert manifest["recipe"]["distill"]["teacher"] == "run"
    assert str(tmp_path) not in json.dumps(manifest)
    assert result.metrics["teacher"]["agreement"] == teacher["dev"]["agreement"]
    told = [text for _, text in findings(read_run(result.run_dir)) if text.startswith("distilled from run/bundle")]
    assert len(told) == 1
    events = [json.loads(line) for line in (result.run_dir / "record.jsonl").read_text(encoding="utf-8").splitlines()]
    (event,) = (event for event in events if event["event"] == "teacher")
    assert event["asked"]["texts"] == len(ROWS) + 2
    assert event["unlabelled"] == 2
    groups = next(event for event in events if event["event"] == "groups")
    assert groups["table"][-1]["name"] == "teacher_map"


def test_a_student_that_gives_no_vectors_is_refused_before_the_teacher_is_asked(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(teaching, "_asked", lambda *_: pytest.fail("the teacher was asked"))
    recipe = student(tiny_run, tmp_path, model={"name": "encoder"})
    with pytest.raises(RecipeError, match="the student encoder gives no vector of a text"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_paths_of_a_recipe_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("distill: {teacher: runs/t, unlabelled: [a.txt, /b.txt], answers: x.safetensors}\n")
    spec = Recipe.load(tmp_path / "recipe.yaml").distill
    assert spec is not None
    assert spec.teacher == str(tmp_path / "runs" / "t")
    assert spec.unlabelled == (str(tmp_path / "a.txt"), "/b.txt")
    assert spec.answers == str(tmp_path / "x.safetensors")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0}, "distill.alpha must be above 0 and at most 1, got 0"),
        ({"alpha": 1.2}, "distill.alpha must be .* got 1.2"),
        ({"temperature": 0}, "distill.temperature must be above 0 .* got 0"),
        ({"temperature": float("inf")}, "distill.temperature must be a finite number"),
        ({"hidden": -1}, "distill.hidden must be 0 or more, got -1"),
        ({"recombined": -1}, "distill.recombined must be 0 or more, got -1"),
        ({"recombined": 1_000_001}, "distill.recombined must be at most 1,000,000, got 1000001"),
        ({"teacher": ""}, "distill.teacher must be the path of a bundle"),
        ({"unlabelled": [""]}, "distill.unlabelled must be"),
        ({"unlabelled": "a.txt"}, "distill.unlabelled"),
    ],
)
def test_illegal_values_name_themselves(options: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Recipe.from_dict({"distill": {"teacher": "t", **options}})
