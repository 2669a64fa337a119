"""A bundle inside somebody else's pipeline: a class for Ray Data, a function for Spark's data frames."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from paddlenlp_embtune.errors import HostError, MissingDependencyError
from paddlenlp_embtune.inference import Predictor, refuse_several_labels
from paddlenlp_embtune.scoring.packed_bundle import PackedBundle

__all__ = ["RayScorer", "spark_udf"]


class RayScorer:
    """Labels batches of a Ray data set: ``ds.map_batches(RayScorer, fn_constructor_kwargs={"bundle": packed}, ...)``.

    Leave one processor free: Ray Data waits for ever when its actors take every one. Rows come in any order, so carry an id.

    Args:
        bundle: ``PackedBundle.of(folder)``, which Ray ships, or a folder that all machines have.
        text_column: of the batches.
        options: of ``Predictor``; one thread by default.
    Raises:
        BundleError: the bundle is damaged, or another one on this machine.
        DataError: it gives a text several labels.
    """

    def __init__(self, bundle: str | PackedBundle, *, text_column: str = "text", **options: Any) -> None:
        opened = bundle.open() if isinstance(bundle, PackedBundle) else bundle
        self._predictor = Predictor(opened, **{"num_threads": 1, **options})
        refuse_several_labels(self._predictor.bundle.manifest, "RayScorer")
        self._text_column = text_column

    def __call__(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Return the columns of a batch, and ``predicted_label`` ("" for no label) and ``predicted_score`` beside them."""
        answers = self._predictor.predict(["" if text is None else text for text in batch[self._text_column]])
        labels = [_label(answer) for answer in answers]
        scores = np.array([answer["score"] for answer in answers], dtype=np.float64)
        return {**batch, "predicted_label": np.array(labels, dtype=object), "predicted_score": scores}


def spark_udf(bundle: str | Path | PackedBundle, **options: Any) -> Any:
    """Return a function of a column of texts for Spark.

    ``frame.withColumn("answer", spark_udf(folder)("text"))`` gives a struct of ``label``, null where the model abstains or the
    text is blank, and ``score``. The active session ships the bundle once to each machine, whose workers check its hash and use
    one thread each.

    Args:
        bundle: its folder, or packed.
        options: of ``Predictor``; one thread by default.
    Raises:
        BundleError: the bundle is damaged.
        DataError: it gives a text several labels.
        HostError: there is no active session.
        MissingDependencyError: pyspark, pandas or pyarrow is not installed.
    """
    try:
        functions, sessions = importlib.import_module("pyspark.sql.functions"), importlib.import_module("pyspark.sql")
        pandas = importlib.import_module("pandas")
        importlib.import_module("pyarrow")
    except ModuleNotFoundError as fault:
        raise MissingDependencyError(
            f'spark_udf needs {fault.name}; install it with: pip install "paddlenlp-embtune[spark]"'
        ) from None
    session = sessions.SparkSession.getActiveSession()
    if session is None:
        raise HostError("there is no active Spark session; make one first, with SparkSession.builder.getOrCreate()")
    packed = bundle if isinstance(bundle, PackedBundle) else PackedBundle.of(bundle)
    refuse_several_labels(packed.open().manifest, "spark_udf")
    shared = session.sparkContext.broadcast(packed)

    def answer(columns: Iterator[Any]) -> Iterator[Any]:
        predictor = Predictor(shared.value.open(), **{"num_threads": 1, **options})
        for texts in columns:
            answers = predictor.predict(["" if text is None else text for text in texts])
            labels = [_label(each) or None for each in answers]
            yield pandas.DataFrame({"label": labels, "score": [float(each["score"]) for each in answers]})

    iterator: Any = Iterator  # pandas_udf reads the kinds at run time
    answer.__annotations__ = {"columns": iterator[pandas.Series], "return": iterator[pandas.DataFrame]}
    return functions.pandas_udf(answer, "label string, score double")


def _label(answer: Mapping[str, Any]) -> str:
    return "" if answer.get("abstained") or answer["label"] is None else str(answer["label"])
