from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune import Recipe, RecipeError
from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.config.recipe import FreezeSpec, GroupSpec, TrainSpec

FULL: dict[str, Any] = {
    "domain": "finance",
    "seed": 7,
    "data": {
        "train": "/data/train.tsv",
        "dev": "/data/dev.csv",
        "text_column": "正文: #1",
        "label_column": "yes",
        "labels": ["强烈利空", "no", "1", "null", " 中性 "],
        "ordered": True,
        "dev_ratio": 0.25,
        "skip_empty": True,
        "weight_column": "权重",
        "encoding": "gb18030",
        "quoting": "csv",
        "delimiter": "|",
        "header": True,
        "sheet": "Sheet1",
        "limit": 1000,
        "label_separator": None,
    },
    "labels": {"kind": "ordered", "names": ["强烈利空", "no", "1", "null", " 中性 "]},
    "augmentation": {
        "copies": 2,
        "lexicon": "/synonyms.txt",
        "synonyms": 0.1,
        "insertion": 0.2,
        "swap": 0.3,
        "deletion": 0.4,
        "homophones": 0.5,
        "homophone_table": "/homophones.txt",
        "lookalikes": 0.6,
        "lookalike_table": "/lookalikes.txt",
        "masked": 0.7,
        "encoder": "/encoder",
        "protected": "/protected.txt",
    },
    "text": {
        "tokenizer": "sentencepiece",
        "vocabulary": "/models/pieces.model",
        "terms": "/terms.txt",
        "lowercase": False,
        "min_count": 3,
        "pieces": 4000,
        "extra_rows": 0,
        "max_length": 64,
        "windows": {"overlap_tokens": 8, "aggregate": "max"},
        "cleaning": ["markup", "urls"],
    },
    "vectors": {
        "source": "/vectors.npz",
        "format": "npz",
        "tokens": "/tokens.txt",
        "tensor": "table",
        "fallbacks": ["case", "pieces"],
        "dimension": 64,
        "damaged": "skip",
        "rms": 1e-07,
        "versions": False,
    },
    "model": {
        "name": "textcnn",
        "encoder": None,
        "start": None,
        "experts": None,  # not without model.encoder
        "options": {"filters": 8, "kernels": [2, 3], "deep": {"a": None, "b": "5e-5"}},
    },
    "groups": [
        {
            "name": "embedding",
            "parameters": ["embedding.*"],
            "layers": None,
            "depths": None,
            "rate": 5e-5,
            "weight_decay": 0.0,
            "decay_bias_and_norm": True,
            "schedule": {"kind": "constant", "warmup_ratio": 0.1, "plateau": None, "factor": 0.5, "floor": 0.01},
        },
        {
            "name": "rest",
            "parameters": None,
            "layers": None,
            "depths": None,
            "rate": 1e-3,
            "weight_decay": 0.01,
            "decay_bias_and_norm": False,
            "schedule": None,
        },
    ],
    "layerwise": None,
    "train": {
        "epochs": 3,
        "batch_size": 8,
        "accumulation_steps": 2,
        "recompute": True,
        "precision": "auto",
        "loss_options": {"gamma": 1.5},
        "effective_numbers": 0.999,
        "class_weights": None,
        "eval_batch_size": 16,
        "loss": "cross_entropy",
        "class_balance": 0.25,
        "checkpoint_seconds": 5.0,
    },
    "schedule": {
        "kind": "plateau",
        "warmup_ratio": 0.0,
        "plateau": {"metric": "loss", "mode": "min", "min_delta": 0.01, "patience_evals": 2},
        "factor": 0.3,
        "floor": 0.1,
    },
    "freeze": {
        "groups": ["embedding"],
        "unfreeze_at_epoch": 2,
        "unfreeze_at_step": None,
        "unfreeze_on_plateau": {"metric": "f1_macro", "mode": "max", "min_delta": 0.0, "patience_evals": 3},
        "permanent": False,
        "gradual": True,
        "every_epochs": 1,
        "every_steps": None,
        "refreeze_at_epoch": None,
        "refreeze_at_step": None,
        "warmup_steps": 7,
        "cached": False,
    },
    "rows": {"train": None, "protect": ["的", 3], "trust_cosine": 0.5, "trust_every_steps": 4, "parameter": None},
    "sparse": {"from_rows": 5000},
    "clip": {"global_norm": 0.5, "group_norms": {"embedding": 0.1}, "row_norm": None},
    "early_stopping": {
        "metric": "loss",
        "mode": "min",
        "min_delta": 1e-4,
        "patience_evals": 2,
        "standard_errors": 1.0,
        "start_delay_evals": 1,
        "divergence_ratio": None,
        "restore_best": False,
    },
    "average": {
        "kind": "swa",
        "decay": 0.9,
        "every_steps": 1,
        "start_epoch": 1,
        "metric": "accuracy",
        "mode": "max",
    },
    "health": {
        "every_epochs": 2,
        "geometry_every_steps": 50,
        "gradient_every_steps": 4,
        "drift_alarm": 1.5,
        "alarms": {
            "drift": {
                "measure": "cosine_drift_mean",
                "above": 0.3,
                "below": None,
                "clear": 0.2,
                "after_evals": 0,
                "action": "lower_rate",
                "factor": 0.5,
                "row_drift": 0.5,
                "advice": "",
            },
            "unknown": None,
        },
    },
    "adapter": {
        "kind": "lora",
        "rank": 4,
        "alpha": 8.0,
        "dropout": 0.1,
        "targets": ["q_proj"],
        "tokens": None,
        "bottleneck": None,
        "train_embedding": True,
        "train_norms": False,
        "train_pooler": False,
    },
    "regularization": {
        "embedding_dropout": 0.1,
        "label_smoothing": 0.2,
        "r_drop": 2.0,
        "adversarial": {"kind": "freelb", "epsilon": 0.4, "step_size": 0.2, "steps": 2},
        "mixup": None,
    },
    "distill": {
        "teacher": "/runs/teacher/bundle",
        "temperature": 3.0,
        "alpha": 0.5,
        "unlabelled": ["/a.txt", "/b.jsonl"],
        "hidden": 0.1,
        "answers": "/answers.safetensors",
        "recombined": 10,
    },
    "continual": None,  # not without model.start
    "retrieval": None,  # not beside distill
    "tuning": None,  # not without model.encoder
    "contrastive": None,  # not beside distill
    "self_training": None,  # not without model.encoder
    "evaluation": {"baseline": "fasttext"},
    "export": {"engines": ["onnxruntime"], "calibrate": True, "target_precision": 0.9, "int8": "dynamic"},
    "report_to": ["visualdl"],
}


