"""The folder of a job: what the job is, which partitions are done, and the report at the end."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.scoring.partitions import Partition
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.files.locks import exclusive_lock
from paddlenlp_embtune.utils.json_yaml import dump_json, read_json

__all__ = ["JobFolder"]

_JOB, _REPORT, _DONE = "_job.json", "_report.json", "_partitions"
_SCHEMA = 1


@dataclasses.dataclass(frozen=True)
class JobFolder:
    """The folder of one job, which no other process writes meanwhile.

    Args:
        path: of the folder.
    """

    path: Path

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path, identity: Mapping[str, Any], *, overwrite: bool) -> Iterator[JobFolder]:
        """Begin a job in a new folder, or continue the same one.

        Args:
            path: of the folder.
            identity: what two calls must have in common to be the same job.
            overwrite: remove another job.
        Raises:
            RecipeError: the folder holds another job and ``overwrite`` is False, or holds other files.
        """
        refusal = f"another process is scoring into {path}; wait until it has ended, or give another --out"
        with exclusive_lock(path, wait_seconds=0, error=RecipeError, refusal=refusal):
            if (path / _JOB).is_file():
                differing = _differences(path / _JOB, identity)
                if differing and not overwrite:
                    raise RecipeError(
                        f"{path} holds the answers of another job, with other {', '.join(differing)}; give another --out, or "
                        "--overwrite"
                    )
                if differing or overwrite:
                    shutil.rmtree(path)
            elif path.is_file() or (path.is_dir() and any(path.iterdir())):
                raise RecipeError(f"{path} holds something else than the answers of embtune score; give another --out")
            (path / _DONE).mkdir(parents=True, exist_ok=True)
            write_text(path / _JOB, dump_json({"schema": _SCHEMA, **identity}, indent=2) + "\n")
            yield cls(path)

    def record(self, partition: Partition, target: Path) -> dict[str, Any] | None:
        """Return the record of a partition that is done; None of one that is not."""
        file = self._file(partition.number)
        if not file.is_file() or not target.is_file():
            return None
        found: dict[str, Any] = read_json(file, error=RecipeError)
        return found if found["rows"] == partition.count else None

    def keep(self, record: Mapping[str, Any]) -> None:
        """Note that a partition is done; its file stands already."""
        write_text(self._file(record["number"]), dump_json(record) + "\n")

    def finish(self, report: Mapping[str, Any]) -> None:
        """Write the report; it says what failed."""
        write_text(self.path / _REPORT, dump_json(report, indent=2) + "\n")

    def _file(self, number: int) -> Path:
        return self.path / _DONE / f"part-{number:05d}.json"


def _differences(job: Path, identity: Mapping[str, Any]) -> list[str]:
    former = read_json(job, error=RecipeError)
    if not isinstance(former, dict):
        return list(identity)
    return [name for name, value in {"schema": _SCHEMA, **identity}.items() if former.get(name) != value]
