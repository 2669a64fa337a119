"""Served models: opened, replaced while they are read, reloaded, and followed from other processes."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.server import _model_pool
from paddlenlp_embtune.server._model_pool import ServedModel, load_models
from paddlenlp_embtune.server.settings import ServerSettings
from tests.server.client import GOOD, turned

OPTIONS = {"num_threads": 1}


def label(model: ServedModel) -> Any:
    return model.predict([GOOD])[0]["label"]


def replace(bundle: Path, new: Path) -> None:
    bundle.rename(bundle.with_name("old"))
    new.rename(bundle)


def test_a_reload_takes_what_now_stands_in_the_folder(bundle: Path, tmp_path: Path) -> None:
    model = ServedModel("finance", bundle, OPTIONS)
    assert model.describe()["fingerprint"] == hashlib.sha256((bundle / "bundle.json").read_bytes()).hexdigest()
    replace(bundle, turned(bundle, tmp_path / "new"))
    assert label(model) == "强烈利好"
    before = model.describe()
    model.reload()
    assert label(model) == "强烈利空"
    assert model.describe()["fingerprint"] != before["fingerprint"]
    assert model.describe()["labels"] == before["labels"][::-1]


@pytest.mark.parametrize("damage", ["truncated", "missing", "gone"])
def test_a_reload_that_fails_leaves_the_old_one_in_use(bundle: Path, damage: str) -> None:
    told: list[tuple[str, bool]] = []
    model = ServedModel("finance", bundle, OPTIONS, on_reload=lambda *what: told.append(what))
    file = bundle / "onnx" / "model.onnx"
    if damage == "truncated":
        file.write_bytes(file.read_bytes()[:-100])
    elif damage == "missing":
        file.unlink()
    else:
        bundle.rename(bundle.with_name("elsewhere"))
    with pytest.raises(BundleError):
        model.reload()
    assert label(model) == "强烈利好"
    assert told == [("finance", False)]


def test_a_bundle_that_opens_but_fails_on_a_text_is_not_taken(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ServedModel("finance", bundle, OPTIONS)
    monkeypatch.setattr(Predictor, "predict", lambda *args, **kwargs: 1 / 0)
    before = model.current()
    with pytest.raises(BundleError, match="was opened, but fails on a text: ZeroDivisionError"):
        model.reload()
    assert model.current() is before


def test_a_bundle_that_cannot_be_opened_is_not_said_to_have_been(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_model_pool, "Predictor", lambda *args, **kwargs: 1 / 0)
    with pytest.raises(BundleError, match="cannot be opened: ZeroDivisionError"):
        ServedModel("finance", bundle, OPTIONS)


def test_batches_of_one_model_run_side_by_side(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads = 2
    (model,) = load_models(ServerSettings(models={"x": str(bundle)}, predictor=OPTIONS, batch_threads=threads)).values()
    both = threading.Barrier(threads)
    predictor = model.current().predictor
    engine_run = predictor.engine.run

    def together(ids: Any) -> Any:
        both.wait(10)  # breaks unless the other one comes
        return engine_run(ids)

    monkeypatch.setattr(predictor.engine, "run", together)
    with ThreadPoolExecutor(threads) as pool:
        assert [done.result() for done in [pool.submit(label, model) for _ in range(threads)]] == ["强烈利好"] * threads


def test_a_bundle_that_is_replaced_while_it_is_read_is_read_again(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = turned(bundle, tmp_path / "new")
    made: list[Predictor] = []

    def disturbed(path: Path, **options: Any) -> Predictor:
        made.append(Predictor(path, **options))
        if len(made) == 1:
            replace(bundle, new)  # after it was checked, so that nothing fails
        return made[-1]

    monkeypatch.setattr(_model_pool, "Predictor", disturbed)
    model = ServedModel("finance", bundle, OPTIONS)
    assert len(made) == 2
    assert label(model) == "强烈利空"
    assert model.describe()["fingerprint"] == hashlib.sha256((bundle / "bundle.json").read_bytes()).hexdigest()


def test_a_folder_that_is_away_for_a_moment_is_waited_for(bundle: Path) -> None:
    model = ServedModel("finance", bundle, OPTIONS)
    away = bundle.rename(bundle.with_name("away"))
    threading.Timer(0.15, lambda: away.rename(bundle)).start()
    assert model.reload().predictor.labels


def test_a_bundle_that_is_away_for_longer_is_given_up(bundle: Path) -> None:
    model = ServedModel("finance", bundle, OPTIONS)
    away = bundle.rename(bundle.with_name("away"))
    started = time.monotonic()
    with pytest.raises(BundleError, match=re.escape(str(bundle))):
        model.reload()
    assert 0.3 < time.monotonic() - started < 10
    away.rename(bundle)
    assert label(model) == "强烈利好"


def test_other_processes_follow_a_reload(bundle: Path, tmp_path: Path) -> None:
    signal = tmp_path / "signal"
    one, other = (ServedModel("finance", bundle, OPTIONS, signal=signal) for _ in range(2))
    replace(bundle, turned(bundle, tmp_path / "new"))
    assert [label(one), label(other)] == ["强烈利好"] * 2
    mine = one.reload()
    assert [label(one), label(other)] == ["强烈利空"] * 2
    theirs = other.current()
    assert (one.current(), other.current()) == (mine, theirs)  # once for each reload, and not for one's own


def test_no_thread_answers_with_the_old_bundle_while_another_follows(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (ServedModel("finance", bundle, OPTIONS, signal=tmp_path / "signal") for _ in range(2))
    replace(bundle, turned(bundle, tmp_path / "new"))
    one.reload()
    load = _model_pool._load
    monkeypatch.setattr(_model_pool, "_load", lambda *arguments: (time.sleep(0.1), load(*arguments))[1])
    with ThreadPoolExecutor(4) as pool:
        assert {done.result() for done in [pool.submit(label, other) for _ in range(4)]} == {"强烈利空"}


def test_a_process_that_cannot_follow_says_so_once_and_keeps_the_old_one(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    signal, told = tmp_path / "signal", []
    one = ServedModel("finance", bundle, OPTIONS, signal=signal)
    other = ServedModel("finance", bundle, OPTIONS, signal=signal, on_reload=lambda *what: told.append(what))
    one.reload()
    (bundle / "vocab.txt").unlink()
    assert [label(other), label(other)] == ["强烈利好"] * 2
    assert told == [("finance", False)]
    assert caplog.text.count("the old bundle stays in use: the bundle") == 1


def test_reloads_of_one_model_are_made_one_after_the_other(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = ServedModel("finance", bundle, OPTIONS)
    inside, most = [0], [0]
    load = _model_pool._load

    def counted(*arguments: Any) -> Any:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        found = load(*arguments)
        inside[0] -= 1
        return found

    monkeypatch.setattr(_model_pool, "_load", counted)
    threads = [threading.Thread(target=model.reload) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
