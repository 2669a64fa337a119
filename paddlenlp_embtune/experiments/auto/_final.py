"""The fit of an arm on all rows, which leaves a run with its bundle, and the bundle's way to its place."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from paddlenlp_embtune.config import DataSpec, EvaluationSpec, Recipe
from paddlenlp_embtune.experiments.arms import Arm, recipe_of
from paddlenlp_embtune.experiments.auto._measured import Measured
from paddlenlp_embtune.experiments.auto._steps import run_process
from paddlenlp_embtune.experiments.auto.budget import Clock, in_words
from paddlenlp_embtune.experiments.cell import CellResult, DataSet
from paddlenlp_embtune.experiments.runner import Children
from paddlenlp_embtune.utils.files.atomic_io import replace_folder, write_text
from paddlenlp_embtune.utils.json_yaml import dump_json
from paddlenlp_embtune.utils.run_layout import BUNDLE

__all__ = ["FinalFits", "final_recipe", "publish"]

_CHILD = "paddlenlp_embtune.experiments.auto._fit_child"
_ENGINE = "onnxruntime"


def final_recipe(arm: Arm, data: DataSet, *, rows: int, seed: int) -> Recipe:
    """Return the recipe that an arm is of on all rows, as ``embtune train`` takes it.

    Its bundle is for ONNX Runtime, and no baseline is fitted beside it: the choice has compared it with others already. Where a
    tenth of the rows is so few that nothing is chosen on them, it learns from all rows but one of each label.

    Args:
        arm: the arm.
        data: the rows.
        rows: how many they are.
        seed: of the fit.
    """
    from paddlenlp_embtune.export import MIN_CALIBRATION_ROWS

    recipe = recipe_of(arm, rows=rows)
    own: dict[str, Any] = {name: getattr(recipe.data, name) for name in ("labels", "ordered", "dev_ratio")}
    paths: dict[str, Any] = {
        name: str(Path(path).absolute()) for name in ("train", "dev") if (path := getattr(data, name)) is not None
    }
    stops_on_them = recipe.model.encoder is not None and recipe.model.tunes
    if data.dev is None and not stops_on_them and rows * recipe.data.dev_ratio < MIN_CALIBRATION_ROWS:
        own["dev_ratio"] = min(recipe.data.dev_ratio, 1 / rows)
    return dataclasses.replace(
        recipe,
        seed=seed,
        data=DataSpec(**own, **paths, **_reading(data)),
        evaluation=EvaluationSpec(baseline=None),
        export=dataclasses.replace(recipe.export, engines=(_ENGINE,)),
    )


def _reading(data: DataSet) -> dict[str, Any]:
    return {"text_column": data.text_column, "label_column": data.label_column, **dataclasses.asdict(data.options)}


class FinalFits:
    """Fits arms on all rows, each in a process of its own with all threads; fits that stand in the folder are kept.

    Args:
        folder: of the choice; each arm leaves a run in ``FOLDER/final/ARM``.
        clock: of its budget.
        texts: file of texts for measuring bundles.
    """

    def __init__(self, folder: Path, clock: Clock, *, texts: Path) -> None:
        self.folder, self.clock = folder / "final", clock
        self._texts = texts

    def run_dir(self, name: str) -> Path:
        """Return the folder of an arm's run."""
        return self.folder / name

    def known(self, name: str) -> Measured | None:
        """Return what the fit of an arm left; None without one, or without its bundle."""
        found = Measured.load(self._path(name))
        return found if found is not None and (self.run_dir(name) / BUNDLE).is_dir() else None

    def fit(self, name: str, recipe: Recipe, *, allowed_seconds: float | None) -> Measured:
        """Fit an arm, from its last checkpoint on where an earlier command was stopped.

        Args:
            name: of the arm.
            recipe: what is trained.
            allowed_seconds: after which it is ended, and has failed; None for no limit.
        Raises:
            KeyboardInterrupt: its checkpoints are kept.
        """
        if (kept := self.known(name)) is not None and kept.result.failed is None:
            self.clock.advance_to(kept.ended)
            return kept
        self._path(name).unlink(missing_ok=True)
        children = Children()
        timer = threading.Timer(allowed_seconds if allowed_seconds is not None else threading.TIMEOUT_MAX, children.close)
        timer.daemon = True
        timer.start()
        try:
            told = self._run(name, recipe, children)
        finally:
            timer.cancel()
            children.close()
        if told is None:
            told = f"it was ended after {in_words(allowed_seconds or 0.0)}, when its time was up"
            return Measured(result=CellResult(failed=told), ended=self.clock.elapsed, allowed=allowed_seconds)
        found = Measured.load(self._path(name))
        return found if found is not None else Measured(result=CellResult(failed=told), ended=self.clock.elapsed)

    def _run(self, name: str, recipe: Recipe, children: Children) -> str | None:
        with tempfile.TemporaryDirectory(prefix="embtune-") as scratch:
            job, stated = Path(scratch) / "job.json", Path(scratch) / "recipe.yaml"
            recipe.save(stated)
            now = time.time()
            described = {
                "began": now,
                "origin": now - self.clock.elapsed,
                "recipe": str(stated),
                "out": str(self.run_dir(name).absolute()),
                "texts": str(self._texts.absolute()),
                "path": str(self._path(name).absolute()),
            }
            write_text(job, dump_json(described))
            return run_process([_CHILD, str(job)], children, Path(scratch))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.json"


def publish(run_dir: Path, out: Path) -> None:
    """Copy the bundle of a run to its place, as a whole."""
    with replace_folder(out) as folder:
        shutil.copytree(run_dir / BUNDLE, folder, dirs_exist_ok=True)
