"""A teacher, the texts that it is asked about, and its answers."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import time
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import Bundle, bundle_folder
from paddlenlp_embtune.config import DistillSpec
from paddlenlp_embtune.data import Examples, SoftTargets, UnlabelledTexts, read_unlabelled, recombine_texts
from paddlenlp_embtune.errors import BundleError, DataError, RecipeError
from paddlenlp_embtune.inference import BatchRunner, Engine, EngineOptions, probabilities_of, refuse_several_labels
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.text import chunk_texts, tokenize_texts
from paddlenlp_embtune.training._soft_targets import load_soft_targets, save_soft_targets
from paddlenlp_embtune.utils.run_layout import BUNDLE, TEACHER_ANSWERS
from paddlenlp_embtune.utils.text_files.read_options import ReadOptions

if TYPE_CHECKING:
    from paddlenlp_embtune.training._prepare import Prepared
    from paddlenlp_embtune.training.run_log import RunRecord

__all__ = [
    "Teaching",
    "check_student",
    "compute_teacher_logits",
    "prepare_teaching",
    "with_teacher_answers",
]

Floats = npt.NDArray[np.float32]
Progress = Callable[[int, int], object]

# The quickest first; "paddle" is in every bundle of ours.
_ENGINES = {"onnxruntime": "onnxruntime", "paddle_inference": "paddle", "paddle": "paddle"}
_BATCH = 64
_LEAST = 1e-30
"""A probability below it is taken for it, so that it has a logarithm."""


@dataclasses.dataclass(frozen=True, eq=False)
class Teaching:
    """A teacher and the texts to ask it about, known before it is asked.

    Args:
        spec: as the recipe has it.
        teacher: its bundle.
        engine: what runs it.
        columns: the teacher's number of each of the student's labels.
        unlabelled: further texts.
        texts: what the teacher is asked about: training rows, unlabelled texts, development rows, in this order.
        rows: how many of these are training rows, and how many development rows.
    """

    spec: DistillSpec
    teacher: Bundle
    engine: str
    columns: tuple[int, ...]
    unlabelled: UnlabelledTexts
    texts: tuple[str, ...]
    rows: tuple[int, int]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all that the teacher's answers depend on, but for the texts; 64 hexadecimal digits."""
        manifest = self.teacher.manifest
        windows = dataclasses.asdict(manifest.windows) if manifest.windows is not None else None
        parts = (dict(sorted(manifest.files.items())), self.columns, manifest.max_length, windows, self.engine)
        return hashlib.sha256(json.dumps(parts).encode("utf-8")).hexdigest()

    @cached_property
    def texts_fingerprint(self) -> str:
        """SHA-256 of the texts, 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for text in self.texts:
            digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
        return digest.hexdigest()

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint of the student must have been made with."""
        spec = {name: getattr(self.spec, name) for name in ("temperature", "alpha", "hidden")}
        return {**spec, "teacher": self.fingerprint, "texts": self.texts_fingerprint, "rows": list(self.rows)}

    def summary(self) -> dict[str, Any]:
        """Return what a student's bundle says about its teacher."""
        path, manifest = self.teacher.path.resolve(), self.teacher.manifest
        name = path.name if path.name != BUNDLE else f"{path.parent.name}/{BUNDLE}"
        unlabelled = {
            field.name: getattr(self.unlabelled, field.name)
            for field in dataclasses.fields(UnlabelledTexts)
            if field.name != "texts"
        }
        return {
            "name": name,
            "sha256": hashlib.sha256(json.dumps(dict(sorted(manifest.files.items()))).encode("utf-8")).hexdigest(),
            "weights_sha256": manifest.files.get("weights.safetensors"),
            "metrics": dict(manifest.metrics),
            "engine": self.engine,
            "temperature": self.spec.temperature,
            "alpha": self.spec.alpha,
            "hidden": self.spec.hidden,
            "unlabelled": len(self.unlabelled.texts),
            "unlabelled_files": {"names": [Path(each).name for each in self.spec.unlabelled], **unlabelled},
        }


