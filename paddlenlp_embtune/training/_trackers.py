"""The trackers that a recipe's ``report_to`` names: the Trainer's own and those of plugins."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.errors import EmbtuneError, MissingDependencyError, RecipeError, expected_names
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.utils.run_layout import BUNDLE, METRICS, RECIPE, RECORD

if TYPE_CHECKING:
    from paddlenlp_embtune.training.callbacks.trackers import TrackerCallback
    from paddlenlp_embtune.training.context import TrainingContext

__all__ = ["check_trackers", "finish_trackers", "tracker_callbacks", "tracker_of"]

logger = logging.getLogger("paddlenlp_embtune")


def check_trackers(names: Sequence[str]) -> None:
    """Refuse unknown trackers and missing packages.

    Raises:
        RecipeError: the Trainer has no such tracker, and no plugin registers one.
        MissingDependencyError: the package of one is not installed.
    """
    known = registry.current()
    for name in names:
        if name in known.names("tracker"):
            continue
        if name not in compat.HOST_TRACKERS:
            expected = expected_names(name, [*compat.HOST_TRACKERS, *known.names("tracker")])
            raise RecipeError(f"report_to names the tracker {name!r}; {expected}")
        if (package := compat.missing_package(name)) is not None:
            raise MissingDependencyError(
                f"report_to names {name}, which needs the package {package}; install it with: pip install {package}, or leave "
                f"{name} out of report_to"
            )


def tracker_callbacks(context: TrainingContext, *, name: str) -> list[Any]:
    """Return the callbacks for the trackers of a recipe: one for all of plugins, then the Trainer's own.

    Args:
        context: of the run.
        name: of the run.
    Raises:
        RecipeError, MissingDependencyError: as :func:`check_trackers`.
        PluginError: the factory of a tracker raised.
    """
    from paddlenlp_embtune import __version__
    from paddlenlp_embtune.training.callbacks.trackers import TrackerCallback, flatten

    wanted = context.recipe.report_to
    if not wanted:
        return []
    check_trackers(wanted)
    known = registry.current()
    trackers = {each: known.guarded("tracker", each)() for each in wanted if each in known.names("tracker")}
    parameters = {**flatten(context.recipe.to_dict()), "paddlenlp_embtune": __version__}
    callback = TrackerCallback(trackers, parameters, name=name)
    own = [each for each in wanted if each not in trackers and each not in (context.trainer.args.report_to or ())]
    hosts = [
        compat.guard_callback(compat.host_tracker(each, context.trainer), partial(callback.report_failure, each))
        for each in own
    ]
    return [callback, *hosts]


def tracker_of(trainer: Any) -> TrackerCallback | None:
    """Return the callback for trackers of plugins, if there is one."""
    from paddlenlp_embtune.training.callbacks.trackers import TrackerCallback

    found = (each for each in trainer.callback_handler.callbacks if isinstance(each, TrackerCallback))
    return next(found, None)


def finish_trackers(callback: TrackerCallback, run_dir: Path, *, accuracy: float, f1_macro: float, step: int) -> None:
    """Give trackers the figures of the bundle and the files of a finished run, with the report where it can be written."""
    if not callback.is_active:
        return
    callback.log({"bundle/accuracy": accuracy, "bundle/f1_macro": f1_macro}, step=step)
    files = [run_dir / name for name in (RECIPE, RECORD, METRICS)]
    try:
        from paddlenlp_embtune.report import write_report

        files.append(write_report(run_dir, sections=registry.current().all_guarded("report section")))
    except EmbtuneError as error:
        logger.warning("trackers get no report: %s", error)
    callback.finish("finished", files=files, bundle=run_dir / BUNDLE)
