"""The command line: what each command prints and leaves, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from paddlenlp_embtune.compat import diagnostics
from paddlenlp_embtune.utils.files.atomic_io import sha256_of
from tests.helpers import ROWS, Run, TinyRun, embtune, error_of, hidden, tsv

ENGINES = ("onnxruntime", "paddle_inference", "paddle")
TEXTS = ["公司拟回购股份", "", "集团被立案调查", "  ", "银行发布日常公告"]


def test_a_recipe_prints_one_object_and_leaves_a_run(tiny_run: TinyRun) -> None:
    answer = json.loads(tiny_run.stdout)
    assert tiny_run.stdout.count("\n") == 1
    assert {"run": "run", "bundle": "run/bundle", "engine": "onnxruntime"}.items() <= answer.items()
    assert {"accuracy", "f1_macro", "per_class", "seconds"} <= set(answer)
    left = {"bundle", "insight.json", "metrics.json", "recipe.yaml", "record.jsonl", "vectors"}
    assert {path.name for path in tiny_run.folder.iterdir()} == left
    assert hidden(tiny_run.folder.parent) == []
    assert all(f"parity: {engine} differs by" in tiny_run.stderr for engine in ENGINES)


def test_training_on_data_alone(work: Path, run: Run) -> None:
    code, out, err = run("train", "--data", "train.tsv", "--epochs", "2", "--out", "run")
    assert (code, out) == (0, "run/bundle\n"), err
    assert "6 development rows" in err


def test_dev_rows_labels_in_order_and_overwriting(work: Path, run: Run) -> None:
    (work / "dev.tsv").write_text(tsv(ROWS[::7]), encoding="utf-8")
    order = ["利空", "中性", "利好"]
    arguments = ("train", "quick.yaml", "--dev", "dev.tsv", "--labels", "利空, 中性,利好", "--out", "run")
    code, out, err = run(*arguments)
    assert (code, out) == (0, "run/bundle\n"), err
    metrics = json.loads((work / "run" / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["data"], metrics["n"], list(metrics["per_class"])) == ("dev.tsv", len(ROWS[::7]), order)
    assert json.loads((work / "run" / "bundle" / "bundle.json").read_text(encoding="utf-8"))["labels"] == order
    before = sha256_of(work / "run" / "record.jsonl")
    assert "--overwrite" in error_of(run(*arguments), 2)
    assert sha256_of(work / "run" / "record.jsonl") == before
    assert run(*arguments, "--overwrite")[0] == 0
    assert hidden(work) == []


@pytest.mark.parametrize(
    ("arguments", "recipe", "ordered"),
    [
        (["--labels", "利空,中性,利好"], "", False),
        (["--labels", "利空,中性,利好", "--ordered"], "", True),
        (["--labels", "利空,中性,利好"], "data: {train: train.tsv, ordered: true}\n", True),
        ([], "data: {train: train.tsv, labels: [利空, 中性, 利好], ordered: true}\n", True),
        ([], "data: {train: train.tsv, labels: [利空, 中性, 利好], ordered: false}\n", False),
        ([], "data: {train: train.tsv, labels: [利空, 中性, 利好]}\n", False),
        ([], "", False),
    ],
)
def test_the_order_of_labels_is_stated_and_never_inferred(
    work: Path, run: Run, arguments: list[str], recipe: str, ordered: bool
) -> None:
    text = (work / "quick.yaml").read_text(encoding="utf-8").replace("data: {train: train.tsv}\n", recipe) if recipe else None
    if text is not None:
        (work / "quick.yaml").write_text(text, encoding="utf-8")
    code, _, err = run("train", "quick.yaml", *arguments, "--epochs", "1", "--out", "run")
    assert code == 0, err
    assert json.loads((work / "run" / "bundle" / "bundle.json").read_text(encoding="utf-8"))["ordered"] is ordered
    (work / "a.txt").write_text("公司拟回购股份\n", encoding="utf-8")
    answer = json.loads(run("predict", "run/bundle", "--data", "a.txt", "--engine", "paddle", "--json", "--scores")[1])
    assert ("level" in answer) is ordered


def test_an_order_that_nobody_stated_is_refused(work: Path, run: Run) -> None:
    result = run("train", "quick.yaml", "--ordered", "--out", "run")
    assert "data.ordered is true, but the labels (中性, 利好, 利空) were found in the data" in error_of(result, 2)
    assert not (work / "run").exists()


def test_every_engine_evaluates_alike(tiny_run: TinyRun, run: Run) -> None:
    answers = {}
    for engine in ENGINES:
        code, out, err = run("evaluate", tiny_run.bundle, "--data", tiny_run.data, "--engine", engine, "--json")
        assert (code, out.count("\n")) == (0, 1), err
        answers[engine] = json.loads(out)
        assert (answers[engine]["engine"], answers[engine]["n"]) == (engine, len(ROWS))
    for key in ("accuracy", "f1_macro", "per_class", "confusion"):
        assert answers["onnxruntime"][key] == answers["paddle_inference"][key] == answers["paddle"][key]


def test_predictions_come_in_order_with_blanks(tiny_run: TinyRun, run: Run, tmp_path: Path) -> None:
    done = embtune("predict", str(tiny_run.bundle), "--json", cwd=tmp_path, text="\n".join(TEXTS) + "\n")
    assert done.stderr == ""
    results = [json.loads(line) for line in done.stdout.splitlines()]
    assert [result["text"] for result in results] == TEXTS
    assert [result["label"] is None for result in results] == [not text.strip() for text in TEXTS]
    files = {
        "texts.txt": "\n".join(TEXTS) + "\n",
        "texts.tsv": tsv([(str(number), text) for number, text in enumerate(TEXTS)], "id\ttext"),
        "texts.jsonl": "".join(json.dumps({"text": text}) + "\n" for text in TEXTS),
    }
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
        code, out, err = run("predict", tiny_run.bundle, "--data", tmp_path / name, "--json", "--scores")
        assert code == 0, err
        found = [json.loads(line) for line in out.splitlines()]
        assert [(row["text"], row["label"]) for row in found] == [(row["text"], row["label"]) for row in results]
        assert list(found[0]["scores"]) == sorted({label for _, label in ROWS})
    plain = run("predict", tiny_run.bundle, "--data", tmp_path / "texts.txt")[1].split("\n")
    assert [line.split("\t")[2] for line in plain[:-1]] == [text.strip() for text in TEXTS]


@pytest.mark.parametrize(
    ("name", "content", "count"),
    [
        pytest.param("a.tsv", "text\n公司\n\n集团\n", 3),
        pytest.param("a.csv", 'text\n公司\n""\n集团\n', 3),
        pytest.param("a.txt", "", 0),
        ("a.txt", "\n", 1),
        ("a.txt", "公司\n集团", 2),
        ("a.csv", "text,n\n公司,1\n,2\n", 2),
    ],
)
def test_as_many_answers_as_texts(tiny_run: TinyRun, run: Run, tmp_path: Path, name: str, content: str, count: int) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    assert run("predict", tiny_run.bundle, "--data", tmp_path / name, "--json")[1].count("\n") == count


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_lone_surrogate_can_be_printed(tiny_run: TinyRun, tmp_path: Path, options: tuple[str, ...]) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "公司\\ud83d"}\n', encoding="utf-8")
    done = embtune("predict", str(tiny_run.bundle), "--data", "a.jsonl", *options, cwd=tmp_path)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stderr


def test_export_to_another_folder(tiny_run: TinyRun, run: Run, work: Path) -> None:
    before = {path: sha256_of(path) for path in tiny_run.bundle.rglob("*") if path.is_file()}
    engines = ("--engine", "onnxruntime", "--engine", "paddle_inference")
    code, out, err = run("export", tiny_run.bundle, *engines, "--out", "other", "--data", tiny_run.data)
    assert (code, out) == (0, "other\n"), err
    for engine in ENGINES:
        assert run("evaluate", "other", "--data", "train.tsv", "--engine", engine, "--json")[0] == 0
    assert {path: sha256_of(path) for path in before} == before
    assert hidden(work) == []


def test_plugins_and_params_list_what_there_is(tiny_run: TinyRun, run: Run) -> None:
    plugins = json.loads(run("plugins", "--json")[1])
    assert "builtin" in [plugin["name"] for plugin in plugins["plugins"]]
    assert {"kind": "model", "name": "textcnn", "plugin": "builtin"} in plugins["registered"]
    for model in (tiny_run.bundle, tiny_run.recipe, "textcnn"):
        rows = [json.loads(line) for line in run("params", model, "--json")[1].splitlines()]
        assert {"embedding", "backbone", "head"} <= {row["group"] for row in rows}
        assert all(row["rate"] > 0 for row in rows)
    assert "did you mean 'textcnn'" in error_of(run("params", "textcn"), 2)
    assert "textcnn" in run("plugins")[1]
    assert "embedding.weight" in run("params", "textcnn")[1]


@pytest.mark.slow
def test_the_doctor_looks_at_this_environment(run: Run) -> None:
    code, out, _ = run("doctor", "--json")
    findings = [json.loads(line) for line in out.splitlines()]
    assert {"paddle", "paddlenlp", "onnxruntime", "processor"} <= {finding["name"] for finding in findings}
    assert code == int(any(finding["state"] == "broken" for finding in findings))
    assert all(finding["fix"] for finding in findings if finding["state"] != "ok")


@pytest.mark.parametrize(("states", "code"), [(("ok", "note"), 0), (("ok", "broken"), 1)])
def test_the_doctor_fails_if_something_is_broken(
    run: Run, monkeypatch: pytest.MonkeyPatch, states: tuple[str, ...], code: int
) -> None:
    findings = [diagnostics.Finding(f"thing-{state}", state, "seen [so]", "pip install x[cpu]") for state in states]
    monkeypatch.setattr(diagnostics, "examine", lambda: findings)
    found, out, _ = run("doctor")
    assert found == code
    assert all(f"{finding.name}: seen [so]" in out for finding in findings)
    assert out.count("fix: pip install x[cpu]") == len(findings)


@pytest.mark.parametrize(
    "arguments", [(), ("nonsense",), ("train", "--nonsense"), ("--threads", "0", "plugins"), ("evaluate", "x"), ("export", "x")]
)
def test_misuse_is_2(run: Run, arguments: tuple[str, ...]) -> None:
    code, out, _ = run(*arguments)
    assert (code, bool(out)) == (2, not arguments)


def test_the_version_is_printed(run: Run) -> None:
    assert run("--version")[:2] == (0, "embtune 0.1.0\n")


def test_a_run_can_be_repeated_from_its_own_recipe_and_its_bundle_names_no_folders(work: Path, run: Run) -> None:
    assert run("train", "quick.yaml", "--out", "first")[0] == 0
    assert run("train", "first/recipe.yaml", "--out", "second")[0] == 0
    found = [(work / name / "bundle" / "bundle.json").read_text(encoding="utf-8") for name in ("first", "second")]
    assert found[0] == found[1]
    assert str(work) not in found[0]