def prepare_teaching(
    spec: DistillSpec,
    labels: Sequence[str],
    train: Examples,
    dev: Examples,
    *,
    text_column: str,
    options: ReadOptions | None = None,
) -> Teaching:
    """Open the teacher and read the unlabelled texts.

    Args:
        spec: as the recipe has it.
        labels: the student's, in order.
        train: its training rows.
        dev: its development rows.
        text_column: where unlabelled texts stand in a file that has columns.
        options: how files of texts are read, see :func:`paddlenlp_embtune.data.read_examples`.
    Raises:
        BundleError: the teacher is no bundle, is damaged, or has no files for an engine that can run here.
        DataError: the teacher has other labels, or a file of texts cannot be read or has none that are new.
    """
    teacher = Bundle.open(bundle_folder(Path(spec.teacher)))
    refuse_several_labels(teacher.manifest, "distillation")
    columns = _columns(teacher, labels)
    engine = "paddle" if spec.hidden else _engine(teacher)
    if engine not in teacher.manifest.engines:
        raise BundleError(
            f"distill.hidden is {spec.hidden}, but the teacher {teacher.path} has nothing for the engine paddle, which gives "
            f"vectors of texts; it has {', '.join(teacher.manifest.engines)}; set distill.hidden to 0, or train it again"
        )
    unlabelled = read_unlabelled(spec.unlabelled, train.texts, dev.texts, text_column=text_column, options=options)
    if spec.recombined:
        made = recombine_texts(train.texts, spec.recombined, without=(*unlabelled.texts, *dev.texts))
        unlabelled = dataclasses.replace(unlabelled, texts=(*unlabelled.texts, *made), recombined=len(made))
    texts = (*train.texts, *unlabelled.texts, *dev.texts)
    return Teaching(spec, teacher, engine, columns, unlabelled, texts, (len(train), len(dev)))


def check_student(spec: DistillSpec, model: str) -> None:
    """Refuse, before the teacher is asked, a student that gives no vectors where those are to be taught.

    Raises:
        RecipeError: the model is a class without ``features``; of other builders it shows when the model is built.
    """
    builder = registry.current().get("model", model)
    if spec.hidden and isinstance(builder, type) and not hasattr(builder, "features"):
        raise RecipeError(
            f"distill.hidden is {spec.hidden}, but the student {model} gives no vector of a text (it has no "
            "features(input_ids)); expected 0 for such a student"
        )


def with_teacher_answers(
    prepared: Prepared, record: RunRecord, *, checkpoints: Path | None = None, progress: Progress | None = None
) -> Prepared:
    """Ask the teacher, if there is one, or take the answers that stand beside the checkpoints of a run that continues.

    Args:
        prepared: with the teacher, or without one; then it is returned as it is.
        record: where the event goes.
        checkpoints: of the run; None where there are none.
        progress: called with the texts that have been answered, and their number.
    """
    if prepared.teaching is None:
        return prepared
    check_student(prepared.teaching.spec, prepared.recipe.model.name)
    kept = checkpoints / TEACHER_ANSWERS if checkpoints is not None else None
    soft_targets, figures = compute_teacher_logits(prepared.teaching, kept=kept, progress=progress)
    record.write("teacher", **prepared.teaching.summary(), asked=figures)
    return prepared.with_soft_targets(soft_targets)


def compute_teacher_logits(
    teaching: Teaching, *, kept: Path | None = None, progress: Progress | None = None
) -> tuple[SoftTargets, dict[str, Any]]:
    """Ask the teacher about all texts, in batches of similar length; longer texts as it reads them itself.

    Where ``answers`` of the specification has its answers, they are read from there; else they are written there.

    Args:
        teaching: the teacher and the texts.
        kept: a file that may have the answers of a run that continues.
        progress: called with the texts that have been answered, and their number.
    Returns:
        The answers; and figures for the record: ``seconds``, ``texts``, ``bytes``, and ``from_file``, whether they were read.
    Raises:
        RecipeError: the file of answers is none.
        BundleError: the teacher has no vectors of texts, and those are wanted.
    """
    started = time.perf_counter()
    answers = Path(teaching.spec.answers) if teaching.spec.answers is not None else None
    soft_targets = next(filter(None, (load_soft_targets(path, teaching) for path in (kept, answers) if path is not None)), None)
    from_file = soft_targets is not None
    if soft_targets is None:
        soft_targets = _asked(teaching, progress)
        if answers is not None:
            save_soft_targets(answers, soft_targets, teaching)
    seconds = round(time.perf_counter() - started, 2)
    return soft_targets, {
        "seconds": seconds,
        "texts": len(soft_targets.logits),
        "bytes": soft_targets.nbytes,
        "from_file": from_file,
    }


