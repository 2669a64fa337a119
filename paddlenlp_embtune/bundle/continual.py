"""What a bundle keeps for learning on: examples of what it was taught, and the Fisher information of its weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle.reader import Bundle
from paddlenlp_embtune.errors import BundleError, expected_names
from paddlenlp_embtune.utils.files.atomic_io import write_text
from paddlenlp_embtune.utils.json_yaml import parse_json, read_bounded, shorten
from paddlenlp_embtune.utils.safetensors_io import SafetensorsFile, write_safetensors_file

__all__ = [
    "StoredExample",
    "other_heads",
    "read_fisher",
    "read_head",
    "read_stored_examples",
    "write_fisher",
    "write_heads",
    "write_stored_examples",
]

_EXAMPLES, _FISHER, _HEADS = "continual/examples.jsonl", "continual/fisher.safetensors", "continual/heads.safetensors"
_MOST_BYTES = 1 << 30


@dataclasses.dataclass(frozen=True)
class StoredExample:
    """A labelled text that a bundle keeps.

    Args:
        text: as it was in the data.
        label: as the bundle calls it.
        task: name of the task that it is of.
    """

    text: str
    label: str
    task: str


def write_stored_examples(folder: Path, examples: Sequence[StoredExample]) -> None:
    """Write examples into the folder of a bundle that is being made."""
    (folder / _EXAMPLES).parent.mkdir(exist_ok=True)
    lines = [json.dumps(dataclasses.asdict(each), ensure_ascii=False) for each in examples]
    write_text(folder / _EXAMPLES, "".join(f"{line}\n" for line in lines))


def read_stored_examples(bundle: Bundle) -> tuple[StoredExample, ...]:
    """Return the examples that a bundle keeps, in their order; none where it keeps none.

    Raises:
        BundleError: the file holds something else.
    """
    if _EXAMPLES not in bundle.manifest.files:
        return ()
    file = bundle.path / _EXAMPLES
    content = read_bounded(file, error=BundleError, max_bytes=_MOST_BYTES)
    bundle.check_current(_EXAMPLES)
    found, labels = [], {*bundle.manifest.labels, *(label for own in other_heads(bundle).values() for label in own)}
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        value = parse_json(line, f"line {number} of {file}", error=BundleError)
        match value:
            case {"text": str() as text, "label": str() as label, "task": str() as task} if label in labels:
                found.append(StoredExample(text, label, task))
            case _:
                raise BundleError(
                    f"line {number} of {file} is no example of this bundle: {shorten(value)}; expected text, label and task, "
                    "with a label of the bundle; restore the file, or leave replay out of continual.method"
                )
    return tuple(found)


def write_fisher(folder: Path, fisher: Mapping[str, npt.NDArray[np.float32]]) -> None:
    """Write Fisher information by the names of parameters into the folder of a bundle that is being made."""
    (folder / _FISHER).parent.mkdir(exist_ok=True)
    write_safetensors_file(folder / _FISHER, fisher)


def read_fisher(bundle: Bundle) -> dict[str, npt.NDArray[np.float32]] | None:
    """Return the Fisher information that a bundle keeps, by the names of its parameters; None where it keeps none.

    Raises:
        BundleError: the file is damaged, or holds what no Fisher information can be.
    """
    if _FISHER not in bundle.manifest.files:
        return None
    file = SafetensorsFile(bundle.path / _FISHER, error=BundleError)
    found = file.read_all()
    bundle.check_current(_FISHER)
    for name, values in found.items():
        if values.dtype != np.float32 or not np.isfinite(values).all() or (values < 0).any():
            raise BundleError(
                f"{shorten(name)} in {file.path} is no Fisher information: expected finite float32 values of 0 or more; "
                "restore the file, or leave ewc out of continual.method"
            )
    return found


def other_heads(bundle: Bundle) -> dict[str, tuple[str, ...]]:
    """Return the labels of the heads that a bundle keeps beside its own, by the name of the task that each began with."""
    stated = bundle.manifest.continual.get("heads")
    found = stated if isinstance(stated, Mapping) else {}
    return {str(name): tuple(map(str, labels)) for name, labels in found.items() if isinstance(labels, (list, tuple))}


def write_heads(folder: Path, heads: Mapping[str, Mapping[str, npt.NDArray[np.float32]]]) -> None:
    """Write the weights of heads, by their names and those of the model, into the folder of a bundle that is being made."""
    (folder / _HEADS).parent.mkdir(exist_ok=True)
    write_safetensors_file(
        folder / _HEADS, {f"{head}/{name}": values for head, arrays in heads.items() for name, values in arrays.items()}
    )


def read_head(bundle: Bundle, head: str) -> dict[str, npt.NDArray[np.float32]]:
    """Return the weights of a head that a bundle keeps beside its own, by the names of the model.

    Raises:
        BundleError: it keeps no such head.
    """
    known = other_heads(bundle)
    if head not in known or _HEADS not in bundle.manifest.files:
        raise BundleError(f"the bundle {bundle.path} keeps no head {head!r}; {expected_names(head, known)}")
    file = SafetensorsFile(bundle.path / _HEADS, error=BundleError)
    found = {key.removeprefix(f"{head}/"): file.read(key) for key in file.arrays if key.startswith(f"{head}/")}
    bundle.check_current(_HEADS)
    return found
