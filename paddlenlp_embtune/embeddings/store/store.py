"""A store of embedding versions: a folder where a row that several versions share is kept once.

A version is a name, the tokens of its rows, and an index that assembles its table from row packs (see ``_row_packs``).
Files are immutable: saving adds files, removing a version deletes those that no other version needs. All content is checked
against the SHA-256 in its name or its version when it is read.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune.embeddings.metrics.sampling import Table
from paddlenlp_embtune.embeddings.store import _row_packs
from paddlenlp_embtune.embeddings.store._integrity import damage_error, describe_damage, describe_key_damage, read_checked
from paddlenlp_embtune.embeddings.store.row_selection import rows_of_tokens
from paddlenlp_embtune.embeddings.store.version import (
    INDICES,
    LATEST,
    PACKS,
    STORE_FILE,
    TOKENS,
    StoreSize,
    Version,
    check_save,
    check_store_file,
    read_version,
    table_sha256,
    write_store_file,
    write_version,
)
from paddlenlp_embtune.errors import VectorError, expected_names
from paddlenlp_embtune.utils.files.atomic_io import write_blocks
from paddlenlp_embtune.utils.files.locks import exclusive_lock
from paddlenlp_embtune.utils.memory import require_memory
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["VectorStore"]

_VERSIONS = "versions"


class VectorStore:
    """An opened store; see :meth:`open`. Several processes may use one at once: writers wait for each other."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def open(cls, path: str | Path, *, create: bool = False) -> VectorStore:
        """Open a store.

        Args:
            path: its folder.
            create: make one where there is none; the folder may be there already if it is empty.
        Raises:
            VectorError: there is no store, the folder holds something else, or it is of another schema.
        """
        path = Path(path)
        mark = path / STORE_FILE
        if create and not mark.is_file():
            strange = not path.is_dir() or any(STORE_FILE not in file.name for file in path.iterdir())
            if path.exists() and strange and not mark.is_file():  # another process may have made it since
                raise VectorError(f"{path} is there already and is no store of vectors; choose another place with --store")
            write_store_file(mark)
        check_store_file(mark)
        return cls(path)

    def save(
        self,
        name: str,
        tokens: Sequence[str],
        table: Table,
        *,
        note: str = "",
        source: str = "",
        groups: Mapping[str, Sequence[str]] | None = None,
        parent: str | None = None,
    ) -> Version:
        """Save a table as a new version; rows that the store holds already cost nothing.

        Beside the table itself, about 150 bytes a row are held in memory. A process that is killed leaves no version, at worst
        files that the next writer clears away. The table must not change meanwhile.

        Args:
            name: letters, digits, ``.``, ``_`` and ``-``, at most 64, a letter or digit first; not yet taken.
            tokens: the token of each row, V.
            table: (V, D) float32, any bits, NaN included.
            note: what to remember about it.
            source: where it came from.
            groups: terms that belong together, by the name of a group, for later comparisons.
            parent: name of the version it came from; None takes the latest.
        Raises:
            VectorError: the name is taken or not valid, or tokens and table are not as above; nothing is written.
        """
        check_save(name, tokens, table)
        with self._writing():
            if self._file(name).exists():
                raise VectorError(f"the store {self.path} has a version {name!r} already; choose another name, or remove it")
            earlier = self.versions()
            before = self.version(parent) if parent is not None else (earlier[-1] if earlier else None)
            same_width = [version.packs for version in reversed(earlier) if version.dimension == table.shape[1]]
            numbers, used, new = _row_packs.store_rows(self.path / PACKS, table, itertools.chain.from_iterable(same_width))
            index = _row_packs.encode_index(numbers)
            text = "\n".join(tokens)
            plain: dict[str, Any] = {
                "number": max((version.number for version in earlier), default=0) + 1,
                "name": name,
                "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="microseconds"),
                "note": note,
                "source": source,
                "parent": before.id if before is not None else None,
                "rows": len(table),
                "dimension": int(table.shape[1]),
                "dtype": "float32",
                "vocabulary_sha256": hashlib.sha256(text.encode("utf-8")).hexdigest(),
                "table_sha256": table_sha256(table),
                "index_sha256": hashlib.sha256(index).hexdigest(),
                "packs": to_plain(used),
                "new_rows": new,
                "groups": to_plain(groups or {}),
            }
            # Written even if they exist, as the existing files may be damaged.
            write_blocks(self.path / TOKENS / f"{plain['vocabulary_sha256']}.txt", [text.encode("utf-8")])
            write_blocks(self.path / INDICES / f"{plain['index_sha256']}.index", [index])
            write_version(self._file(name), plain)
        return self.version(name)

    def versions(self) -> list[Version]:
        """Return the versions in the order of saving; those whose file is damaged are left out, see :meth:`unreadable`."""
        return self._scan()[0]

    def version(self, name: str) -> Version:
        """Return a version.

        Args:
            name: of the version, ``latest``, or the first digits of its id, four or more, if no other begins so.
        Raises:
            VectorError: there is no such version, or its file is damaged.
        """
        versions, broken = self._scan()
        by_name = {version.name: version for version in versions}
        if name in by_name:
            return by_name[name]
        if name in broken:
            raise VectorError(f"{broken[name]}; restore the file, or remove the version {name!r}")
        if name == LATEST and broken:
            raise VectorError(
                f"which version is the latest cannot be told, for {', '.join(broken)} cannot be read: "
                f"{next(iter(broken.values()))}; name the version, restore the file, or remove it"
            )
        if name == LATEST and versions:
            return versions[-1]
        begun = [version for version in versions if len(name) >= 4 and version.id.startswith(name)]
        if len(begun) > 1:
            raise VectorError(f"{name!r} begins the ids of {', '.join(version.name for version in begun)}; give more digits")
        if not begun:
            raise VectorError(
                f"the store {self.path} has no version {name!r}; {expected_names(name, [*by_name, LATEST] if versions else [])}"
            )
        return begun[0]

    def load(self, name: str) -> tuple[tuple[str, ...], Table]:
        """Read a version back, bit by bit as it was saved.

        Returns:
            The token of each row, and the table.
        Shapes:
            returns: V tokens, (V, D) float32
        Raises:
            VectorError: there is no such version, or a file is damaged; the message names it and the versions that need it.
        """
        version = self.version(name)
        return self._read_tokens(version), self._read_table(version)

    def rows(self, name: str, tokens: Sequence[str]) -> Table:
        """Read the rows of some tokens; the whole version is checked for it.

        Shapes:
            returns: (N, D) float32
        Raises:
            VectorError: as :meth:`load`, or a token has no row.
        """
        words, table = self.load(name)
        return table[rows_of_tokens(words, tokens, where=f"the version {name!r}")]

    def size(self) -> StoreSize:
        """Measure the store; reads no rows."""
        versions = self.versions()
        used = {pack.sha256: pack.rows for version in versions for pack in version.packs}
        return StoreSize(
            versions=len(versions),
            bytes=sum(_size(file) for file in self.path.rglob("*")),
            table_bytes=sum(4 * version.rows * version.dimension for version in versions),
            rows=sum(version.rows for version in versions),
            rows_stored=sum(used.values()),
        )

    def unreadable(self) -> list[str]:
        """Describe versions whose own file is damaged, one sentence each; reads nothing else."""
        return [f"{message} (affected: {name})" for name, message in self._scan()[1].items()]

    def damage(self) -> list[str]:
        """Check every file of every version, and the keys of rows; describe all damage, one sentence each."""
        versions = self.versions()
        files = dict.fromkeys(file for version in versions for file in version.files())
        wrong = {file: describe_damage(self.path, file, versions) for file in files}
        packed = {f"{PACKS}/{pack.sha256}.rows": (pack, version.dimension) for version in versions for pack in version.packs}
        keys = [describe_key_damage(self.path / PACKS, *packed[file]) for file in packed if wrong[file] is None]
        return [*self.unreadable(), *(message for message in (*wrong.values(), *keys) if message is not None)]

    def remove(self, name: str) -> int:
        """Remove a version, damaged or not, and every file that no version needs any more.

        Packs are not rewritten: rows that only this version used stay in a pack that another one needs. While the file of
        another version is damaged, nothing else is deleted, because what that version needs is not known.

        Returns:
            bytes that came free
        Raises:
            VectorError: there is no such version.
        """
        with self._writing():
            before = self.size().bytes
            if name not in self._scan()[1]:
                name = self.version(name).name
            self._file(name).unlink()
            self._drop_unneeded()
            return before - self.size().bytes

    def _file(self, name: str) -> Path:
        return self.path / _VERSIONS / f"{name}.json"

    def _scan(self) -> tuple[list[Version], dict[str, str]]:
        """Read all version files: those that are whole, in order, and by name what is wrong with the others."""
        versions, broken = [], {}
        for file in sorted((self.path / _VERSIONS).glob("[!.]*.json")):
            try:
                versions.append(read_version(file))
            except VectorError as error:
                if file.exists():  # another process may have removed it since
                    broken[file.stem] = str(error)
        return sorted(versions, key=lambda version: (version.number, version.name)), broken

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Wait until no other process writes, and remove what a killed one has left; the lock is that of the store's mark."""
        with exclusive_lock(self.path / STORE_FILE, error=VectorError):
            for name in (_VERSIONS, PACKS, INDICES, TOKENS):
                (self.path / name).mkdir(exist_ok=True)
                for left in (self.path / name).glob(".*~*"):
                    left.unlink(missing_ok=True)
            self._drop_unneeded()
            yield

    def _drop_unneeded(self) -> None:
        """Remove the files that no version needs; none while the file of a version is damaged, whose needs are not known."""
        versions, broken = self._scan()
        if broken:
            return
        needed = {file for version in versions for file in version.files()}
        needed |= {file.removesuffix(".rows") + ".keys" for file in needed}
        for folder in (PACKS, INDICES, TOKENS):
            for file in (self.path / folder).iterdir():
                if f"{folder}/{file.name}" not in needed:
                    file.unlink(missing_ok=True)

    def _read_tokens(self, version: Version) -> tuple[str, ...]:
        name = version.files()[0]
        content = read_checked(self.path, name, self.versions)
        try:
            tokens = tuple(content.decode("utf-8").split("\n"))
        except UnicodeDecodeError as error:
            raise VectorError(f"{self.path / name} is not UTF-8: {error.reason}; save the version again") from None
        if len(tokens) != version.rows:
            raise VectorError(f"{self.path / name} has {len(tokens)} tokens, the version {version.name!r} {version.rows} rows")
        return tokens

    def _read_table(self, version: Version) -> Table:
        content = read_checked(self.path, version.files()[1], self.versions)
        try:
            numbers = _row_packs.decode_index(content, count=version.rows, below=sum(pack.rows for pack in version.packs))
            opened = [_row_packs.open_pack(self.path / PACKS, pack, version.dimension) for pack in version.packs]
        except VectorError as error:
            raise damage_error(self.path, version, self.versions(), str(error)) from None
        size, advice = version.rows * version.dimension * 4, "read it on a machine with more"
        require_memory(size, f"the version {version.name!r}", advice, error=VectorError)
        table = _row_packs.assemble_rows(opened, numbers, version.dimension)
        if table_sha256(table) != version.table_sha256:
            raise damage_error(self.path, version, self.versions(), "its rows are not those that were saved")
        return table


def _size(file: Path) -> int:
    """Return the bytes of a file; none of a folder, or of a file that another process has renamed since."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except FileNotFoundError:
        return 0
