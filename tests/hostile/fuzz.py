"""Reads damaged files, many in one process, and prints what came of each reader.

Run as ``python -m tests.hostile.fuzz NAMES COUNT SEED FOLDER``, names of ``reader_cases.CASES`` with ``|`` between them. The
process may take a certain amount of memory and no more, so that whatever asks for more fails here. A file whose reading ends
the process stays in the folder.
"""

from __future__ import annotations

import collections
import json
import random
import resource
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import EmbtuneError
from tests.hostile import mutations
from tests.hostile.reader_cases import CASES, Case

MEMORY_MOST = 1 << 30
"""Bytes that a process may take beyond those that it has once everything is loaded."""

SECONDS_MOST = 10
"""Seconds of a processor that one file may take."""

LONGEST_MESSAGE = 2000


class TooSlow(BaseException):
    """A file took too long; nobody catches this by chance."""


def main(names: str, count: int, seed: int, place: str) -> None:
    """Damage files of one reader, or of several, and print what came of them as JSON.

    Args:
        names: of the readers, with ``|`` between them.
        count: files for each, times its weight.
        seed: of what is random.
        place: a folder.
    """
    warnings.simplefilter("error")
    results = {}
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + MEMORY_MOST, resource.RLIM_INFINITY))
    for name in names.split("|"):
        folder = Path(place, str(list(CASES).index(name)))
        folder.mkdir()
        results[name] = run(CASES[name], count * CASES[name].weight, f"{name}/{seed}", folder)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - used
    print(json.dumps({"results": results, "grown": grown}))


def run(case: Case, count: int, seed: str, folder: Path) -> dict[str, Any]:
    """Read so many damaged files; return how many were read and refused, and what else happened."""
    found: collections.Counter[str] = collections.Counter()
    lost: list[str] = []
    seeds = case.seeds()
    case.beside(folder)
    file = folder / case.file
    ways = (*mutations.BYTES, *case.special * max(1, len(mutations.BYTES) // max(1, len(case.special))))
    for content in seeds:  # whole, they are read
        file.write_bytes(content)
        if outcome := attempt(case, folder):
            lost.append(f"whole: {outcome}")
    for number in range(count):
        chance = random.Random(f"{seed}/{number}")
        content = damage(chance.choice(seeds), ways, chance)
        file.write_bytes(content)
        outcome = attempt(case, folder)
        if outcome is None or outcome.startswith("refused"):
            found["read" if outcome is None else "refused"] += 1
        else:
            lost.append(f"{seed}/{number}: {outcome}")
    return {"tried": count, "read": found["read"], "refused": found["refused"], "lost": lost}


def damage(content: bytes, ways: tuple[mutations.Mutation, ...], chance: random.Random) -> bytes:
    """Damage a file once or twice."""
    for _ in range(chance.choice((1, 1, 1, 2))):
        try:
            content = chance.choice(ways)(content, chance)
        except Exception:  # the frame of it is broken already
            content = mutations.flip_bits(content or b"x", chance)
    return content


def attempt(case: Case, folder: Path) -> str | None:
    """Read what is there; return nothing, ``refused: ...``, or what went wrong."""
    signal.setitimer(signal.ITIMER_PROF, SECONDS_MOST)
    try:
        case.read(folder)
    except EmbtuneError as error:
        message = str(error)
        if "\n" in message or len(message) > LONGEST_MESSAGE:
            return f"a message of {len(message)} characters: {message[:300]!r}"
        return f"refused: {message}"
    except BaseException as error:  # whatever else: that is what is looked for
        last = traceback.extract_tb(error.__traceback__)[-4:]
        return (
            f"{type(error).__name__}: {str(error)[:200]} at {' < '.join(f'{frame.filename}:{frame.lineno}' for frame in last)}"
        )
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return None


def limit_time() -> None:
    """Let :func:`attempt` end what takes too long."""
    signal.signal(signal.SIGPROF, _too_slow)


def _too_slow(*_: object) -> None:
    raise TooSlow(f"more than {SECONDS_MOST} seconds")


if __name__ == "__main__":
    limit_time()
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
