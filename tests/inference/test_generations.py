"""Opening a bundle that others replace, or that a killed process was replacing."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path

import pytest

from paddlenlp_embtune.builtin import FINANCE
from paddlenlp_embtune.bundle import Bundle, reader as module
from paddlenlp_embtune.bundle.embedding import bundle_folder, embedding_table
from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.export._place import locked_bundle
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.utils.files.atomic_io import replace_folder
from paddlenlp_embtune.utils.files.locks import exclusive_lock
from tests.server.client import turned


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return Path(shutil.copytree(FINANCE / "bundle", tmp_path / "run" / "bundle"))


def swap(place: Path) -> None:
    """Replace a bundle as another process does."""
    new = turned(place, place.parents[1] / "new")
    with replace_folder(place) as folder:
        shutil.copytree(new, folder, dirs_exist_ok=True)


@pytest.mark.parametrize("left", [".bundle~ready", ".bundle~former", ".bundle~abcdefgh"])
def test_what_a_kill_left_is_put_back(place: Path, left: str) -> None:
    place.rename(place.with_name(left))
    assert bundle_folder(place.parent) in (place, place.parent)
    assert Bundle.open(place).manifest.labels
    assert [path.name for path in place.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("left", [".run~ready", ".run~former"])
def test_so_is_a_run(place: Path, left: str) -> None:
    place.parent.rename(place.parents[1] / left)
    assert bundle_folder(place.parent) == place
    assert Bundle.open(place).manifest.labels


def test_half_a_bundle_is_not(place: Path) -> None:
    (place / "vocab.txt").unlink()
    place.rename(place.with_name(".bundle~abcdefgh"))
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.open(place)
    assert [path.name for path in place.parent.iterdir()] == [".bundle~abcdefgh"]


def test_nor_is_one_whose_writer_is_alive(place: Path) -> None:
    place.rename(place.with_name(".bundle~abcdefgh"))
    entered, leave = threading.Event(), threading.Event()

    def write() -> None:
        with exclusive_lock(place):
            entered.set()
            leave.wait(30)

    writer = threading.Thread(target=write)
    writer.start()
    entered.wait(30)
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.open(place)
    leave.set()
    writer.join()
    assert Bundle.open(place).manifest.labels


def test_reading_takes_no_lock(place: Path) -> None:
    with exclusive_lock(place):
        opened: list[Bundle] = []
        reader = threading.Thread(target=lambda: opened.append(Bundle.open(place)))
        reader.start()
        reader.join(30)
    assert len(opened) == 1


def test_a_bundle_that_is_replaced_while_it_is_opened_is_opened_again(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read, times = module._read_vocabulary, []

    def disturbed(*given: object) -> object:
        times.append(1)
        if len(times) == 1:
            swap(place)
        return read(*given)

    monkeypatch.setattr(module, "_read_vocabulary", disturbed)
    found = Bundle.open(place)
    assert len(times) > 1  # swapping opens bundles too
    assert found.manifest == Bundle.open(place).manifest


def test_a_bundle_that_was_opened_before_it_was_replaced(place: Path) -> None:
    former = Bundle.open(place)
    swap(place)
    # Its files are the same, its manifest is not: it goes on as it was opened, but is not written in place of the new one.
    assert Predictor(former, num_threads=1).labels == former.manifest.labels
    assert len(embedding_table(former)) == len(former.vocabulary)
    with locked_bundle(former, place) as current:
        assert current.manifest.labels == former.manifest.labels[::-1]
    with pytest.raises(BundleError, match="has been replaced since it was opened"):
        former.check_current()
