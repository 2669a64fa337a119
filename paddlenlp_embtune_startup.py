"""Runs when Python starts, from ``paddlenlp_embtune.pth``: lets ``import paddlenlp`` work above ``import paddlenlp_embtune``.

PaddleNLP needs ``aistudio_sdk.hub.download``, which aistudio-sdk 0.3 no longer has, and paddleocr needs aistudio-sdk 0.3.
Import sorters put ``paddlenlp`` above ``paddlenlp_embtune``, whose shim then comes too late. So a finder waits for
``aistudio_sdk.hub`` and does nothing else: no file is read, and nothing is imported before that module is.
"""

import sys


class _Waiting:
    """Loads the shims of paddlenlp_embtune when ``aistudio_sdk.hub`` is first looked for."""

    @staticmethod
    def find_spec(name, path=None, target=None):  # type: ignore[no-untyped-def]
        if name != "aistudio_sdk.hub":
            return None
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not _Waiting]
        try:
            from paddlenlp_embtune.utils.import_hooks import find_spec

            return find_spec(name, path, target)
        except Exception:  # the import of another package must not fail for our sake
            return None


sys.meta_path.insert(0, _Waiting)  # type: ignore[arg-type]
