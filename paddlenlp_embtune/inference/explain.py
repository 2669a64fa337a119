"""Why a text got its label: what each of its tokens adds to the log-odds of the label."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import DataError

__all__ = ["Attribution", "Explanation", "explain_answer", "given_labels"]


@dataclasses.dataclass(frozen=True, eq=False)
class Attribution:
    """What the tokens of one text add to the log-odds of one label, in natural logarithms.

    Args:
        method: ``occlusion``, ``integrated_gradients``, or what an engine of a plugin calls its own.
        contributions: of each token, (T,) float32.
        difference: log-odds of the text less those of padding alone.
    """

    method: str
    contributions: npt.NDArray[np.float32]
    difference: float

    @property
    def residual(self) -> float:
        """Sum of the contributions less ``difference``: what they leave unexplained."""
        return float(self.contributions.sum(dtype=np.float64)) - self.difference


@dataclasses.dataclass(frozen=True, eq=False)
class Explanation:
    """Which tokens of a text speak for a label, and which against it.

    Contributions are log-odds of the label against all others, ln(p / (1 - p)): +0.7 doubles the odds, -0.7 halves them.
    Unlike probabilities they can be added, and do not fade where the model is sure.

    Args:
        text: as given.
        label: the label that is explained, with its probability ``score``; None for a text without a visible character.
        tokens: the T tokens that the model read.
        offsets: start and end of each of them in ``text``; the same for all tokens of one character.
        attribution: the contributions, their method, and what they leave unexplained.
        cut_at: where in ``text`` the model stopped reading; None if it read to the end.
        begun_at: where the explained window of a long text starts; None if that is the start of the text.
    """

    text: str
    label: str | None
    score: float
    tokens: tuple[str, ...]
    offsets: tuple[tuple[int, int], ...]
    attribution: Attribution
    cut_at: int | None = None
    begun_at: int | None = None

    def places(self) -> list[tuple[int, int, float]]:
        """Sum the contributions of tokens at the same place: (start, end, sum), in the order of the text."""
        sums: dict[tuple[int, int], float] = {}
        for place, value in zip(self.offsets, self.attribution.contributions.tolist(), strict=True):
            sums[place] = sums.get(place, 0.0) + value
        return [(start, end, value) for (start, end), value in sums.items()]

    def terms(self) -> list[tuple[int, int, float]]:
        """Join neighbouring letters, digits and Chinese characters of one sign: (start, end, sum), the strongest first.

        Places below a twentieth of the strongest one do not count, and terms below a quarter of it are left out.
        """
        most = max((abs(value) for _, _, value in self.places()), default=0.0)
        terms, joinable = [(0, 0, 0.0)], False
        for start, end, value in self.places():
            word = self.text[start:end].isalnum()
            if abs(value) <= most / 20 or self.text[start:end].isspace():
                joinable = False
            elif joinable and word and value * terms[-1][2] > 0:
                terms[-1] = (terms[-1][0], end, terms[-1][2] + value)
            else:
                terms.append((start, end, value))
                joinable = word
        return sorted((term for term in terms[1:] if abs(term[2]) >= most / 4), key=lambda term: -abs(term[2]))

    def to_dict(self) -> dict[str, object]:
        """Return everything but the text, ready for JSON."""
        return {
            "label": self.label,
            "score": self.score,
            "method": self.attribution.method,
            "unit": "log-odds",
            "tokens": list(self.tokens),
            "offsets": [list(place) for place in self.offsets],
            "contributions": self.attribution.contributions.tolist(),
            "difference": self.attribution.difference,
            "residual": self.attribution.residual,
            "begun_at": self.begun_at,
            "cut_at": self.cut_at,
            "terms": [{"text": self.text[i:j], "start": i, "end": j, "contribution": c} for i, j, c in self.terms()],
        }


def explain_answer(
    answer: Mapping[str, Any], *, label: str | None, method: str, attribute: Callable[..., Attribution], bundle: Bundle
) -> Explanation:
    """Explain one answer of a predictor; of a text that was read in windows, the decisive one.

    Args:
        answer: as :meth:`paddlenlp_embtune.inference.Predictor.predict` returns it.
        label: the label to explain; None takes the one that was given.
        method: name of ``attribute``.
        attribute: called as ``attribute(ids, label=, temperature=, fixed=)``.
        bundle: what answered.
    Raises:
        DataError: another label than the one given is to be explained, and the answer lacks its score.
    """
    text, manifest, tokenizer = answer["text"], bundle.manifest, bundle.tokenizer
    given = _named_labels(answer)
    label = label or next(iter(given), None)
    blank = answer["label"] is None if "label" in answer else not text.strip()
    if label is None or blank:
        return Explanation(text, None, 0.0, (), (), Attribution(method, np.zeros(0, dtype=np.float32), 0.0))
    window = answer.get("window", {"start": 0, "end": len(text)})
    part = text[window["start"] : window["end"]]
    ids = tokenizer.encode(part, max_length=manifest.max_length)
    own = len(ids) - len(tokenizer.prefix) - len(tokenizer.suffix)
    offsets = [(start + window["start"], end + window["start"]) for start, end in tokenizer.offsets(part, limit=own + 1)]
    return Explanation(
        text=text,
        label=label,
        score=_score_of(answer, label),
        tokens=tuple(tokenizer.tokens(part)[:own]),
        offsets=tuple(offsets[:own]),
        attribution=attribute(
            ids,
            label=manifest.labels.index(label),
            temperature=manifest.temperature,
            fixed=(len(tokenizer.prefix), len(tokenizer.suffix)),
        ),
        begun_at=window["start"] or None,
        cut_at=offsets[own - 1][1] if len(offsets) > own else window["end"] if window["end"] < len(text) else None,
    )


def given_labels(answer: Mapping[str, Any]) -> dict[str, float]:
    """Return the labels that an answer of a predictor gives, with their scores, the surest first; none where it abstains."""
    return {} if answer.get("abstained") else _named_labels(answer)


def _named_labels(answer: Mapping[str, Any]) -> dict[str, float]:
    """Return the labels of an answer with their scores, also of one that abstains."""
    if "labels" in answer:
        return {each["label"]: each["score"] for each in answer["labels"]}
    return {} if answer["label"] is None else {answer["label"]: answer["score"]}


def _score_of(answer: Mapping[str, Any], label: str) -> float:
    if label in (given := _named_labels(answer)):
        return float(given[label])
    if "scores" not in answer:
        raise DataError(
            f"the answer has no score of {label!r}, only of {', '.join(map(repr, given)) or 'none'}; to explain {label!r}, "
            "predict with scores=True"
        )
    return float(answer["scores"][label])
