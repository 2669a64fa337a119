"""``embtune train --resume``: a run that was killed ends with the weights of one that was not."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.config.recipe import Recipe
from paddlenlp_embtune.errors import BundleError, EmbtuneError, RecipeError
from paddlenlp_embtune.export._place import replace_bundle
from paddlenlp_embtune.training import run as run_module
from paddlenlp_embtune.training._preflight import run_lock
from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint
from tests.helpers import RECIPE, ROWS, Run, embtune, error_of, tsv
from tests.hostile.damages import DAMAGES, flips, payload

SLOWLY = RECIPE.replace("epochs: 2, batch_size: 16", "epochs: 12, batch_size: 8, checkpoint_seconds: 0") + (
    "export: {engines: []}\naverage: {every_steps: 3}\nearly_stopping: {patience_evals: 30}\n"
)


def start_and_kill(folder: Path, *, after_steps: int) -> None:
    """Start a run and kill it as soon as it has written a checkpoint of so many steps."""
    command = [sys.executable, "-W", "ignore", "-m", "paddlenlp_embtune", "train", "recipe.yaml", "--out", "run"]
    run = subprocess.Popen(command, cwd=folder, env=os.environ.copy(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and run.poll() is None:
            found = last_checkpoint(folder / "run.checkpoints")
            if found is not None and int(found.name.split("-")[1]) >= after_steps:
                break
            time.sleep(0.01)
        assert run.poll() is None, "the run ended before it could be killed"
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_weights(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    for folder in (whole, cut):
        folder.mkdir()
        (folder / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
        (folder / "recipe.yaml").write_text(SLOWLY, encoding="utf-8")
    done = embtune("train", "recipe.yaml", "--out", "run", cwd=whole)
    assert done.returncode == 0, done.stderr
    start_and_kill(cut, after_steps=20)

    monkeypatch.chdir(cut)
    assert "continue with --resume" in error_of(run("train", "recipe.yaml", "--out", "run"), 2)
    (cut / "other.yaml").write_text(SLOWLY.replace("every_steps: 3", "every_steps: 4"), encoding="utf-8")
    refused = error_of(run("train", "other.yaml", "--out", "run", "--resume"), 2)
    assert "average.every_steps: 3 in the checkpoint, 4 now" in refused

    done = embtune("train", "recipe.yaml", "--out", "run", "--resume", cwd=cut)
    assert done.returncode == 0, done.stderr
    weights = [(folder / "run" / "bundle" / "weights.safetensors").read_bytes() for folder in (whole, cut)]
    assert weights[0] == weights[1]
    events = [
        [json.loads(line) for line in (folder / "run" / "record.jsonl").read_text(encoding="utf-8").splitlines()]
        for folder in (whole, cut)
    ]
    assert [event["event"] for event in events[1]].count("resumed") == 1
    trails = [[(event["step"], event["value"]) for event in each if event["event"] == "early_stopping"] for each in events]
    assert trails[0] == trails[1]
    assert not (cut / "run.checkpoints").exists()
    assert not (whole / "run.checkpoints").exists()


def test_resume_without_a_checkpoint_begins_at_the_beginning(work: Path, run: Run) -> None:
    code, _, err = run("train", "quick.yaml", "--out", "run", "--resume")
    assert code == 0, err
    assert (work / "run" / "bundle").is_dir()


def test_a_run_keeps_off_the_place_where_another_is_writing(work: Path, run: Run) -> None:
    (work / "run.checkpoints").mkdir()
    (work / "run.checkpoints" / "precious").touch()
    with run_lock(work / "run"):
        refused = embtune("train", "quick.yaml", "--out", "run", "--overwrite", cwd=work)
        assert refused.returncode == 2
        assert "another run is writing run; wait until it has ended, or choose another --out" in " ".join(
            refused.stderr.split()
        )
        assert (work / "run.checkpoints" / "precious").is_file()
    code, _, err = run("train", "quick.yaml", "--out", "run", "--overwrite")
    assert code == 0, err
    assert sorted(path.name for path in work.iterdir()) == ["quick.yaml", "run", "train.tsv"]


def test_a_run_that_ended_meanwhile_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(RECIPE + "export: {engines: []}\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    recipe, read = Recipe.load("recipe.yaml"), run_module.prepare

    def slowly(*arguments: Any, **options: Any) -> Any:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "record.jsonl").write_text("{}\n", encoding="utf-8")
        return read(*arguments, **options)

    monkeypatch.setattr(run_module, "prepare", slowly)
    with pytest.raises(RecipeError, match=r"run is not empty \(it holds record\.jsonl\); choose another --out"):
        run_module.train(recipe, "run")
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["record.jsonl"]


def test_a_run_that_failed_before_its_first_checkpoint_does_not_block_the_next(work: Path) -> None:
    recipe = Recipe.load("quick.yaml")
    plain = {**recipe.to_dict(), "groups": [{"name": "all", "parameters": ["no_such.*"], "rate": 0.01}]}
    with pytest.raises(RecipeError, match=r"no_such"):
        run_module.train(Recipe.from_dict(plain), "run")
    assert not (work / "run.checkpoints").exists()
    (work / "run.checkpoints" / "checkpoint-3").mkdir(parents=True)  # begun, never sealed
    (work / "run.checkpoints" / "checkpoint-3" / "model.safetensors").write_bytes(b"half")
    run_module.train(recipe, "run")
    assert not (work / "run.checkpoints").exists()


def test_a_run_that_cannot_be_written_says_what_stays(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe.from_dict({**Recipe.load("quick.yaml").to_dict(), "train": {"epochs": 2, "checkpoint_seconds": 0}})

    def full(*_: Any) -> Any:
        raise BundleError("cannot write the bundle run: No space left on device; nothing was left behind")

    with monkeypatch.context() as context:
        context.setattr(run_module, "finalize", full)
        with pytest.raises(
            BundleError, match=r"No space left on device; its checkpoints are kept in .*run\.checkpoints: continue with --"
        ):
            run_module.train(recipe, "run")
    with pytest.raises(RecipeError, match="continue with --resume"):
        run_module.train(recipe, "run")

    def full_disk(*_: Any) -> Any:
        with replace_bundle(work / "elsewhere"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr(run_module, "finalize", full_disk)
        with pytest.raises(EmbtuneError, match=r"No space left on device; free some disk space") as caught:
            run_module.train(recipe, "run", resume=True)
    assert "its checkpoints are kept in" in str(caught.value)
    assert "nothing was left behind" not in str(caught.value)  # with the wording of the writer of bundles itself
    assert run_module.train(recipe, "run", resume=True).bundle.is_dir()
    assert not (work / "run.checkpoints").exists()


@pytest.mark.slow
def test_a_damaged_checkpoint_ends_the_command_with_one_line(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(SLOWLY, encoding="utf-8")
    start_and_kill(tmp_path, after_steps=12)
    checkpoints, kept = tmp_path / "run.checkpoints", tmp_path / "kept"
    checkpoints.rename(kept)
    newest = last_checkpoint(kept)
    assert newest is not None
    marker = tmp_path / "executed"
    changes: dict[str, tuple[str, Any]] = {
        "flipped": ("model.safetensors", lambda path: path.write_bytes(next(flips(path, 1, seed=1)))),
        "emptied": ("model.safetensors", DAMAGES["emptied"]),
        "junk": ("optimizer.safetensors", DAMAGES["junk"]),
        "further": ("optimizer.pdopt", lambda path: path.write_bytes(payload(marker, 4))),
        "payload": ("rng_state.json", lambda path: path.write_bytes(payload(marker, 2))),
        "seal": ("embtune_complete.json", lambda path: path.write_bytes(next(flips(path, 1, seed=2)))),
    }
    monkeypatch.chdir(tmp_path)
    for what, (name, change) in changes.items():
        shutil.rmtree(checkpoints, ignore_errors=True)
        shutil.copytree(kept, checkpoints)
        change(checkpoints / newest.name / name)
        refused = run("train", "recipe.yaml", "--out", "run", "--resume")
        error = error_of(refused, 1)
        assert "Traceback" not in refused[2], what
        assert "is damaged" in error, what
        assert name in error, what
        assert "continue from there" in error, what
        assert not marker.exists(), what
        assert not (tmp_path / "run").exists(), what
    shutil.rmtree(checkpoints)
    shutil.copytree(kept, checkpoints)
    assert run("train", "recipe.yaml", "--out", "run", "--resume")[0] == 0
