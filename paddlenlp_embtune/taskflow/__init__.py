"""``Taskflow("domain_sentiment")`` and ``Taskflow("domain_embedding")``: entries in PaddleNLP's table of tasks.

Importing this loads no Paddle.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from paddlenlp_embtune.plugin import registry

__all__ = ["EMBEDDING_TASK", "TASK", "register"]

TASK, EMBEDDING_TASK = "domain_sentiment", "domain_embedding"
_DEFAULT = "finance"


def register(taskflow_module: Any) -> None:
    """Put the tasks into the ``TASKS`` of ``paddlenlp.taskflow.taskflow``."""
    for task, name in ((TASK, "DomainSentimentTask"), (EMBEDDING_TASK, "DomainEmbeddingTask")):
        taskflow_module.TASKS[task] = {"models": _Models(name), "default": {"model": _DEFAULT}}


class _Models(dict[str, Any]):
    """One entry for every registered domain, looked up when PaddleNLP asks, so that importing us loads no plugins.

    An entry holds the task class only: anything else in it would override what the user passes.

    Args:
        class_name: of the task, in ``paddlenlp_embtune.taskflow.task``.
    """

    def __init__(self, class_name: str) -> None:
        super().__init__()
        self._class_name = class_name

    def keys(self) -> Any:
        return dict.fromkeys(self).keys()

    def __iter__(self) -> Iterator[str]:
        return iter(registry.current().names("domain"))

    def __len__(self) -> int:
        return len(registry.current().names("domain"))

    def __contains__(self, name: object) -> bool:
        return name in registry.current().names("domain")

    def __getitem__(self, name: str) -> dict[str, Any]:
        registry.current().get("domain", name)
        from paddlenlp_embtune.taskflow import task

        return {"task_class": getattr(task, self._class_name)}
