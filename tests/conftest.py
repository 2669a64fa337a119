"""What all tests share: where the real data is, and that nothing reaches for a network or warns."""

from __future__ import annotations

import fcntl
import os
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import paddlenlp_embtune
from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import Bundle
from tests.formers import SkippedModule, reason_for
from tests.helpers import QUICK, ROWS, Run, TinyRun, call_main, train_tiny, tsv

# Several processes with as many threads as there are cores would wait for each other.
paddlenlp_embtune.prepare_cpu(threads=1 if "PYTEST_XDIST_WORKER" in os.environ else None)
os.environ.setdefault("POLYGRAPHY_AUTOINSTALL_DEPS", "0")

with warnings.catch_warnings():
    # Paddle and PaddleNLP warn about their own insides while they load; everything after that is an error.
    warnings.simplefilter("ignore")
    import paddle  # noqa: F401

    from tests.host import ON_PADDLEFORMERS

# pytest formats and keeps what the Trainer logs of every step: a tenth of the time of all tests that train.
compat.quiet_logging()

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Leave out whole files that PaddleFormers cannot even import."""
    if not ON_PADDLEFORMERS or reason_for(module_path.relative_to(parent.config.rootpath).as_posix()) is None:
        return None
    return SkippedModule.from_parent(parent, path=module_path)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if ON_PADDLEFORMERS and (reason := reason_for(item.nodeid)) is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
    if SHARED.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared_data"):
            item.add_marker(pytest.mark.skip(reason="../shared/data is absent"))


@pytest.fixture(scope="module")
def speed_refuses_nothing() -> Iterator[Callable[..., float]]:
    """Programs in 8 bits count as twice as fast, so that a busy machine refuses none; gives the measurement itself."""
    from paddlenlp_embtune.export import quantization

    measured = quantization._speedup
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantization, "_speedup", lambda *given: 2.0)
        yield measured


@pytest.fixture(scope="session")
def shared_data() -> Path:
    return SHARED


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """One small run through the command line, with a bundle for all three engines; copy it before changing it."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return train_tiny(tmp_path_factory.mktemp("tiny"))
    place = tmp_path_factory.getbasetemp().parent / "tiny"  # of all workers
    place.mkdir(exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return train_tiny(place / "here")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A small bundle with programs for every engine; copy it before changing it."""
    from paddlenlp_embtune.export import write_bundle
    from tests import bundles

    return write_bundle(tmp_path_factory.mktemp("small") / "bundle", bundles.content(), engines=bundles.ENGINES)


@pytest.fixture(scope="session")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle that has learnt the planted words; copy it before changing it."""
    from tests.planted import train_planted

    return train_planted(tmp_path_factory.mktemp("planted") / "bundle")


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the invented rows and a recipe that exports nothing."""
    (tmp_path / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (tmp_path / "quick.yaml").write_text(QUICK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the invented rows, while the encoder ``tiny`` is registered, which knows their characters."""
    from paddlenlp_embtune.plugin import registry
    from tests.encoders import RowsPlugin

    (tmp_path / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    former = registry.use(registry.load(plugins=[RowsPlugin()]))
    yield tmp_path
    registry.use(former)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process; gives exit code, stdout and stderr."""

    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capfd.readouterr()
        code = call_main(*map(str, arguments))
        return code, *capfd.readouterr()

    return call
