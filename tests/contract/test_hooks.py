"""Hooks: their names and contracts, that each is called, and what becomes of a plugin that breaks them."""

from __future__ import annotations

import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from paddlenlp_embtune import Domain, PluginError, Recipe, hookimpl, train
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.cli.main import app
from paddlenlp_embtune.config.recipe import AlarmSpec
from paddlenlp_embtune.plugin import manager, registry, spec
from paddlenlp_embtune.training import TrainingContext
from tests.helpers import QUICK, ROWS, call_main, tsv

HOOKS = manager.hook_names()
REFERENCE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text(encoding="utf-8")
KINDS = {
    "embtune_register_models": "model",
    "embtune_register_encoders": "encoder",
    "embtune_register_losses": "loss",
    "embtune_register_vector_formats": "vector format",
    "embtune_register_exporters": "exporter",
    "embtune_register_engines": "engine",
    "embtune_register_health_metrics": "health metric",
    "embtune_register_alarms": "alarm",
    "embtune_register_report_sections": "report section",
    "embtune_register_trackers": "tracker",
}


def plugin(name: str, **functions: Callable[..., Any]) -> types.SimpleNamespace:
    """A plugin object with marked functions."""
    return types.SimpleNamespace(__name__=name, **{hook: hookimpl(function) for hook, function in functions.items()})


def load(*plugins: object, **options: Any) -> registry.Registry:
    return registry.load(plugins=plugins, installed=False, **options)


