"""``embtune predict --explain``: figures on stdout, colours on stderr, and a page that nobody's text can break."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from paddlenlp_embtune.cli._explanations import coloured_text, html_section
from paddlenlp_embtune.inference.explain import Attribution, Explanation
from tests.helpers import Run, TinyRun, embtune, error_of, hidden, python

TEXTS = ["公司拟回购股份", "", "集团被立案调查", "  ", "银行发布日常公告"]
HOSTILE = "</p><script>alert('立案')</script>&\"\x1b[31m\x00\ud83d\u202e\r股"


def explanation(text: str, values: list[float], *, cut_at: int | None = None) -> Explanation:
    contributions = np.array(values, dtype=np.float32)
    places = tuple((at, at + 1) for at in range(len(values)))
    found = Attribution("integrated_gradients", contributions, float(contributions.sum()))
    return Explanation(text, "利空", 0.75, tuple(text[: len(values)]), places, found, cut_at)


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8")
    return path


def test_the_terms_are_a_column_and_the_colours_are_talk(tiny_run: TinyRun, run: Run, texts: Path) -> None:
    code, out, err = run("predict", tiny_run.bundle, "--data", texts, "--explain")
    assert code == 0, err
    lines = [line.split("\t") for line in out.splitlines()]
    plain = run("predict", tiny_run.bundle, "--data", texts)[1].splitlines()
    assert ["\t".join(line[:3]) for line in lines] == plain
    assert [line[3] == "" for line in lines] == [not text.strip() for text in TEXTS]
    for text, line in zip(TEXTS, lines, strict=True):
        for term in filter(None, line[3].split("; ")):
            word, value = term.rsplit(" ", 1)
            assert word in text
            assert re.fullmatch(r"[+-]\d+\.\d\d", value)
    assert err.count("log-odds") == 3
    shown = err.replace("⁺", "").replace("⁻", "")
    assert all(text in shown for text in TEXTS if text.strip())


def test_json_holds_everything(tiny_run: TinyRun, texts: Path, tmp_path: Path) -> None:
    done = embtune("predict", str(tiny_run.bundle), "--data", str(texts), "--explain", "--json", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [answer["text"] for answer in answers] == TEXTS
    for answer in answers:
        found = answer["explanation"]
        assert (found["label"], found["unit"]) == (answer["label"], "log-odds")
        assert len(found["tokens"]) == len(found["offsets"]) == len(found["contributions"])
        assert [answer["text"][start:end] for start, end in found["offsets"]] == found["tokens"]
        assert sum(found["contributions"]) == pytest.approx(found["difference"] + found["residual"], abs=1e-3)


def test_any_label_can_be_explained(tiny_run: TinyRun, run: Run, texts: Path) -> None:
    code, out, err = run("predict", tiny_run.bundle, "--data", texts, "--label", "利空", "--json", "--scores")
    assert code == 0, err
    for answer in map(json.loads, out.splitlines()):
        if answer["label"] is not None:
            assert answer["explanation"]["label"] == "利空"
            assert answer["explanation"]["score"] == pytest.approx(answer["scores"]["利空"])
    plain = map(json.loads, run("predict", tiny_run.bundle, "--data", texts, "--label", "利空", "--json")[1].splitlines())
    assert [sorted(answer) for answer in plain] == [["explanation", "label", "score", "text"]] * len(TEXTS)
    message = error_of(run("predict", tiny_run.bundle, "--data", texts, "--label", "利坏"), 1)
    assert "has no label '利坏'" in message
    assert "利空" in message


def test_the_page_is_whole_and_asks_for_nothing(tiny_run: TinyRun, run: Run, texts: Path, tmp_path: Path) -> None:
    code, out, err = run("predict", tiny_run.bundle, "--data", texts, "--html", tmp_path / "new" / "page.html")
    assert code == 0, err
    assert out.count("\n") == len(TEXTS)
    assert "page.html" in err
    assert "log-odds" not in err
    page = (tmp_path / "new" / "page.html").read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert page.rstrip().endswith("</html>")
    assert page.count("<section>") == len(TEXTS)
    assert 'charset="utf-8"' in page
    assert not re.search(r"https?:|src=|href=|<script|@import|url\(", page.replace("default-src ", ""))
    bare = re.sub(r"<sup>.*?</sup>|<[^>]*>", "", page)
    assert all(text in bare for text in TEXTS)
    assert hidden(tmp_path) == []


def test_no_text_breaks_out_of_the_page_or_steers_the_terminal(tiny_run: TinyRun, run: Run, tmp_path: Path) -> None:
    (tmp_path / "hostile.jsonl").write_text(json.dumps({"text": HOSTILE}) + "\n", encoding="utf-8")
    code, _, err = run("predict", tiny_run.bundle, "--data", tmp_path / "hostile.jsonl", "--html", tmp_path / "page.html")
    assert code == 0, err
    page = (tmp_path / "page.html").read_bytes().decode("utf-8")
    body = page[page.index("<section>") :]
    assert set(re.findall(r"</?([a-z0-9]+)", body)) == {"section", "h2", "p", "span", "sup", "body", "html"} - (
        set() if "<sup>" in body else {"sup"}
    )
    assert not re.search(r"[\x00-\x08\x0b-\x1f\u202e]", page)
    code, _, err = run("predict", tiny_run.bundle, "--data", tmp_path / "hostile.jsonl", "--explain")
    assert code == 0
    assert "alert" in err.replace("⁺", "").replace("⁻", "")
    assert not re.search(r"[\x00\x1b\u202e]", err)


def test_the_sign_is_shown_by_more_than_colour() -> None:
    one = explanation("被立案了涨停。", [0.0, 2.0, 2.0, 0.0, -1.0, -1.0, 0.0])
    text = coloured_text(one)
    assert text.plain.startswith("  被立案⁺了涨停⁻。\n")
    styles = {text.plain[span.start : span.end]: str(span.style) for span in text.spans}
    assert "underline" in styles["涨停⁻"] or "italic" in styles["涨停⁻"]
    assert styles["涨停⁻"].split()[0] != styles["立案⁺"].split()[0]
    assert "立案 +4.00; 涨停 -2.00" in text.plain
    section = html_section(one)
    assert 'class="for" style="--a:0.60" title="+2.000">案<sup>+</sup>' in section
    assert 'class="against" style="--a:0.30" title="-1.000">停<sup>&minus;</sup>' in section
    assert 'class="weak" style="--a:0.00" title="+0.000">了<' in section


def test_what_was_cut_is_said() -> None:
    one = explanation("涨停" + "长" * 1200, [1.0, 1.0], cut_at=2)
    assert "涨停⁺ ... 1,200 more characters were not read" in coloured_text(one).plain
    assert "长" not in coloured_text(one).plain
    assert f'<span class="cut" title="not read">{"长" * 1200}</span>' in html_section(one)


def test_tokens_of_one_character_are_one_span() -> None:
    values = np.array([0.5, 1.0, 0.25, -1.0], dtype=np.float32)
    one = Explanation(
        "㈱跌", "利空", 0.5, tuple("(株)跌"), ((0, 1), (0, 1), (0, 1), (1, 2)), Attribution("occlusion", values, 0.75)
    )
    assert 'title="+1.750">㈱<' in html_section(one)
    assert html_section(one).count("㈱<") == 1
    assert coloured_text(one).plain.count("㈱") == 2  # in the text, and among the terms


def test_a_page_that_cannot_be_written_is_a_failure(tiny_run: TinyRun, run: Run, texts: Path) -> None:
    code, _, err = run("predict", tiny_run.bundle, "--data", texts, "--html", texts / "page.html")
    assert code == 1
    assert err.startswith("error:")


def test_explaining_needs_no_paddle(tiny_run: TinyRun, texts: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['paddle'] = None; from paddlenlp_embtune.cli.main import main; main()"
    done = python("-c", code, "predict", str(tiny_run.bundle), "--data", str(texts), "--explain", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[0])["explanation"]["method"] == "occlusion"
