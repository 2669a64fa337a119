"""What broken dependencies lost, supplied as soon as they are imported."""

from __future__ import annotations

import functools
import types
from typing import Any

from paddlenlp_embtune.compat.host import HOSTS, PADDLEFORMERS
from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.utils.import_hooks import after_import

__all__ = [
    "install_shims",
]


def install_shims() -> None:
    """Supply what broken dependencies lost, as soon as they are imported.

    aistudio-sdk 0.3 dropped ``aistudio_sdk.hub.download``, which ``import paddlenlp`` needs; paddleocr needs 0.3. VisualDL
    writes true and false as whole numbers, which protobuf no longer takes: a Trainer that reports there would end before its
    first step. PaddleFormers' Trainer waits for a device where there is none.
    """
    after_import("aistudio_sdk.hub", _restore_aistudio_download)
    after_import("visualdl.writer.writer", _plain_hparams)
    after_import(f"{HOSTS[PADDLEFORMERS]}.trainer", _fix_synchronize)


def _fix_synchronize(module: types.ModuleType) -> None:
    from paddlenlp_embtune.compat._paddleformers import fix_synchronize

    fix_synchronize(module)


def _plain_hparams(module: types.ModuleType) -> None:
    """Let ``LogWriter.add_hparams`` take booleans, as the whole numbers that it has written for them so far."""
    add = module.LogWriter.add_hparams
    if hasattr(add, "embtune_shim"):
        return

    @functools.wraps(add)
    def add_hparams(self: Any, hparams_dict: Any, *arguments: Any, **options: Any) -> Any:
        if type(hparams_dict) is dict:
            hparams_dict = {name: int(value) if isinstance(value, bool) else value for name, value in hparams_dict.items()}
        return add(self, hparams_dict, *arguments, **options)

    add_hparams.embtune_shim = True  # type: ignore[attr-defined]
    module.LogWriter.add_hparams = add_hparams


def _restore_aistudio_download(module: types.ModuleType) -> None:
    if hasattr(module, "download"):
        return

    def download(*_args: Any, **_kwargs: Any) -> Any:
        raise HostError(
            "downloading from AI Studio is not possible: the installed aistudio-sdk has no hub.download; "
            "install 'aistudio-sdk<0.3', or give the path of a local folder"
        )

    download.embtune_shim = True  # type: ignore[attr-defined]
    module.download = download  # type: ignore[attr-defined]
