"""``Taskflow("domain_sentiment")``: the entry in PaddleNLP's table of tasks. Importing this loads no Paddle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from paddlenlp_embtune.plugin import registry

__all__ = ["TASK", "register"]

TASK = "domain_sentiment"
_DEFAULT = "finance"


def register(taskflow_module: Any) -> None:
    """Put the task into the ``TASKS`` of ``paddlenlp.taskflow.taskflow``."""
    taskflow_module.TASKS[TASK] = {"models": _Models(), "default": {"model": _DEFAULT}}


class _Models(dict[str, Any]):
    """One entry for every registered domain, looked up when PaddleNLP asks, so that importing us loads no plugins.

    An entry holds the task class only: anything else in it would override what the user passes.
    """

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
        from paddlenlp_embtune.taskflow.task import DomainSentimentTask

        return {"task_class": DomainSentimentTask}
