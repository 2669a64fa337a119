"""Texts with labels, found by their sentence vectors: evidence beside an answer, and labels that come and go."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.inference.inputs import as_list, whole_number
from paddlenlp_embtune.inference.predictor import Predictor
from paddlenlp_embtune.inference.vector_index import VectorIndex
from paddlenlp_embtune.utils.files.atomic_io import replace_folder, write_text
from paddlenlp_embtune.utils.json_yaml import parse_json, read_bounded, read_json
from paddlenlp_embtune.utils.safetensors_io import SafetensorsFile, write_safetensors_file

__all__ = ["TextIndex"]

_ABOUT, _ROWS, _VECTORS = "index.json", "rows.jsonl", "vectors.safetensors"
_TEMPERATURE = 0.05
_MOST_BYTES = 1 << 31

Floats = npt.NDArray[np.float32]


class TextIndex:
    """Texts that others are compared with, by the vectors of one bundle.

    It answers with what lies nearest, and with a label by the nearest: labels are added and taken away without any training,
    and a text that lies far from all of them gets none.

    Args:
        predictor: embeds the texts; its programs give vectors.
        texts: N texts with a visible character.
        labels: of the texts; None where there are none.
        dimensions: kept of each vector; None keeps all.
    Raises:
        DataError: there are no texts, a text is blank, or there are not as many labels.
        BundleError: the bundle gives no vectors.
    """

    def __init__(
        self,
        predictor: Predictor,
        texts: Sequence[str],
        labels: Sequence[str] | None = None,
        *,
        dimensions: int | None = None,
    ) -> None:
        self._predictor, self._dimensions = predictor, dimensions
        self._set(*self._embedded(texts, labels))

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def labels_there(self) -> tuple[str, ...]:
        """The labels that rows have, in the order in which they came."""
        return tuple(label for label in dict.fromkeys(self.labels) if label is not None)

    def add(self, texts: Sequence[str], labels: Sequence[str] | None = None) -> None:
        """Add rows, of new labels perhaps.

        Raises:
            DataError: as at the beginning.
        """
        more, owners, vectors = self._embedded(texts, labels)
        self._set([*self.texts, *more], [*self.labels, *owners], np.concatenate([self._index.vectors, vectors]))

    def remove_label(self, label: str) -> int:
        """Take all rows of a label away; return how many.

        Raises:
            DataError: there are none, or there are no others.
        """
        kept = [row for row, own in enumerate(self.labels) if own != label]
        if len(kept) in (0, len(self)):
            raise DataError(
                f"the index has {len(self) - len(kept)} of {len(self)} rows of the label {label!r}; expected some, and some of "
                f"others; its labels are {', '.join(self.labels_there)}"
            )
        gone = len(self) - len(kept)
        self._set([self.texts[row] for row in kept], [self.labels[row] for row in kept], self._index.vectors[kept])
        return gone

    def neighbours(self, texts: Sequence[str], *, k: int = 5) -> list[list[dict[str, Any]]]:
        """Return the ``k`` nearest rows of each text, the nearest first: ``row``, ``text``, ``label`` and ``cosine``.

        A text without a visible character has none.
        """
        texts = as_list(texts)
        cosines, rows = self._index.search(self._predictor.embed(texts, dimensions=self._dimensions), whole_number(k, "k"))
        blank = [not any(ids) for ids in self._first_ids(texts)]
        return [
            []
            if nothing
            else [
                {"row": row, "text": self.texts[row], "label": self.labels[row], "cosine": cosine}
                for row, cosine in zip(found, near, strict=True)
            ]
            for found, near, nothing in zip(rows.tolist(), cosines.tolist(), blank, strict=True)
        ]

    def classify(self, texts: Sequence[str], *, k: int = 10, abstain_below: float | None = None) -> list[dict[str, Any]]:
        """Label texts by their nearest rows, each of which counts by exp(cosine / 0.05).

        Args:
            texts: any number, blanks included.
            k: rows that are looked at.
            abstain_below: a text whose nearest row has a lower cosine is marked as abstained; see :meth:`usual_cosine`.
        Returns:
            For each text ``text``, ``label``, ``score`` (the label's share of the votes), ``neighbours``, and ``abstained``
            where a bound is given. A text without a visible character has the label None and the score 0.0.
        Raises:
            DataError: the rows of the index have no labels.
        Source:
            Khandelwal et al. 2020, "Generalization through Memorization", equation 2, with cosines
        """
        if not self.labels_there:
            raise DataError("the rows of this index have no labels, so none can be given; make it with labels")
        texts = as_list(texts)
        answers = []
        for text, near in zip(texts, self.neighbours(texts, k=k), strict=True):
            label, score = _vote([each for each in near if each["label"] is not None])
            answer = {"text": text, "label": label, "score": score, "neighbours": near}
            if abstain_below is not None:
                answer["abstained"] = not near or near[0]["cosine"] < abstain_below
            answers.append(answer)
        return answers

    def usual_cosine(self, *, share: float = 0.95) -> float:
        """Return the cosine to the nearest other row that this share of the rows reaches: a bound to abstain below.

        Raises:
            DataError: there is one row, or ``share`` is not above 0 and below 1.
        """
        if len(self) < 2 or not 0 < share < 1:
            raise DataError(f"a usual cosine of {len(self)} rows and the share {share} needs two rows, and a share of 0 to 1")
        nearest = self._index.search(self._index.vectors, 2)[0][:, 1]
        return float(np.quantile(nearest, 1.0 - share))

    def save(self, folder: str | Path) -> None:
        """Write rows and vectors into a folder, which then holds the texts themselves; an older index there is replaced.

        Raises:
            BundleError: something else is in the folder.
        """
        there = Path(folder)
        if there.is_dir() and any(there.iterdir()) and not (there / _ABOUT).is_file():
            raise BundleError(f"{there} holds something else than an index, which would be lost; give another folder")
        about = {"bundle": self._predictor.bundle.fingerprint, "dimensions": self._dimensions, "rows": len(self)}
        lines = [json.dumps({"text": text, "label": label}) + "\n" for text, label in zip(self.texts, self.labels, strict=True)]
        with replace_folder(there) as place:
            write_text(place / _ABOUT, json.dumps(about, indent=1) + "\n")
            write_text(place / _ROWS, "".join(lines))
            write_safetensors_file(place / _VECTORS, {"vectors": self._index.vectors})

    @classmethod
    def load(cls, folder: str | Path, predictor: Predictor) -> TextIndex:
        """Read an index again, with the bundle that it was made with.

        Raises:
            BundleError: it was made with another bundle, or a file is missing or damaged.
        """
        place = Path(folder)
        if not (place / _ABOUT).is_file():
            raise BundleError(f"{place} is no index: it has no {_ABOUT}; give the folder that TextIndex.save wrote")
        about: Mapping[str, Any] = read_json(place / _ABOUT, error=BundleError)
        ours = predictor.bundle.fingerprint
        if about.get("bundle") != ours:
            raise BundleError(
                f"the index {place} was made with the bundle {str(about.get('bundle'))[:12]}..., and this is {ours[:12]}...; "
                "vectors of two models cannot be compared; make the index again from its texts, or open the other bundle"
            )
        lines = read_bounded(place / _ROWS, error=BundleError, max_bytes=_MOST_BYTES).splitlines()
        rows = [parse_json(line, f"{place / _ROWS}", error=BundleError) for line in lines]
        vectors = SafetensorsFile(place / _VECTORS, error=BundleError).read_all().get("vectors")
        if vectors is None or not len(vectors) == len(rows) == about.get("rows"):
            raise BundleError(f"the files of the index {place} do not fit together; make it again from its texts")
        made = cls.__new__(cls)
        made._predictor, made._dimensions = predictor, about.get("dimensions")
        made._set([row["text"] for row in rows], [row["label"] for row in rows], np.asarray(vectors, dtype=np.float32))
        return made

    def _set(self, texts: Sequence[str], labels: Sequence[str | None], vectors: Floats) -> None:
        self.texts, self.labels = list(texts), list(labels)
        self._index = VectorIndex(vectors)

    def _embedded(
        self, texts: Sequence[str], labels: Sequence[str] | None
    ) -> tuple[Sequence[str], Sequence[str | None], Floats]:
        texts = as_list(texts)
        found: Sequence[str | None] = [None] * len(texts) if labels is None else as_list(labels)
        if not len(texts) or len(found) != len(texts):
            raise DataError(f"an index needs one text or more, and a label for each; got {len(texts)} and {len(found)}")
        vectors = self._predictor.embed(texts, dimensions=self._dimensions)
        blank = np.flatnonzero(~vectors.any(axis=1)).tolist()
        if blank:
            raise DataError(
                f"{len(blank)} texts of the index have no vector, number {blank[0]} first; expected visible characters; "
                "leave them out"
            )
        return texts, found, vectors

    def _first_ids(self, texts: Sequence[str]) -> list[Sequence[int]]:
        tokenized = self._predictor._tokenize(texts)
        return [tokenized.ids[first] for first in tokenized.first[:-1].tolist()]


def _vote(near: Sequence[Mapping[str, Any]]) -> tuple[str | None, float]:
    if not near:
        return None, 0.0
    weights = np.exp((np.array([each["cosine"] for each in near]) - near[0]["cosine"]) / _TEMPERATURE)
    votes: dict[str, float] = {}
    for each, weight in zip(near, weights.tolist(), strict=True):
        votes[each["label"]] = votes.get(each["label"], 0.0) + weight
    best = max(votes, key=votes.__getitem__)
    return best, votes[best] / sum(votes.values())
