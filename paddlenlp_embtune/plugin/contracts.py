"""The contracts of what plugins register, and the errors that name a plugin that breaks one."""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune.errors import EmbtuneError, PluginError
from paddlenlp_embtune.utils.json_yaml import shorten

if TYPE_CHECKING:
    from paddlenlp_embtune.plugin.registry import Entry

__all__ = ["CONTRACTS", "Guarded", "breach", "cause"]

CONTRACTS: Mapping[str, tuple[str, str]] = {
    "domain": ("embtune_register_domains", "a Domain"),
    "model": (
        "embtune_register_models",
        "builder(vocabulary_size=V, dimension=D, num_labels=C, **options) returns a paddle.nn.Layer with config(), which maps "
        "(B, L) ids to (B, C) logits",
    ),
    "encoder": ("embtune_register_encoders", "builder() returns a Pretrained"),
    "loss": (
        "embtune_register_losses",
        "factory(class_weights=w) returns a callable of (B, C) logits and (B,) int64 labels that returns a scalar tensor",
    ),
    "vector format": ("embtune_register_vector_formats", "reader(source, options) returns a VectorTable"),
    "exporter": (
        "embtune_register_exporters",
        "exporter(model, folder) writes files below folder and returns a list of their names, relative to it",
    ),
    "engine": (
        "embtune_register_engines",
        "factory(bundle, options) returns an object whose run(input_ids) maps (B, L) int64 ids to (B, C) float32 logits",
    ),
    "health metric": ("embtune_register_health_metrics", "measure(start=table, now=table) returns one finite number"),
    "alarm": ("embtune_register_alarms", "an AlarmSpec"),
    "report section": ("embtune_register_report_sections", "section(run) returns HTML as a str"),
    "tracker": ("embtune_register_trackers", "factory() returns an object with start, log and finish"),
}
"""By kind, the hook that registers such things, and what they are called with and return."""


def _names(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and all(isinstance(name, str) and name for name in value)


_RESULTS: Mapping[str, Callable[[Any], bool]] = {
    "loss": callable,
    "exporter": _names,
    "engine": lambda value: callable(getattr(value, "run", None)),
    "report section": lambda value: isinstance(value, str),
    "tracker": lambda value: all(callable(getattr(value, name, None)) for name in ("start", "log", "finish")),
}


@dataclasses.dataclass(frozen=True)
class Guarded:
    """Something that a plugin registered to be called; what it raises, and what it should not return, names the plugin.

    Errors of this package pass through as they are. Attributes are those of the thing itself.

    Args:
        entry: whose it is.
        value: the thing, imported.
    """

    entry: Entry
    value: Any

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """Call it.

        Raises:
            PluginError: it cannot be called, raised, or returned something else than its contract says.
        """
        if not callable(self.value):
            raise breach(self.entry, f"is {shorten(self.value)}, which cannot be called")
        try:
            found = self.value(*arguments, **named)
        except EmbtuneError:
            raise
        except Exception as error:
            raise breach(self.entry, f"raised {cause(error)}") from error
        fits = _RESULTS.get(self.entry.kind)
        if fits is not None and not fits(found):
            raise breach(self.entry, f"returned {shorten(found)}")
        return found

    def __getattr__(self, name: str) -> Any:
        found = getattr(object.__getattribute__(self, "value"), name)
        if name != "detects" or not callable(found):
            return found

        def asked(*arguments: Any) -> Any:
            try:
                return found(*arguments)
            except Exception as error:
                raise breach(self.entry, f"raised {cause(error)} in detects(path, head)") from error

        return asked


def breach(entry: Entry, what: str) -> PluginError:
    """Return the error about something that breaks its contract: whose it is, what it did, and what is expected."""
    hook, contract = CONTRACTS[entry.kind]
    return PluginError(
        f"the {entry.kind} {entry.name!r} of the plugin {entry.owner!r} {what}; expected by {hook}: {contract}; correct the "
        f"plugin, or leave it out with: embtune --block {entry.owner}"
    )


def cause(error: BaseException) -> str:
    """Describe an error of foreign code in one line, with the place where it was raised."""
    text = " ".join(str(error).split())
    text = text if len(text) <= 300 else f"{text[:300]}..."
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}{f': {text}' if text else ''}{where}"
