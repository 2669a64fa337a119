"""The record of a run: one JSON object a line, and listeners that show them as they come."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.files.os_errors import naming
from paddlenlp_embtune.utils.json_yaml import dump_json

__all__ = ["RunRecord"]

Listener = Callable[[Mapping[str, Any]], None]


class RunRecord:
    """Appends events to a JSON-lines file.

    Args:
        path: the file; None keeps the events in memory only.
        listeners: called with every event, a mapping with ``event`` and ``time`` (UTC, ISO 8601) and what belongs to it.
    """

    def __init__(self, path: Path | None = None, *, listeners: tuple[Listener, ...] = ()) -> None:
        self.path = path
        self.listeners = listeners
        self.events: list[dict[str, Any]] = []

    def write(self, event: str, **fields: Any) -> None:
        """Append one event with the present time, and show it to the listeners."""
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="milliseconds")
        entry = {"event": event, "time": now, **fields}
        self.events.append(entry)
        if self.path is not None:
            with naming(self.path), self.path.open("a", encoding="utf-8") as file:
                file.write(dump_json(entry) + "\n")
        for listener in self.listeners:
            listener(entry)

    def restore(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Take in events of an earlier process, in place of all that the file holds beside this process's own.

        Listeners do not get them again.
        """
        self.events.extend(dict(event) for event in events)
        if self.path is not None:
            # The file may hold what the earlier process wrote after its checkpoint, which did not happen any more.
            write_text(self.path, "".join(dump_json(event) + "\n" for event in self.events))

    def of(self, event: str) -> list[dict[str, Any]]:
        """Return the events of one kind in order."""
        return [entry for entry in self.events if entry["event"] == event]
