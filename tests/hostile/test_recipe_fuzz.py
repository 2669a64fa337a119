"""Recipes, domains and settings that somebody broke on purpose: only errors of the package, in bounded time and memory."""

from __future__ import annotations

import copy
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from paddlenlp_embtune import Domain, EmbtuneError, Recipe
from paddlenlp_embtune.cli._store import select_term_groups
from paddlenlp_embtune.models import build_model
from paddlenlp_embtune.server.settings import ServerSettings
from tests.helpers import Run, error_of

_SECONDS = 5.0  # of one recipe, on a busy machine
_MOST_BYTES = 400 << 20

WHOLE: dict[str, Any] = {
    "domain": "finance",
    "seed": 7,
    "data": {"train": "train.tsv", "dev": "dev.tsv", "labels": ["a", "b"], "dev_ratio": 0.2, "skip_empty": True},
    "text": {"tokenizer": "char", "terms": "t.txt", "min_count": 2, "max_length": 64, "windows": {"overlap_tokens": 4}},
    "vectors": {"source": "./x.vec", "dimension": 64, "rms": 0.1, "fallbacks": ["case"]},
    "model": {"name": "textcnn", "options": {"filters": 8, "window": 3, "ngram_buckets": 16, "dropout": 0.1}},
    "groups": [{"name": "all", "rate": 1e-3, "schedule": {"kind": "plateau", "plateau": {"metric": "loss", "mode": "min"}}}],
    "train": {"epochs": 3, "batch_size": 8, "eval_batch_size": 8, "class_balance": 0.5, "checkpoint_seconds": 5.0},
    "freeze": {"groups": ["all"], "unfreeze_at_epoch": 1, "gradual": True, "every_epochs": 1},
    "rows": {"protect": ["的", 3], "trust_cosine": 0.5},
    "clip": {"global_norm": 0.5, "group_norms": {"all": 0.1}},
    "early_stopping": {"metric": "loss", "mode": "min", "patience_evals": 2, "divergence_ratio": 5.0},
    "average": {"kind": "ema", "decay": 0.9, "every_steps": 1},
    "health": {"every_epochs": 1, "alarms": {"drift": {"measure": "cosine_drift_mean", "above": 0.3}}},
    "adapter": {"kind": "lora", "rank": 4, "alpha": 8.0},
    "regularization": {"r_drop": 1.0, "adversarial": {"kind": "freelb", "steps": 2}},
    "distill": {"teacher": "t", "temperature": 2.0, "unlabelled": ["a.txt"]},
    "export": {"engines": ["onnxruntime"], "target_precision": 0.9, "int8": "static"},
}


def _nested(levels: int) -> Any:
    value: Any = "x"
    for _ in range(levels):
        value = [value] if levels % 2 else {"a": value}
    return value


ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**12,
    10**400,
    0.5,
    1e300,
    -1e300,
    1e-320,
    float("nan"),
    float("inf"),
    "",
    "abc",
    "nan",
    "1e400",
    ":x:",
    "[bold]x[/]",
    "\x1b[31m",
    "a" * 20_000,
    [],
    [[]],
    [None],
    ["a"] * 1_000,
    list(range(1_000)),
    {},
    {"a": {}},
    {1: 2},
    {None: None},
    {True: 1, False: 2},
    _nested(20),
    _nested(90),
    "2020-01-01",
)


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in ((*path, key), *_places(item, (*path, key)))]


PLACES = _places(WHOLE)


def _mutated(chance: random.Random) -> dict[str, Any]:
    """A recipe of some parts, with one to three of its values replaced, renamed or dropped."""
    kept = chance.sample(list(WHOLE), chance.randint(1, 6))
    recipe: dict[str, Any] = {name: copy.deepcopy(WHOLE[name]) for name in kept}
    for path in chance.choices([path for path in PLACES if path[0] in kept], k=chance.randint(1, 3)):
        holder: Any = recipe
        try:
            for key in path[:-1]:
                holder = holder[key]
            change = chance.random()
            if change < 0.85:
                holder[path[-1]] = copy.deepcopy(chance.choice(ODD))
            elif change < 0.95 and isinstance(holder, dict):
                holder[chance.choice(["x", 1, None, f"{path[-1]}s"])] = holder.pop(path[-1])
            else:
                del holder[path[-1]]
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    return recipe


