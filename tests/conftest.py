"""What all tests share: where the real data is, and that nothing reaches for a network or warns."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import pytest

import paddlenlp_embtune

paddlenlp_embtune.prepare_cpu()
os.environ.setdefault("POLYGRAPHY_AUTOINSTALL_DEPS", "0")

with warnings.catch_warnings():
    # Paddle and PaddleNLP warn about their own insides while they load; everything after that is an error.
    warnings.simplefilter("ignore")
    import paddle  # noqa: F401
    import paddlenlp.trainer  # noqa: F401

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if SHARED.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared_data"):
            item.add_marker(pytest.mark.skip(reason="../shared/data is absent"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    return SHARED
