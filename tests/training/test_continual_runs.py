"""Runs that learn on: what the bundle keeps, what the next one does with it, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune import Recipe, train
from paddlenlp_embtune.bundle import Bundle, other_heads, read_bundle_weights, read_fisher, read_stored_examples, write_fisher
from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.export import bundle_of_head, edit_bundle
from paddlenlp_embtune.report import write_report
from paddlenlp_embtune.training import run as run_module
from tests.helpers import ROWS, tsv

NEW = [(text.replace("公司", "门店☕"), label) for text, label in ROWS if label != "中性"]


def recipe(folder: Path, data: str, **parts: Any) -> Recipe:
    plain: dict[str, Any] = {
        "data": {"train": str(folder / data)},
        "text": {"extra_rows": 0, "max_length": 32},
        "model": {"options": {"filters": 8, "ngram_buckets": 64}},
        "train": {"epochs": 2, "batch_size": 16},
        "freeze": None,
        "health": None,
        "evaluation": {"baseline": None},
        "export": {"engines": []},
    }
    return Recipe.from_dict({**plain, **parts})


def going_on(folder: Path, start: Path, data: str = "new.tsv", **continual: Any) -> Recipe:
    return recipe(folder, data, model={"start": str(start)}, continual=continual)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of two tasks, and the bundle of the first, which keeps everything."""
    folder = tmp_path_factory.mktemp("continual")
    (folder / "old.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (folder / "new.tsv").write_text(tsv(NEW), encoding="utf-8")
    kept = {"examples": 12, "fisher": True, "task": "news", "fisher_rows": 8}
    train(recipe(folder, "old.tsv", continual=kept), folder / "first")
    train(recipe(folder, "old.tsv"), folder / "bare")
    return folder


def events(run: Path) -> dict[str, dict[str, Any]]:
    lines = (run / "record.jsonl").read_text(encoding="utf-8").splitlines()
    return {event["event"]: event for event in map(json.loads, lines)}


def test_a_bundle_keeps_what_the_recipe_lets_it(place: Path) -> None:
    bundle = Bundle.open(place / "first" / "bundle")
    kept = read_stored_examples(bundle)
    assert len(kept) == 12
    assert {(each.text, each.label) for each in kept} <= set(ROWS)
    assert {each.task for each in kept} == {"news"}
    fisher = read_fisher(bundle)
    assert fisher is not None
    weights = read_bundle_weights(bundle.path)
    assert {name: values.shape for name, values in fisher.items()} == {name: weights[name].shape for name in fisher}
    assert "ngram_table" not in fisher
    (task,) = bundle.manifest.continual["tasks"]
    assert (task["name"], task["start"], task["labels"]) == ("news", None, list(bundle.manifest.labels))


def test_all_methods_together(place: Path) -> None:
    methods = ["replay", "lwf", "ewc", "l2sp", "average"]
    first = Bundle.open(place / "first" / "bundle")
    train(going_on(place, place / "first", method=methods, examples=10, selection="herding", task="shops"), place / "second")
    second = Bundle.open(place / "second" / "bundle")
    assert second.manifest.labels == first.manifest.labels  # the new rows lack one of them
    told = events(place / "second")
    assert 0 < told["continual"]["replayed"] <= 12  # not those that are held out of the new rows
    assert told["penalty"]["value"] > 0
    assert 0 < told["interpolated"]["new_share"] <= 1
    assert {each.task for each in read_stored_examples(second)} == {"news", "shops"}
    tasks = second.manifest.continual["tasks"]
    assert [task["name"] for task in tasks] == ["news", "shops"]
    assert tasks[1]["start"]["bundle"] == first.fingerprint
    fisher = read_fisher(second)
    former = read_fisher(first)
    assert fisher is not None
    assert former is not None
    rows = len(former["embedding.weight"])
    assert (fisher["embedding.weight"][:rows] >= former["embedding.weight"]).all()


def test_a_sequence_is_measured_and_shown(place: Path) -> None:
    sets = {"news": str(place / "old.tsv"), "shops": str(place / "new.tsv")}
    train(recipe(place, "old.tsv", continual={"task": "news", "measure": sets}), place / "a", overwrite=True)
    train(going_on(place, place / "a", task="shops", method="l2sp", measure=sets), place / "b", overwrite=True)
    told = Bundle.open(place / "b" / "bundle").manifest.continual
    before, after = (task["accuracies"] for task in told["tasks"])
    assert told["sequence"]["tasks"] == ["news", "shops"]
    assert told["sequence"]["backward_transfer"] == pytest.approx(after["news"] - before["news"])
    assert events(place / "b")["tasks"]["accuracies"] == after
    page = write_report(place / "b").read_text(encoding="utf-8")
    assert "Tasks learnt" in page
    assert f"{after['shops']:.1%}" in page
    assert "Tasks learnt" not in write_report(place / "bare").read_text(encoding="utf-8")


def test_rows_that_are_measured_have_labels_of_the_bundle(place: Path) -> None:
    (place / "foreign.tsv").write_text(tsv([("x", "外")]), encoding="utf-8")
    with pytest.raises(DataError, match=r"continual\.measure has the label '外', which the bundle will not give"):
        run_module.prepare(recipe(place, "old.tsv", continual={"measure": {"1": str(place / "foreign.tsv")}}))


def test_characters_that_are_new_become_tokens_behind_the_others(place: Path) -> None:
    first = Bundle.open(place / "first" / "bundle")
    prepared = run_module.prepare(going_on(place, place / "first"))
    assert "☕" not in first.vocabulary
    assert prepared.tokenizer.vocabulary.tokens[: len(first.vocabulary)] == first.vocabulary.tokens
    assert "☕" in prepared.tokenizer.vocabulary
    without = run_module.prepare(going_on(place, place / "first", new_tokens=False))
    assert len(without.tokenizer.vocabulary) == len(first.vocabulary)


def test_new_labels_come_behind_the_former_ones(place: Path) -> None:
    (place / "more.tsv").write_text(tsv([(f"{text}吗", "提问") for text, _ in ROWS[:20]] + NEW), encoding="utf-8")
    run = train(
        going_on(place, place / "first", "more.tsv", method=["replay", "lwf", "ewc"], new_labels=["提问"]), place / "third"
    )
    first, third = Bundle.open(place / "first" / "bundle"), Bundle.open(run.bundle)
    assert third.manifest.labels == (*first.manifest.labels, "提问")
    fisher = read_fisher(third)
    assert fisher is not None
    assert fisher["head.weight"].shape == (8, 4)


def test_labels_by_another_name_are_mapped(place: Path) -> None:
    names = {"利好": "up", "利空": "down"}
    (place / "named.tsv").write_text(tsv([(text, names[label]) for text, label in NEW]), encoding="utf-8")
    prepared = run_module.prepare(going_on(place, place / "first", "named.tsv", label_map={"up": "利好", "down": "利空"}))
    assert set(prepared.train.labels) == {"利好", "利空"}
    assert prepared.labels == Bundle.open(place / "first" / "bundle").manifest.labels


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ({}, "which .*first.* does not know; it has 中性, 利好, 利空; add it with continual.new_labels: .*label_map"),
        ({"new_labels": ["中性"]}, "continual.new_labels has '中性', which .* knows already"),
        ({"new_labels": ["up", "down", "else"]}, "has no row of 'else', which continual.new_labels adds"),
        (
            {"label_map": {"up": "利好了"}},
            "continual.label_map takes 'up' for '利好了', which is no label; did you mean '利好'",
        ),
    ],
)
def test_labels_that_do_not_match_are_refused(place: Path, stated: dict[str, Any], told: str) -> None:
    (place / "odd.tsv").write_text(tsv([(text, "up" if label == "利好" else "down") for text, label in NEW]), encoding="utf-8")
    with pytest.raises(DataError, match=told):
        run_module.prepare(going_on(place, place / "first", "odd.tsv", method="l2sp", **stated))


