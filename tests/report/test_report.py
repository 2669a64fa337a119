"""The report of an invented run: what it shows, what it must never let through, its pictures and its plugins."""

from __future__ import annotations

import json
import logging
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.errors import EmbtuneError, MissingDependencyError, PluginError, RecipeError
from paddlenlp_embtune.report import write_report
from paddlenlp_embtune.report.plots import _fonts as fonts_module
from paddlenlp_embtune.report.report import SECTIONS
from tests.report.invented import IMAGE, LABELS, SCRIPT, answers, moves, write_run
from tests.report.reading import Reader, section

pytest.importorskip("matplotlib")

FIGURES = {
    *("loss", "metric", "rates", "confusion", "calibration", "classes", "map-before", "map-after"),
    *("health-cosine-drift-mean", "health-cosine-drift-max", "health-norm-mean", "health-norm-max", "health-rows-moved"),
    *(
        "health-gradient-share",
        "health-groups-cohesion",
        "health-agreement-z",
        "health-my-measure-img-src-http-nowhere-example-x-png-onerror",
    ),
}


def test_it_stands_in_the_folder_of_the_run_with_every_section_and_figure(report: Path, page: Reader) -> None:
    assert report.name == "report.html"
    assert page.text("h2") == "".join(part.title for part in SECTIONS)
    assert [tag for tag, _ in page.tags].count("svg") == len(FIGURES)
    assert all(page.values("aria-label"))


def test_text_of_the_data_stays_text(page: Reader) -> None:
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"script", "img", "iframe", "object", "link", "base", "form", "i"}
    assert not [name for _, attributes in page.tags for name in attributes if name.startswith("on")]
    for place, text in {
        "h1": "run <b><script>",
        "dd": SCRIPT,
        "dt": "<i>.tsv",
        "td": SCRIPT,
        "p": IMAGE,
        "span": SCRIPT,
        "figcaption": IMAGE,
        "text": "<script>",
        "pre": SCRIPT,
    }.items():
        assert text in page.text(place), place


def test_nothing_comes_from_outside(report: Path, page: Reader) -> None:
    assert all(value.startswith("#") for name in ("href", "xlink:href", "src") for value in page.values(name))
    style = page.text("style") + "".join(page.values("style"))
    assert "@import" not in style
    assert not re.search(r"url\((?!#)", style)
    (policy,) = [attributes["content"] for _, attributes in page.tags if "http-equiv" in attributes]
    assert policy.startswith("default-src 'none'")
    addresses = re.findall(r"https?:[^\s<&]*", report.read_text(encoding="utf-8"))
    assert set(addresses) == {"http://nowhere.example/x.png"}  # the data's own, escaped


def test_ids_are_unique_and_references_are_kept(report: Path, page: Reader) -> None:
    ids = page.values("id")
    assert len(set(ids)) == len(ids)
    used = set(re.findall(r'(?:url\(#|href="#|aria-labelledby=")([^")]+)', report.read_text(encoding="utf-8")))
    assert used <= set(ids)
    assert len(used) > 20


def test_letters_in_figures_are_text_and_no_formulas(page: Reader) -> None:
    letters = page.text("text")
    assert LABELS[1] in letters
    assert "强烈利好" in letters
    assert "增持" in letters


def test_the_same_run_gives_the_same_page(report: Path, tmp_path: Path) -> None:
    again = write_report(report.parent, tmp_path / "again.html")
    assert again.read_bytes() == report.read_bytes()


def test_every_figure_is_written_as_png_on_request(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = write_run(tmp_path / "run")
    with caplog.at_level(logging.WARNING, "paddlenlp_embtune"):
        write_report(folder, png_dir=tmp_path / "png")
    files = {path.stem: path.read_bytes() for path in (tmp_path / "png").iterdir()}
    assert set(files) == FIGURES
    assert all(content.startswith(b"\x89PNG\r\n") and len(content) > 2000 for content in files.values())
    assert bool(caplog.records) is not fonts_module.find_fonts().chinese


def test_without_a_chinese_font_png_files_show_code_points(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fonts_module, "_candidates", lambda manager: iter(()))
    fonts = fonts_module.find_fonts()
    assert not fonts.chinese
    assert fonts.drawable("增a") == "[589E]a"
    with caplog.at_level(logging.WARNING, "paddlenlp_embtune"):
        page = write_report(write_run(tmp_path / "run"), png_dir=tmp_path / "png")
    (record,) = caplog.records
    assert "apt-get install fonts-noto-cjk" in record.getMessage()
    assert {path.stem for path in (tmp_path / "png").iterdir()} == FIGURES
    assert "增持" in Reader(page.read_text(encoding="utf-8")).text("text")


def test_no_png_is_written_unasked(report: Path) -> None:
    assert not list(report.parent.rglob("*.png"))


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_a_package_the_extra_is_named(package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=rf"needs {package}; .*paddlenlp-embtune\[plot\]"):
        write_report(write_run(tmp_path))


def test_other_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path)
    assert "t-SNE" in section(write_report(folder, method="tsne").read_text(encoding="utf-8"), "Term map")
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependencyError, match="pip install umap-learn"):
        write_report(folder, method="umap")
    with pytest.raises(RecipeError, match="did you mean 'tsne'"):
        write_report(folder, method="t-sne")


def test_further_sections_stand_at_the_end(tmp_path: Path) -> None:
    def more(run: Any) -> str:
        return f"<p>of {run.name}</p>"

    text = write_report(write_run(tmp_path / "x"), sections={f"More {SCRIPT}": more}).read_text(encoding="utf-8")
    page = Reader(text)
    assert page.text("h2").endswith(f"RecipeMore {SCRIPT}")
    assert "<p>of x</p>" in text
    assert "script" not in {tag for tag, _ in page.tags}


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (None, "returned None; expected HTML as a str"),
        (("a", "b"), "expected HTML"),
        (ValueError("no"), "raised ValueError: no"),
    ],
)
def test_a_section_that_breaks_its_contract_is_named(found: Any, told: str, tmp_path: Path) -> None:
    def mine(run: Any) -> Any:
        if isinstance(found, Exception):
            raise found
        return found

    with pytest.raises(PluginError, match=f"the report section 'My own' .*{told}"):
        write_report(write_run(tmp_path), sections={"My own": mine})


def test_an_insight_file_holds_no_more_than_json(tmp_path: Path) -> None:
    text = json.dumps({"dev": answers(), "movement": moves()}, ensure_ascii=False, allow_nan=False)
    assert json.loads(text.encode("utf-8"))["dev"]["n"] == 5
    with pytest.raises(EmbtuneError):
        write_report(tmp_path)
