"""Encoders by PaddleNLP model name: from its cache, or downloaded with a timeout."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from paddlenlp_embtune import compat
from paddlenlp_embtune.encoders.architectures import FAMILIES, WORDPIECE_CLASSES, Family
from paddlenlp_embtune.encoders.checkpoint import CONFIG, TOKENIZER_CONFIG, VOCABULARY, WEIGHTS
from paddlenlp_embtune.encoders.file_layout import SENTENCEPIECE_FILE, EncoderFiles, find_folder_files
from paddlenlp_embtune.errors import BundleError, HostError, expected_names

__all__ = ["FETCH_SECONDS", "find_hub_files"]

FETCH_SECONDS = "EMBTUNE_FETCH_SECONDS"
"""The environment variable for the download timeout: seconds without progress; 0 disables downloads."""

_DEFAULT_SECONDS = 10.0
_START_SECONDS = 120.0
_FETCH = """
import json, sys
import paddlenlp_embtune  # first: it provides what PaddleNLP lacks with aistudio-sdk 0.3
from paddlenlp.utils.download import resolve_file_path
print("ready", flush=True)
name, cache, wanted = json.loads(sys.argv[1])
for choices in wanted:
    resolve_file_path(name, choices, cache_dir=cache)
"""


@dataclasses.dataclass(frozen=True)
class _Listed:
    """A model in PaddleNLP's list: its family, and its files as cache paths with their URLs."""

    family: Family
    settings: Mapping[str, Any]
    tokenizer: str
    options: Mapping[str, Any]
    addresses: Mapping[str, tuple[Path, str]]

    def files(self, name: str) -> EncoderFiles:
        where = {role: path for role, (path, _) in self.addresses.items()}
        return EncoderFiles(
            source=name,
            settings=self.settings,
            architecture=self.family.architecture,
            weights=where["model_state"],
            vocabulary=where["vocab_file"],
            pieces=where.get("sentencepiece_model_file", where["vocab_file"].with_name(SENTENCEPIECE_FILE)),
            tokenizer=self.tokenizer,
            options=self.options,
            folder=None,
        )


def find_hub_files(name: str, *, known: Sequence[str] = (), limit_seconds: float | None = None) -> EncoderFiles:
    """Find the files of a PaddleNLP model in its cache, or download them into it, as PaddleNLP's Auto classes would.

    Files are downloaded by PaddleNLP's own function in a separate process, which is killed if the download stalls; the files
    are not opened there.

    Args:
        name: name of a PaddleNLP model, or OWNER/MODEL for a community model.
        known: names of encoders that plugins registered, for messages.
        limit_seconds: timeout without progress; None uses ``EMBTUNE_FETCH_SECONDS``, or 10.
    Raises:
        HostError: the model is not in the cache and cannot be downloaded.
        BundleError: its family is not supported.
    """
    limit = _limit() if limit_seconds is None else limit_seconds
    cache, listed = _cache(), _listed(name)
    folder = cache / name
    if listed is None:
        if (folder / CONFIG).is_file() and any((folder / file).is_file() for file in WEIGHTS):
            return find_folder_files(folder, source=name)
        address = f"{_endpoint()}/models/community/{name}/{CONFIG}"
        _fetch(
            name,
            address,
            [[CONFIG], [TOKENIZER_CONFIG], [VOCABULARY], [SENTENCEPIECE_FILE], list(WEIGHTS)],
            known=known,
            limit=limit,
        )
        return find_folder_files(folder, source=name)
    missing = [address for path, address in listed.addresses.values() if not path.is_file()]
    if missing:
        _fetch(name, missing[0], [[address] for address in missing], known=known, limit=limit)
    if absent := [str(path) for path, _ in listed.addresses.values() if not path.is_file()]:
        raise _unreachable(name, f"PaddleNLP did not download {absent[0]}", known)
    return listed.files(name)


def _limit() -> float:
    stated = os.environ.get(FETCH_SECONDS, "")
    try:
        return float(stated) if stated else _DEFAULT_SECONDS
    except ValueError:
        raise HostError(f"{FETCH_SECONDS} must be a number of seconds (0 disables downloads), got {stated!r}") from None


def _cache() -> Path:
    """Return PaddleNLP's model cache folder."""
    with compat.quiet():
        return Path(importlib.import_module("paddlenlp.utils.env").MODEL_HOME)


def _endpoint() -> str:
    with compat.quiet():
        return str(importlib.import_module("paddlenlp.utils.download.bos_download").ENDPOINT)