def load(content: str | bytes, folder: Path) -> Recipe:
    (folder / "recipe.yaml").write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return Recipe.load(folder / "recipe.yaml")


def changed(path: str, value: Any) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return {first: changed(rest, value) if rest else value}


def test_full_recipe_is_full() -> None:
    assert set(FULL) == {field.name for field in dataclasses.fields(Recipe)}
    assert Recipe.from_dict(FULL).to_dict() == FULL


@pytest.mark.parametrize("value", [FULL, {}, dict.fromkeys(["freeze", "clip", "early_stopping", "health", "groups", "domain"])])
def test_yaml_round_trip(value: dict[str, Any], tmp_path: Path) -> None:
    recipe = Recipe.from_dict(value)
    recipe.save(tmp_path / "run" / "recipe.yaml")
    again = Recipe.load(tmp_path / "run" / "recipe.yaml")
    assert again == recipe
    assert again.fingerprint() == recipe.fingerprint()
    assert Recipe.from_dict(recipe.to_dict()) == recipe


def test_an_empty_file_is_the_default_recipe(tmp_path: Path) -> None:
    assert load("", tmp_path) == load("# nothing\n", tmp_path) == Recipe()


def test_the_recipe_in_the_box_loads() -> None:
    recipe = Recipe.load(FINANCE / "recipe.yaml")
    assert recipe.domain == "finance"
    assert Path(str(recipe.data.train)).is_file()


