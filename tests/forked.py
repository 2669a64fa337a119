"""Runs a function again and again, each time in a child that may be killed, of one process that has loaded Paddle once.

``python -m tests.forked MODULE`` reads the arguments of the module's ``main`` from stdin, a JSON list a line, and answers each
with the exit code of the child.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def forked(module: str) -> Iterator[Callable[..., int]]:
    """Give a function that calls ``main`` of a module in a child, and returns its exit code; below 0 is a signal."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.forked", module]
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
        )
        assert process.stdin is not None
        assert process.stdout is not None

        def call(*arguments: object) -> int:
            print(json.dumps(arguments), file=process.stdin, flush=True)
            answer = process.stdout.readline()
            log.seek(0)
            said = log.read()[-3000:]
            assert answer, said
            code = int(answer)
            assert code <= 0, said
            return code

        try:
            yield call
        finally:
            process.stdin.close()
            process.stdout.close()
            process.wait(30)


def serve(name: str) -> None:
    import paddlenlp_embtune

    paddlenlp_embtune.prepare_cpu()
    main = importlib.import_module(name).main
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            code = 1
            try:
                main(*json.loads(line))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1])