def _listed(name: str) -> _Listed | None:
    """Return PaddleNLP's entry for a name, or None."""
    with compat.quiet():
        transformers: Any = importlib.import_module("paddlenlp.transformers")
    for family in FAMILIES:
        kind = getattr(transformers, family.architecture)
        settings = kind.pretrained_init_configuration.get(name)
        if not isinstance(settings, dict):
            continue
        tokenizer = next((each for each in _tokenizers(transformers) if name in each.pretrained_init_configuration), None)
        if tokenizer is None:
            raise BundleError(
                f"the tokenizer of {name!r}, a {family.architecture} of PaddleNLP, is not supported; expected "
                f"{', '.join((*WORDPIECE_CLASSES, 'ErnieMTokenizer'))}; choose another encoder"
            )
        maps = {"model_state": kind.pretrained_resource_files_map["model_state"], **tokenizer.pretrained_resource_files_map}
        addresses = {role: str(names[name]) for role, names in maps.items() if names.get(name)}
        folder = _cache() / name
        return _Listed(
            family,
            settings,
            tokenizer.__name__,
            dict(tokenizer.pretrained_init_configuration[name]),
            {
                role: (folder / ("model_state.pdparams" if role == "model_state" else address.rsplit("/", 1)[-1]), address)
                for role, address in addresses.items()
            },
        )
    for names, architecture in transformers.AutoModel.CONFIGURATION_MODEL_MAPPING.items():
        if name in names:
            raise BundleError(
                f"{name!r} is a {architecture} of PaddleNLP, which is not supported; expected "
                f"{', '.join(each.architecture for each in FAMILIES)}; "
                "a plugin can declare any other encoder through the hook embtune_register_encoders"
            )
    return None


def _names() -> list[str]:
    """Return the names of PaddleNLP models of supported families."""
    with compat.quiet():
        transformers: Any = importlib.import_module("paddlenlp.transformers")
    return [name for family in FAMILIES for name in getattr(transformers, family.architecture).pretrained_init_configuration]


def _tokenizers(transformers: Any) -> list[Any]:
    names = [*(name for name in WORDPIECE_CLASSES if name != "RobertaTokenizer"), "ErnieMTokenizer"]
    return [getattr(transformers, name) for name in names]


def _fetch(name: str, address: str, wanted: Sequence[Sequence[str]], *, known: Sequence[str], limit: float) -> None:
    """Download files into the cache.

    Raises:
        HostError: they cannot be downloaded.
    """
    if limit <= 0:
        raise _unreachable(name, f"{FETCH_SECONDS} is 0", known)
    if fault := _answer(address, limit=limit):
        raise _unreachable(name, fault, known)
    cache = _cache()
    command = [sys.executable, "-c", _FETCH, json.dumps([name, str(cache), wanted])]
    if fault := _watch(command, [cache, cache / name], limit=limit):
        raise _unreachable(name, fault, known)


def _answer(address: str, *, limit: float) -> str:
    """Send a HEAD request for a file; return the problem, or an empty string if the host has it.

    The request runs in a thread that is abandoned after the limit, because a DNS lookup has no timeout.
    """
    found = list[str]()

    def ask() -> None:
        request = urllib.request.Request(address, method="HEAD")  # noqa: S310  PaddleNLP's own address
        try:
            with urllib.request.urlopen(request, timeout=limit):  # noqa: S310
                found.append("")
        except urllib.error.HTTPError as error:
            found.append(f"{address} returned {error.code}: there is no such model")
        except Exception as error:  # of many types; reported through the list only
            found.append(f"{address} cannot be reached: {getattr(error, 'reason', error)}")

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(limit)
    return found[0] if found else f"{address} did not answer within {limit:g} seconds"


def _watch(command: Sequence[str], folders: Sequence[Path], *, limit: float) -> str:
    """Run a program that fills folders, and kill it if they stop growing; return the problem, or an empty string."""
    with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as complained:
        with subprocess.Popen(command, stdout=said, stderr=complained, stdin=subprocess.DEVNULL) as process:
            size, since, started = 0, time.monotonic(), False
            try:
                while process.poll() is None:
                    time.sleep(min(0.2, limit / 4))
                    now = _bytes_in(folders)
                    if now != size or (not started and os.fstat(said.fileno()).st_size):
                        size, since, started = now, time.monotonic(), started or os.fstat(said.fileno()).st_size > 0
                    if time.monotonic() - since > (limit if started else max(limit, _START_SECONDS)):
                        return f"the download made no progress for {limit:g} seconds"
            finally:
                process.kill()
        complained.seek(0)
        lines = complained.read().decode("utf-8", "replace").strip().splitlines()
        return "" if process.returncode == 0 else (lines[-1] if lines else f"PaddleNLP exited with {process.returncode}")


def _bytes_in(folders: Sequence[Path]) -> int:
    """Return the total size of the files directly in folders."""
    total = 0
    for folder in folders:
        try:
            total += sum(entry.stat().st_size for entry in os.scandir(folder) if entry.is_file())
        except OSError:  # the folder does not exist yet, or a file has just been renamed
            continue
    return total


def _unreachable(name: str, fault: str, known: Sequence[str]) -> HostError:
    cache = _cache()
    here = sorted(file.parent.relative_to(cache).as_posix() for file in cache.glob("**/*") if file.name in WEIGHTS)
    registered = expected_names(name, known) if known else "none is registered"
    close = difflib.get_close_matches(name, _names(), n=1, cutoff=0.8)
    meant = f"; the closest PaddleNLP name is {close[0]!r}" if close and close[0] != name else ""
    return HostError(
        f"the encoder {name!r} is not on this machine and cannot be downloaded: {fault}{meant}; use a registered encoder "
        f"({registered}), a folder that save_pretrained wrote, or a model in PaddleNLP's cache {cache} "
        f"({', '.join(here[:8]) or 'empty'}); or download it on a machine with a network and copy {cache / name} from there"
    )
