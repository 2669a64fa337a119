"""Every test selects kernels as with ``EMBTUNE_KERNELS=auto``, and leaves the selection as it found it."""

from __future__ import annotations

import pytest

from paddlenlp_embtune.compat.onednn import _library, _trial, selection
from paddlenlp_embtune.errors import HostError


@pytest.fixture(autouse=True)
def selection_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(selection.KERNELS_VARIABLE, "auto")
    monkeypatch.setattr(selection, "_chosen", None)


@pytest.fixture
def usable() -> None:
    try:
        _library.load_library()
    except HostError as error:
        pytest.skip(f"oneDNN cannot be used here: {error}")


@pytest.fixture
def multiplies_bf16() -> None:
    try:
        _trial.check_bf16()
    except HostError as error:
        pytest.skip(f"bfloat16 is not multiplied here: {error}")