def _columns(teacher: Bundle, labels: Sequence[str]) -> tuple[int, ...]:
    known = teacher.manifest.labels
    if set(known) != set(labels):
        raise DataError(
            f"the labels are {', '.join(labels)}, those of the teacher {teacher.path} are {', '.join(known)}; expected the "
            "same, in any order; choose another teacher, or fix the labels of the data"
        )
    return tuple(known.index(label) for label in labels)


def _engine(teacher: Bundle) -> str:
    """Choose the quickest engine that the bundle has files for and whose package is there."""
    for name, package in _ENGINES.items():
        if name in teacher.manifest.engines and importlib.util.find_spec(package) is not None:
            return name
    raise BundleError(
        f"no engine of the teacher {teacher.path} can run here (it has {', '.join(teacher.manifest.engines)}); expected "
        f"one of {', '.join(_ENGINES)} with its package; add one with: embtune export {teacher.path} --engine onnxruntime"
    )


def _asked(teaching: Teaching, progress: Progress | None) -> SoftTargets:
    """Run the teacher over all texts."""
    manifest, classes = teaching.teacher.manifest, len(teaching.columns)
    engine, width = _engine_of(teaching)
    num_threads = compat.usable_threads()
    runner = BatchRunner(engine, num_labels=classes + width, batch_size=_BATCH, num_threads=num_threads)
    logits = np.empty((len(teaching.texts), classes), np.float32)
    vectors = np.empty((len(teaching.texts), width), np.float32) if width else None
    try:
        for start, chunk in chunk_texts(teaching.texts):
            tokenized = tokenize_texts(
                chunk, teaching.teacher.tokenizer, max_length=manifest.max_length, windows=manifest.windows
            )
            found, rows = runner.submit(tokenized.ids)(), slice(start, start + len(chunk))
            answers, _ = probabilities_of(found[:, :classes], tokenized, temperature=1.0, windows=manifest.windows)
            logits[rows] = np.log(np.maximum(answers, _LEAST))[:, teaching.columns]
            if vectors is not None:
                counts = np.diff(tokenized.first)[:, None]
                vectors[rows] = np.add.reduceat(found[:, classes:], tokenized.first[:-1]) / counts
            if progress is not None:
                progress(start + len(chunk), len(teaching.texts))
    finally:
        runner.close()
    return SoftTargets(logits, None if vectors is None else _scaled(vectors), teaching.unlabelled.texts, teaching.rows)


def _engine_of(teaching: Teaching) -> tuple[Engine, int]:
    """Return what answers with logits, and beside them with vectors of so many values where those are wanted."""
    if not teaching.spec.hidden:
        factory = registry.current().guarded("engine", teaching.engine)
        options = EngineOptions(num_threads=compat.usable_threads())
        engine = factory(teaching.teacher, options)
        teaching.teacher.check_current(*teaching.teacher.manifest.files)
        return engine, 0
    from paddlenlp_embtune.models import FeatureEngine, feature_width, load_layer

    layer = load_layer(teaching.teacher.path)
    teaching.teacher.check_current("weights.safetensors", "model.json")
    if not hasattr(layer, "features"):
        raise BundleError(
            f"the teacher {teaching.teacher.path} is a {type(layer).__name__}, which gives no vector of a text (it has no "
            "features(input_ids)); set distill.hidden to 0, or choose another teacher"
        )
    return FeatureEngine(layer), feature_width(layer)


def _scaled(vectors: Floats) -> npt.NDArray[np.float16]:
    """Centre vectors and scale them to a mean square of 1, so that the weight of their distance means the same everywhere."""
    vectors -= vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    size = float(np.sqrt(np.square(vectors).mean(dtype=np.float64)))
    vectors /= np.float32(max(size, 1e-12))
    return vectors.astype(np.float16)
