"""What is said, and what is kept, when a run cannot be written."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from paddlenlp_embtune.errors import BundleError, HostError
from paddlenlp_embtune.training._preflight import keeping_checkpoints
from paddlenlp_embtune.utils.checkpoint_folders import SEAL

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail(checkpoints: Path, error: BaseException, cause: BaseException | None = None) -> None:
    with keeping_checkpoints(checkpoints, what="the run x", resume="continue with --resume"):
        raise error from cause


@pytest.fixture(params=[True, False], ids=["whole", "half"])
def checkpoints(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A checkpoint that was written to its end, or one that was not."""
    folder = tmp_path / "x.checkpoints"
    (folder / "checkpoint-3").mkdir(parents=True)
    (folder / "checkpoint-3" / "model.safetensors").write_bytes(b"half")
    if request.param:
        (folder / "checkpoint-3" / SEAL).write_text("{}", encoding="utf-8")
    return folder


def is_whole(checkpoints: Path) -> bool:
    return (checkpoints / "checkpoint-3" / SEAL).exists()


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "in a bundle"])
def test_a_full_disk_is_explained_once_with_what_is_left(checkpoints: Path, wrapped: bool) -> None:
    whole = is_whole(checkpoints)
    error = BundleError("cannot write the bundle x; nothing was left behind") if wrapped else FULL
    with pytest.raises(HostError) as caught:
        fail(checkpoints, error, FULL if wrapped else None)
    left = f"its checkpoints are kept in {checkpoints}: continue with --resume after that, or remove them"
    expected = (
        f"cannot write the run x: No space left on device; free some disk space, or choose another location; "
        f"{left if whole else 'nothing was left behind'}"
    )
    assert str(caught.value) == expected
    assert checkpoints.exists() is whole


def test_a_bundle_that_is_refused_says_that_checkpoints_are_kept(checkpoints: Path) -> None:
    whole = is_whole(checkpoints)
    with pytest.raises(BundleError) as caught:
        fail(checkpoints, BundleError("x is taken; nothing was left behind"))
    kept = f"x is taken; its checkpoints are kept in {checkpoints}: continue with --resume"
    assert str(caught.value) == (kept if whole else "x is taken; nothing was left behind")
    assert checkpoints.exists() is whole


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("elsewhere"), OSError("without a number")], ids=repr)
def test_other_errors_pass_and_half_checkpoints_go(checkpoints: Path, error: BaseException) -> None:
    whole = is_whole(checkpoints)
    with pytest.raises(type(error)) as caught:
        fail(checkpoints, error)
    assert caught.value is error
    assert checkpoints.exists() is whole
