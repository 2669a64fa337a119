"""What a comparison's folder is for: its data by content, and its arms."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data import data_files
from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.experiments.arms import Arm
from paddlenlp_embtune.experiments.cell import DataSet
from paddlenlp_embtune.utils.files.atomic_io import sha256_of, write_text
from paddlenlp_embtune.utils.json_yaml import dump_json, parse_json
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["IDENTITY", "check_claimed", "claim", "identity_of"]

IDENTITY = "comparison.json"


def check_claimed(folder: Path, identity: Mapping[str, Any]) -> None:
    """Make sure that a folder holds a comparison of the same data and arms.

    Raises:
        RecipeError: it holds none, or another.
    """
    path = folder / IDENTITY
    if not path.is_file():
        raise RecipeError(f"{folder} holds no comparison, so nothing in it is finished; leave --finished out")
    _check_same(_known(path), identity, folder)


def claim(folder: Path, identity: Mapping[str, Any], *, overwrite: bool) -> None:
    """Write down what a folder is for, or make sure that it is for the same; further arms and data sets are added.

    Args:
        folder: of the comparison.
        identity: what :func:`identity_of` returns.
        overwrite: drop another comparison.

    Raises:
        RecipeError: it holds something else.
    """
    path = folder / IDENTITY
    if folder.exists() and any(folder.iterdir()):
        if not path.is_file():
            raise RecipeError(f"{folder} is not empty and holds no comparison; choose another folder with --out")
        if overwrite:
            shutil.rmtree(folder)
        else:
            known = _known(path)
            _check_same(known, identity, folder)
            identity = {part: {**known[part], **identity[part]} if part != "folds" else identity[part] for part in identity}
    write_text(path, dump_json(identity, indent=1) + "\n")


def identity_of(data: Sequence[DataSet], arms: Sequence[Arm], folds: int | None) -> dict[str, Any]:
    """Return all that the figures of a cell depend on, but for its seed and size.

    Raises:
        DataError: a data file is missing.
    """
    return {
        "data": {each.name: _fingerprint(each) for each in data},
        "arms": {arm.name: to_plain(arm) for arm in arms},
        "folds": folds,
    }


def _known(path: Path) -> Mapping[str, Any]:
    known = parse_json(path.read_bytes(), str(path), error=DataError)
    return known if isinstance(known, Mapping) else {}


def _fingerprint(data: DataSet) -> dict[str, Any]:
    """SHA-256 of each file of a data set, and how it is read.

    Raises:
        DataError: a file is missing.
    """
    found: dict[str, Any] = {name: to_plain(value) for name, value in data.reading().items()}
    for name in ("train", "dev", "test"):
        path = getattr(data, name)
        files = [] if path is None else data_files(Path(path))
        if path is not None and not files:
            raise DataError(f"the {name} rows of the data set {data.name} are {path}, which is not a file; give its path")
        digests = [sha256_of(file) for file in files]
        found[name] = " ".join(digests) or None
    return found


def _check_same(known: Mapping[str, Any], identity: Mapping[str, Any], folder: Path) -> None:
    advice = "choose another --out, or replace it with --overwrite"
    if known.get("folds") != identity["folds"]:
        shown = "no" if known.get("folds") is None else known["folds"]
        raise RecipeError(f"{folder} holds another comparison, with {shown} folds; {advice}")
    for part, what in (("data", "rows of the data set"), ("arms", "arm")):
        there = known.get(part) or {}
        for name, value in identity[part].items():
            if name in there and there[name] != value:
                raise RecipeError(f"{folder} holds another comparison, with another {what} {name!r}; {advice}")
