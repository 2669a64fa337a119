"""A model repository for NVIDIA Triton: one model that takes texts, and one that takes ids. Needs no Paddle."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from paddlenlp_embtune.bundle import INPUT_NAME, MANIFEST, OUTPUT_NAME, Bundle, copy_files
from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.inference import refuse_several_labels
from paddlenlp_embtune.utils.files.atomic_io import replace_folder, write_text
from paddlenlp_embtune.utils.files.locks import exclusive_lock
from paddlenlp_embtune.utils.files.os_errors import describe_os_error

__all__ = ["write_triton"]

_MARK = "# Written by: embtune export --triton"
_MODEL = """# Answers texts; needs paddlenlp-embtune[serve] in the backend's Python.
from paddlenlp_embtune.inference.triton_backend import TritonPythonModel

__all__ = ["TritonPythonModel"]
"""


def write_triton(
    bundle: Bundle,
    repository: Path,
    *,
    name: str,
    precision: str = "fp32",
    max_batch_size: int = 64,
    overwrite: bool = False,
) -> list[Path]:
    """Write two models into a model repository.

    ``NAME`` takes texts (``TEXT``, strings) and returns ``LABEL``, ``SCORE`` and ``SCORES``; it runs in Triton's Python
    backend, which needs ``paddlenlp-embtune[serve]``, and gathers the texts of concurrent requests. ``NAME_ids`` takes padded
    ids and returns logits, for clients that tokenize by themselves (see ``interface.json``); it runs in the ONNX Runtime
    backend.

    Args:
        bundle: an opened bundle with a program for ``onnxruntime``.
        repository: folder of the repository; made if it is not there.
        name: of the model: letters, digits, ``-``, ``_`` and ``.``.
        precision: ``fp32``, or what the bundle was quantized to.
        max_batch_size: the most rows of a request, 1 or more.
        overwrite: replace models of another bundle that have this name and that this function wrote; those of this bundle are
            always replaced, anything else never.
    Returns:
        The folders written.
    Raises:
        DataError: the name or the size is not valid.
        BundleError: the bundle has no such program, a place is taken, or the disk does not take the files.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise DataError(
            f"the model's name is {name!r}; expected letters, digits, -, _ and ., beginning with a letter or a digit"
        )
    if max_batch_size < 1:
        raise DataError(f"max_batch_size is {max_batch_size}; expected 1 or more")
    refuse_several_labels(bundle.manifest, "a Triton repository")
    program = bundle.quantized_file(precision) or bundle.engine_file("onnxruntime", ".onnx")
    by_text, by_ids = repository / name, repository / f"{name}_ids"
    classes = len(bundle.manifest.labels)
    try:
        with exclusive_lock(by_ids, error=BundleError), exclusive_lock(by_text, error=BundleError):
            for place in (by_text, by_ids):
                if place.exists() and not _is_ours(place / "config.pbtxt"):
                    raise BundleError(
                        f"{place} is there already and is not ours, so it will not be replaced; choose another name"
                    )
            if not overwrite and (taken := _of_another_bundle(bundle, by_text, by_ids)) is not None:
                raise BundleError(
                    f"{taken} holds the model of another bundle, which would be lost; choose another name with --name, or "
                    "replace it with --overwrite"
                )
            with replace_folder(by_ids) as folder:
                (folder / "1").mkdir()
                shutil.copyfile(program, folder / "1" / "model.onnx")
                bundle.check_current()
                write_text(folder / "config.pbtxt", _by_ids(by_ids.name, classes, max_batch_size))
            with replace_folder(by_text) as folder:
                copied = folder / "1" / "bundle"
                copy_files(bundle, bundle.manifest.files, copied)
                shutil.copyfile(bundle.path / MANIFEST, copied / MANIFEST)
                bundle.check_current()
                write_text(folder / "1" / "model.py", _MODEL)
                write_text(folder / "config.pbtxt", _by_text(by_text.name, classes, max_batch_size, precision))
    except OSError as error:
        raise BundleError(f"cannot write to {repository}: {describe_os_error(error)}") from error
    return [by_text, by_ids]


def _of_another_bundle(bundle: Bundle, by_text: Path, by_ids: Path) -> Path | None:
    """Name the place that is taken by a model of ours which is not of this bundle, if there is one."""
    if not by_text.exists():
        return by_ids if by_ids.exists() else None
    kept = by_text / "1" / "bundle" / MANIFEST
    same = kept.is_file() and kept.read_bytes() == (bundle.path / MANIFEST).read_bytes()
    return None if same else by_text


def _is_ours(config: Path) -> bool:
    return config.is_file() and config.read_text(encoding="utf-8", errors="replace").startswith(_MARK)


def _tensor(name: str, kind: str, dimensions: str) -> str:
    return f'  {{ name: "{name}" data_type: {kind} dims: [ {dimensions} ] }}'


def _by_ids(name: str, classes: int, max_batch_size: int) -> str:
    lines = [
        _MARK,
        f'name: "{name}"',
        'backend: "onnxruntime"',
        f"max_batch_size: {max_batch_size}",
        "input [",
        _tensor(INPUT_NAME, "TYPE_INT64", "-1"),
        "]",
        "output [",
        _tensor(OUTPUT_NAME, "TYPE_FP32", str(classes)),
        "]",
        "dynamic_batching { }",
        "instance_group [ { kind: KIND_CPU count: 1 } ]",
    ]
    return "\n".join(lines) + "\n"


def _by_text(name: str, classes: int, max_batch_size: int, precision: str) -> str:
    outputs = [
        _tensor("LABEL", "TYPE_STRING", "1"),
        _tensor("SCORE", "TYPE_FP32", "1"),
        _tensor("SCORES", "TYPE_FP32", str(classes)),
    ]
    lines = [
        _MARK,
        f'name: "{name}"',
        'backend: "python"',
        f"max_batch_size: {max_batch_size}",
        "input [",
        _tensor("TEXT", "TYPE_STRING", "1"),
        "]",
        "output [",
        ",\n".join(outputs),
        "]",
        "dynamic_batching { }",
        "instance_group [ { kind: KIND_CPU count: 1 } ]",
        f'parameters: {{ key: "precision" value: {{ string_value: "{precision}" }} }}',
    ]
    return "\n".join(lines) + "\n"
