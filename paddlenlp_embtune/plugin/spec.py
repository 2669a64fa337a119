"""Every hook of paddlenlp-embtune, with its contract.

A plugin is a module or an object whose functions carry the names below and are marked with ``paddlenlp_embtune.hookimpl``.
They take the arguments of the hook, or fewer, by name; wrappers, generators, and arguments with defaults are refused.
Values may be ``paddlenlp_embtune.Lazy("package.module:name")``, which is imported when it is first used.
A plugin is found through the entry-point group ``paddlenlp_embtune``, or handed over as ``plugins=[...]``. Hooks that register
return a list or a mapping (an empty one is fine); ``before_`` and ``after_`` hooks return None. What breaks its contract ends
the command with an error that names the plugin. All classes named here are in ``paddlenlp_embtune`` itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from paddlenlp_embtune.config import AlarmSpec, Domain, GroupSpec, Recipe
    from paddlenlp_embtune.encoders import Pretrained
    from paddlenlp_embtune.report import SectionWriter

__all__ = ["PROJECT", "hookimpl", "hookspec"]

PROJECT = "paddlenlp_embtune"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def embtune_register_domains() -> list[Domain]:  # type: ignore[empty-body]
    """Return the domains that this plugin brings."""


@hookspec
def embtune_register_models() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Return model builders by name.

    A builder is called as ``builder(vocabulary_size=V, dimension=D, num_labels=C, **options)``, where options are checked
    against its annotations first, and returns a ``paddle.nn.Layer`` whose ``forward(input_ids)`` maps (B, L) int64 ids, 0 being
    padding, to (B, C) float32 logits. The layer names its embedding parameter in ``embedding_parameter`` and tells how to build
    it again in ``config()``.

    If it has a method ``fit_before_training(ids, labels, class_weights=w)``, ``embtune train`` calls it once with the encoded
    rows; where ``text.windows`` is set, each window of a long text is a row with the text's label. If the method also takes
    ``answers``, unlabelled texts are among the rows, with the label -100, and a teacher's probabilities for all of them come
    with it, where there are any; ``row_weights`` gets the (N,) float32 weights of the rows where ``data.weight_column`` states
    them, and is needed there. So for ``fit_after_training(logits_of, labels)`` with the development rows, whole texts
    always, after the best weights are back; if it also takes ``score``, it gets what tells how good logits are by the metric
    that the recipe watches. A student whose ``forward`` calls a method ``features(input_ids)`` for the vector
    of a text, (B, H), can learn the teacher's vectors too (``distill.hidden``).
    """


@hookspec
def embtune_register_encoders() -> Mapping[str, Callable[[], Pretrained]]:  # type: ignore[empty-body]
    """Return pretrained encoders by name, for ``model: {encoder: NAME}``.

    A builder is called without arguments, when the encoder is first wanted, and returns a
    :class:`paddlenlp_embtune.Pretrained`: the kind of the encoder, its weights as arrays, and its tokenizer.
    """


@hookspec
def embtune_register_callbacks(  # type: ignore[empty-body]
    recipe: Recipe, model: Any, groups: Sequence[Any], context: Any
) -> list[Any]:
    """Return ``TrainerCallback`` objects for a run.

    One that derives from ``paddlenlp_embtune.training.callbacks.EmbtuneCallback`` saves its state with every checkpoint, and
    its ``setup(context)`` is called once, with the same context.

    Args:
        recipe: the recipe of the run, with every default filled in; return an empty list if it asks for nothing of yours.
        model: the model that is about to be trained.
        groups: the parameter groups of the run (``paddlenlp_embtune.training.ParameterGroup``): each has its ``spec`` and its
            ``parameters`` by name.
        context: the run (``paddlenlp_embtune.training.TrainingContext``): the Trainer with its data sets, state and criterion,
            the record, the tokens of the rows, and how learning rates are scaled.
    """


@hookspec
def embtune_register_group_rules(recipe: Recipe, model: Any) -> list[GroupSpec]:  # type: ignore[empty-body]
    """Return parameter groups for a model whose recipe names none.

    The rules of the plugin registered last are taken whole; return an empty list to leave the model to others.

    Args:
        recipe: the recipe of the run.
        model: the model that is about to be trained.
    """


