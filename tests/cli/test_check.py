"""``embtune check`` as a user runs it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.cli.main import app
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.data import ReadOptions, read_examples
from tests.helpers import ROWS, tsv

LONGER = [(f"{text}，第{number}季度{label}", label) for number in range(1, 4) for text, label in ROWS]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows with one fault of each kind."""
    monkeypatch.chdir(tmp_path)
    train = [list(row) for row in LONGER]
    train[4][0] = f"<p>{train[4][0]}</p>"
    train[5][0] += "锟斤拷"
    train += [["<br/>", "利好"], list(train[0]), ["", "利好"], [train[1][0], "中性"], [train[2][0], ""]]
    (tmp_path / "train.tsv").write_text(tsv([tuple(row) for row in train]), encoding="utf-8")  # type: ignore[misc]
    dev = [(LONGER[8][0], LONGER[8][1]), ("从未见过的一篇文章", "利好")]
    (tmp_path / "dev.tsv").write_text(tsv(dev), encoding="utf-8")
    return tmp_path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    app(["check", *arguments], standalone_mode=False)
    return capsys.readouterr()


def checked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(capsys, *arguments, "--json")[0])
    return found


def changes(path: Path) -> list[tuple[int, str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [(int(row["row"]), row["action"], row["reason"]) for row in csv.DictReader(file, dialect="excel-tab")]


def test_faults_are_found_and_cleaned(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = checked(capsys, "train.tsv", "--dev", "dev.tsv", "--write", "out/cleaned.tsv")
    count = len(LONGER)
    assert found["rows"] == count + 5
    assert [(each["split"], each["rows"], each["empty"], each["unlabelled"]) for each in found["files"]] == [
        ("train", count + 3, [count + 3], [count + 5]),
        ("dev", 2, [], []),
    ]
    assert [(each["row"]["row"], each["of"]["row"]) for each in found["leaks"] if each["kind"] == "exact"] == [(1, 9)]
    assert {(each["row"], each["kind"]) for each in found["oddities"]} == {
        (5, "markup"),
        (6, "mojibake"),
        (count + 1, "markup"),
    }
    assert set(found["columns"]) == {"text", "label", "others"}

    made = changes(data / "out" / "cleaned.changes.tsv")
    assert (1 + count + 1, "drop", "repeats row 1") in made
    assert (5, "text", "mojibake, markup") in made
    assert (count + 1, "drop", "nothing is left of the text after cleaning") in made
    assert (count + 3, "drop", "the text is empty") in made
    assert (9, "drop", "the text is that of row 1 of dev.tsv") in made
    assert [why for row, action, why in made if row == 2 and action == "drop"] == [
        f"rows with this text have different labels: {LONGER[1][1]} 1, 中性 1"
    ]
    recipe = Recipe.load(data / "out" / "cleaned.recipe.yaml")
    assert recipe.text.cleaning == ("mojibake", "markup")
    assert recipe.data.train is not None
    rows = read_examples(
        recipe.data.train, text_column="text", label_column="label", options=ReadOptions(quoting=recipe.data.quoting)
    )
    assert len(rows) == count + 5 - 2 - sum(action == "drop" for _, action, _ in made) + 2
    assert rows.texts[0] == LONGER[0][0]
    assert LONGER[4][0] in rows.texts
    assert LONGER[5][0] in rows.texts

    again = checked(capsys, recipe.data.train, "--dev", "dev.tsv")
    assert again["duplicates"] == again["conflicts"] == again["oddities"] == []
    assert not [each for each in again["leaks"] if each["kind"] == "exact"]


def test_people_get_tables_and_a_page(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stdout, stderr = run(capsys, "--data", "train.tsv", "--dev", "dev.tsv", "--html", "check.html", "--no-suspects")
    assert "1 of 2 dev rows is the same as a train row" in stdout
    assert "report: check.html" in stderr
    assert "label errors were not looked for" in stderr
    page = (data / "check.html").read_text(encoding="utf-8")
    assert "1 of 2 dev rows is the same as a train row" in page
    assert "&lt;p&gt;" in page
    assert "<script" not in page


@pytest.mark.parametrize("kind", ["label-studio", "label-studio-min", "doccano"])
def test_suspects_go_to_a_review_and_come_back(data: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    rows = [(f"{text}{number}", "利空" if number == 7 and at == 0 else label)
            for number in range(12) for at, (text, label) in enumerate(ROWS)]  # fmt: skip
    (data / "train.tsv").write_text(tsv(rows), encoding="utf-8")
    tool = "doccano" if kind == "doccano" else "label-studio"
    run(capsys, "train.tsv", "--export-suspects", "suspects.json", "--format", tool)
    written = (data / "suspects.json").read_text(encoding="utf-8")
    if kind == "doccano":
        tasks = [json.loads(line) for line in written.splitlines()]
        back = [{"id": number, "Comments": [], **task} for number, task in enumerate(tasks)]
        answered = "".join(json.dumps(task, ensure_ascii=False) + "\n" for task in back)
        wrong = tasks
    else:
        tasks = json.loads(written)
        wrong = [task["data"] for task in tasks]
        assert '<Choice value="利好"/>' in (data / "suspects.xml").read_text(encoding="utf-8")
        done = [{**task, "annotations": [{"was_cancelled": False, **task["predictions"][0]}]} for task in tasks]
        short = [{**task["data"], "label": task["data"]["proposal"]} for task in tasks]
        answered = json.dumps(short if kind == "label-studio-min" else done, ensure_ascii=False)
    assert any(task["row"] == 7 * len(ROWS) + 1 and task["proposal"] == "利好" for task in wrong)
    (data / "reviewed.json").write_text(answered, encoding="utf-8")
    run(capsys, "train.tsv", "--apply", "reviewed.json", "--write", "cleaned.tsv", "--fix", "duplicates,suspects")
    assert (7 * len(ROWS) + 1, "label", "reviewed") in changes(data / "cleaned.changes.tsv")
    assert not [why for _, _, why in changes(data / "cleaned.changes.tsv") if why.startswith("suspected")]
    assert f"{rows[7 * len(ROWS)][0]}\t利好" in (data / "cleaned.tsv").read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "there is nothing to check; pass a file"),
        (["train.tsv", "--dev", "./train.tsv"], "is given 2 times"),
        (["train.tsv", "--fix", "duplicates"], "--fix needs --write"),
        (["train.tsv", "--write", "x.tsv", "--fix", "duplicate"], "did you mean 'duplicates'"),
        (["train.tsv", "--write", "x.tsv", "--fix", "duplicates"], "cannot be kept; add empty to --fix"),
        (["train.tsv", "--write", "x.txt"], "expected .tsv, .csv or .jsonl"),
        (["train.tsv", "--apply", "x.json"], "--apply needs --write"),
        (["train.tsv", "--export-suspects", "x", "--format", "excel"], "a --format of label-studio or doccano"),
        (["train.tsv", "--text-column", "content"], "has no column 'content'"),
        (["train.tsv", "--apply", "no.json", "--write", "x.tsv"], "there is no file no.json"),
        (["no.tsv"], "there is no file no.tsv"),
        (["train.tsv", "--write", "./train.tsv"], "--write is train.tsv, which is checked"),
        (["train.tsv", "dev.tsv", "--html", "dev.tsv"], "--html is dev.tsv, which is checked"),
    ],
)
def test_misuse_is_refused(data: Path, arguments: list[str], told: str) -> None:
    with pytest.raises(Exception, match=told):
        app(["check", *arguments], standalone_mode=False)
    assert not (data / "x.tsv").exists()


@pytest.mark.parametrize(
    ("task", "told"),
    [
        ({"text": "另一篇", "file": "train.tsv", "row": 1, "label": "利好"}, "expected the data that the suspects came from"),
        ({"text": LONGER[0][0], "file": "train.tsv", "row": 1, "label": ["利多"]}, "has the label '利多'"),
        ({"text": LONGER[0][0], "file": "train.tsv", "row": 1, "label": ["利好", "利空"]}, "expected one"),
        ({"text": LONGER[0][0], "file": "other.tsv", "row": 1, "label": ["利好"]}, "was not checked"),
        ({"text": LONGER[0][0], "label": ["利好"]}, "does not tell its file and row"),
        (["x"], "expected an object"),
    ],
)
def test_a_review_of_other_data_is_refused(data: Path, task: Any, told: str) -> None:
    (data / "reviewed.json").write_text(json.dumps([task], ensure_ascii=False), encoding="utf-8")
    with pytest.raises(Exception, match=told):
        app(["check", "train.tsv", "--apply", "reviewed.json", "--write", "x.tsv", "--no-suspects"], standalone_mode=False)
