"""The tasks behind ``Taskflow("domain_sentiment")`` and ``Taskflow("domain_embedding")``: thin adapters over the predictor."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from paddlenlp_embtune.errors import BundleError, expected_names
from paddlenlp_embtune.inference import Predictor, as_list
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.text import WindowSpec

__all__ = ["DomainEmbeddingTask", "DomainSentimentTask"]

_HOST_ARGUMENTS = frozenset({"task_class", "priority_path", "from_hf_hub", "device_id", "home_path", "task_flag"})


class DomainSentimentTask:
    """Labels texts with the labels of a domain.

    Args:
        model: name of a registered domain.
        task_path: folder of a bundle; None takes the bundle of the domain.
        engine: what runs it: ``onnxruntime``, ``paddle_inference`` or ``paddle``.
        precision: ``fp32``, or what the bundle was quantized to, such as ``int8``.
        device: ``cpu``, ``gpu``, or ``auto`` for a GPU where the engine has one.
        num_threads: processors to use; None takes all, at most 8.
        batch_size: the most texts that go through the engine together.
        windows: how long texts are read, for example ``{"overlap_tokens": 32, "aggregate": "mean"}``; False cuts
            them; None follows the bundle.
        abstain_below: answers with a lower score are marked as abstained; one probability, or one by label; None takes the
            thresholds of the bundle.
        scores: also return the probability of every label, and of ordered labels the expected level.
        explain: also return, under ``explanation``, which characters speak for the label and which against it.
    Raises:
        BundleError: there is no bundle, or it is damaged.
        TypeError: there is no such argument.
    """

    def __init__(
        self,
        *,
        task: str,
        model: str,
        task_path: str | None = None,
        engine: str = "onnxruntime",
        precision: str = "fp32",
        device: str = "auto",
        num_threads: int | None = None,
        batch_size: int = 64,
        windows: WindowSpec | Mapping[str, Any] | bool | None = None,
        abstain_below: float | Mapping[str, float] | None = None,
        scores: bool = False,
        explain: bool = False,
        **kwargs: Any,
    ) -> None:
        _check_arguments(self, task, kwargs)
        self.task = task
        self.model = model
        self._task_path = task_path or _default_bundle(model)
        self._scores = scores
        self._explain = explain
        self.predictor = Predictor(
            self._task_path,
            engine=engine,
            precision=precision,
            device=device,
            num_threads=num_threads,
            batch_size=batch_size,
            windows=windows,
            abstain_below=abstain_below,
        )

    def __call__(self, inputs: Sequence[Any], **kwargs: Any) -> list[dict[str, Any]]:
        """Label texts: one text, several, or a list of them; one result for each, in order."""
        scores, explain = bool(kwargs.pop("scores", self._scores)), bool(kwargs.pop("explain", self._explain))
        if kwargs:
            raise TypeError(f"the task has no argument {next(iter(kwargs))!r} when called; expected explain or scores")
        texts = _flattened(inputs)
        answers = self.predictor.predict(texts, scores=scores)
        if explain:
            for answer, explanation in zip(answers, self.predictor.explain_answers(answers), strict=True):
                answer["explanation"] = explanation.to_dict()
        return answers

    def help(self) -> None:
        """Print how to use the task."""
        print(inspect.cleandoc(type(self).__doc__ or ""))


class DomainEmbeddingTask:
    """Turns texts into sentence vectors of length 1, whose products are cosines.

    Args:
        model: name of a registered domain.
        task_path: folder of a bundle; None takes the bundle of the domain.
        engine: what runs it: ``onnxruntime``, ``paddle_inference`` or ``paddle``.
        precision: ``fp32``, or what the bundle was quantized to, such as ``int8``.
        device: ``cpu``, ``gpu``, or ``auto`` for a GPU where the engine has one.
        num_threads: processors to use; None takes all, at most 8.
        batch_size: the most texts that go through the engine together.
        windows: how long texts are read; False cuts them; None follows the bundle.
        dimensions: keep the first so many values of a vector, scaled to length 1 again; None keeps all.
    Raises:
        BundleError: there is no bundle, it is damaged, or its programs give no vectors.
        TypeError: there is no such argument.
    """

    def __init__(
        self,
        *,
        task: str,
        model: str,
        task_path: str | None = None,
        engine: str = "onnxruntime",
        precision: str = "fp32",
        device: str = "auto",
        num_threads: int | None = None,
        batch_size: int = 64,
        windows: WindowSpec | Mapping[str, Any] | bool | None = None,
        dimensions: int | None = None,
        **kwargs: Any,
    ) -> None:
        _check_arguments(self, task, kwargs)
        self.task = task
        self.model = model
        self._dimensions = dimensions
        self.predictor = Predictor(
            task_path or _default_bundle(model),
            engine=engine,
            precision=precision,
            device=device,
            num_threads=num_threads,
            batch_size=batch_size,
            windows=windows,
        )
        self.predictor.embed([], dimensions=dimensions)  # refuses a bundle without vectors before any text comes

    def __call__(self, inputs: Sequence[Any], **kwargs: Any) -> list[dict[str, Any]]:
        """Embed texts: one text, several, or a list of them; ``text`` and ``vector``, (d,) float32, for each, in order."""
        dimensions = kwargs.pop("dimensions", self._dimensions)
        if kwargs:
            raise TypeError(f"the task has no argument {next(iter(kwargs))!r} when called; expected dimensions")
        texts = _flattened(inputs)
        vectors = self.predictor.embed(texts, dimensions=dimensions)
        return [{"text": text, "vector": vector} for text, vector in zip(texts, vectors, strict=True)]

    def help(self) -> None:
        """Print how to use the task."""
        print(inspect.cleandoc(type(self).__doc__ or ""))


def _check_arguments(task_object: Any, task: str, others: Mapping[str, Any]) -> None:
    own = [name for name in inspect.signature(type(task_object)).parameters if name != "kwargs"]
    for name in others:
        if name not in _HOST_ARGUMENTS:
            raise TypeError(f"Taskflow({task!r}) has no argument {name!r}; {expected_names(name, own)}")


def _flattened(inputs: Sequence[Any]) -> list[Any]:
    texts: list[Any] = []
    for item in inputs:
        one = isinstance(item, (str, bytes)) or not isinstance(item, Iterable)  # the predictor reports what is not a text
        texts.append(item) if one else texts.extend(as_list(item))
    return texts


def _default_bundle(name: str) -> str:
    domain = registry.current().get("domain", name)
    if domain.bundle is None:
        raise BundleError(
            f"the domain {name!r} comes without a bundle; train one and pass task_path=..., for example with: "
            f"embtune train --domain {name} --data train.tsv --out runs/{name}"
        )
    return str(domain.bundle)
