"""The registry: lazy values, names, owners, and which registry is in force."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pluggy
import pytest

from paddlenlp_embtune.errors import PluginError
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.plugin.registry import Entry, Lazy, Registry


@pytest.fixture
def empty() -> Registry:
    return Registry(pluggy.PluginManager("paddlenlp_embtune"))


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A module that can be imported, and has not been."""
    (tmp_path / "embtune_lazy_probe.py").write_text("value = object()\nclass Outer:\n    inner = 7\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "embtune_lazy_probe"
    sys.modules.pop("embtune_lazy_probe", None)


def test_a_lazy_value_is_imported_when_it_is_asked_for(empty: Registry, module: str) -> None:
    empty.add(Entry("model", "probe", Lazy(f"{module}:value"), "mine"))
    assert empty.names("model") == ("probe",)
    assert empty.entries()[0].value == Lazy(f"{module}:value")
    assert module not in sys.modules
    value = empty.get("model", "probe")
    assert value is sys.modules[module].value
    assert empty.get("model", "probe") is value


def test_everything_of_a_kind_is_resolved_in_the_order_of_registration(empty: Registry, module: str) -> None:
    empty.add(Entry("loss", "zeta", Lazy(f"{module}:value"), "mine"))
    empty.add(Entry("model", "other", 1, "mine"))
    empty.add(Entry("loss", "alpha", 2, "yours"))
    found = empty.of_kind("loss")
    assert list(found.items()) == [("zeta", sys.modules[module].value), ("alpha", 2)]
    assert empty.names("nothing") == ()


def test_an_unknown_name_lists_the_nearest_and_the_legal_ones(empty: Registry) -> None:
    for name in ("textcnn", "bigru"):
        empty.add(Entry("model", name, object(), "mine"))
    with pytest.raises(PluginError) as caught:
        empty.get("model", "textcn")
    assert str(caught.value) == (
        "no model is called 'textcn'; did you mean 'textcnn'? Expected bigru or textcnn; see them with: embtune plugins"
    )


def test_names_are_told_apart_by_kind(empty: Registry) -> None:
    empty.add(Entry("model", "same", 1, "mine"))
    empty.add(Entry("loss", "same", 2, "mine"))
    assert (empty.get("model", "same"), empty.get("loss", "same")) == (1, 2)


def test_a_name_that_is_taken_shows_both_owners_and_changes_nothing(empty: Registry) -> None:
    empty.add(Entry("model", "same", 1, "first-plugin"))
    with pytest.raises(PluginError, match="by first-plugin and by second-plugin"):
        empty.add(Entry("model", "same", 2, "second-plugin"))
    assert empty.get("model", "same") == 1


@pytest.mark.parametrize("path", ["embtune_lazy_probe:absent", "embtune_no_such_module:value", "embtune_lazy_probe"])
def test_a_lazy_value_that_cannot_be_imported_names_its_plugin(empty: Registry, module: str, path: str) -> None:
    empty.add(Entry("model", "broken", Lazy(path), "mine"))
    with pytest.raises(PluginError, match="mine"):
        empty.get("model", "broken")


def test_the_registry_in_force_is_filled_once_and_can_be_exchanged(empty: Registry) -> None:
    former = registry.use(None)
    try:
        loaded = registry.current()
        assert registry.current() is loaded
        assert "textcnn" in loaded.names("model")
        assert registry.use(empty) is loaded
        assert registry.current() is empty
    finally:
        registry.use(former)
