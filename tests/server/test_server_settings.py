"""What a server is told: names of bundles, the token, and values that are not valid."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.server.settings import ServerSettings, named_bundles, read_token


@pytest.mark.parametrize(
    ("argument", "name"),
    [
        ("runs/x", "x"),
        ("runs/x/", "x"),
        ("runs/x/bundle", "x"),
        ("runs/x/../y/bundle", "y"),
        ("a=runs/x", "a"),
        ("金融=runs/x", "金融"),
        ("a=runs/x=1", "a"),
    ],
)
def test_bundles_are_named_by_their_folders_unless_a_name_is_given(argument: str, name: str) -> None:
    assert list(named_bundles([argument])) == [name]


def test_a_folder_with_an_equals_sign_that_is_there_is_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lr=3" / "bundle").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert named_bundles(["lr=3/bundle"]) == {"lr=3": str(tmp_path / "lr=3" / "bundle")}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "current").symlink_to("v1")
    assert named_bundles([str(tmp_path / "current")]) == {"current": str(tmp_path / "current")}


def test_two_bundles_of_one_name_are_refused() -> None:
    with pytest.raises(RecipeError, match="two bundles are named 'x', /a/x and /b/x/bundle; name them with NAME=PATH"):
        named_bundles(["/a/x", "/b/x/bundle"])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"models": {}}, "models is empty; name one bundle or more"),
        ({"models": {"a b": "x"}}, "cannot be named 'a b'"),
        ({"models": {"../x": "x"}}, "cannot be named"),
        ({"models": {"": "x"}}, "cannot be named"),
        ({"port": 65_536}, "port is 65536; expected 0 to 65535"),
        ({"workers": 0}, "workers is 0; expected 1 or more"),
        ({"workers": "two"}, "server.workers must be a whole number, got str 'two'"),
        ({"request_timeout_seconds": float("nan")}, "request_timeout_seconds must be a finite number"),
        ({"max_texts": 11, "max_queued_texts": 10}, "could never be queued"),
    ],
)
def test_values_that_are_not_legal_are_named(values: dict[str, object], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        ServerSettings(**{"models": {"x": "x"}, **values})  # type: ignore[arg-type]


def test_settings_go_through_json() -> None:
    settings = ServerSettings(models={"金融": "/x"}, predictor={"engine": "onnxruntime", "num_threads": 1}, max_wait_ms=0.5)
    assert ServerSettings.from_json(settings.to_json()) == settings
    assert dataclasses.replace(settings, port=1) != settings


def test_the_token_comes_from_a_file_or_else_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMBTUNE_TOKEN", raising=False)
    plain = ServerSettings(models={"x": "x"})
    assert read_token(plain) is None
    monkeypatch.setenv("EMBTUNE_TOKEN", "from-the-environment")
    assert read_token(plain) == "from-the-environment"
    (tmp_path / "token").write_text("from-the-file\n")
    assert read_token(dataclasses.replace(plain, token_file=str(tmp_path / "token"))) == "from-the-file"


@pytest.mark.parametrize("content", ["", " \n", "two words", "über"])
def test_a_token_that_cannot_be_sent_is_refused_without_being_shown(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content, encoding="utf-8")
    with pytest.raises(RecipeError, match="expected one word of visible ASCII") as caught:
        read_token(ServerSettings(models={"x": "x"}, token_file=str(tmp_path / "token")))
    assert not content.strip() or content not in str(caught.value)