@pytest.mark.parametrize(("written", "rate"), [("5e-5", 5e-5), ("5.0e-5", 5e-5), ("1E-3", 1e-3), ("1", 1.0), (".5", 0.5)])
def test_rates_as_people_write_them(written: str, rate: float, tmp_path: Path) -> None:
    recipe = load(f"groups: [{{name: all, rate: {written}}}]", tmp_path)
    assert recipe.groups == (GroupSpec(name="all", rate=rate),)


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ({"trian": {}}, ["recipe has no key 'trian'", "did you mean 'train'"]),
        ({"data": {"text_colum": "x"}}, ["recipe.data has no key 'text_colum'", "did you mean 'text_column'"]),
        ({"freeze": {"unfreeze_at_epochs": 1}}, ["recipe.freeze has no key", "did you mean 'unfreeze_at_epoch'"]),
        (
            {"groups": [{"name": "a", "rate": 1, "weight_deca": 0}]},
            ["groups[0] has no key", "did you mean 'weight_decay'"],
        ),
        ({"groups": [{"name": "a", "rate": 1}, {"nam": "b"}]}, ["recipe.groups[1] has no key 'nam'", "did you mean 'name'"]),
        ({"groups": [{"name": "a"}]}, ["recipe.groups[0] is missing the key 'rate'", "required: name, rate"]),
        ({1: 2}, ["recipe has no key 1"]),
    ],
)
def test_keys_refused(value: dict[Any, Any], parts: list[str]) -> None:
    with pytest.raises(RecipeError) as raised:
        Recipe.from_dict(value)
    for part in parts:
        assert part in str(raised.value)


NAN, INF = float("nan"), float("inf")
GROUP = {"name": "a", "rate": 1e-3}
ILLEGAL: dict[str, list[Any]] = {
    "seed": [-1, 0.5, "7", None, True],
    "data": [None, [], "train.tsv"],
    "data.labels": [[], ["a"], ["a", "a"], "ab", [1, 0], [True, False]],
    "data.dev_ratio": [0, 1, -0.1, 1.5, NAN, "nan", "a tenth", True, None],
    "augmentation.swap": [-0.1, 1.5, NAN, None, "often"],
    "augmentation.synonyms": [0.1],  # without a lexicon
    "augmentation.masked": [0.1, 2],  # without an encoder
    "augmentation.copies": [0, 17, 1.5, None],
    "text.extra_rows": [-1, "2000"],
    "text.pieces": [99, "8000", None],
    "text.vocabulary": ["vocab.txt"],
    "vectors.rms": [0, -0.1, NAN, "x"],
    "vectors.fallbacks": [["stem"], "case"],
    "vectors.dimension": [0, "128"],
    "vectors.damaged": ["repair", None],
    "sparse.from_rows": [-1, None],
    "model.name": [None, 3],
    "model.options": [None, [1], "filters"],
    "groups": [[], {}, "embedding", [None], [GROUP, GROUP], [GROUP, GROUP | {"name": "b"}]],
    "schedule.kind": ["lineer", "", None],
    "schedule.warmup_ratio": [-0.1, 1, NAN],
    "freeze.groups": [[], "embedding", [1]],
    "domain": [1, ["finance"]],
    "clip.global_norm": [0, -1, NAN, None],
    "regularization.mixup.alpha": [0, -1, 101, NAN, None],
    "regularization.mixup.at": ["head", None],
    "report_to": ["visualdl", [1], ["wandb", "wandb"]],
    "early_stopping.mode": ["maximum", "Max", None],
    "early_stopping.metric": [None],
    "early_stopping.min_delta": [-1e-9, NAN],
    "health.drift_alarm": [0, -1, 2.1, NAN],
    "export.engines": ["onnxruntime", [1], None],
}
GROUP_ILLEGAL: dict[str, list[Any]] = {"name": ["", None], "parameters": [[], "embedding.*", [1]], "decay_bias_and_norm": [1]}
GROUP_ILLEGAL |= {"rate": [0, -1e-3, NAN, None, "fast"], "weight_decay": [-0.1, NAN]}
KINDS: list[tuple[list[Any], dict[str, list[str]]]] = [
    ([3, ["a"]], {"data": ["train", "label_column"], "text": ["tokenizer"], "vectors": ["source"], "train": ["loss"]}),
    (["yes", 1, None], {"data": ["skip_empty"], "text": ["lowercase"], "early_stopping": ["restore_best"]}),
    ([0, -1, 1.5, "3", None], {"text": ["min_count", "max_length"]}),
    ([0, -1, 1.5, "3"], {"train": ["epochs", "batch_size", "eval_batch_size"]}),
    ([-0.1, 1.1, INF, None], {"train": ["class_balance"]}),
    ([0, -1, INF, "3"], {"early_stopping": ["patience_evals"]}),
    ([-0.1, INF], {"early_stopping": ["standard_errors"]}),
    ([0, -1, INF], {"health": ["every_epochs"], "freeze": ["unfreeze_at_epoch"]}),
]
ILLEGAL |= {f"{spec}.{key}": values for values, specs in KINDS for spec, keys in specs.items() for key in keys}
CASES = [(path.rpartition(".")[2], changed(path, value)) for path, values in ILLEGAL.items() for value in values]
CASES += [(key, {"groups": [GROUP | {key: value}]}) for key, values in GROUP_ILLEGAL.items() for value in values]


