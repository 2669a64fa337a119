"""``python -m tests.hostile.swapping read|write|start PLACE A B SECONDS [three]``: readers of a bundle, and who replaces it."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.utils.files import folder_swap
from paddlenlp_embtune.utils.files.atomic_io import replace_folder


def write(place: Path, one: Path, other: Path) -> str:
    """Replace the bundle by one of the two that it is not."""
    first = [json.loads((each / "bundle.json").read_text(encoding="utf-8"))["labels"][0] for each in (place, one)]
    source = other if first[0] == first[1] else one
    with replace_folder(place) as folder:
        shutil.copytree(source, folder, dirs_exist_ok=True)
    return source.name


def read(place: Path, one: Path, other: Path) -> str:
    """Open the bundle."""
    return Bundle.open(place).manifest.labels[0]


def start(place: Path, one: Path, other: Path) -> str:
    """Open the bundle and ask it, with its program, which belongs to one of the two."""
    with Predictor(place, num_threads=1) as predictor:
        label = predictor.predict(["公司拟以十亿元回购股份并全部注销"])[0]["label"]
        assert label == predictor.labels[-1], label
        return predictor.labels[0]


def repeat(work: Callable[[Path, Path, Path], str], places: list[Path], seconds: float) -> dict[str, Any]:
    """Do it again and again; count what came of it."""
    found, failures, until = Counter[str](), [], time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            found[work(*places)] += 1
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")
    return {"found": dict(found), "failures": len(failures), "first": failures[:1]}


if __name__ == "__main__":
    if sys.argv[6:] == ["three"]:
        folder_swap.exchange = lambda one, other: False
    what = {"read": read, "write": write, "start": start}[sys.argv[1]]
    print(json.dumps(repeat(what, [Path(name) for name in sys.argv[2:5]], float(sys.argv[5]))))