@pytest.fixture
def in_force() -> Iterator[Callable[..., registry.Registry]]:
    """Put a registry with the given plugins in force for one test."""
    former = registry.use(None)

    def put(*plugins: object) -> registry.Registry:
        loaded = load(*plugins)
        registry.use(loaded)
        return loaded

    yield put
    registry.use(former)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    (tmp_path / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(QUICK, encoding="utf-8")
    found = Recipe.load(tmp_path / "recipe.yaml")
    # Hooks get the recipe with nothing left open.
    return dataclasses.replace(found, train=found.train.resolved(1, encoder=False))


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_is_named_by_its_verb_documented_and_typed(name: str) -> None:
    hook = getattr(spec, name)
    assert name.removeprefix("embtune_").startswith(("register_", "before_", "after_", "add_"))
    assert inspect.getdoc(hook)
    signature = inspect.signature(hook)
    assert inspect.Signature.empty not in {p.annotation for p in signature.parameters.values()}
    assert (signature.return_annotation != "None") is ("_register_" in name)


@pytest.mark.parametrize("name", HOOKS)
def test_every_hook_and_its_arguments_are_documented(name: str) -> None:
    (row,) = [line for line in REFERENCE.splitlines() if line.startswith(f"| `{name}` ")]
    arguments = list(inspect.signature(getattr(spec, name)).parameters)
    assert re.findall(r"`(\w+)`", row.split("|")[2]) == arguments
    documented = inspect.getdoc(getattr(spec, name)) or ""
    assert [argument for argument in arguments if f"    {argument}: " not in documented] == []


def test_the_page_says_what_the_context_holds() -> None:
    public = [name for name in vars(TrainingContext) if not name.startswith("_")] + [
        field.name for field in dataclasses.fields(TrainingContext)
    ]
    assert [name for name in public if not re.search(rf"`{name}[`(]", REFERENCE)] == ["visualdl_writer"]


def test_the_hooks_are_those_of_the_design() -> None:
    after_and_before = {"embtune_before_attach", "embtune_after_train", "embtune_add_commands"}
    called_with_a_model = {"embtune_register_callbacks", "embtune_register_group_rules"}
    assert set(HOOKS) == {*KINDS, "embtune_register_domains", *after_and_before, *called_with_a_model}


def _spy(calls: dict[str, dict[str, Any]]) -> types.SimpleNamespace:
    """A plugin with every hook and all its arguments, which notes how it was called."""

    def answer(hook: str, arguments: dict[str, Any]) -> Any:
        calls[hook] = arguments
        if hook == "embtune_register_domains":
            return [Domain(name="spied", labels=("a", "b"))]
        if hook == "embtune_register_health_metrics":
            return {"spied_measure": lambda start, now: float(len(now) - len(start))}
        if hook == "embtune_register_alarms":
            return {"spied_alarm": AlarmSpec(measure="spied_measure", above=1.0)}
        if hook in KINDS:
            return {"spied": object()}
        return [] if "_register_" in hook else None

    functions: dict[str, Callable[..., Any]] = {}
    for hook in HOOKS:
        names = ", ".join(inspect.signature(getattr(spec, hook)).parameters)
        given = ", ".join(f"{name}={name}" for name in names.split(", ") if name)
        functions[hook] = eval(f"lambda {names}: answer({hook!r}, dict({given}))", {"answer": answer})
    return plugin("spy", **functions)


def test_every_hook_is_called_with_what_its_contract_says(
    in_force: Callable[..., registry.Registry], recipe: Recipe, tmp_path: Path
) -> None:
    calls: dict[str, dict[str, Any]] = {}
    loaded = in_force(_spy(calls))
    assert set(calls) == {*KINDS, "embtune_register_domains"}
    for kind in (*KINDS.values(), "domain"):
        assert [entry.name for entry in loaded.entries() if entry.owner == "spy" and entry.kind == kind]

    assert call_main("plugins", "--json") == 0
    result = train(recipe, tmp_path / "run")
    assert set(calls) == set(HOOKS)
    assert calls["embtune_add_commands"] == {"app": app}
    assert isinstance(app, typer.Typer)
    assert calls["embtune_after_train"]["run_dir"] == tmp_path / "run"
    assert (tmp_path / "run" / "bundle" / "bundle.json").is_file()
    trainer = calls["embtune_after_train"]["trainer"]
    assert calls["embtune_before_attach"]["trainer"] is trainer
    for hook in ("embtune_register_callbacks", "embtune_register_group_rules"):
        assert calls[hook]["model"] is trainer.model
    for hook in ("embtune_before_attach", "embtune_after_train", "embtune_register_callbacks", "embtune_register_group_rules"):
        assert calls[hook]["recipe"] == recipe
    asked = calls["embtune_register_callbacks"]
    context = asked["context"]
    assert asked["groups"] is context.groups
    assert [parameter for group in context.groups for parameter in group.parameters.values()]
    assert (context.trainer, context.model) == (trainer, trainer.model)
    assert context.tokens == result_tokens(result.bundle)
    assert calls["embtune_after_train"]["context"] is context
    assert context.record.events[0]["event"] == "start"
    assert '"spied_measure": 0.0' in (result.run_dir / "record.jsonl").read_text(encoding="utf-8")


def result_tokens(bundle: Path) -> tuple[str, ...]:
    return Bundle.open(bundle).tokenizer.vocabulary.tokens


def _fails() -> Any:
    raise ValueError("out of order")


def _nothing() -> dict[str, Any]:
    return {}


MODELS = "embtune_register_models"
WRONG_ARGUMENT = plugin("mine", embtune_register_callbacks=lambda recipe, modle: [])
UNMARKED = types.SimpleNamespace(__name__="mine", embtune_register_models=lambda: {"textcnn": object})


@pytest.mark.parametrize(
    ("broken", "parts"),
    [
        (plugin("mine", embtune_register_modles=_nothing), ["embtune_register_modles", f"did you mean '{MODELS}'"]),
        (WRONG_ARGUMENT, ["mine", "modle"]),
        (WRONG_ARGUMENT, ["expected embtune_register_callbacks(recipe, model, groups, context), or fewer"]),
        (UNMARKED, ["mine", MODELS, "hookimpl"]),
        (plugin("mine", embtune_register_models=_fails), ["mine", MODELS, "ValueError: out of order"]),
        (plugin("mine", embtune_register_models=lambda: {"textcnn": object}), ["mine", "builtin", "model 'textcnn'"]),
        (plugin("mine", embtune_register_models=lambda: ["textcnn"]), ["mine", MODELS, "['textcnn']"]),
        (plugin("mine", embtune_register_domains=lambda: None), ["mine", "embtune_register_domains", "None"]),
    ],
    ids=["unknown hook", "argument", "expected arguments", "unmarked", "raises", "name taken", "no mapping", "no list"],
)
def test_a_plugin_that_breaks_the_contract_is_refused_by_name(broken: object, parts: list[str]) -> None:
    with pytest.raises(PluginError) as caught:
        load(broken)
    assert [part for part in parts if part not in str(caught.value)] == []


def test_a_name_that_two_plugins_register_shows_both() -> None:
    first, second = (plugin(name, embtune_register_losses=lambda: {"same": object}) for name in ("first", "second"))
    with pytest.raises(PluginError, match=r"loss 'same' is registered twice, by (first and by second|second and by first)"):
        load(first, second)


def test_a_plugin_cannot_be_loaded_twice() -> None:
    one = plugin("one", embtune_register_losses=_nothing)
    with pytest.raises(PluginError, match="loaded twice"):
        load(one, one)


def test_a_blocked_plugin_is_not_loaded() -> None:
    loaded = load(plugin("mine", embtune_register_models=_fails), block=["mine"])
    assert "mine" not in [name for name, _, _ in manager.owners(loaded.manager)]
    assert load(block=["builtin"]).entries() == ()


def test_an_implementation_may_take_fewer_arguments(in_force: Callable[..., registry.Registry], recipe: Recipe) -> None:
    seen: list[Recipe] = []
    in_force(plugin("mine", embtune_register_callbacks=lambda recipe: seen.__iadd__([recipe])[:0]))
    train(recipe, Path(str(recipe.data.train)).parent / "run")
    assert seen == [recipe]


@pytest.mark.parametrize(
    "hook",
    [
        "embtune_register_callbacks",
        pytest.param("embtune_before_attach"),
        pytest.param("embtune_register_group_rules"),
        pytest.param("embtune_after_train"),
    ],
)
def test_a_hook_that_raises_during_a_run_is_named(
    in_force: Callable[..., registry.Registry], recipe: Recipe, tmp_path: Path, hook: str
) -> None:
    in_force(plugin("mine", **{hook: _fails}))
    with pytest.raises(PluginError) as caught:
        train(recipe, tmp_path / "run")
    assert [part for part in (hook, "mine", "ValueError: out of order") if part not in str(caught.value)] == []
