"""Files as people have them, through the command line: predict, evaluate and train read them alike and say what they did."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from paddlenlp_embtune.builtin import FINANCE
from tests.helpers import Run, TinyRun

BUNDLE = str(FINANCE / "bundle")
TEXTS = ["公司的业绩大好，我们都要买入", "被立案调查，市场上没有人说好"]


def test_predict_reads_the_standard_input_of_its_process() -> None:
    command = [sys.executable, "-m", "paddlenlp_embtune", "--threads", "1", "predict", BUNDLE]
    done = subprocess.run(command, input="\r".join(TEXTS).encode("gb18030"), capture_output=True, timeout=120, check=False)
    assert (done.returncode, [line.split("\t")[2] for line in done.stdout.decode().splitlines()]) == (0, TEXTS)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("end", ["\r", "\r\r\n"])
def test_predict_reads_stdin_in_any_encoding(end: str, encoding: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given = io.BytesIO(end.join([*TEXTS, ""]).encode(encoding))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(given, encoding="ascii"))
    code, out, _ = run("predict", BUNDLE)
    assert (code, [line.split("\t")[2] for line in out.splitlines()]) == (0, TEXTS)


def test_predict_says_how_a_file_was_read_and_what_was_cut(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f"sep=;\r\ntext;label\r\n{TEXTS[0]};x\r\n;\r\n{TEXTS[1] * 20};x\r\n".encode("gb18030"))
    code, out, err = run("predict", BUNDLE, "--data", str(path), "--json")
    answers = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert [answer["text"] for answer in answers] == [TEXTS[0], "", TEXTS[1] * 20]
    assert [answer.get("cut") for answer in answers] == [None, None, True]
    assert "was read as GB18030" in err
    assert "1 of 3 texts have more than the 128 tokens" in err


def test_a_declared_encoding_reaches_the_reader(tmp_path: Path, run: Run) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("text\tlabel\n涨\t强烈利好\n跌\t强烈利空\n".encode("gb18030"))
    (tmp_path / "short.txt").write_bytes("a\n祸害\n".encode("gb18030"))
    code, _, err = run("predict", BUNDLE, "--data", str(tmp_path / "short.txt"))
    assert code == 1
    assert "line 2" in err
    assert "--encoding gb18030" in err
    code, out, _ = run("evaluate", BUNDLE, "--data", str(path), "--encoding", "gb18030", "--json")
    assert (code, json.loads(out)["n"]) == (0, 2)
    code, _, err = run("evaluate", BUNDLE, "--data", str(path), "--encoding", "klingon")
    assert code == 2
    assert "--encoding is 'klingon'" in err


def test_the_record_counts_the_texts_that_were_cut(tiny_run: TinyRun) -> None:
    lines = (tiny_run.folder / "record.jsonl").read_text(encoding="utf-8").splitlines()
    events = {event["event"]: event for event in map(json.loads, lines)}
    assert events["cut"]["max_length"] > 0
    assert {"train", "dev"} <= events["cut"].keys()
    assert {"skipped_empty", "skipped_blank", "unused_terms"} <= events["data"].keys()


def test_predictions_keep_all_columns_of_the_rows(tmp_path: Path, run: Run) -> None:
    rows, answered = tmp_path / "posts.csv", tmp_path / "answered.tsv"
    rows.write_text("编号,内容\n7,公司中标大单\n8,\n", encoding="gb18030")
    code, _, err = run("predict", BUNDLE, "--data", str(rows), "--out", str(answered))
    assert (code, "2 rows with their answers" in err) == (0, True)
    header, first, second = answered.read_text(encoding="utf-8").splitlines()
    assert header == "编号\t内容\tpredicted_label\tpredicted_score"
    assert first.startswith("7\t公司中标大单\t")
    assert second.split("\t")[:3] == ["8", "", ""]
    for options in (["--out", str(rows)], ["--out", str(tmp_path / "a.csv"), "--explain"], ["--format", "doccano"]):
        assert run("predict", BUNDLE, "--data", str(rows), *options)[0] == 2
