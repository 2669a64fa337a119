"""A folder as labelled rows: one file of texts, or one folder of files, for each label."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from paddlenlp_embtune.errors import DataError

__all__ = ["folder_records"]


def folder_records(path: Path, lines_of: Callable[[Path], Iterator[tuple[int, str]]]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield text and label: each line of ``利好.txt``, or each file of the folder ``利好`` as one text.

    Args:
        path: of the folder; hidden files and other endings are left out.
        lines_of: numbers and lines of a file.
    Raises:
        DataError: the folder holds neither, or both.
    """
    shown = sorted(each for each in path.iterdir() if not each.name.startswith("."))
    files = [each for each in shown if each.is_file() and each.suffix.lower() == ".txt"]
    folders = [each for each in shown if each.is_dir()]
    if bool(files) == bool(folders):
        told = f"{len(files)} .txt files and {len(folders)} folders"
        others = sorted({each.suffix for each in shown if each.is_file()} - {".txt", ""})
        further = f"; for the tables in it: '{path / ('*' + others[0])}'" if others else ""
        raise DataError(
            f"{path} is a folder with {told}; expected either one .txt file of texts for each label, such as 利好.txt, or one "
            f"folder of .txt files for each{further}"
        )
    for file in files:
        for number, line in lines_of(file):
            if line.strip():
                yield f"line {number} of {file.name}", {"text": line, "label": file.stem}
    for folder in folders:
        for file in sorted(folder.glob("*.txt")):
            text = "\n".join(line for _, line in lines_of(file)).strip()
            yield f"{folder.name}/{file.name}", {"text": text, "label": folder.name}
