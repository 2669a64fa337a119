"""The store of versions: bit by bit, cheap, whole or refused, and safe with several writers."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune.embeddings.store import VectorStore, Version, _row_packs, store as module
from paddlenlp_embtune.embeddings.store.version import write_version
from paddlenlp_embtune.errors import VectorError
from paddlenlp_embtune.text import Vocabulary
from tests.embeddings.tables import gaussian

Table = npt.NDArray[np.float32]
TOKENS = ("[PAD]", "[UNK]", *"降准加息增持减回购")


def named(rows: int) -> list[str]:
    return [f"t{row}" for row in range(rows)]


def bits(table: Table) -> bytes:
    return table.tobytes()


@pytest.fixture
def store(tmp_path: Path) -> VectorStore:
    return VectorStore.open(tmp_path / "vectors", create=True)


def odd_rows() -> Table:
    """Zeros of both signs, NaN with payloads, infinities, subnormals."""
    patterns = [0x00000000, 0x80000000, 0x7FC00001, 0x7FC00002, 0xFFC00001, 0x7F800000, 0xFF800000, 0x00000001, 0x7F800001]
    rows = np.array(patterns, dtype=np.uint32)[:, None].repeat(8, axis=1)
    return rows.view(np.float32)


def test_what_comes_back_is_what_was_saved_bit_by_bit(store: VectorStore) -> None:
    table = np.concatenate([gaussian(6), odd_rows(), gaussian(6, seed=1)])
    store.save("odd", named(len(table)), table)
    tokens, found = VectorStore.open(store.path).load("odd")
    assert tokens == tuple(named(len(table)))
    assert found.dtype == np.float32
    assert bits(found) == bits(table)
    again = store.save("again", named(len(table)), table)
    assert again.new_rows == 0
    assert bits(store.load("again")[1]) == bits(table)


def test_rows_that_differ_in_a_bit_are_different_rows(store: VectorStore) -> None:
    first = store.save("odd", named(9), odd_rows())
    assert first.new_rows == 9


def test_equal_rows_of_one_version_are_kept_once(store: VectorStore) -> None:
    table = np.zeros((1_000, 8), dtype=np.float32)
    table[500] = 1.0
    assert store.save("flat", named(1_000), table).new_rows == 2
    assert bits(store.load("flat")[1]) == bits(table)


@pytest.mark.parametrize("layout", ["strided", "fortran", "mapped", "read-only"])
def test_any_layout_in_memory_will_do(store: VectorStore, layout: str, tmp_path: Path) -> None:
    plain = gaussian(50)
    if layout == "strided":
        table = np.repeat(plain, 2, axis=0)[::2]
    elif layout == "fortran":
        table = np.asfortranarray(plain)
    elif layout == "mapped":
        np.save(tmp_path / "table.npy", plain)
        table = np.load(tmp_path / "table.npy", mmap_mode="r")
    else:
        table = plain.copy()
        table.setflags(write=False)
    version = store.save("a", named(50), table)
    assert version.table_sha256 == hashlib.sha256(bits(plain)).hexdigest()
    assert bits(store.load("a")[1]) == bits(plain)


def test_a_version_says_where_it_comes_from(store: VectorStore) -> None:
    groups = {"easing": ["降准", "降息"]}
    first = store.save("start", TOKENS, gaussian(), note="before 训练", source="LAC", groups=groups)
    second = store.save("end", TOKENS, gaussian(seed=1))
    third = store.save("branch", TOKENS, gaussian(seed=2), parent="start")
    assert (first.number, second.number, third.number) == (1, 2, 3)
    assert (first.parent, second.parent, third.parent) == (None, first.id, first.id)
    assert (first.note, first.source, first.rows, first.dimension) == ("before 训练", "LAC", len(TOKENS), 8)
    assert first.groups == {"easing": ("降准", "降息")}
    assert first.vocabulary_sha256 == Vocabulary(TOKENS).fingerprint()
    assert first.created < second.created < third.created
    assert first.created.endswith("+00:00")
    assert store.versions() == [first, second, third]


def test_ten_versions_that_differ_in_5_percent_cost_about_one_and_a_half(store: VectorStore) -> None:
    generator = np.random.default_rng(3)
    table, tokens = gaussian(20_000, 128), named(20_000)
    store.save("v0", tokens, table)
    one = store.size()
    tables = [table]
    for number in range(1, 10):
        table = table.copy()
        rows = generator.choice(len(table), 1_000, replace=False)
        table[rows] += generator.standard_normal((1_000, 128), dtype=np.float32)
        version = store.save(f"v{number}", tokens, table)
        assert version.new_rows == 1_000
        tables.append(table)
    size = store.size()
    assert size.bytes == sum(file.stat().st_size for file in store.path.rglob("*") if file.is_file())
    assert size.bytes < 1.6 * one.bytes
    assert one.bytes < 1.06 * table.nbytes
    assert (size.versions, size.rows, size.rows_stored, size.table_bytes) == (10, 200_000, 29_000, 10 * table.nbytes)
    for number in (0, 4, 9):
        assert bits(store.load(f"v{number}")[1]) == bits(tables[number])


def test_another_vocabulary_shares_rows_and_the_same_one_is_kept_once(store: VectorStore) -> None:
    table = gaussian(200)
    store.save("a", named(200), table)
    store.save("b", named(200), table + 1)
    assert len(list((store.path / "tokens").iterdir())) == 1
    order = np.random.default_rng(0).permutation(200)
    version = store.save("shuffled", [f"t{row}" for row in order], table[order])
    assert version.new_rows == 0
    tokens, found = store.load("shuffled")
    assert tokens == tuple(f"t{row}" for row in order)
    assert bits(found) == bits(table[order])


def test_tables_of_several_widths_live_side_by_side(store: VectorStore) -> None:
    for width in (1, 8, 8, 9):
        store.save(f"w{width}-{len(store.versions())}", TOKENS, gaussian(width=width))
    assert [version.new_rows for version in store.versions()] == [11, 11, 0, 11]
    for version in store.versions():
        assert bits(store.load(version.name)[1]) == bits(gaussian(width=version.dimension))


def test_single_rows(store: VectorStore) -> None:
    store.save("a", [*TOKENS, "准"], gaussian(len(TOKENS) + 1))
    found = store.rows("a", ["息", "准"])  # of a token that stands there twice, the last row
    assert bits(found) == bits(gaussian(len(TOKENS) + 1)[[5, -1]])
    with pytest.raises(VectorError, match=r"'a' has no row for '龘' among its 11 tokens; expected "):
        store.rows("a", ["龘"])


# Names


@pytest.mark.parametrize("name", ["", "latest", ".hidden", "-x", "a/b", "../x", "a b", "a\n", "x" * 65, "a\x00", "涨" * 65])
def test_names_that_are_not_legal(store: VectorStore, name: str) -> None:
    with pytest.raises(VectorError, match="the name of a version is "):
        store.save(name, TOKENS, gaussian())
    assert store.versions() == []
    assert not (store.path / "lock").exists()


@pytest.mark.parametrize("name", ["a", "v1.2_x-3", "微调后", "涨" * 64, "0" * 64])
def test_names_that_are(store: VectorStore, name: str) -> None:
    assert store.save(name, TOKENS, gaussian()).name == name
    assert bits(store.load(name)[1]) == bits(gaussian())


def test_a_name_is_taken_once(store: VectorStore) -> None:
    store.save("a", TOKENS, gaussian())
    before = sorted(store.path.rglob("*"))
    with pytest.raises(VectorError, match="has a version 'a' already; choose another name, or remove it"):
        store.save("a", TOKENS, gaussian(seed=1))
    assert sorted(store.path.rglob("*")) == before
    assert bits(store.load("a")[1]) == bits(gaussian())


def test_latest_and_the_first_digits_of_an_id(store: VectorStore) -> None:
    first, second = store.save("a", TOKENS, gaussian()), store.save("b", TOKENS, gaussian(seed=1))
    assert store.version("latest") == second
    assert store.version(first.id) == store.version(first.id[:8]) == first
    with pytest.raises(VectorError, match="has no version"):
        store.version(first.id[:3])


def test_an_unknown_version_names_the_nearest(store: VectorStore) -> None:
    with pytest.raises(VectorError, match=r"has no version 'latest'; expected \(none\)"):
        store.load("latest")
    store.save("after", TOKENS, gaussian())
    with pytest.raises(VectorError, match=r"has no version 'aftr'; did you mean 'after'\? Expected after or latest"):
        store.load("aftr")
    with pytest.raises(VectorError, match="has no version"):
        store.save("b", TOKENS, gaussian(), parent="aftr")
    assert [version.name for version in store.versions()] == ["after"]


# What is refused


@pytest.mark.parametrize(
    ("tokens", "table", "says"),
    [
        ((), np.zeros((0, 8), dtype=np.float32), r"float32 of shape \(0, 8\); expected .*not empty"),
        (("a",), np.zeros((1, 0), dtype=np.float32), "not empty"),
        (("a",), np.zeros(8, dtype=np.float32), r"shape \(8,\)"),
        (("a",), np.zeros((1, 8)), "float64"),
        (("a",), np.zeros((1, 8), dtype=np.float16), "float16"),
        (("a",), [[0.0]], "list"),
        (("a", "b"), np.zeros((1, 8), dtype=np.float32), "2 tokens for 1 rows"),
        (("a\n",), np.zeros((1, 8), dtype=np.float32), "holds a line break"),
        (("\ud800",), np.zeros((1, 8), dtype=np.float32), "lone surrogate"),
    ],
)
def test_tables_and_tokens_that_cannot_be_kept(store: VectorStore, tokens: tuple[str, ...], table: Table, says: str) -> None:
    with pytest.raises(VectorError, match=says):
        store.save("a", tokens, table)
    assert [path.name for path in store.path.iterdir()] == ["store.json"]


def test_a_folder_that_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(
        VectorError, match=r"is no store of vectors: it has no store\.json; make one with: embtune vectors save"
    ):
        VectorStore.open(tmp_path / "absent")
    (tmp_path / "thesis.doc").write_text("years of work")
    for place in (tmp_path, tmp_path / "thesis.doc"):
        with pytest.raises(VectorError, match="is there already and is no store"):
            VectorStore.open(place, create=True)
    (tmp_path / "empty").mkdir()
    VectorStore.open(tmp_path / "empty", create=True).save("a", TOKENS, gaussian())
    assert VectorStore.open(tmp_path / "empty", create=True).version("a").rows == len(TOKENS)


@pytest.mark.parametrize(
    ("content", "says"), [("{", "is damaged"), ('{"schema_version": 2}', "schema version 1"), ("[]", "says")]
)
def test_a_store_of_another_schema(store: VectorStore, content: str, says: str) -> None:
    (store.path / "store.json").write_text(content)
    with pytest.raises(VectorError, match=says):
        VectorStore.open(store.path)


# Damage


@pytest.fixture
def three(store: VectorStore) -> VectorStore:
    """Versions a and b share most rows, and c is of another width and vocabulary."""
    table = gaussian(300)
    store.save("a", named(300), table)
    changed = table.copy()
    changed[:20] += 1
    store.save("b", named(300), changed)
    store.save("c", TOKENS, gaussian(width=4))
    return store


def flip(file: Path, at: int = -1) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "lengthen", "delete"])
@pytest.mark.parametrize("kind", ["tokens", "indices", "packs"])
def test_damage_names_the_file_and_the_versions(three: VectorStore, kind: str, harm: str) -> None:
    version = three.version("a")
    (name,) = [name for name in version.files() if name.startswith(kind)]
    file = three.path / name
    content = file.read_bytes()
    if harm == "flip":
        flip(file)
    elif harm == "delete":
        file.unlink()
    else:
        file.write_bytes({"cut": content[:-1], "empty": b"", "lengthen": content + b"\0"}[harm])
    with pytest.raises(VectorError) as caught:
        three.load("a")
    affected = "a" if kind == "indices" else "a, b"
    what = "is missing" if harm == "delete" else "is damaged"
    assert f"{file} {what}" in str(caught.value)
    assert f"(affected: {affected})" in str(caught.value)
    assert "restore the file from a backup, or remove those versions" in str(caught.value)
    (told,) = three.damage()
    assert told in str(caught.value)
    assert bits(three.load("c")[1]) == bits(gaussian(width=4))
    file.write_bytes(content)
    assert three.damage() == []
    assert bits(three.load("a")[1]) == bits(gaussian(300))


def test_a_row_that_a_version_does_not_need_does_it_no_harm(three: VectorStore) -> None:
    flip(three.path / f"packs/{three.version('a').packs[0].sha256}.rows", at=0)
    with pytest.raises(VectorError, match="cannot be read"):
        three.load("a")
    assert bits(three.load("b")[1][20:]) == bits(gaussian(300)[20:])


def test_rows_of_a_damaged_pack_are_written_again(three: VectorStore) -> None:
    flip(three.path / f"packs/{three.version('a').packs[0].sha256}.rows")
    version = three.save("healed", named(300), gaussian(300))
    assert version.new_rows == 1
    assert bits(three.load("healed")[1]) == bits(gaussian(300))


@pytest.mark.parametrize("kind", ["tokens", "indices", "packs"])
def test_saving_what_is_damaged_again_mends_it(store: VectorStore, kind: str) -> None:
    version = store.save("a", TOKENS, gaussian())
    (name,) = [name for name in version.files() if name.startswith(kind)]
    (store.path / name).write_bytes(b"damaged")
    store.save("b", TOKENS, gaussian())
    assert store.damage() == []
    for saved in "ab":
        assert bits(store.load(saved)[1]) == bits(gaussian())


@pytest.mark.parametrize("harm", ["flip", "cut", "delete"])
def test_damaged_keys_cost_space_and_nothing_else(three: VectorStore, harm: str) -> None:
    keys = three.path / f"packs/{three.version('a').packs[0].sha256}.keys"
    if harm == "flip":
        flip(keys)
    elif harm == "cut":
        keys.write_bytes(keys.read_bytes()[:-16])
    else:
        keys.unlink()
    version = three.save("again", named(300), gaussian(300))
    assert version.new_rows == (1 if harm == "flip" else 300)
    assert bits(three.load("again")[1]) == bits(gaussian(300))


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "renamed", "edited", "schema"])
def test_a_damaged_version_file_hides_that_version_only(three: VectorStore, harm: str) -> None:
    file = three.path / "versions" / "a.json"
    content = file.read_text(encoding="utf-8")
    if harm == "renamed":
        shutil.copy(three.path / "versions" / "b.json", file)
    elif harm == "edited":
        file.write_text(content.replace('"rows": 300', '"rows": 299', 1), encoding="utf-8")
    elif harm == "schema":
        file.write_text(content.replace('"schema_version": 1', '"schema_version": 2'), encoding="utf-8")
    elif harm == "flip":
        flip(file, at=len(content) // 2)
    else:
        file.write_text(content[: len(content) // 2] if harm == "cut" else "", encoding="utf-8")
    with pytest.raises(VectorError, match=r"a\.json.*restore the file, or remove the version 'a'"):
        three.load("a")
    (told,) = three.unreadable()
    assert f"{file}" in told
    assert "(affected: a)" in told
    assert [version.name for version in three.versions()] == ["b", "c"]
    assert three.load("b")
    with pytest.raises(VectorError, match="already"):
        three.save("a", TOKENS, gaussian())
    packs_before = sorted((three.path / "packs").iterdir())
    three.remove("c")  # what a needs is not known, so nothing else goes
    assert sorted((three.path / "packs").iterdir()) == packs_before
    three.remove("a")
    assert three.damage() == three.unreadable() == []
    assert three.load("b")


def test_a_key_that_two_rows_share_is_no_proof(store: VectorStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_row_packs, "row_keys", lambda table: np.zeros((len(table), 2), dtype=np.uint64))
    table = gaussian(100)
    table[50:] = table[:50]
    for name in "ab":
        store.save(name, named(100), table)
        assert bits(store.load(name)[1]) == bits(table)


@pytest.mark.parametrize("part", ["write_version", "table_sha256"])
def test_a_save_that_fails_leaves_no_version(three: VectorStore, monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    before = three.versions()
    with monkeypatch.context() as patch:
        patch.setattr(module, part, fail)
        with pytest.raises(OSError, match="No space"):
            three.save("d", TOKENS, gaussian())
    assert three.versions() == before
    assert three.damage() == []
    assert list(three.path.rglob(".*")) == []
    three.save("d", TOKENS, gaussian())
    assert bits(three.load("d")[1]) == bits(gaussian())


def test_what_a_killed_writer_left_is_cleared_away(three: VectorStore) -> None:
    left = three.path / "packs" / ".new~abcdefgh"
    left.write_bytes(b"half a pack")
    orphan = three.path / "packs" / f"{'0' * 64}.rows"
    orphan.write_bytes(b"a pack whose version was never written")
    three.save("d", TOKENS, gaussian(seed=5))
    assert not left.exists()
    three.remove("d")
    assert not orphan.exists()


# Removing


def test_removing_gives_back_what_no_other_version_needs(three: VectorStore) -> None:
    size = three.size().bytes
    freed = three.remove("c")
    assert freed == size - three.size().bytes > 11 * 4 * 4
    assert bits(three.load("a")[1]) == bits(gaussian(300))
    three.remove("a")
    found = three.load("b")[1]
    assert bits(found[20:]) == bits(gaussian(300)[20:])
    three.remove("b")
    assert three.versions() == []
    assert three.size().bytes == (three.path / "store.json").stat().st_size
    with pytest.raises(VectorError, match="has no version 'b'"):
        three.remove("b")


def test_a_removed_name_is_free_and_numbers_go_on(three: VectorStore) -> None:
    three.remove("latest")
    assert [version.name for version in three.versions()] == ["a", "b"]
    assert three.save("c", TOKENS, gaussian()).number == 3


# Several processes

WRITER = """
import sys
import numpy as np
from paddlenlp_embtune.embeddings.store import VectorStore
store, who = VectorStore.open(sys.argv[1], create=True), sys.argv[2]
table = np.random.default_rng(0).standard_normal((2_000, 16), dtype=np.float32)
for number in range(6):
    table[number * 10] = float(number) + len(who)
    store.save(f"{who}-{number}", [f"t{row}" for row in range(2_000)], table)
    if number == 3:
        store.remove(f"{who}-0")
