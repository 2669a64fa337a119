"""How a command fails: one line on stderr that says what to do, and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from typing import NoReturn

from paddlenlp_embtune.cli._terminal import err, visible
from paddlenlp_embtune.errors import EmbtuneError, RecipeError
from paddlenlp_embtune.utils.files.os_errors import describe_os_error

__all__ = ["describe_error", "exit_with_error", "name_output_errors"]

_LONGEST = 2_000  # characters of a line
_LONGEST_CAUSE = 300
_MISUSE = 2


def exit_with_error(error: Exception) -> NoReturn:
    """Print one line about an error and end the process: 2 for misuse, 1 for any other failure.

    Raises:
        SystemExit: always, but with ``EMBTUNE_TRACEBACK``, where the error itself is raised.
    """
    if isinstance(error, BrokenPipeError):
        # The reader is gone. Redirect the rest of the buffer, or the interpreter would report it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    if os.environ.get("EMBTUNE_TRACEBACK"):
        raise error
    line = visible(describe_error(error))
    err.print("error: ", style="bold red", end="")
    err.print(line if len(line) <= _LONGEST else f"{line[:_LONGEST]} ... ({len(line):,} characters)", soft_wrap=True)
    sys.exit(_MISUSE if isinstance(error, RecipeError) else 1)


def describe_error(error: Exception) -> str:
    """Describe an error in one line; the traceback of an unexpected one is written to a file, which the line names."""
    if isinstance(error, EmbtuneError):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno is not None:
        return _short(describe_os_error(error))
    told = " ".join(_short(str(error)).split())
    if isinstance(error, MemoryError):
        return (
            f"there is not enough memory{f': {told}' if told else ''}; choose a smaller batch or model "
            "or shorter texts, or free some memory"
        )
    if isinstance(error, RecursionError):
        return f"an input is nested too deeply to be read ({told}); flatten it{_details(error)}"
    if isinstance(error, ValueError) and "null byte" in told:
        return "a path holds a null character; give the path of a file or a folder"
    return (
        f"unexpected {type(error).__name__}{f': {told}' if told else ''}; this is a bug in embtune, please report it"
        f"{_details(error)}"
    )


@contextlib.contextmanager
def name_output_errors() -> Iterator[None]:
    """Let an error of the system that comes from writing to standard output name it."""
    try:
        yield
    except OSError as error:
        # The buffer keeps what could not be written, and would fail again when the interpreter ends.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno is not None and error.filename is None:
            error.filename = "standard output"
        raise


def _details(error: Exception) -> str:
    """Write the traceback to a file that only its owner can read; return where it is, or how else to see it."""
    try:
        told = "".join(traceback.format_exception(error))
        descriptor, path = tempfile.mkstemp(prefix="embtune-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(told)
    except Exception:  # runs while another error is handled, and must not fail itself
        return "; set EMBTUNE_TRACEBACK=1 to see where it happened"
    return f"; details in {path}"


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_CAUSE else f"{text[:_LONGEST_CAUSE]}..."
