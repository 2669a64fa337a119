"""The bundle: the folder that training leaves and serving loads. Reading it checks everything before anything is used."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from paddlenlp_embtune.bundle._manifest_checks import check_agreement, check_file_names
from paddlenlp_embtune.bundle.manifest import Manifest
from paddlenlp_embtune.bundle.manifest_seal import read_sealed
from paddlenlp_embtune.bundle.snapshot import MANIFEST, Generation, check_generation, generation_of, read_one_generation
from paddlenlp_embtune.bundle.vocabulary_check import vocabulary_mismatch
from paddlenlp_embtune.errors import BundleError, DataError, EmbtuneError, RecipeError, expected_names
from paddlenlp_embtune.text import Tokenizer, Vocabulary, tokenizer_files, tokenizer_from_config
from paddlenlp_embtune.utils.files.atomic_io import sha256_of
from paddlenlp_embtune.utils.json_yaml import parse_json, read_bounded, shorten
from paddlenlp_embtune.utils.schema import build, to_plain

__all__ = ["INPUT_NAME", "OUTPUT_NAME", "VECTORS_NAME", "Bundle"]

INPUT_NAME = "input_ids"
OUTPUT_NAME = "logits"
VECTORS_NAME = "vectors"
_MOST_BYTES = 16 << 20


@dataclasses.dataclass(frozen=True)
class Bundle:
    """An opened bundle; everything it says about itself has been checked.

    Args:
        path: its folder.
        manifest: what ``bundle.json`` says.
        vocabulary: read from ``vocab.txt``.
        generation: which writing of the bundle was opened; None for one that is only being made.
    """

    path: Path
    manifest: Manifest
    vocabulary: Vocabulary
    generation: Generation | None = dataclasses.field(default=None, compare=False, repr=False)

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Open a bundle; while another process replaces it, this gives the old or the new one.

        Raises:
            BundleError: the folder is no bundle, is of another schema, lacks a file, or a file or the vocabulary has changed.
        """
        path = Path(path)
        found, generation = read_one_generation(path, lambda: cls._read(path), whole=cls._is_whole)
        return dataclasses.replace(found, generation=generation)

    @classmethod
    def open_written(cls, path: Path, hashes: Mapping[str, str]) -> Bundle:
        """Open a bundle that this process has just written, and whose lock it still holds.

        Args:
            path: its folder.
            hashes: SHA-256 of files that were computed while they were written; these are not read again.
        Raises:
            BundleError: the bundle is not valid.
        """
        return dataclasses.replace(cls._read(path, hashes), generation=generation_of(path))

    def check_current(self, *names: str) -> None:
        """Refuse to continue with what was read since the bundle was opened, if it has been replaced meanwhile.

        Args:
            names: of the files that were read; where all of them stayed the same, the bundle may have been replaced. None
                stands for everything, the manifest included.
        Raises:
            BundleError: it has.
        """
        files = {name: digest for name, digest in self.manifest.files.items() if name in names}
        check_generation(self.path, self.generation, files if names else None)

    @classmethod
    def _is_whole(cls, path: Path) -> bool:
        try:
            cls._read(path)
        except (EmbtuneError, OSError):
            return False
        return True

    @classmethod
    def _read(cls, path: Path, hashes: Mapping[str, str] = types.MappingProxyType({})) -> Bundle:
        manifest = _read_manifest(path)
        vocabulary = _read_vocabulary(path, manifest)
        check_file_names(manifest, path / MANIFEST, _tokenizer_files(path, manifest))
        for name, expected in manifest.files.items():
            if hashes.get(name) != expected:
                _check_file(path, name, expected)
        check_agreement(manifest, path, len(vocabulary))
        return cls(path, manifest, vocabulary)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the path and what must stand there: whoever unpickles opens and checks it again."""
        return _reopen, (str(self.path.absolute()), self.fingerprint)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what the manifest says, which names the hash of every other file."""
        return hashlib.sha256(json.dumps(to_plain(self.manifest), sort_keys=True).encode()).hexdigest()

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer that the weights were trained with."""
        return tokenizer_from_config(self.manifest.tokenizer, self.vocabulary, lambda name: (self.path / name).read_bytes())

    def example_ids(self) -> list[int]:
        """Return the ids of the first example in ``fixtures.jsonl``; of a bundle without it, that of the unknown token.

        Raises:
            BundleError: the file holds something else.
        """
        if (name := "fixtures.jsonl") not in self.manifest.files:
            return [self.vocabulary.unknown_id]
        first = read_bounded(self.path / name, error=BundleError, max_bytes=_MOST_BYTES).split(b"\n", 1)[0]
        example = parse_json(first, f"the first line of {self.path / name}", error=BundleError)
        try:
            ids = [int(number) for number in example["windows"][0]["ids"]]
            if ids and all(0 <= number < len(self.vocabulary) for number in ids):
                return ids
        except (TypeError, ValueError, LookupError):
            pass
        raise BundleError(f"the first line of {self.path / name} is no example of this bundle; export the bundle again")

    def engine_file(self, engine: str, ending: str) -> Path:
        """Return an engine's file by its ending.

        Raises:
            BundleError: the bundle was not exported for that engine.
        """
        for name in self.manifest.engines.get(engine, ()):
            if name.endswith(ending):
                return self.path / name
        raise BundleError(
            f"the bundle {self.path} has no files for the engine {engine!r}; {expected_names(engine, self.manifest.engines)}; "
            f"add them with: embtune export {self.path} --engine {engine}"
        )

    def vector_width(self, engine: str, precision: str) -> int:
        """Return the values of a text's vector, where an engine is proven to give vectors.

        Raises:
            BundleError: the bundle was written without vectors, or this engine or precision gives none.
        """
        manifest, width = self.manifest, 0
        if manifest.sentence_vectors is not None:
            width = manifest.sentence_vectors.width
        program, proof = manifest.quantized.get(precision), manifest.parity.get(engine)
        if precision != "fp32" and program is not None and program.vector_cosine is None and width:
            raise BundleError(
                f"the {precision} program of the bundle {self.path} gives no sentence vectors; make it again with: "
                f"embtune quantize {self.path} --data dev.tsv, or use precision='fp32'"
            )
        if not width or (engine != "paddle" and (proof is None or proof.max_vector_difference is None)):
            raise BundleError(
                f"the programs of the bundle {self.path} for the engine {engine!r} give no sentence vectors: they were written "
                f"by an earlier release, or the model has no such vectors; write them again with: embtune export {self.path} "
                f"--engine {engine if engine != 'paddle' else 'onnxruntime'}"
            )
        return width

    def quantized_file(self, precision: str) -> Path | None:
        """Return the program of a precision, None for ``fp32``.

        Raises:
            BundleError: the bundle was not quantized to it.
        """
        if precision == "fp32":
            return None
        if (program := self.manifest.quantized.get(precision)) is None:
            allowed = expected_names(precision, ["fp32", *self.manifest.quantized])
            raise BundleError(
                f"the bundle {self.path} has no program in {precision!r}; {allowed}; add one, measured on labelled rows, with: "
                f"embtune quantize {self.path} --data dev.tsv"
            )
        return self.path / program.file


def _reopen(path: str, fingerprint: str) -> Bundle:
    """Open a bundle that another process, or an earlier time, has named.

    Raises:
        BundleError: it is not the one that was named.
    """
    bundle = Bundle.open(path)
    if bundle.fingerprint != fingerprint:
        raise BundleError(
            f"the bundle {path} was replaced since this object was pickled: it is {bundle.fingerprint[:12]}... now, and was "
            f"{fingerprint[:12]}...; open the new one with Predictor({path!r}), or put the old one back"
        )
    return bundle


def _read_manifest(path: Path) -> Manifest:
    file = path / MANIFEST
    try:
        content = read_bounded(file, error=BundleError, max_bytes=_MOST_BYTES)
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{path} is not a bundle: it has no {MANIFEST}; give the bundle folder of a run") from None
    value = read_sealed(content, str(file))
    try:
        return build(Manifest, value, where=MANIFEST, error=BundleError)
    except RecipeError as error:
        raise BundleError(f"{file} is not valid: {error}; restore it, or train again") from None


def _read_vocabulary(path: Path, manifest: Manifest) -> Vocabulary:
    """Read the vocabulary; refuse one that the weights were not trained with, and show where it differs."""
    try:
        vocabulary = Vocabulary.load(path / "vocab.txt")
    except (OSError, DataError) as error:
        if "vocab.txt" in manifest.files:
            _check_file(path, "vocab.txt", manifest.files["vocab.txt"])
        raise BundleError(f"the vocabulary of the bundle {path} cannot be read: {error}; export the bundle again") from None
    found = vocabulary.fingerprint()
    if found != manifest.vocabulary_sha256:
        difference = f": {told}" if (told := vocabulary_mismatch(path, vocabulary)) else ""
        raise BundleError(
            f"the bundle {path} was trained with the vocabulary {manifest.vocabulary_sha256[:12]}..., its vocab.txt is "
            f"{found[:12]}... with {len(vocabulary)} tokens{difference}; put the vocabulary of the training run back"
        )
    return vocabulary


def _tokenizer_files(path: Path, manifest: Manifest) -> tuple[str, ...]:
    try:
        return tokenizer_files(manifest.tokenizer)
    except DataError as error:
        raise BundleError(f"{path / MANIFEST} is not valid: {error}; use the release that wrote it, or train again") from None


def _check_file(path: Path, name: str, expected: str) -> None:
    file = path / name
    try:
        found = sha256_of(file) if file.is_file() else None
    except OSError as error:
        raise BundleError(
            f"the file {shorten(name)} of the bundle {path} cannot be read: {error.strerror}; copy the whole folder again"
        ) from None
    if found is None:
        raise BundleError(f"the bundle {path} lacks its file {name}; copy the whole folder again, or train again")
    if found != expected:
        raise BundleError(
            f"the file {name} of the bundle {path} has changed: its SHA-256 is {found[:12]}..., {MANIFEST} says "
            f"{expected[:12]}...; restore the file, or export the bundle again"
        )
