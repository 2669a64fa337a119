"""What a worker does with a partition: score its texts with one thread, and write its rows with their answers."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data import LABEL_COLUMN, answer_columns, parquet_batches, write_answers
from paddlenlp_embtune.inference import Predictor
from paddlenlp_embtune.scoring.packed_bundle import PackedBundle
from paddlenlp_embtune.scoring.partitions import Partition
from paddlenlp_embtune.text import is_blank
from paddlenlp_embtune.utils.files.atomic_io import replace_file
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions

__all__ = ["Task", "score_partition"]

_BATCH_TEXTS = 4096


@dataclasses.dataclass(frozen=True)
class Task:
    """What is the same for all partitions of a job.

    Args:
        bundle: scores the texts.
        predictor: options of ``Predictor``, as pairs.
        out: folder of the partitions' files.
        format: of these files, one of ``ANSWER_FORMATS``.
        text_column: column or key of the text.
        options: how files are read.
        scores: also write the probability of every label.
    """

    bundle: PackedBundle
    predictor: tuple[tuple[str, Any], ...]
    out: Path
    format: str
    text_column: str
    options: ReadOptions
    scores: bool

    def target(self, partition: Partition) -> Path:
        """The file of a partition's answers."""
        ending = {"doccano": "jsonl", "label-studio": "json"}.get(self.format, self.format)
        return self.out / f"part-{partition.number:05d}.{ending}"


def score_partition(task: Task, partition: Partition) -> dict[str, Any]:
    """Score a partition and write its file; return its record: rows, blank texts, cut texts, seconds.

    Raises:
        DataError: a row cannot be read or written.
        BundleError: the worker has another bundle.
    """
    started = time.monotonic()
    # The bundle's content is large to hash: what stands for it is its fingerprint.
    key = dataclasses.replace(task.bundle, content=None)
    predictor = _predictors.get((key, task.predictor))
    if predictor is None:
        _predictors.clear()
        predictor = _predictors[key, task.predictor] = Predictor(task.bundle.open(), num_threads=1, **dict(task.predictor))
    counts = {"rows": 0, "blank": 0, "cut": 0}
    if partition.rows is None and task.format == "parquet":
        _copy_table(task, partition, functools.partial(_answers, predictor, counts=counts, scores=task.scores))
    else:
        rows = iter(partition.rows) if partition.rows is not None else _read(task, partition)
        pairs = _scored(predictor, rows, counts=counts, scores=task.scores)
        write_answers(task.target(partition), pairs, format=task.format, model=predictor.bundle.path.name)
    return {
        "number": partition.number,
        "file": str(partition.file),
        "start": partition.start,
        **counts,
        "seconds": round(time.monotonic() - started, 3),
    }


_predictors: dict[tuple[PackedBundle, tuple[tuple[str, Any], ...]], Predictor] = {}
"""The predictor of this worker: a process of Ray or Spark serves many partitions, of several jobs one after the other."""


def _batches(task: Task, partition: Partition) -> Iterator[tuple[Any, list[str]]]:
    return parquet_batches(
        partition.file, text_column=task.text_column, start=partition.start, count=partition.count, rows=_BATCH_TEXTS
    )


def _read(task: Task, partition: Partition) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for batch, texts in _batches(task, partition):
        yield from zip(texts, batch.to_pylist(), strict=True)


def _answers(predictor: Predictor, texts: list[str], *, counts: dict[str, int], scores: bool) -> list[dict[str, Any]]:
    answers = predictor.predict(texts, scores=scores)
    counts["rows"] += len(answers)
    counts["blank"] += sum(map(is_blank, texts))
    counts["cut"] += sum("cut" in answer for answer in answers)
    return answers


def _scored(
    predictor: Predictor, rows: Iterator[tuple[str, Mapping[str, Any]]], *, counts: dict[str, int], scores: bool
) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    held: list[tuple[str, Mapping[str, Any]]] = []
    for each in rows:
        held.append(each)
        if len(held) == _BATCH_TEXTS:
            answers = _answers(predictor, [text for text, _ in held], counts=counts, scores=scores)
            yield from zip((row for _, row in held), answers, strict=True)
            held = []
    answers = _answers(predictor, [text for text, _ in held], counts=counts, scores=scores)
    yield from zip((row for _, row in held), answers, strict=True)


def _arrow_kind(arrow: Any, name: str, values: list[Any]) -> Any:
    """Return the type of a column of answers: of a list that is empty too, which pyarrow could not tell."""
    kind = arrow.string() if name in (LABEL_COLUMN, f"{LABEL_COLUMN}s") else arrow.float64()
    return arrow.list_(kind) if isinstance(values[0], list) else kind


def _copy_table(task: Task, partition: Partition, answers_of: Any) -> None:
    """Copy columns of Parquet as they are, and put those of the answers beside them."""
    arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    writer: Any = None
    with replace_file(task.target(partition)) as file:
        for batch, texts in _batches(task, partition):
            table = arrow.Table.from_batches([batch])
            for name, values in answer_columns(answers_of(texts), taken=table.column_names).items():
                table = table.append_column(name, arrow.array(values, _arrow_kind(arrow, name, values)))
            if writer is None:
                writer = parquet.ParquetWriter(file, table.schema)
            writer.write_table(table)
        if writer is not None:
            writer.close()
