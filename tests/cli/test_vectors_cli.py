"""``embtune vectors``: versions of the finance bundle's embedding, saved, compared, mixed and put back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import load_file

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.bundle import Bundle, QuantizedProgram
from paddlenlp_embtune.bundle.embedding import draft_with_embedding, embedding_table
from paddlenlp_embtune.embeddings.store import VectorStore
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.export import edit_bundle
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.models import embedding_name
from paddlenlp_embtune.models.paddle_engine import load_layer
from paddlenlp_embtune.utils.safetensors_io import write_safetensors_file
from tests.helpers import Run, error_of, hidden, python

Table = npt.NDArray[np.float32]
TEXTS = ["公司拟回购股份", "控股股东减持", "召开股东大会", "央行宣布降准"]


@pytest.fixture(scope="module")
def finance() -> Bundle:
    return Bundle.open(FINANCE / "bundle")


@pytest.fixture(scope="module")
def noisy(finance: Bundle) -> Table:
    """The bundle's table with noise on a twentieth of its rows, 息 and 股 among them; padding stays zero."""
    generator = np.random.default_rng(0)
    table = embedding_table(finance).copy()
    rows = generator.choice(np.arange(2, len(table)), len(table) // 20, replace=False)
    rows = np.union1d(rows, [finance.vocabulary.ids[token] for token in "息股"])
    table[rows] += 0.3 * generator.standard_normal((len(rows), table.shape[1]), dtype=np.float32)
    return table


@pytest.fixture(scope="module")
def made(finance: Bundle, noisy: Table, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of finance with the versions ``end`` and ``noisy`` in its store."""
    folder = tmp_path_factory.mktemp("made")
    shutil.copytree(finance.path, folder / "run" / "bundle")
    for name in ("dev.tsv", "test.tsv"):
        shutil.copy(FINANCE / name, folder / name)
    store = VectorStore.open(folder / "run" / "vectors", create=True)
    store.save("end", finance.vocabulary.tokens, embedding_table(finance))
    store.save("noisy", finance.vocabulary.tokens, noisy, note="with noise")
    return folder


@pytest.fixture
def work(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(made, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def told(result: tuple[int, str, str]) -> Any:
    assert result[0] == 0, result[2]
    return json.loads(result[1])


def test_the_table_of_a_bundle_is_that_of_its_model(finance: Bundle) -> None:
    layer = load_layer(finance.path)
    np.testing.assert_array_equal(embedding_table(finance), dict(layer.named_parameters())[embedding_name(layer)].numpy())


@pytest.mark.parametrize("source", ["run", "run/bundle"])
def test_save_makes_a_store_beside_the_run(work: Path, run: Run, finance: Bundle, source: str) -> None:
    shutil.rmtree("run/vectors")
    code, out, err = run("vectors", "save", source, "--name", "tuned", "--note", "first")
    assert code == 0, err
    assert "saved tuned: 2163 new rows of 2163" in err
    store = VectorStore.open("run/vectors")
    version = store.version("tuned")
    assert out == f"{version.id}\n"
    assert (version.note, version.source, set(version.groups)) == (
        "first",
        "run/bundle",
        {"easing", "tightening", "buying", "selling", "distress"},
    )
    tokens, table = store.load("tuned")
    assert tokens == finance.vocabulary.tokens
    assert table.tobytes() == embedding_table(finance).tobytes()
    again = told(run("vectors", "save", source, "--name", "again", "--json"))
    assert (again["new_rows"], again["name"], again["parent"]) == (0, "again", version.id)


def test_a_store_elsewhere(work: Path, run: Run) -> None:
    assert run("vectors", "save", "run", "--name", "a", "--store", "deep/place")[0] == 0
    assert [row["name"] for row in told(run("vectors", "list", "--store", "deep/place", "--json"))["versions"]] == ["a"]


def test_list_in_figures_and_as_a_table(work: Path, run: Run) -> None:
    answer = told(run("vectors", "list", "--store", "run", "--json", "--check"))
    assert [row["name"] for row in answer["versions"]] == ["end", "noisy"]
    assert answer["damage"] == []
    assert answer["size"]["versions"] == 2
    assert answer["size"]["bytes"] < answer["size"]["table_bytes"]
    code, out, err = run("vectors", "list", "--store", "run/vectors")
    assert code == 0
    assert "noisy" in out
    assert "with noise" in out
    assert "MB on the disk" in err


def test_the_store_of_the_current_folder(work: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("run", "run/vectors"):
        monkeypatch.chdir(work / place)
        assert told(run("vectors", "list", "--json"))["size"]["versions"] == 2


def test_diff_as_json(work: Path, run: Run, finance: Bundle, noisy: Table) -> None:
    answer = told(run("vectors", "diff", "end", "noisy", "--store", "run", "--domain", "finance", "--count", "7", "--json"))
    moved = int((noisy != embedding_table(finance)).any(axis=1).sum())
    assert (answer["before"], answer["after"], answer["shared"]) == ("end", "noisy", 2163)
    assert (answer["rows_moved"], answer["same_bits"], len(answer["tokens"])) == (moved, 2163 - moved, 7)
    assert {row["name"] for row in answer["groups"]} == {"easing", "tightening", "buying", "selling", "distress"}
    assert answer["bands"] is None


def test_diff_as_tables(work: Path, run: Run) -> None:
    (work / "groups.yaml").write_text("rates: [降息, 加息]\npeople: [股东, 基金]\nodd: [龘]\n", encoding="utf-8")
    options = ("--groups", "groups.yaml", "--bundle", "run", "--data", "dev.tsv")
    code, out, err = run("vectors", "diff", "end", "latest", *options)
    assert code == 0, err
    for part in ("end -> noisy: ", "neighbours before", "cohesion", "rates, people", "never seen", "降息"):
        assert part in out.replace("\n", " "), part
    assert "terms of which a part has no row: 龘" in err


def test_diff_tells_what_only_one_has_and_what_is_broken(work: Path, run: Run) -> None:
    store = VectorStore.open("run/vectors")
    tokens, table = store.load("end")
    table[9] = np.nan
    store.save("broken", [*tokens[:-1], "新词"], table)
    code, _, err = run("vectors", "diff", "end", "broken", "--store", "run")
    assert code == 0
    assert f"1 tokens only in end: {tokens[-1]}" in err
    assert "1 tokens only in broken: 新词" in err
    assert f"1 rows with NaN or infinite values, left out: {tokens[9]}" in err


def test_merge_takes_rows_by_token_group_and_file(work: Path, run: Run, noisy: Table, finance: Bundle) -> None:
    VectorStore.open("run/vectors").save("domain", finance.vocabulary.tokens, noisy, groups={"easing": ["降息", "龘"]})
    (work / "rows.txt").write_bytes("\ufeff公\r\n司\n\n公\n".encode())
    options = ("--row", "股", "--group", "easing", "--rows-file", "rows.txt", "--store", "run", "--json")
    answer = told(run("vectors", "merge", "end", "domain", "--name", "mixed", *options))
    assert answer["taken"] == ["股", "公", "司", "降", "息"]
    assert answer["source"] == "end with 5 rows of domain"
    cut = told(run("vectors", "merge", "end", "domain", "--name", "cut", "--bundle", "run", "--group", "easing", "--json"))
    assert cut["taken"] == ["降", "息"]
    assert answer["new_rows"] == 0
    store = VectorStore.open("run/vectors")
    assert answer["parent"] == store.version("end").id
    table = store.load("mixed")[1]
    rows = [finance.vocabulary.ids[token] for token in answer["taken"]]
    np.testing.assert_array_equal(table[rows], noisy[rows])
    rest = np.setdiff1d(np.arange(len(table)), rows)
    np.testing.assert_array_equal(table[rest], embedding_table(finance)[rest])
    code, out, _ = run("vectors", "merge", "mixed", "end", "--row", "股", "--name", "back", "--store", "run")
    assert (code, out) == (0, store.version("back").id + "\n")


def test_remove(work: Path, run: Run) -> None:
    code, out, err = run("vectors", "remove", "noisy", "--store", "run")
    assert code == 0
    assert int(out) > 114 * 64 * 4
    assert "removed noisy" in err
    assert [version.name for version in VectorStore.open("run/vectors").versions()] == ["end"]


def with_int8(bundle: Bundle, target: Path) -> Bundle:
    """The same bundle with a program that says it is of 8 bits."""
    figures = dict.fromkeys(("agreement", "accuracy", "accuracy_fp32", "f1_macro", "f1_macro_fp32", "company"), 1.0)
    program = QuantizedProgram(
        file="onnx/model.int8.onnx",
        method="static",
        rows=50,
        bytes=1,
        bytes_fp32=2,
        speedup=2.0,
        processor="none",
        tolerance=0.01,
        **figures,
    )
    with edit_bundle(bundle, target) as builder:
        (builder.folder / "onnx").mkdir()
        shutil.copy(bundle.path / "onnx" / "model.onnx", builder.folder / program.file)
        builder.update(quantized={"int8": program})
    return builder.bundle


def test_restore_writes_and_proves_every_engine(work: Path, run: Run, noisy: Table) -> None:
    old = with_int8(Bundle.open("run/bundle"), Path("run/bundle"))
    code, out, err = run("vectors", "restore", "noisy", "--bundle", "run", "--out", "deep/back")
    assert (code, out) == (0, "deep/back\n"), err
    back = Bundle.open("deep/back")
    np.testing.assert_array_equal(embedding_table(back), noisy)
    assert set(back.manifest.engines) == set(back.manifest.parity) == set(old.manifest.engines)
    answers = [Predictor(back, engine=engine).probabilities(TEXTS) for engine in back.manifest.engines]
    for other in answers[1:]:
        np.testing.assert_allclose(other, answers[0], atol=1e-5)
    assert np.abs(answers[0] - Predictor(old).probabilities(TEXTS)).max() > 1e-3
    assert back.manifest.calibration is None
    assert (back.manifest.temperature, back.manifest.metrics, back.manifest.quantized) == (1.0, {}, {})
    assert sorted(path.name for path in (back.path / "onnx").iterdir()) == ["model.onnx"]
    told = " ".join(err.split())
    assert "int8 left out: made of the old embedding" in told
    assert "calibration left out" in told
    assert "figures on the development rows left out" in told
    assert "parity: onnxruntime differs by at most" in told
    restored = back.manifest.vectors["restored"]
    assert (restored["version"], restored["rows"]) == ("noisy", 2163)
    assert Bundle.open("run/bundle").manifest == old.manifest
    assert hidden(work) == []


def test_restore_single_rows_in_place_with_labelled_rows(work: Path, run: Run, noisy: Table, finance: Bundle) -> None:
    with edit_bundle(finance, work / "light" / "bundle") as builder:
        builder.replace_embedding(finance, embedding_table(finance))  # for the engine paddle alone
        builder.prove()
    options = ("--row", "股", "--row", "息", "--data", "dev.tsv", "--store", "run")
    says = "light/bundle already exists; replace it with --overwrite"
    assert says in error_of(run("vectors", "restore", "latest", "--bundle", "light", "--out", "light/bundle", *options), 1)
    code, out, err = run("vectors", "restore", "latest", "--bundle", "light", "--out", "light/bundle", "--overwrite", *options)
    assert (code, out) == (0, "light/bundle\n"), err
    assert "restored 2 of 2163 rows from noisy; 2 of them differ" in err
    assert "left out" not in err
    back = Bundle.open("light/bundle")
    table, before = embedding_table(back), embedding_table(finance)
    changed = np.flatnonzero((table != before).any(axis=1))
    assert changed.tolist() == sorted(finance.vocabulary.ids[token] for token in "息股")
    np.testing.assert_array_equal(table[changed], noisy[changed])
    assert list(back.manifest.engines) == list(back.manifest.parity) == ["paddle"]
    assert back.manifest.calibration is not None
    assert back.manifest.calibration.rows == back.manifest.metrics["dev"]["n"] == 234


def test_ab_says_what_the_figures_allow(work: Path, run: Run, finance: Bundle, noisy: Table) -> None:
    answer = told(run("vectors", "ab", "end", "noisy", "--bundle", "run", "--data", "test.tsv", "--json", "--resamples", "500"))
    assert (answer["a"], answer["b"], answer["rows"]) == ("end", "noisy", 352)
    assert sum(answer[name] for name in ("both_right", "only_a", "only_b", "neither")) == 352
    evaluated = told(run("evaluate", "run/bundle", "--data", "test.tsv", "--json"))
    assert answer["accuracy"]["a"] == pytest.approx(evaluated["accuracy"])
    assert answer["f1_macro"]["a"] == pytest.approx(evaluated["f1_macro"])
    assert answer["accuracy"]["difference"] == pytest.approx((answer["only_b"] - answer["only_a"]) / 352)
    code, out, err = run("vectors", "ab", "end", "noisy", "--bundle", "run", "--data", "test.tsv")
    assert code == 0, err
    assert "352 rows: " in out
    assert answer["verdict"].split(":")[0] in out
    assert hidden(work) == []


def test_ab_finds_that_a_ruined_table_is_worse(work: Path, run: Run, finance: Bundle) -> None:
    # Long, so that the network outvotes the regression over n-grams, which needs no table.
    ruined = 20 * np.random.default_rng(0).permutation(embedding_table(finance)[1:])
    table = np.concatenate([embedding_table(finance)[:1], ruined])
    order = np.random.default_rng(1).permutation(len(table))
    store = VectorStore.open("run/vectors")
    store.save("ruined", [finance.vocabulary.tokens[row] for row in order], table[order])
    answer = told(run("vectors", "ab", "end", "ruined", "--bundle", "run", "--data", "test.tsv", "--json"))
    assert answer["accuracy"]["p"] < 1e-3
    assert answer["verdict"].startswith("end is better in accuracy")
    same = told(run("vectors", "ab", "end", "end", "--bundle", "run", "--data", "test.tsv", "--json"))
    assert same["verdict"] == "both give the same answers on all 352 rows"


FAILURES: list[tuple[tuple[str, ...], int, str]] = [
    (("save", "absent", "--name", "a"), 1, "absent is not a bundle"),
    (("save", "run", "--name", "end"), 1, "has a version 'end' already"),
    (("save", "run", "--name", "a/b"), 1, "the name of a version is 'a/b'; expected letters"),
    (("save", "run", "--name", "a", "--store", "dev.tsv"), 1, "is there already and is no store"),
    (("list",), 1, "there is no store of vectors in .; say where with --store"),
    (("list", "--store", "absent"), 1, "absent is no store of vectors"),
    (("remove", "edn", "--store", "run"), 1, "has no version 'edn'; did you mean 'end'"),
    (("diff", "end", "nosy", "--store", "run"), 1, "did you mean 'noisy'? Expected end, latest or noisy"),
    (("diff", "end", "wide", "--store", "run"), 1, "expected one width"),
    (
        ("diff", "end", "noisy", "--store", "run", "--domain", "finanse"),
        1,
        "is called 'finanse'; did you mean 'finance'",
    ),
    (("diff", "end", "noisy", "--store", "run", "--groups", "absent.yaml"), 1, "there is no file absent.yaml"),
    (("diff", "end", "noisy", "--store", "run", "--groups", "dev.tsv"), 1, "dev.tsv"),
    (("diff", "end", "noisy", "--store", "run", "--data", "dev.tsv"), 2, "--data needs --bundle"),
    (("diff", "end", "noisy", "--store", "run", "--groups", "g", "--domain", "finance"), 2, "--groups or --domain, not both"),
    (("merge", "end", "noisy", "--name", "m", "--store", "run"), 2, "pass the rows to take"),
    (("merge", "end", "noisy", "--name", "m", "--store", "run", "--row", "公司"), 1, "'end' has no row for '公司'"),
    (("merge", "end", "noisy", "--name", "m", "--store", "run", "--group", "esing"), 1, "no group of terms 'esing'"),
    (("merge", "end", "noisy", "--name", "m", "--store", "run", "--rows-file", "absent"), 1, "there is no file absent"),
    (("merge", "end", "noisy", "--name", "m", "--store", "run", "--rows-file", "empty"), 1, "empty contains no token"),
    (("merge", "end", "noisy", "--name", "end", "--store", "run", "--row", "股"), 1, "has a version 'end' already"),
    (("merge", "end", "wide", "--name", "m", "--store", "run", "--row", "股"), 1, "rows of width 4 cannot go into"),
    (("restore", "end", "--bundle", "run", "--out", "out", "--row", "龘"), 1, "has no row for '龘'"),
    (("restore", "end", "--bundle", "run", "--out", "dev.tsv"), 1, "is no bundle, so it will not be replaced"),
    (("restore", "wide", "--bundle", "run", "--out", "out"), 1, "rows of width 4 cannot go into"),
    (("restore", "broken", "--bundle", "run", "--out", "out"), 1, "1 rows hold NaN or infinite values"),
    (("restore", "end", "--bundle", "run", "--out", "out", "--data", "other.tsv"), 1, "has the label '涨'"),
    (("restore", "end", "--bundle", "run", "--out", "out", "--data", "few.tsv"), 1, "1 labelled rows are too few"),
    (("ab", "end", "broken", "--bundle", "run", "--data", "dev.tsv"), 1, "hold NaN or infinite values"),
    (("ab", "end", "wide", "--bundle", "run", "--data", "dev.tsv"), 1, "they must agree"),
    (("ab", "end", "short", "--bundle", "run", "--data", "dev.tsv"), 1, "'short' lacks 1 tokens of the bundle"),
    (("ab", "end", "noisy", "--bundle", "run", "--data", "other.tsv"), 1, "has the label '涨', which the bundle does not give"),
]


@pytest.mark.parametrize(("arguments", "code", "says"), FAILURES)
def test_what_cannot_be_done_is_said_in_one_line(
    work: Path, run: Run, finance: Bundle, arguments: tuple[str, ...], code: int, says: str
) -> None:
    store, tokens = VectorStore.open("run/vectors"), finance.vocabulary.tokens
    table = embedding_table(finance)
    if "wide" in arguments:
        store.save("wide", tokens, np.ascontiguousarray(table[:, :4]))
    if "broken" in arguments:
        store.save("broken", tokens, np.where(np.arange(len(table))[:, None] == 5, np.float32(np.nan), table))
    if "short" in arguments:
        store.save("short", tokens[:-1], table[:-1])
    (work / "empty").write_text("\n")
    (work / "few.tsv").write_text("text\tlabel\n公司\t中性\n", encoding="utf-8")
    (work / "other.tsv").write_text("text\tlabel\n公司\t涨\n", encoding="utf-8")
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file() and path.name != "lock"}
    assert says in error_of(run("vectors", *arguments), code)
    after = {path: path.stat().st_mtime_ns for path in work.rglob("*") if path.is_file() and path.name != "lock"}
    assert after == before
    assert hidden(work) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("save", "run"),
        ("diff", "end"),
        ("diff", "a", "b", "--count", "0"),
        ("ab", "a", "b"),
        ("merge", "a", "b"),
        ("nonsense",),
    ],
)
def test_misuse_is_2(work: Path, run: Run, arguments: tuple[str, ...]) -> None:
    code, out, _ = run("vectors", *arguments)
    assert (code, out) == (2, "")


def test_damage_is_told_and_check_fails(work: Path, run: Run) -> None:
    (pack,) = VectorStore.open("run/vectors").version("end").packs
    file = work / "run" / "vectors" / "packs" / f"{pack.sha256}.rows"
    file.write_bytes(file.read_bytes()[:-4])
    assert "(affected: end, noisy)" in error_of(run("vectors", "diff", "end", "noisy", "--store", "run"), 1)
    code, out, err = run("vectors", "list", "--store", "run", "--check", "--json")
    assert code == 1
    assert len(json.loads(out)["damage"]) == 1
    assert "is damaged" in err
    version = work / "run" / "vectors" / "versions" / "noisy.json"
    version.write_text(version.read_text(encoding="utf-8")[:99], encoding="utf-8")
    code, out, err = run("vectors", "list", "--store", "run")
    assert code == 0
    assert "noisy.json is damaged" in err


WITHOUT_PADDLE = """
import json, sys
sys.modules["paddle"] = None
from paddlenlp_embtune.cli.main import main
for command in json.loads(sys.argv[1]):
    sys.argv = ["embtune", "vectors", *command]
    try:
        main()
    except SystemExit as left:
        if left.code:
            raise
"""


def test_all_but_restore_and_ab_need_no_paddle(work: Path) -> None:
    commands: list[tuple[str, ...]] = [
        ("save", "run", "--name", "third"),
        ("list", "--store", "run"),
        ("diff", "end", "noisy", "--store", "run", "--json"),
        ("merge", "end", "noisy", "--row", "股", "--name", "m", "--store", "run"),
        ("restore", "end", "--bundle", "run", "--out", "b"),
    ]
    done = python("-c", WITHOUT_PADDLE, json.dumps(commands), cwd=work)
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert line.startswith("error: paddle is not installed")
    assert [version.name for version in VectorStore.open("run/vectors").versions()] == ["end", "noisy", "third", "m"]


def test_a_draft_answers_as_the_bundle_does_with_its_own_table(finance: Bundle, tmp_path: Path) -> None:
    draft = draft_with_embedding(finance, embedding_table(finance), tmp_path / "draft")
    expected = Predictor(finance, engine="paddle").probabilities(TEXTS)
    np.testing.assert_array_equal(Predictor(draft, engine="paddle").probabilities(TEXTS), expected)


@pytest.mark.parametrize(("other", "told"), [("tower.weight", False), ("tower.word_embeddings.weight", True)])
def test_which_parameter_is_the_embedding_is_never_guessed(finance: Bundle, tmp_path: Path, other: str, told: bool) -> None:
    draft = draft_with_embedding(finance, embedding_table(finance), tmp_path / "draft")
    weights = load_file(draft.path / "weights.safetensors")
    write_safetensors_file(draft.path / "weights.safetensors", {**weights, other: np.zeros_like(embedding_table(finance))})
    if told:
        with pytest.raises(BundleError, match="2 parameters of "):
            embedding_table(draft)
    else:
        np.testing.assert_array_equal(embedding_table(draft), embedding_table(finance))
    (draft.path / "weights.safetensors").write_bytes(b"damaged")
    with pytest.raises(BundleError, match="cannot be read"):
        embedding_table(draft)
