"""``python -m tests.benchmarks [quality | step] ...``: run the benchmarks, all of them by default."""

from __future__ import annotations

import sys

from tests.benchmarks import quality, step_time

_BENCHMARKS = {"step": step_time.main, "quality": quality.main}


def main() -> None:
    names = sys.argv[1:] or list(_BENCHMARKS)
    for name in names:
        if name not in _BENCHMARKS:
            sys.exit(f"there is no benchmark {name!r}; legal: {', '.join(_BENCHMARKS)}")
        _BENCHMARKS[name]()


main()
