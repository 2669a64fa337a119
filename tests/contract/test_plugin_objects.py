"""What plugins hand over: things that break their contract name the plugin, and a mere measure does not end a run."""

from __future__ import annotations

import dataclasses
import inspect
import json
import logging
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune import PluginError, Recipe, hookimpl, train
from paddlenlp_embtune.plugin import manager, registry, spec
from paddlenlp_embtune.plugin.contracts import CONTRACTS
from paddlenlp_embtune.training.initialize import pretrained_encoder, read_source
from tests.encoders import encoder_of_rows
from tests.helpers import QUICK, ROWS, Run, error_of, tsv
from tests.host import TrainerCallback


def plugin(**functions: Callable[..., Any]) -> types.SimpleNamespace:
    return types.SimpleNamespace(__name__="mine", **{hook: hookimpl(function) for hook, function in functions.items()})


@pytest.fixture
def put() -> Iterator[Callable[..., registry.Registry]]:
    """Put a registry with a plugin of these hooks in force."""
    former = registry.use(None)

    def use(**functions: Callable[..., Any]) -> registry.Registry:
        loaded = registry.load(plugins=[plugin(**functions)], installed=False)
        registry.use(loaded)
        return loaded

    yield use
    registry.use(former)


@pytest.fixture
def recipe(tmp_path: Path) -> Callable[..., Recipe]:
    (tmp_path / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(QUICK, encoding="utf-8")

    def changed(**parts: Any) -> Recipe:
        plain = Recipe.load(tmp_path / "recipe.yaml").to_dict()
        for name, values in parts.items():
            plain[name] = {**plain[name], **values}
        return Recipe.from_dict(plain)

    return changed


def _raises(*_: Any, **__: Any) -> Any:
    raise KeyError("out of order")


def _exits(*_: Any, **__: Any) -> Any:
    raise MemoryError


def _writes(start: Any, now: Any) -> float:
    now[:] = start[:] = 0.0
    return 1.0


def _told(error: BaseException, kind: str) -> str:
    """The message, after checking that it names the plugin, the hook and the contract."""
    hook, contract = CONTRACTS[kind]
    for part in ("the plugin 'mine'", hook, contract, "--block mine"):
        assert part in str(error)
    assert len(str(error)) < 1_200
    return str(error)


MEASURES: dict[str, Callable[..., Any]] = {
    "raises": _raises,
    "no memory": _exits,
    "writes": _writes,
    "no argument": lambda: 1.0,
    "None": lambda start, now: None,
    "text": lambda start, now: "1.0",
    "complex": lambda start, now: 1j,
    "array": lambda start, now: np.ones(3),
    "NaN": lambda start, now: float("nan"),
    "infinite": lambda start, now: np.float32("inf"),
    "boolean": lambda start, now: True,
    "huge": lambda start, now: 10**400,
}


def test_measures_that_fail_do_not_end_a_run(
    put: Callable[..., registry.Registry], recipe: Callable[..., Recipe], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = {"rows_seen": lambda start, now: len(now), "numpy": lambda start, now: np.float32(0.5)}
    put(
        embtune_register_health_metrics=lambda: {**MEASURES, **good},
        embtune_register_alarms=lambda: {"mine": embtune.AlarmSpec(measure="raises", above=1.0)},
    )
    with caplog.at_level(logging.WARNING, logger="paddlenlp_embtune"):
        result = train(recipe(), tmp_path / "run")
    events = [json.loads(line) for line in (result.run_dir / "record.jsonl").read_text(encoding="utf-8").splitlines()]
    checks = [event for event in events if event["event"] == "health"]
    assert len(checks) == 2
    for check in checks:
        assert sorted(check["missing_measures"]) == sorted(MEASURES)
        assert (check["numpy"], check["rows_seen"] > 0) == (0.5, True)
        assert not set(MEASURES) & set(check)
    failed = [event for event in events if event["event"] == "measure_failed"]
    assert [event["measure"] for event in failed] == list(MEASURES)
    assert {event["plugin"] for event in failed} == {"mine"}
    assert all(sum(f"measure {name!r} of the plugin 'mine'" in line for line in caplog.messages) == 1 for name in MEASURES)
    from paddlenlp_embtune.report import write_report

    assert write_report(result.run_dir).is_file()


@pytest.mark.parametrize("alarm", [None, "drift", {"measure": "norm_ratio", "above": 2.0}, 3], ids=str)
def test_alarms_of_another_type(
    put: Callable[..., registry.Registry], recipe: Callable[..., Recipe], tmp_path: Path, alarm: Any
) -> None:
    put(embtune_register_alarms=lambda: {"odd": alarm})
    with pytest.raises(PluginError) as raised:
        train(recipe(), tmp_path / "run")
    assert "the alarm 'odd'" in _told(raised.value, "alarm")


LOSSES: dict[str, Any] = {
    "no function": 3,
    "no arguments": lambda: None,
    "factory raises": _raises,
    "no callable": lambda class_weights: None,
    "loss raises": lambda class_weights: _raises,
    "one argument": lambda class_weights: lambda logits: logits.sum(),
    "no scalar": lambda class_weights: lambda logits, labels: logits,
    "a number": lambda class_weights: lambda logits, labels: 1.0,
    "NaN": lambda class_weights: lambda logits, labels: logits.sum() * float("nan"),
    "None": lambda class_weights: lambda logits, labels: None,
}


@pytest.mark.parametrize("name", LOSSES)
def test_losses_that_break_their_contract(
    put: Callable[..., registry.Registry], recipe: Callable[..., Recipe], tmp_path: Path, name: str
) -> None:
    put(embtune_register_losses=lambda: {"odd": LOSSES[name]})
    with pytest.raises(PluginError) as raised:
        train(recipe(train={"loss": "odd"}), tmp_path / "run")
    _told(raised.value, "loss")


class _Layer(paddle.nn.Layer):  # type: ignore[misc, name-defined]
    embedding_parameter = "nothing.weight"

    def __init__(self, *, vocabulary_size: int, dimension: int, num_labels: int, depth: int = 1, **rest: Any) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(vocabulary_size, dimension)

    def config(self) -> dict[str, Any]:
        return {}


class _Pooled(_Layer):
    embedding_parameter = "embedding.weight"

    def __init__(self, *, further: int | None, **sizes: int) -> None:
        super().__init__(**sizes)
        self.further = further
        self.head = paddle.nn.Linear(sizes["dimension"], sizes["num_labels"])

    def forward(self, ids: Any) -> Any:
        logits = self.head(self.embedding(ids).mean(axis=1))
        return paddle.concat([logits, logits[:, : self.further + 0]], axis=1)  # type: ignore[operator]


MODELS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no function": (3, {}, "the model 'odd' of the plugin 'mine'"),
    "raises": (_raises, {}, "the plugin 'mine' cannot be built with no options: KeyError"),
    "no layer": (lambda vocabulary_size, dimension, num_labels: 3, {}, "returns a paddle.nn.Layer"),
    "no config": (lambda **sizes: paddle.nn.Linear(2, 2), {}, "returned a Linear without config()"),
    "other sizes": (lambda rows: 3, {}, "the plugin 'mine' cannot be built"),
    "other logits": (lambda **sizes: _Pooled(**sizes, further=1), {}, "to a tensor of the shape (2, 4), not (2, 3)"),
    "fails": (lambda **sizes: _Pooled(**sizes, further=None), {}, "built a layer that raised TypeError"),
    "annotated": (_Layer, {"depth": "deep"}, "model.options.depth must be a whole number, got str 'deep'"),
    "embedding": (_Layer, {}, "embedding_parameter of _Layer is 'nothing.weight', which is none of its 1 parameters"),
}


@pytest.mark.parametrize("name", MODELS)
def test_models_that_break_their_contract(
    put: Callable[..., registry.Registry], recipe: Callable[..., Recipe], tmp_path: Path, name: str
) -> None:
    builder, options, told = MODELS[name]
    put(embtune_register_models=lambda: {"odd": builder})
    with pytest.raises(embtune.EmbtuneError) as raised:
        train(recipe(model={"name": "odd", "options": options}), tmp_path / "run")
    assert told in str(raised.value)


CALLBACKS: dict[str, Any] = {
    "None": None,
    "one callback": TrainerCallback(),
    "a class": [TrainerCallback],
    "texts": ["early stopping"],
    "a mapping": {"a": TrainerCallback()},
}


@pytest.mark.parametrize("name", CALLBACKS)
def test_hooks_that_return_no_callbacks(
    put: Callable[..., registry.Registry], recipe: Callable[..., Recipe], tmp_path: Path, name: str
) -> None:
    put(embtune_register_callbacks=lambda recipe: CALLBACKS[name])
    with pytest.raises(
        PluginError, match=r"embtune_register_callbacks of the plugin 'mine' returned .*list of TrainerCallback"
    ):
        train(recipe(), tmp_path / "run")


@pytest.mark.parametrize("groups", [None, "embedding", [{"name": "all", "rate": 1e-3}], {"a": 1}], ids=str)
def test_hooks_that_return_no_groups(
    put: Callable[..., registry.Registry], recipe: Callable[..., Recipe], tmp_path: Path, groups: Any
) -> None:
    put(embtune_register_group_rules=lambda recipe: groups)
    with pytest.raises(PluginError, match=r"embtune_register_group_rules of the plugin 'mine' returned .*list of GroupSpec"):
        train(recipe(), tmp_path / "run")


class _Breaks(TrainerCallback):  # type: ignore[misc]
    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        raise TypeError("no such thing")


def test_a_callback_that_raises_in_training_names_its_plugin(
    put: Callable[..., registry.Registry], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    put(embtune_register_callbacks=lambda recipe: [_Breaks()])
    with pytest.raises(PluginError, match="code of the plugin 'mine' raised TypeError: no such thing"):
        train(recipe(), tmp_path / "run")


@pytest.mark.parametrize("builder", [3, _raises, lambda: None, lambda: {"weights": {}}], ids=["3", "raises", "None", "mapping"])
def test_encoders_that_break_their_contract(put: Callable[..., registry.Registry], builder: Any) -> None:
    put(embtune_register_encoders=lambda: {"odd": builder})
    with pytest.raises(PluginError) as raised:
        pretrained_encoder("odd")
    _told(raised.value, "encoder")


class _OddTokenizer:
    vocabulary = tuple(range(len(encoder_of_rows().table)))

    def encode(self, text: str, *, max_length: int | None = None) -> Any:
        return list(text)


def test_an_encoder_whose_tokenizer_gives_no_ids(put: Callable[..., registry.Registry]) -> None:
    odd = dataclasses.replace(encoder_of_rows(), tokenizer=_OddTokenizer())
    put(embtune_register_encoders=lambda: {"odd": lambda: odd})
    with pytest.raises(PluginError) as raised:
        pretrained_encoder("odd")
    assert "has a tokenizer that encodes" in _told(raised.value, "encoder")


@pytest.mark.parametrize("reader", [3, _raises, lambda source: None], ids=["3", "raises", "one argument"])
def test_readers_that_break_their_contract(
    put: Callable[..., registry.Registry], recipe: Callable[..., Recipe], reader: Any
) -> None:
    put(embtune_register_vector_formats=lambda: {"odd": reader})
    with pytest.raises(PluginError) as raised:
        read_source(recipe(vectors={"source": "odd"}))
    _told(raised.value, "vector format")


def test_a_reader_that_gives_no_table(put: Callable[..., registry.Registry], recipe: Callable[..., Recipe]) -> None:
    put(embtune_register_vector_formats=lambda: {"odd": lambda source, options: {"a": [1.0]}})
    with pytest.raises(embtune.VectorError, match=r"the reader of the format 'odd' returned .*expected: a VectorTable"):
        read_source(recipe(vectors={"source": "odd"}))


EXPORTERS: dict[str, Any] = {
    "raises": _raises,
    "None": lambda model, folder: None,
    "a text": lambda model, folder: "model.bin",
    "no such file": lambda model, folder: ["model.bin"],
}


@pytest.mark.parametrize("name", EXPORTERS)
def test_an_exporter_that_fails_keeps_the_trained_weights(
    put: Callable[..., registry.Registry], recipe: Callable[..., Recipe], tmp_path: Path, name: str
) -> None:
    put(embtune_register_exporters=lambda: {"odd": EXPORTERS[name]})
    with pytest.raises(PluginError) as raised:
        train(recipe(export={"engines": ["odd"]}), tmp_path / "run")
    assert "the trained weights are kept in" in _told(raised.value, "exporter")
    assert (tmp_path / "run" / "bundle" / "weights.safetensors").is_file()


@pytest.mark.parametrize("factory", [3, _raises, lambda bundle, options: object()], ids=["3", "raises", "no run"])
def test_engines_that_break_their_contract(put: Callable[..., registry.Registry], factory: Any) -> None:
    from paddlenlp_embtune.builtin import FINANCE

    put(embtune_register_engines=lambda: {"odd": factory})
    with pytest.raises(PluginError) as raised:
        embtune.Predictor(FINANCE / "bundle", engine="odd")
    _told(raised.value, "engine")


@pytest.mark.parametrize("section", [3, _raises, lambda run: None, lambda: ""], ids=["3", "raises", "None", "no argument"])
def test_sections_that_break_their_contract(
    put: Callable[..., registry.Registry], recipe: Callable[..., Recipe], tmp_path: Path, run: Run, section: Any
) -> None:
    result = train(recipe(), tmp_path / "run")
    put(embtune_register_report_sections=lambda: {"Odd": section})
    line = error_of(run("report", result.run_dir), 1)
    assert "the report section 'Odd' of the plugin 'mine'" in line
    assert CONTRACTS["report section"][1] in line


def test_a_hook_for_commands_that_raises_is_one_line(put: Callable[..., registry.Registry], run: Run) -> None:
    put(embtune_add_commands=lambda app: _raises())
    line = error_of(run("plugins"), 1)
    assert "embtune_add_commands of the plugin 'mine' raised KeyError" in line
    assert "--block mine" in line


@pytest.mark.parametrize("hook", sorted({hook for hook, _ in CONTRACTS.values()}))
@pytest.mark.parametrize("found", [None, 3, "abc", ["a"], {3: 4}, {"": 4}, {None: 4}], ids=str)
def test_what_registers_must_return_what_its_contract_says(hook: str, found: Any) -> None:
    with pytest.raises(PluginError, match=f"{hook} of the plugin 'mine' returned .*expected: "):
        registry.load(plugins=[plugin(**{hook: lambda: found})], installed=False)


@pytest.mark.parametrize(
    "values",
    [
        {"labels": "abc"},
        {"labels": [1, 2]},
        {"name": 3},
        {"name": ""},
        {"term_groups": ["a"]},
        {"lexicon": {"a": "x"}},
        {"bundle": 3},
    ],
    ids=str,
)
def test_domains_are_checked_when_they_are_made(values: dict[str, Any]) -> None:
    with pytest.raises(embtune.RecipeError, match="domain"):
        embtune.Domain(**{"name": "d", "labels": ("a", "b"), **values})


async def _coroutine() -> Any:
    return []


def _shaped(hook: str, shape: str) -> Any:
    """An implementation of a hook with the arguments that a shape makes of its own."""
    names = list(inspect.signature(getattr(spec, hook)).parameters) or ["further"]
    given = ", ".join(names)
    arguments = {
        "default": ", ".join(f"{name}=None" for name in names),
        "by name": f"*, {given}",
        "by place": f"{given}, /",
        "any": "*arguments",
        "any names": "**arguments",
    }[shape]
    return eval(f"lambda {arguments}: []")


@pytest.mark.parametrize("hook", manager.hook_names())
@pytest.mark.parametrize("shape", ["default", "by name", "by place", "any", "any names"])
def test_arguments_that_are_never_passed_are_refused_with_the_hooks_own(hook: str, shape: str) -> None:
    with pytest.raises(PluginError) as raised:
        registry.load(plugins=[plugin(**{hook: _shaped(hook, shape)})], installed=False)
    assert "lugin 'mine'" in str(raised.value)
    assert f"{hook}(" in str(raised.value)


@pytest.mark.parametrize("hook", manager.hook_names())
@pytest.mark.parametrize("options", [{"wrapper": True}, {"hookwrapper": True}, {}], ids=str)
def test_wrappers_and_generators_are_refused(hook: str, options: dict[str, bool]) -> None:
    made = types.SimpleNamespace(__name__="mine", **{hook: hookimpl(**options)(lambda: (yield))})
    with pytest.raises(PluginError, match=rf"{hook} of the plugin 'mine' is a (wrapper|generator).*{hook}\("):
        registry.load(plugins=[made], installed=False)


def test_coroutines_are_refused() -> None:
    with pytest.raises(PluginError, match="is a generator or a coroutine"):
        registry.load(plugins=[plugin(embtune_register_models=_coroutine)], installed=False)
