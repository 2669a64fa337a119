"""What the operating system refuses: the file, what is wrong, the next step."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from paddlenlp_embtune.utils.files.os_errors import describe_os_error, naming


@pytest.mark.parametrize(
    "number",
    [
        "ENOSPC", "EACCES", "EROFS", "EMFILE", "ENAMETOOLONG", "EFBIG", "EDQUOT", "EIO", "ENOENT", "EISDIR", "ENOTDIR", "EXDEV",
        "ELOOP", "EPERM",
    ],
)  # fmt: skip
def test_every_error_names_the_file_and_the_next_step(number: str, tmp_path: Path) -> None:
    code = getattr(errno, number)
    with pytest.raises(OSError) as caught, naming(tmp_path / "out.npz"):
        raise OSError(code, os.strerror(code))
    told = describe_os_error(caught.value)
    assert told.startswith(f"{tmp_path / 'out.npz'}: {os.strerror(code)}; ")
    assert len(told.split("; ")[1]) > 10
    assert "\n" not in told


def test_a_temporary_name_is_not_told(tmp_path: Path) -> None:
    temporary = tmp_path / ".b~abcdefgh"
    with pytest.raises(OSError) as caught, naming(tmp_path / "b", temporary):
        raise OSError(errno.ENOSPC, "No space left on device", str(temporary / "onnx" / "model.onnx"))
    assert caught.value.filename == str(tmp_path / "b" / "onnx" / "model.onnx")


def test_the_name_that_an_error_has_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught, naming(tmp_path / "b"):
        (tmp_path / "c").read_bytes()
    assert describe_os_error(caught.value).startswith(f"{tmp_path / 'c'}: No such file")


def test_errors_without_a_file_or_a_number() -> None:
    assert describe_os_error(OSError(errno.ENOSPC, "No space left on device")).startswith(
        "the output: No space left on device; "
    )
    assert describe_os_error(OSError("pickled data\nwas refused")) == "pickled data was refused"
