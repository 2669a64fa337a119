"""Reading the folder of a run for its report; parts that are missing are None."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from paddlenlp_embtune.errors import DataError
from paddlenlp_embtune.utils.json_yaml import parse_yaml
from paddlenlp_embtune.utils.run_layout import BUNDLE, INSIGHT, METRICS, RECIPE, RECORD

__all__ = ["MANIFEST", "Run", "read_run"]

T = TypeVar("T")
MANIFEST = f"{BUNDLE}/bundle.json"
_PARTS = (RECIPE, RECORD, METRICS, INSIGHT, MANIFEST)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """The contents of the folder of a run.

    Args:
        path: the folder.
        recipe_text: the text of ``recipe.yaml``; None if there is no such file.
        recipe: the same, parsed; empty if there is no such file.
        events: the lines of ``record.jsonl``, in order; None if there is no such file.
        metrics: ``metrics.json``, or None.
        manifest: ``bundle/bundle.json``, or None.
        sizes: bytes of every file of the bundle, by its path in the bundle.
        dev: the error analysis of the development rows (``evaluation.analyze_predictions``), or None.
        movement: how the embedding moved (``embeddings.metrics.describe_drift``), or None.
    """

    path: Path
    recipe_text: str | None
    recipe: Mapping[str, Any]
    events: tuple[Mapping[str, Any], ...] | None
    metrics: Mapping[str, Any] | None
    manifest: Mapping[str, Any] | None
    sizes: Mapping[str, int]
    dev: Mapping[str, Any] | None
    movement: Mapping[str, Any] | None

    @property
    def name(self) -> str:
        """The name of the folder, also where its path is relative."""
        return self.path.resolve().name

    def of(self, event: str) -> list[Mapping[str, Any]]:
        """Return the events of one kind in order."""
        return [entry for entry in self.events or () if entry["event"] == event]

    def last(self, event: str) -> Mapping[str, Any]:
        """Return the last event of one kind; an empty mapping if there is none."""
        found = self.of(event)
        return found[-1] if found else {}

    def epoch_of(self, entry: Mapping[str, Any]) -> float:
        """Return when an event happened, in epochs; exact to the step where the step is known."""
        step, known = entry.get("step"), self._steps_per_epoch()
        if step is not None and known:
            return float(step) / known
        return float(entry.get("epoch") or 0.0)

    def end_epoch(self) -> float:
        """Return the latest epoch of any event, at least 0."""
        named = (entry.get("epoch") or entry.get("epochs") or 0.0 for entry in self.events or ())
        return max(map(float, named), default=0.0)

    def _steps_per_epoch(self) -> float | None:
        for entry in self.events or ():
            if entry["event"] in ("rates", "health") and entry.get("epoch") and entry.get("step"):
                return float(entry["step"]) / float(entry["epoch"])
        return None


def read_run(path: str | Path) -> Run:
    """Read the folder of a run.

    Raises:
        DataError: there is no such folder, it is not a run, or one of its files is damaged.
    """
    path = Path(path)
    if not any((path / part).is_file() for part in _PARTS):
        raise DataError(
            f"{path} is {'not a run' if path.is_dir() else 'not a folder'}; expected the folder that embtune train wrote with "
            f"--out, with {', '.join(_PARTS)}"
        )
    insight = _json(path / INSIGHT) or {}
    text = _read(path / RECIPE, str)
    return Run(
        path=path,
        recipe_text=text,
        recipe={} if text is None else _mapping(_read(path / RECIPE, _yaml), path / RECIPE),
        events=_read(path / RECORD, _events),
        metrics=_json(path / METRICS),
        manifest=_json(path / MANIFEST),
        sizes=_sizes(path / BUNDLE),
        dev=_part(insight, "dev", path),
        movement=_part(insight, "movement", path),
    )


def _read(path: Path, parse: Callable[[str], T]) -> T | None:
    """Read and parse a file; None if there is no such file."""
    if not path.is_file():
        return None
    try:
        return parse(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:  # not JSON, YAML or UTF-8
        raise DataError(f"{path} is damaged: {error}; restore it, or train again") from None


def _json(path: Path) -> Mapping[str, Any] | None:
    found = _read(path, json.loads)
    return None if found is None else _mapping(found, path)


def _yaml(text: str) -> object:
    return parse_yaml(text, "it", error=DataError)


def _events(text: str) -> tuple[Mapping[str, Any], ...]:
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: {error}") from None
        if not isinstance(entry, dict) or not isinstance(entry.get("event"), str):
            raise ValueError(f"line {number} is not an event: {line[:80]}")
        found.append(entry)
    return tuple(found)


def _mapping(value: object, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise DataError(
            f"{path} is damaged: expected a mapping of keys to values, got {str(value)[:80]}; restore it, or train again"
        )
    return value


def _part(insight: Mapping[str, Any], name: str, path: Path) -> Mapping[str, Any] | None:
    value = insight.get(name)
    return None if value is None else _mapping(value, path / INSIGHT)


def _sizes(bundle: Path) -> dict[str, int]:
    files = sorted(file for file in bundle.rglob("*") if file.is_file())
    return {file.relative_to(bundle).as_posix(): file.stat().st_size for file in files}
