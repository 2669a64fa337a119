"""Continuing the masked-language training of an encoder, on texts of the domain."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.config import PRECISIONS, ClipSpec, FreezeSpec, LayerwiseSpec, Recipe, ScheduleSpec, TrainSpec
from paddlenlp_embtune.data import MaskingSpec
from paddlenlp_embtune.encoders import CONFIG, Pretrained, save_encoder
from paddlenlp_embtune.errors import DataError, RecipeError
from paddlenlp_embtune.text import split_windows
from paddlenlp_embtune.training._preflight import check_out, keeping_checkpoints, run_lock
from paddlenlp_embtune.utils.run_layout import checkpoints_of
from paddlenlp_embtune.utils.schema import check_types, require, require_at_most

__all__ = ["PretrainingResult", "PretrainingSpec", "continue_pretraining"]

_MASK = "[MASK]"
_LEAST_TEXTS = 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainingSpec:
    """How masked-language training continues.

    Args:
        epochs: passes over the texts, 1 or more; other tokens are hidden in each.
        batch_size: windows in a step.
        max_length: longer texts are read in windows of so many tokens.
        learning_rate: the absolute peak learning rate of the encoder, above 0; the new head gets ten times that.
        share: of the tokens that are hidden, above 0 and below 1.
        held_out: share of the texts that only measure the loss, above 0 and below 1.
        seed: seeds the order, what is hidden, and dropout.
        checkpoint_seconds: write a checkpoint when this long has passed since the last one; None writes none.
        precision: as in :class:`TrainSpec`.
    """

    epochs: int = 3
    batch_size: int = 32
    max_length: int = 128
    learning_rate: float = 1e-4
    share: float = 0.15
    held_out: float = 0.05
    seed: int = 0
    checkpoint_seconds: float | None = 60.0
    precision: str = "fp32"

    def __post_init__(self) -> None:
        check_types(self, where="pretraining", error=RecipeError)
        for name, least in (("epochs", 1), ("batch_size", 1), ("max_length", 8)):
            require(getattr(self, name) >= least, f"pretraining.{name}", getattr(self, name), f"{least} or more")
        for name, most in (("epochs", 1_000_000), ("batch_size", 1_000_000), ("max_length", 65_536)):
            require_at_most(f"pretraining.{name}", getattr(self, name), most)
        require(self.precision in PRECISIONS, "pretraining.precision", self.precision, ", ".join(PRECISIONS))
        require(0 <= self.seed < 2**32, "pretraining.seed", self.seed, "0 or more and below 2**32")
        require(self.learning_rate > 0, "pretraining.learning_rate", self.learning_rate, "above 0")
        for name in ("share", "held_out"):
            require(0 < getattr(self, name) < 1, f"pretraining.{name}", getattr(self, name), "above 0 and below 1")


@dataclasses.dataclass(frozen=True)
class PretrainingResult:
    """What masked-language training left.

    Args:
        folder: of the encoder, for ``model.encoder``.
        texts, held_out: how many texts were trained on, and how many measured the loss.
        loss_before, loss_after: mean cross-entropy of the guesses in the held-out texts, in nats; the same tokens hidden.
        steps: of the optimizer.
        seconds: wall time of the training loop.
    """

    folder: Path
    texts: int
    held_out: int
    loss_before: float
    loss_after: float
    steps: int
    seconds: float


def continue_pretraining(
    pretrained: Pretrained,
    texts: Sequence[str],
    out: Path,
    spec: PretrainingSpec,
    *,
    overwrite: bool = False,
    listeners: Sequence[Callable[[Mapping[str, Any]], None]] = (),
) -> PretrainingResult:
    """Train an encoder to guess hidden tokens of texts, and write it as a folder.

    Checkpoints stand beside ``out`` in ``OUT.checkpoints`` while it trains; a run that was killed continues from them.

    The new head is trained alone for one epoch first, on the encoder as it came; ``loss_before`` is measured then.

    Args:
        pretrained: the encoder; its tokenizer must have ``[MASK]``.
        texts: without labels; blank ones and repetitions are left out.
        out: folder of the encoder, new; see :func:`paddlenlp_embtune.encoders.saving.save_encoder`.
        spec: how.
        overwrite: replace an encoder there.
        listeners: called with every event of the training.
    Raises:
        DataError: too few texts.
        RecipeError: the tokenizer has no ``[MASK]``, texts may be longer than the encoder reads, or ``out`` is taken, or is no
            encoder.
    """
    _check(pretrained, spec)
    _check_out(out, overwrite=overwrite)
    windows, held = _windows(pretrained, texts, spec)
    from paddlenlp_embtune.models import MaskedLanguageModel
    from paddlenlp_embtune.training import attach
    from paddlenlp_embtune.training._mlm_trainer import FirstLossCallback, MaskedTrainer, masked_loss
    from paddlenlp_embtune.training._trainer import seed_everything
    from paddlenlp_embtune.training.run_log import RunRecord
    from paddlenlp_embtune.utils.checkpoint_folders import last_checkpoint

    vocabulary = pretrained.tokenizer.vocabulary
    masking = MaskingSpec(vocabulary.ids[_MASK], _excluded(pretrained), spec.share)
    counts = Counter(chain.from_iterable(windows))
    log_frequencies = np.log([counts[number] + 0.1 for number in range(len(vocabulary))]).astype(np.float32)
    log_frequencies -= np.log(np.exp(log_frequencies).sum())
    seed_everything(spec.seed)
    model = MaskedLanguageModel(pretrained, log_frequencies=log_frequencies)
    checkpoints = checkpoints_of(out)
    trainer = MaskedTrainer(
        model,
        windows,
        masking=masking,
        out=str(checkpoints),
        epochs=spec.epochs + 1,
        batch_size=spec.batch_size,
        seed=spec.seed,
        checkpoint_seconds=spec.checkpoint_seconds,
    )
    first = FirstLossCallback(lambda: masked_loss(model, held, masking, seed=spec.seed))
    record, identity = RunRecord(listeners=tuple(listeners)), _identity(pretrained, windows, spec)
    attach(trainer, _recipe(spec), record=record, tokens=vocabulary.tokens, identity=identity)
    trainer.add_callback(first)
    again = "run the same command again to continue"
    with run_lock(out), keeping_checkpoints(checkpoints, what=f"the encoder {out}", resume=again):
        _check_out(out, overwrite=overwrite)  # another may have ended there meanwhile
        checkpoint = last_checkpoint(checkpoints)
        started = time.perf_counter()
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint is not None else None)
        seconds = time.perf_counter() - started
        after = masked_loss(model, held, masking, seed=spec.seed)
        source = f"{pretrained.source}, trained on {len(windows)} windows of text"
        trained = dataclasses.replace(pretrained, weights=model.weights(), masked_head=model.head_weights(), source=source)
        save_encoder(trained, out)
        shutil.rmtree(checkpoints, ignore_errors=True)
    return PretrainingResult(out, len(windows), len(held), first.loss, after, int(trainer.state.global_step), seconds)


def _recipe(spec: PretrainingSpec) -> Recipe:
    """The head alone for one epoch, then everything."""
    return Recipe(
        seed=spec.seed,
        layerwise=LayerwiseSpec(rate=spec.learning_rate, decay=1.0, head_rate=10 * spec.learning_rate),
        schedule=ScheduleSpec(warmup_ratio=0.05),
        freeze=FreezeSpec(groups=("embedding", "layer.*"), unfreeze_at_epoch=1),
        clip=ClipSpec(),
        early_stopping=None,
        health=None,
        train=TrainSpec(precision=spec.precision),
    )


def _check_out(out: Path, *, overwrite: bool) -> None:
    check_out(out, overwrite=overwrite, sign=CONFIG, what="encoder")


def _check(pretrained: Pretrained, spec: PretrainingSpec) -> None:
    if _MASK not in pretrained.tokenizer.vocabulary:
        raise RecipeError(
            f"the tokenizer of {pretrained.source} has no {_MASK}, so it cannot hide tokens; expected an encoder that was "
            "trained with masks, such as those of BERT and ERNIE"
        )
    if pretrained.positions is not None and spec.max_length > pretrained.positions:
        raise RecipeError(
            f"pretraining.max_length is {spec.max_length}; expected for {pretrained.source}: at most {pretrained.positions}"
        )


def _windows(pretrained: Pretrained, texts: Sequence[str], spec: PretrainingSpec) -> tuple[list[list[int]], list[list[int]]]:
    """Encode each text once, whole, and hold some texts out."""
    kept = list(dict.fromkeys(text for text in texts if text.strip()))
    if len(kept) < _LEAST_TEXTS:
        raise DataError(f"there are {len(kept)} different texts; expected {_LEAST_TEXTS} or more; give more files with --texts")
    order = np.random.default_rng(spec.seed).permutation(len(kept))
    border = max(1, round(len(kept) * spec.held_out))
    parts = ([kept[index] for index in sorted(order[border:])], [kept[index] for index in sorted(order[:border])])
    read = pretrained.tokenizer
    split = (
        [
            read.encode(text[begin:end], max_length=spec.max_length)
            for text in part
            for begin, end in split_windows(text, read, max_length=spec.max_length, overlap=0)
        ]
        for part in parts
    )
    windows, held = ([ids for ids in part if len(ids) > len(read.prefix) + len(read.suffix)] for part in split)
    if not windows or not held:
        raise DataError(f"none of the {len(kept)} texts has a token that {pretrained.source} knows; give texts of its language")
    return windows, held


def _excluded(pretrained: Pretrained) -> npt.NDArray[np.bool_]:
    """Padding, markers, the mask and the unknown token: never hidden."""
    read = pretrained.tokenizer
    excluded = np.zeros(len(read.vocabulary), dtype=bool)
    excluded[[0, read.vocabulary.unknown_id, read.vocabulary.ids[_MASK], *read.prefix, *read.suffix]] = True
    return excluded


def _identity(pretrained: Pretrained, windows: Sequence[Sequence[int]], spec: PretrainingSpec) -> dict[str, Any]:
    """What a checkpoint must have been made with."""
    content = hashlib.sha256(repr([list(ids) for ids in windows]).encode("ascii")).hexdigest()[:16]
    plain = {name: value for name, value in dataclasses.asdict(spec).items() if name != "checkpoint_seconds"}
    return {"encoder": pretrained.fingerprint(), "windows": content, "pretraining": plain}
