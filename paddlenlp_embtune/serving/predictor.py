"""The predictor: texts in, labels out, in the order they came."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import registry
from paddlenlp_embtune.errors import DataError, legal_names
from paddlenlp_embtune.serving.bundle import Bundle
from paddlenlp_embtune.serving.engines import Engine
from paddlenlp_embtune.serving.explain import Attribution, Explanation, locate, occlude
from paddlenlp_embtune.text import pad

__all__ = ["Predictor", "softmax"]


class Predictor:
    """Serves one bundle.

    Args:
        bundle: folder of a bundle, or an opened one.
        engine: a registered engine: ``onnxruntime``, ``paddle_inference`` or ``paddle``.
        threads: threads of one run; None leaves it to the engine.
        batch_size: texts of similar length that go through the engine together, 1 or more.
    Raises:
        BundleError: the bundle is damaged, or has no files for the engine.
        PluginError: no engine has that name.
        MissingDependencyError: the engine's package is not installed.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        *,
        engine: str = "onnxruntime",
        threads: int | None = None,
        batch_size: int = 64,
    ) -> None:
        if batch_size < 1:
            raise DataError(f"batch_size is {batch_size}; legal: 1 or more")
        factory = registry.current().get("engine", engine)
        self.bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
        self.engine_name = engine
        self.batch_size = batch_size
        self.engine: Engine = factory(self.bundle, threads=threads)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in order."""
        return self.bundle.manifest.labels

    def predict(self, texts: Sequence[str], *, scores: bool = False) -> list[dict[str, Any]]:
        """Label texts.

        Args:
            texts: any number of texts, blanks included.
            scores: also return the probability of every label.
        Returns:
            For each text, in order, ``text`` as given, ``label``, ``score`` (the label's probability) and, if asked for,
            ``scores`` by label. A text without a visible character gets ``label`` None and ``score`` 0.0.
        Raises:
            TypeError: something is not a text; the message gives its index.
        """
        encoded = self._encode(texts)
        results = []
        for text, ids, row in zip(texts, encoded, self._run(encoded), strict=True):
            blank = not ids
            best = int(row.argmax())
            result: dict[str, Any] = {
                "text": text,
                "label": None if blank else self.labels[best],
                "score": 0.0 if blank else float(row[best]),
            }
            if scores:
                values = [0.0] * len(row) if blank else row.tolist()
                result["scores"] = dict(zip(self.labels, values, strict=True))
            results.append(result)
        return results

    def explain(self, texts: Sequence[str], *, label: str | None = None, method: str | None = None) -> list[Explanation]:
        """Tell which characters of texts speak for a label, and which against it.

        Args:
            texts: any number of texts, blanks included.
            label: the label to explain; None takes the one that each text gets.
            method: ``occlusion``, or ``integrated_gradients`` with an engine that can; None takes the engine's best.
        Returns:
            For each text, in order, its contributions; a text without a visible character has none, and the label None.
        Raises:
            TypeError: something is not a text; the message gives its index.
            DataError: the bundle has no such label, or the engine no such method.
        """
        if label is not None and label not in self.labels:
            raise DataError(f"the bundle {self.bundle.path} has no label {label!r}; {legal_names(label, self.labels)}")
        methods = {"occlusion": partial(occlude, self.engine.run)}
        if hasattr(self.engine, "attribute"):
            methods["integrated_gradients"] = self.engine.attribute
        if method is None:
            method = next(reversed(methods))
        elif method not in methods:
            raise DataError(f"the engine {self.engine_name!r} does not explain by {method!r}; {legal_names(method, methods)}")
        answers = zip(self.predict(texts, scores=True), self._encode(texts), strict=True)
        return [self._explain(answer, ids, label or answer["label"], method, methods[method]) for answer, ids in answers]

    def _explain(
        self, answer: dict[str, Any], ids: list[int], label: str | None, method: str, attribute: Callable[..., Attribution]
    ) -> Explanation:
        if label is None or not ids:
            return Explanation(answer["text"], None, 0.0, (), (), Attribution(method, np.zeros(0, dtype=np.float32), 0.0))
        manifest, tokenizer = self.bundle.manifest, self.bundle.tokenizer
        tokens = tokenizer.tokens(answer["text"])
        lowercase = bool(tokenizer.config().get("lowercase", True))
        offsets = locate(answer["text"], lowercase=lowercase, limit=len(ids))
        return Explanation(
            text=answer["text"],
            label=label,
            score=answer["scores"][label],
            tokens=tuple(tokens[: len(ids)]),
            offsets=tuple(offsets),
            attribution=attribute(ids, label=self.labels.index(label), temperature=manifest.temperature),
            cut_at=offsets[-1][1] if len(tokens) > len(ids) else None,
        )

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return the probability of every label for every text.

        Shapes:
            returns: (N, C) float32, rows in the order of ``texts``
        Raises:
            TypeError: something is not a text; the message gives its index.
        """
        return self._run(self._encode(texts))

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        _check_texts(texts)
        length = self.bundle.manifest.max_length
        return [self.bundle.tokenizer.encode(text, max_length=length) for text in texts]

    def _run(self, encoded: Sequence[list[int]]) -> npt.NDArray[np.float32]:
        order = sorted(range(len(encoded)), key=lambda index: len(encoded[index]))
        result = np.zeros((len(encoded), len(self.labels)), dtype=np.float32)
        for start in range(0, len(order), self.batch_size):
            chosen = order[start : start + self.batch_size]
            logits = self.engine.run(pad([encoded[index] for index in chosen]))
            result[chosen] = softmax(logits / self.bundle.manifest.temperature)
        return result


def softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Turn logits into probabilities along the last axis.

    Shapes:
        logits: (B, C) float32; returns: (B, C) float32
    """
    exponents = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: npt.NDArray[np.float32] = exponents / exponents.sum(axis=-1, keepdims=True)
    return probabilities


def _check_texts(texts: Sequence[str]) -> None:
    if isinstance(texts, str):
        raise TypeError("texts is one text; give a list of texts, [text]")
    for index, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"text number {index} is {text!r} of type {type(text).__name__}; legal: str")