try:
    store.save("both", ["a"], table[:1])
    print("won")
except Exception as error:
    print(error)
"""


def test_two_processes_save_and_remove_at_once(tmp_path: Path) -> None:
    place = tmp_path / "vectors"
    command = [sys.executable, "-c", WRITER, str(place)]
    running = [subprocess.Popen([*command, who], stdout=subprocess.PIPE, text=True) for who in ("one", "three")]
    answers = [process.communicate(timeout=120)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sorted(answer == "won" for answer in answers) == [False, True]
    assert any("has a version 'both' already" in answer for answer in answers)
    store = VectorStore.open(place)
    assert store.damage() == []
    assert len(store.versions()) == 11
    assert sorted(version.number for version in store.versions()) == sorted({v.number for v in store.versions()})
    for who in ("one", "three"):
        table = np.random.default_rng(0).standard_normal((2_000, 16), dtype=np.float32)
        for number in range(6):
            table[number * 10] = float(number) + len(who)
            if number:
                assert bits(store.load(f"{who}-{number}")[1]) == bits(table)
    assert [path.name for path in place.rglob(".*")] == []


# Indices


@pytest.mark.parametrize("seed", range(5))
def test_indices_come_back(seed: int) -> None:
    generator = np.random.default_rng(seed)
    places = generator.integers(0, 10**9, 1_000)
    places[200:700] = np.arange(500) + 3
    content = _row_packs.encode_index(places)
    np.testing.assert_array_equal(_row_packs.decode_index(content, count=1_000, below=10**9), places)


def test_an_index_in_order_costs_next_to_nothing() -> None:
    assert len(_row_packs.encode_index(np.arange(1_000_000))) < 10_000


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "holds 0 bytes"),
        (b"no index", "cannot be decompressed"),
        (_row_packs.encode_index(np.arange(9)), "holds 72 bytes, not the 80"),
        (_row_packs.encode_index(np.arange(1_000_000)), "holds 81 bytes, not the 80"),
        (_row_packs.encode_index(np.arange(10) + 1), "names row 1 to 10 of 10"),
        (_row_packs.encode_index(np.arange(10) - 1), "names row -1 to 8 of 10"),
    ],
)
def test_an_index_that_is_none(content: bytes, says: str) -> None:
    with pytest.raises(VectorError, match=says):
        _row_packs.decode_index(content, count=10, below=10)


# Size


def test_saving_and_loading_hold_one_table(store: VectorStore) -> None:
    table, tokens = gaussian(60_000, 128), named(60_000)
    changed = table.copy()
    changed[::20] += 1
    store.save("a", tokens, table)
    tracemalloc.start()
    store.save("b", tokens, changed)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    store.load("b")
    _, loading = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 0.65 * table.nbytes
    assert loading < 1.3 * table.nbytes


@pytest.mark.slow
def test_a_million_rows(store: VectorStore) -> None:
    table, tokens = gaussian(1_000_000, 128), named(1_000_000)
    started = time.perf_counter()
    first = store.save("a", tokens, table)
    table[::20] += 1
    second = store.save("b", tokens, table)
    assert time.perf_counter() - started < 60
    assert (first.new_rows, second.new_rows) == (1_000_000, 50_000)
    assert store.size().bytes < 1.11 * table.nbytes
    started = time.perf_counter()
    assert bits(store.load("b")[1]) == bits(table)
    assert time.perf_counter() - started < 20


def test_a_version_is_plain_json_that_proves_itself(three: VectorStore) -> None:
    document = json.loads((three.path / "versions" / "a.json").read_text(encoding="utf-8"))
    assert document["version"]["name"] == "a"
    assert isinstance(three.version("a"), Version)
    assert document["id"] == three.version("a").id
    for name in three.version("b").files():
        file = three.path / name
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.stem


def test_the_latest_is_not_guessed_where_a_version_cannot_be_read(tmp_path: Path) -> None:
    store = VectorStore.open(tmp_path / "store", create=True)
    for name in ("before", "after"):
        store.save(name, ["a"], np.ones((1, 2), np.float32))
    (tmp_path / "store" / "versions" / "after.json").write_text("{}", encoding="utf-8")
    with pytest.raises(VectorError, match="which version is the latest cannot be told, for after"):
        store.load("latest")


@pytest.mark.parametrize("harm", ["flip", "cut", "delete"])
def test_keys_are_checked_too(three: VectorStore, harm: str) -> None:
    keys = three.path / f"packs/{three.version('a').packs[0].sha256}.keys"
    whole = keys.read_bytes()
    if harm == "flip":
        flip(keys)
    elif harm == "cut":
        keys.write_bytes(whole[:-16])
    else:
        keys.unlink()
    (told,) = three.damage()
    says = {
        "flip": "1 of its 300 keys are not those of their rows",
        "cut": "is damaged: it is of another size",
        "delete": "is missing",
    }
    assert f"{keys} " in told
    assert says[harm] in told
    assert "affected: no version, but rows may be stored twice; delete it, and the next save makes it again" in told
    keys.unlink(missing_ok=True)
    three.save("again", named(300), gaussian(300))
    assert three.damage() == []
    assert keys.read_bytes() == whole


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("rows", 10**12),
        ("rows", 0),
        ("rows", -5),
        ("dimension", 10**30),
        ("number", -1),
        ("vocabulary_sha256", "../../etc/passwd"),
        ("index_sha256", "/etc/hostname"),
        ("index_sha256", "a\0b"),
        ("packs", []),
        ("packs", [{"sha256": "../" + "0" * 61, "rows": 300}]),
        ("packs", [{"sha256": "0" * 64, "rows": 10**40}]),
    ],
)
def test_a_version_that_lies_under_a_right_id_is_refused(three: VectorStore, key: str, value: object) -> None:
    file = three.path / "versions" / "a.json"
    plain = {**json.loads(file.read_text(encoding="utf-8"))["version"], key: value}
    write_version(file, plain)
    with pytest.raises(VectorError, match=r"a\.json|no version|tokens"):
        three.load("a")
    assert bits(three.load("c")[1]) == bits(gaussian(width=4))


@pytest.mark.parametrize(
    "content", ["[" * 100_000, '{"a": ' + "9" * 5000 + "}", '{"version": 1e400}', '{"id": 1, "id": 2}', "null"]
)
def test_json_that_is_too_deep_or_too_long_is_damage(three: VectorStore, content: str) -> None:
    (three.path / "versions" / "a.json").write_text(content, encoding="utf-8")
    with pytest.raises(VectorError, match=r"a\.json is damaged"):
        three.load("a")
    (three.path / "store.json").write_text(content, encoding="utf-8")
    with pytest.raises(VectorError, match=r"store\.json"):
        VectorStore.open(three.path)