@hookspec
def embtune_register_vector_formats() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Return vector readers by format name.

    A reader is called as ``reader(source, options)`` with the ``source`` of the recipe and
    ``paddlenlp_embtune.ReadOptions``, and returns a ``paddlenlp_embtune.VectorTable``. A reader may have an
    attribute ``detects``, called as ``detects(path, head)`` with the path of a file or folder and its first bytes, decompressed
    (none of a folder), which says whether the reader is for it; readers of plugins are asked before the built-in ones. A source
    that is no file or folder and has the name of a format is handed to that reader.
    """


@hookspec
def embtune_register_health_metrics() -> Mapping[str, Callable[..., float]]:  # type: ignore[empty-body]
    """Return measures of an embedding by name.

    A measure is called as ``measure(start=table, now=table)`` with two (V, D) float32 arrays, which it must not change, and
    returns one finite number. One that raises or returns something else is left out of the check, with a warning and an event
    ``measure_failed`` in the record; the run continues.
    """


@hookspec
def embtune_register_alarms() -> Mapping[str, AlarmSpec]:  # type: ignore[empty-body]
    """Return alarms by name, over the built-in ones; a recipe may change or remove them.

    The measure that an alarm watches may be a built-in one or one of :func:`embtune_register_health_metrics`.
    """


@hookspec
def embtune_register_report_sections() -> Mapping[str, SectionWriter]:  # type: ignore[empty-body]
    """Return further sections of the report by title.

    A section is called as ``section(run)`` with the :class:`paddlenlp_embtune.Run` of a run folder and returns HTML as a str,
    in which it has escaped the text of data. ``paddlenlp_embtune.report.write_report(run, sections=...)`` takes the same
    mapping.
    """


@hookspec
def embtune_register_trackers() -> Mapping[str, Callable[[], Any]]:  # type: ignore[empty-body]
    """Return experiment trackers by name, for a recipe's ``report_to``.

    A factory is called without arguments when a recipe names the tracker, before training, and returns an object with three
    methods, which are called in the first process alone and by name:

    - ``start(name=..., parameters=..., previous=...)``: the name of the run, the recipe flattened to names such as
      ``train.epochs``, and what ``start`` returned when the run that now continues began, or None; returns a str that names the
      tracker's run, or None.
    - ``log(metrics=..., step=...)``: finite numbers by name: losses, ``eval_`` metrics, ``rate/``, ``health/``, ``bundle/``.
    - ``finish(status=..., files=..., bundle=...)``: ``finished`` or ``failed``, paths of files to keep, among them the report,
      and the folder of the bundle, or None. Called once.

    One that raises gets nothing more of the run, which continues; a missing package should raise
    ``paddlenlp_embtune.MissingDependencyError`` in the factory.
    """


@hookspec
def embtune_register_losses() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Return loss factories by name.

    ``factory(class_weights=w, **options)``, with (C,) float32 weights whose mean over the training rows is 1 and the recipe's
    ``train.loss_options``, gives a callable of (B, C) logits and (B,) int64 labels that returns a scalar. The Trainer calls it
    in evaluations too, without gradients. It is tried on four invented rows before training. A callable that takes a third
    argument gets (B,) float32 weights of the rows where ``data.weight_column`` states them; others are refused there. A true
    ``ordered`` of the factory refuses labels without an order.
    """


@hookspec
def embtune_register_exporters() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Return exporters by the name of the engine they write for.

    An exporter is called as ``exporter(model, folder)``, writes its files below ``folder`` and returns the names of the
    files, relative to ``folder``. Packages that it names in an attribute ``requires`` are looked for before training begins. A
    function in an attribute ``ahead`` returns a context manager, which is entered when training has ended, while the weights
    are still being measured.
    """


@hookspec
def embtune_register_engines() -> Mapping[str, Callable[..., Any]]:  # type: ignore[empty-body]
    """Return engines by name.

    An engine factory is called as ``factory(bundle, options)`` with ``EngineOptions``, and returns an object whose
    ``run(input_ids)`` maps (B, L) int64 ids to (B, C) float32 logits, from any thread. Of an engine with a true ``concurrent``,
    runs go side by side, up to ``options.num_threads`` of them; of others, one after the other. An engine may have
    ``attribute(ids, label=k, temperature=t, fixed=(before, after))`` that returns an ``Attribution`` for one
    text; engines without it are explained by occlusion. One whose true ``gives_vectors`` says so has
    ``run_with_vectors(input_ids)`` that also returns the (B, H) float32 vectors of the texts, which are proven with the logits.
    """


@hookspec
def embtune_before_attach(trainer: Any, recipe: Recipe) -> None:
    """Look at, or prepare, a Trainer before groups and callbacks are put on it.

    Args:
        trainer: with its model, data sets and arguments.
        recipe: what is about to be put on it.
    """


@hookspec
def embtune_after_train(trainer: Any, recipe: Recipe, run_dir: Path, context: Any) -> None:
    """Do something with a finished run.

    Args:
        trainer: with the trained model.
        recipe: the recipe of the run.
        run_dir: the folder of the run; the bundle stands in ``run_dir / "bundle"``.
        context: as in :func:`embtune_register_callbacks`; its ``record`` has every event of the run.
    """


@hookspec
def embtune_add_commands(app: Any) -> None:
    """Add commands to the command line.

    Args:
        app: the ``typer.Typer`` behind ``embtune``.
    """