def test_methods_need_what_the_bundle_keeps(place: Path) -> None:
    with pytest.raises(RecipeError, match=r"keeps no examples; train it again with continual: \{examples: 1000\}"):
        run_module.prepare(going_on(place, place / "bare", method="replay"))
    with pytest.raises(RecipeError, match=r"keeps no Fisher information; train it again with continual: \{fisher: true\}"):
        train(going_on(place, place / "bare", method="ewc"), place / "refused")
    with pytest.raises(RecipeError, match=r"continual.task is 'news', the name of a task that .* has learnt"):
        run_module.prepare(going_on(place, place / "first", task="news"))
    assert not (place / "refused").exists()


def test_fisher_information_of_another_architecture_is_refused(place: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(place / "first" / "bundle")
    with edit_bundle(bundle, tmp_path / "odd") as builder:
        builder.tokenizer  # noqa: B018 - has the files copied
        write_fisher(builder.folder, {"convolution.weight": np.ones((3, 3), np.float32)})
    told = r"of another architecture: it has 'convolution.weight' of shape \[3, 3\], the bundle has \["
    with pytest.raises(RecipeError, match=told):
        train(going_on(place, tmp_path / "odd", method="ewc"), tmp_path / "refused")


def test_without_continual_nothing_is_kept_and_nothing_changes(place: Path) -> None:
    bare, first = Bundle.open(place / "bare" / "bundle"), Bundle.open(place / "first" / "bundle")
    assert not bare.manifest.continual
    assert not [name for name in bare.manifest.files if name.startswith("continual/")]
    assert bare.manifest.files["weights.safetensors"] == first.manifest.files["weights.safetensors"]


def test_a_run_that_is_cut_continues_bit_equal(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = going_on(place, place / "first", method=["replay", "lwf", "ewc", "average"], examples=10).to_dict()
    plain["train"]["checkpoint_seconds"] = 0
    stated = Recipe.from_dict(plain)
    whole = train(stated, tmp_path / "whole")

    class CutError(Exception):
        pass

    from paddlenlp_embtune.compat import TrainerCallback

    class Stops(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 5:
                raise CutError

    with pytest.raises(CutError):
        train(stated, tmp_path / "cut", callbacks=[Stops()])
    again = train(stated, tmp_path / "cut", resume=True)
    for name in ("weights.safetensors", "continual/fisher.safetensors", "continual/examples.jsonl"):
        assert (whole.bundle / name).read_bytes() == (again.bundle / name).read_bytes(), name
    stronger = going_on(place, place / "first", method=["replay", "lwf", "ewc", "average"], strength={"ewc": 5.0}, examples=10)
    assert run_module.run_identity(run_module.prepare(stated)) != run_module.run_identity(run_module.prepare(stronger))


def test_a_label_set_of_its_own_has_a_head_and_the_former_one_is_kept(place: Path, tmp_path: Path) -> None:
    topics = [(text, "银行业" if "银行" in text else "其他") for text, _ in ROWS]
    (tmp_path / "topics.tsv").write_text(tsv(topics), encoding="utf-8")
    kept = {"examples": 10, "fisher": True, "fisher_rows": 4}
    stated = going_on(
        tmp_path, place / "first", "topics.tsv", method=["multitask", "lwf", "ewc", "replay"], task="topics", **kept
    )
    second = Bundle.open(train(stated, tmp_path / "second").bundle)
    first = Bundle.open(place / "first" / "bundle")
    assert second.manifest.labels == ("其他", "银行业")
    assert other_heads(second) == {"news": first.manifest.labels}
    assert second.manifest.continual["head"] == "topics"
    assert {each.task for each in read_stored_examples(second)} == {"news", "topics"}

    back = bundle_of_head(second, "news", tmp_path / "back")
    assert back.manifest.labels == first.manifest.labels
    old, new, here = (read_bundle_weights(each.path) for each in (first, second, back))
    np.testing.assert_array_equal(here["head.weight"], old["head.weight"])
    np.testing.assert_array_equal(here["ngram_table"], old["ngram_table"])
    np.testing.assert_array_equal(here["convolution.weight"], new["convolution.weight"])

    again = train(
        going_on(place, tmp_path / "second", method=["multitask", "l2sp", "average"], task="more"), tmp_path / "third"
    )
    third = Bundle.open(again.bundle)
    assert third.manifest.labels == first.manifest.labels  # the kept head of that label set answers again
    assert other_heads(third) == {"topics": second.manifest.labels}
    assert third.manifest.continual["head"] == "news"


def test_the_same_label_set_shares_a_head(place: Path) -> None:
    prepared = run_module.prepare(going_on(place, place / "first", method="multitask"))
    assert prepared.labels == Bundle.open(place / "first" / "bundle").manifest.labels
    assert prepared.continuation is not None
    assert prepared.continuation.head is None


def test_labels_of_two_heads_at_once_are_refused(place: Path) -> None:
    (place / "mixed.tsv").write_text(
        tsv([(text, "利好" if label == "利好" else "down") for text, label in NEW]), encoding="utf-8"
    )
    with pytest.raises(DataError, match=r"has labels of the head of .* \(利好\) and others \(down\)"):
        run_module.prepare(going_on(place, place / "first", "mixed.tsv", method="multitask"))
