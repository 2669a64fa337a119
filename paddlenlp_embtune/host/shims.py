"""What broken dependencies lost, supplied as soon as they are imported."""

from __future__ import annotations

import types
from typing import Any

from paddlenlp_embtune.errors import HostError
from paddlenlp_embtune.imports import after_import

__all__ = [
    "install_shims",
]


def install_shims() -> None:
    """Supply what broken dependencies lost, as soon as they are imported.

    aistudio-sdk 0.3 dropped ``aistudio_sdk.hub.download``, which ``import paddlenlp`` needs; paddleocr needs 0.3.
    """
    after_import("aistudio_sdk.hub", _restore_aistudio_download)


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
