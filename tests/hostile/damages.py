"""Damage to a checkpoint, one file at a time, and seals that an attacker has computed again."""

from __future__ import annotations

import os
import pickle
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from paddlenlp_embtune.utils.checkpoint_folders import SEAL
from paddlenlp_embtune.utils.files.folder_seal import write_seal

__all__ = ["DAMAGES", "PICKLED", "Payload", "as_foreign", "flips", "payload", "reseal"]

PICKLED = (
    "model_state.pdparams",
    "optimizer.pdopt",
    "scheduler.pdparams",
    "scaler.pdparams",
    "rng_state.pth",
    "rng_state_1.pth",
    "training_args.bin",
)
"""Names under which a Trainer that is left alone writes pickles."""


class Payload:
    """Makes an empty file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.marker), "w")


def payload(marker: Path, protocol: int) -> bytes:
    """A pickle of a state that writes a marker as soon as it is unpickled."""
    return pickle.dumps({"embedding.weight": Payload(marker), "last_epoch": 1}, protocol=protocol)


def flips(path: Path, count: int, seed: int) -> Iterator[bytes]:
    """The content of a file with one bit of it turned, so many times."""
    content, generator = path.read_bytes(), random.Random(seed)
    for _ in range(count):
        bit = generator.randrange(len(content) * 8)
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def reseal(folder: Path, step: int) -> None:
    """Compute the seal again, as anybody can who knows how it is made."""
    for path in folder.iterdir():
        if not path.is_file() or path.is_symlink():
            return
    write_seal(folder, SEAL, {"step": step})


def as_foreign(folder: Path) -> None:
    """Take away all that tells a checkpoint of ours from one that a Trainer wrote alone."""
    for path in folder.glob("embtune_*"):
        path.unlink()


def _replace(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _link(path: Path) -> None:
    other = path.with_name(f"{path.name}.elsewhere")
    path.rename(other)
    shutil.move(other, path.parent.parent / other.name)
    path.symlink_to(path.parent.parent / other.name)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def _cut_by_one(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _longer(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b" ")


DAMAGES: dict[str, Callable[[Path], None]] = {
    "deleted": Path.unlink,
    "emptied": _replace(b""),
    "cut": _cut,
    "cut by one": _cut_by_one,
    "longer": _longer,
    "junk": _replace(bytes(range(256)) * 5),
    "junk in JSON": _replace(b'{"settings": 3, "a": [[[[[[[[[["x"]]]]]]]]]], "b": 1e999}'),
    "a list": _replace(b"[1, 2, 3]"),
    "deep": _replace(b"[" * 100_000),
    "huge header": _replace((1 << 40).to_bytes(8, "little") + b"{}"),
    "no arrays": _replace((2).to_bytes(8, "little") + b"{}"),
    "folder": _folder,
    "link": _link,
    "pipe": _pipe,
}
