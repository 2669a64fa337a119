"""Learning on, from the command line: several sets, bundles of a sequence of tasks, and former heads."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.helpers import ROWS, Run, TinyRun, error_of, tsv


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "a.tsv").write_text(tsv(ROWS[::2]), encoding="utf-8")
    (tmp_path / "b.tsv").write_text(tsv(ROWS[1::3]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_set_has_its_figures_and_all_have_a_mean(sets: Path, tiny_run: TinyRun, run: Run) -> None:
    code, out, err = run("evaluate", str(tiny_run.bundle), "--data", "old=a.tsv", "--data", "new=b.tsv", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert list(found["sets"]) == ["old", "new"]
    alone = json.loads(run("evaluate", str(tiny_run.bundle), "--data", "b.tsv", "--json")[1])
    assert found["sets"]["new"]["f1_macro"] == alone["f1_macro"]
    assert found["sets"]["new"]["data"] == "b.tsv"
    mean = sum(report["accuracy"] for report in found["sets"].values()) / 2
    assert found["mean"]["accuracy"] == pytest.approx(mean)
    assert "sequence" not in found


def test_former_bundles_give_the_matrix(sets: Path, tiny_run: TinyRun, run: Run) -> None:
    bundle = str(tiny_run.bundle)
    code, out, err = run("evaluate", bundle, "--former", bundle, "--data", "old=a.tsv", "--data", "new=b.tsv", "--json")
    assert code == 0, err
    found = json.loads(out)
    accuracies = [report["accuracy"] for report in found["sets"].values()]
    assert found["sequence"]["accuracies"] == [accuracies, accuracies]
    assert found["sequence"]["forgetting"] == 0.0
    code, out, err = run("evaluate", bundle, "--former", bundle, "--data", "old=a.tsv", "--data", "new=b.tsv")
    assert (code, out) == (0, "")
    assert "forgetting" in err


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--data", "a.tsv", "--data", "new=b.tsv"), "--data is 'a.tsv' beside others; expected NAME=FILE for each"),
        (("--data", "x=a.tsv", "--data", "x=b.tsv"), "--data has the name 'x' twice"),
        (("--data", "x=a.tsv", "--former", "{bundle}"), "--former names 1 bundles beside 1 sets; expected 0"),
    ],
)
def test_what_does_not_fit_is_refused(options: tuple[str, ...], told: str, sets: Path, tiny_run: TinyRun, run: Run) -> None:
    stated = [option.format(bundle=tiny_run.bundle) for option in options]
    assert told in error_of(run("evaluate", str(tiny_run.bundle), *stated), 2)


def test_a_head_that_is_not_kept_is_refused_with_the_names(sets: Path, tiny_run: TinyRun, run: Run) -> None:
    bundle = str(tiny_run.bundle)
    assert "--head needs --out" in error_of(run("export", bundle, "--head", "old"), 2)
    assert "keeps no head 'old'" in error_of(run("export", bundle, "--head", "old", "--out", str(sets / "x")), 1)
    assert "or --head" in error_of(run("export", bundle, "--head", "old", "--engine", "onnxruntime"), 2)