@pytest.mark.parametrize(("name", "value"), CASES, ids=[str(value) for _, value in CASES])
def test_illegal_values_name_themselves(name: str, value: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=name.removesuffix("s")) as raised:
        Recipe.from_dict(value)
    assert any(
        part in str(raised.value)
        for part in ("xpected ", "must be", "required: ", "give ", "leave ", "state ", "only one group")
    )


@pytest.mark.parametrize("value", [{"vectors": {"rms": INF}}, {"groups": [GROUP | {"rate": INF}]}, {"seed": 2**32}], ids=str)
def test_values_that_cannot_be_trained_with(value: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        Recipe.from_dict(value)


@pytest.mark.parametrize("options", [{"epochs": "3"}, {"epochs": 1.5}, {"batch_size": "8"}], ids=str)
def test_kinds_are_checked_at_construction(options: dict[str, Any]) -> None:
    with pytest.raises(RecipeError):
        TrainSpec(**options)


def test_freeze_must_release_within_the_run() -> None:
    with pytest.raises(RecipeError, match=r"freeze\.unfreeze_at_epoch must be below train\.epochs \(3\)"):
        Recipe.from_dict({"train": {"epochs": 3}, "freeze": {"unfreeze_at_epoch": 3}})
    assert Recipe.from_dict({"train": {"epochs": 4}, "freeze": {"unfreeze_at_epoch": 3}}).freeze is not None
    assert Recipe.from_dict({"train": {"epochs": 1}, "freeze": None}).freeze is None


def test_data_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    recipe = load("data: {train: texts/train.tsv, dev: /else/dev.tsv}", tmp_path)
    assert recipe.data.train == str(tmp_path / "texts" / "train.tsv")
    assert recipe.data.dev == "/else/dev.tsv"
    assert load("data: {train: a.tsv}", tmp_path).data.dev is None


def test_other_paths_are_too_and_names_stay(tmp_path: Path) -> None:
    text = "text: {tokenizer: wordpiece, vocabulary: v.txt, terms: terms.txt}\n"
    recipe = load(f"{text}vectors: {{source: x.vec, tokens: /t.txt}}\nmodel: {{start: runs/a/bundle}}\n", tmp_path)
    assert (recipe.text.vocabulary, recipe.text.terms) == (str(tmp_path / "v.txt"), str(tmp_path / "terms.txt"))
    assert (recipe.vectors.source, recipe.vectors.tokens) == (str(tmp_path / "x.vec"), "/t.txt")
    assert recipe.model.start == str(tmp_path / "runs/a/bundle")
    assert load("vectors: {source: lac}", tmp_path).vectors.source == "lac"
    assert load("vectors: {source: ./ernie}", tmp_path).vectors.source == str(tmp_path / "ernie")


NAMED = [
    ("model", "encoder", "./ernie"),
    ("vectors", "source", "./lac"),
    ("model", "encoder", "../lac"),
    ("vectors", "source", "./random"),
]


@pytest.mark.parametrize(("part", "key", "path"), NAMED)
def test_a_path_that_could_be_a_name_stays_one(
    part: str, key: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "a" / "recipe.yaml").write_text(f"{part}: {{{key}: {path}}}", encoding="utf-8")
    monkeypatch.chdir(tmp_path / "a")
    loaded = Recipe.load("recipe.yaml")
    stated = getattr(getattr(loaded, part), key)
    assert stated.startswith(("./", "../"))
    assert Path(stated).resolve() == (tmp_path / "a" / path).resolve()
    loaded.save("saved.yaml")
    loaded.with_paths(lambda given: Path(given).name).save("bare.yaml")
    monkeypatch.chdir(tmp_path / "b")
    again = getattr(getattr(Recipe.load("../a/saved.yaml"), part), key)
    assert Path(again).is_absolute()
    assert Path(again).resolve() == (tmp_path / "a" / path).resolve()
    assert "/" in getattr(getattr(Recipe.load("../a/bare.yaml"), part), key)


def test_what_is_saved_can_be_loaded_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    text = (
        "data: {train: a.tsv, dev: ../b.tsv}\ntext: {terms: t.txt}\nvectors: {source: x.vec, tokens: t.txt}\n"
        "augmentation: {lexicon: s.txt, synonyms: 0.1}\n"
        "distill: {teacher: runs/t, unlabelled: [u.txt, /v.txt], answers: a.safetensors}\nmodel: {start: runs/s}\n"
    )
    (tmp_path / "in" / "recipe.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    loaded = Recipe.load("in/recipe.yaml")
    loaded.save("elsewhere/recipe.yaml")
    monkeypatch.chdir("/")
    again = Recipe.load(tmp_path / "elsewhere" / "recipe.yaml")
    assert again == loaded.relative_to(tmp_path)
    assert again.data.train == str(tmp_path / "in" / "a.tsv")
    assert again.augmentation is not None
    assert again.augmentation.lexicon == str(tmp_path / "in" / "s.txt")
    assert again.distill is not None
    assert again.distill.unlabelled == (str(tmp_path / "in" / "u.txt"), "/v.txt")


def test_the_default_freeze_gives_way() -> None:
    assert Recipe(train=TrainSpec(epochs=1)).freeze is None
    assert Recipe(train=TrainSpec(epochs=2)).freeze == FreezeSpec()
    with pytest.raises(RecipeError, match=r"unfreeze_at_epoch must be below train\.epochs \(1\)"):
        Recipe(train=TrainSpec(epochs=1), freeze=FreezeSpec(groups=("head",)))


def test_fingerprint_follows_the_values_not_the_writing(tmp_path: Path) -> None:
    here = load("seed: 3\ntrain: {epochs: 5}\nmodel: {options: {a: 1, b: 2}}", tmp_path)
    there = load("model: {options: {b: 2, a: 1}}\ntrain: {recompute: no, epochs: 5}\n# same\nseed: 3\nclip: {}", tmp_path)
    assert here.fingerprint() == there.fingerprint()
    prints = {here.fingerprint(), Recipe.from_dict(FULL).fingerprint(), Recipe().fingerprint()}
    assert len(prints | {dataclasses.replace(here, seed=4).fingerprint()}) == 4


NO_RECIPE = ["a: [", "- a\n- b", "text", "domain: !!python/object:os.system {}", "? [1]\n: 2"]


@pytest.mark.parametrize("content", [*NO_RECIPE, "domain: \0", "domain: 涨".encode("gbk")])
def test_not_a_recipe(content: str | bytes, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="recipe"):
        load(content, tmp_path)


@pytest.mark.parametrize("written", ["2024-13-01", "2024-01-31", "1:30", "007", "="])
def test_texts_that_yaml_takes_for_something_else(written: str, tmp_path: Path) -> None:
    assert load(f"data: {{labels: [{written}, other]}}", tmp_path).data.labels == (written, "other")
    with pytest.raises(RecipeError, match="epochs must be a whole number"):
        load(f"train: {{epochs: {written}}}", tmp_path)


@pytest.mark.parametrize("written", ["no", "on", "~", "1", "1.5"])
def test_labels_without_quotes_say_how_to_write_them(written: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"data\.labels\[0\] must be a string.*put the string in quotes"):
        load(f"data: {{labels: [{written}, other]}}", tmp_path)
    assert load(f"data: {{labels: ['{written}', other]}}", tmp_path).data.labels == (written, "other")


@pytest.mark.parametrize("name", ["none.yaml", "."])
def test_unreadable_recipe(name: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="cannot read the recipe"):
        Recipe.load(tmp_path / name)
