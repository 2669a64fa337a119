"""The help of every command: each option is described, in one style, and shared options are described alike."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from paddlenlp_embtune.cli.main import app


def commands(group: Any, name: str = "embtune") -> Iterator[tuple[str, Any]]:
    yield name, group
    for below, command in getattr(group, "commands", {}).items():
        yield from commands(command, f"{name} {below}")


COMMANDS = dict(commands(typer.main.get_command(app)))
COMPLETION = ("install_completion", "show_completion")
SHARED = ("--text-column", "--label-column", "--encoding", "--quoting", "--store", "--tokenizer", "--fallbacks", "--damaged")
PHRASE = re.compile(r"(?:[A-Z]|--?\w|[a-z]+\d)[^\n]*[^.\s]\.")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_described_by_a_phrase(name: str) -> None:
    for parameter in COMMANDS[name].params:
        if parameter.name in COMPLETION:
            continue
        told = getattr(parameter, "help", None)
        assert told, f"{name} {parameter.name} has no help"
        assert PHRASE.fullmatch(told), f"{name} {parameter.name}: {told!r}"
        assert 2 <= len(told.split()) <= 30, f"{name} {parameter.name}: {told!r}"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_it_does(name: str) -> None:
    summary = (COMMANDS[name].help or "").partition("\n\n")[0].replace("\n", " ")
    assert re.fullmatch(r"[A-Z].*\.", summary), f"{name}: {summary!r}"
    assert len(summary.split()) >= 4, f"{name}: {summary!r}"


def test_shared_options_are_described_alike() -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if name != "embtune vectors train":  # its tokenizer is one of two
                for option in set(parameter.opts) & set(SHARED):
                    found[option].add(parameter.help)
    assert set(found) == set(SHARED)
    assert {option: texts for option, texts in found.items() if len(texts) > 1} == {}


def test_commands_that_read_data_take_the_same_four_options() -> None:
    reading = {name: {option for each in command.params for option in each.opts} for name, command in COMMANDS.items()}
    for name, options in reading.items():
        if "--text-column" in options:
            assert {"--encoding", "--quoting"} <= options, name
        if "--label-column" in options:
            assert "--text-column" in options, name