def _scrambled(text: str, chance: random.Random) -> str:
    """The text of a recipe with a line twice, a line gone, or characters of YAML strewn in."""
    lines = text.splitlines()
    change = chance.random()
    if change < 0.4:
        at = chance.randrange(len(lines))
        lines.insert(chance.randrange(len(lines) + 1), lines[at])
    elif change < 0.6:
        del lines[chance.randrange(len(lines))]
    else:
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(len(lines))
            cut = chance.randint(0, len(lines[at]))
            lines[at] = (
                lines[at][:cut]
                + chance.choice(
                    ["&a ", "*a", "!!int ", "!!bool ", "<<: ", "? ", "[", "}", "\t", "'", "- ", "|", "\x00", "\ud800"]
                )
                + lines[at][cut:]
            )
    return "\n".join(lines)


def _resident() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _load_and_build(file: Path) -> None:
    recipe = Recipe.load(file)
    recipe.fingerprint()
    options = recipe.model.options
    if recipe.model.name != "textcnn" or any(isinstance(value, int) and value > 10_000 for value in options.values()):
        return
    build_model("textcnn", vocabulary_size=8, dimension=4, num_labels=2, options=options)


def _try(call: Callable[[], object], what: object) -> bool:
    """Whether something is refused; any error but one of the package, a long message and a long time are failures."""
    started = time.perf_counter()
    try:
        call()
        refused, length = False, 0
    except EmbtuneError as error:
        refused, length = True, len(str(error))
    except Exception as error:
        raise AssertionError(f"{type(error).__name__}: {error} of {str(what)[:2_000]}") from error
    assert length < 4_000, what
    assert time.perf_counter() - started < _SECONDS, str(what)[:2_000]
    return refused


@pytest.mark.parametrize("tries", [200, pytest.param(2_000, marks=pytest.mark.slow)])
def test_mutated_recipes_give_errors_of_the_package_alone(tries: int, tmp_path: Path) -> None:
    chance, refused = random.Random(tries), 0
    file = tmp_path / "recipe.yaml"
    before = _resident()
    for number in range(tries):
        text = yaml.safe_dump(_mutated(chance), allow_unicode=True, sort_keys=False)
        if number % 4 == 0:
            text = _scrambled(text, chance)
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        refused += _try(lambda: _load_and_build(file), text)
    assert _resident() - before < _MOST_BYTES
    assert tries // 2 < refused < tries


def test_mutated_values_from_python_too() -> None:
    chance = random.Random(17)
    refused = 0
    for _ in range(500):
        value = _mutated(chance)
        refused += _try(lambda value=value: Recipe.from_dict(value).fingerprint(), value)
    assert 250 < refused < 500


def _self_referring() -> list[Any]:
    held: list[Any] = []
    held.append(held)
    mapping: dict[str, Any] = {}
    mapping["a"] = mapping
    wide: Any = ["x"] * 10
    for _ in range(12):
        wide = [wide] * 10
    return [held, mapping, wide]


