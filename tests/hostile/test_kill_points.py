"""Commands that are killed before a change to the file system; ``python -m tests.hostile.kill_points`` does all of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hostile.kill_points import COMMANDS, Attack, Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    found = Server(tmp_path_factory.mktemp("kills"))
    yield found
    found.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_killed(server: Server, name: str) -> None:
    attack = Attack(server, name, exchange=list(COMMANDS).index(name) % 3 != 2)
    counts = attack.all(every=max(attack.points // 4, 1), last=4)
    print(f"{name}: {attack.points} points, {counts.tried} tried, {counts.survived} survived")
    assert counts.faults == []
