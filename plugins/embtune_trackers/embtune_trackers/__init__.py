"""The trackers ``mlflow`` and ``swanlab`` for a recipe's ``report_to``.

Nothing here loads MLflow or SwanLab: they are imported when a recipe asks for them.
"""

from __future__ import annotations

import paddlenlp_embtune as embtune

__all__ = ["embtune_register_trackers"]


@embtune.hookimpl
def embtune_register_trackers() -> dict[str, embtune.Lazy]:
    """Both trackers, each loaded when it is first used."""
    return {
        "mlflow": embtune.Lazy("embtune_trackers.mlflow_tracker:MlflowTracker"),
        "swanlab": embtune.Lazy("embtune_trackers.swanlab_tracker:SwanlabTracker"),
    }