@pytest.mark.parametrize("value", _self_referring(), ids=["list", "mapping", "wide"])
def test_values_that_hold_themselves(value: Any) -> None:
    for recipe in ({"model": {"options": {"a": value}}}, {"rows": {"protect": value}}, {"domain": value}, value):
        assert _try(lambda recipe=recipe: Recipe.from_dict(recipe).fingerprint(), "a value that holds itself")


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{former}'] * 10)}]\n" for former, name in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"model: {{options: {{}}}}\n{BOMB}", "aliases are expanded"),
        ("rows: &a {protect: [*a]}", "alias to a node that encloses it"),
        ("domain: " + "[" * 100_000, "nests deeper"),
        ("seed: " + "9" * 5_000, "not valid YAML"),
        ("clip: {global_norm: " + "9" * 400 + "}", "clip.global_norm must be a finite number"),
        (
            "train: {epochs: 3}\ndata: {train: a.tsv}\ntrain: {epochs: 4}",
            "'train' twice in one mapping, on line 1 and on line 3",
        ),
        ("early_stopping:\n  patience_evals: 3\n  metric: loss\n  patience_evals: 9", "line 2 and on line 4"),
        ("groups:\n- name: a\n  rate: 1.0e-3\n  rate: 2.0e-3", "'rate' twice"),
        ("data: {yes: 1, true: 2}", "twice in one mapping"),
        ("text: {max_length: 1000000000000}", "text.max_length must be at most 65,536, got 1000000000000"),
        ("vectors: {dimension: 1000000000000}", "vectors.dimension must be at most 65,536"),
        ("train: {batch_size: 1000000000000}", "train.batch_size must be at most 1,000,000"),
        ("early_stopping: {patience_evals: 10000000000000}", "patience_evals must be at most"),
        ("vectors: {rms: .nan}", "vectors.rms must be a finite number"),
        ("groups: [{name: a, rate: .inf}]", "rate must be a finite number"),
        ("a" * 2_000_000, "larger than the limit of 1,048,576 bytes"),
    ],
)
def test_recipes_that_are_refused_in_a_line(text: str, told: str, tmp_path: Path, run: Run) -> None:
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8")
    line = error_of(run("train", tmp_path / "r.yaml", "--out", tmp_path / "run"), 2)
    assert told in line
    assert len(line) < 1_500


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"filters": "abc"}, "model.options.filters must be a whole number, got str 'abc'"),
        ({"filters": [1]}, "must be a whole number"),
        ({"filters": True}, "must be a whole number"),
        ({"filters": 2.0}, "must be a whole number"),
        ({"filters": 10**11}, "at most 65,536"),
        ({"ngram_buckets": 10**11}, "at most 16,777,216"),
        ({"window": 10**12}, "at most 1,024"),
        ({"dropout": "half"}, "must be a number"),
        ({"dropout": float("nan")}, "must be a finite number"),
        ({"dropout": 10**400}, "must be a finite number"),
        ({"filters": None}, "must be a whole number"),
    ],
)
def test_options_of_a_model_are_checked_before_it_is_built(options: dict[str, Any], told: str) -> None:
    with pytest.raises(EmbtuneError, match=told):
        build_model("textcnn", vocabulary_size=8, dimension=4, num_labels=2, options=options)


@pytest.mark.parametrize("size", [[2], "3", True, 0, 10**12, 2.0, None])
def test_sizes_of_a_model_are_checked_too(size: Any) -> None:
    with pytest.raises(EmbtuneError, match="num_labels of the model 'textcnn' must be a whole number"):
        build_model("textcnn", vocabulary_size=8, dimension=4, num_labels=size, options={})


def test_mutated_domains_settings_and_groups(tmp_path: Path) -> None:
    chance = random.Random(18)
    domain = {
        "name": "d",
        "labels": ["a", "b"],
        "ordered": True,
        "term_groups": {"g": ["x"]},
        "lexicon": {"x": 1.0},
        "bundle": "b",
    }
    settings = ServerSettings(models={"m": "/b"}).to_json()
    file = tmp_path / "groups.yaml"
    for _ in range(400):
        changed = {**domain, chance.choice(list(domain)): copy.deepcopy(chance.choice(ODD))}
        _try(lambda changed=changed: Domain(**changed), changed)
        at = chance.randrange(len(settings))
        broken = settings[:at] + chance.choice(["", "{", "[" * 200, '"', "NaN", "9" * 5_000, "null"]) + settings[at + 1 :]
        _try(lambda broken=broken: ServerSettings.from_json(broken), broken)
        groups = yaml.safe_dump({"g": copy.deepcopy(chance.choice(ODD)), "h": ["x"]}, allow_unicode=True)
        file.write_text(
            _scrambled(groups, chance) if chance.random() < 0.5 else groups, encoding="utf-8", errors="surrogatepass"
        )
        _try(lambda: select_term_groups(file, None, ()), groups)
