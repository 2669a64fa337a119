"""What is known before the first step of a run: names, data as ids, vocabulary, defaults, and where the embedding starts."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Bundle, model_name
from paddlenlp_embtune.config import EXPERTS, PRETRAINED, Domain, ModelSpec, Recipe
from paddlenlp_embtune.data import (
    DataReport,
    Examples,
    SoftTargets,
    check_cleaning,
    check_examples,
    discover_labels,
    hold_out,
    read_examples,
)
from paddlenlp_embtune.data.augmentation import AugmentationReport, augment_examples
from paddlenlp_embtune.embeddings.init import Coverage
from paddlenlp_embtune.encoders import Pretrained
from paddlenlp_embtune.errors import MissingDependencyError, RecipeError, expected_names
from paddlenlp_embtune.inference import MULTI, ORDERED, SINGLE, LabelKind, kind_of
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.text import (
    CLEANING,
    UNK,
    TermList,
    TokenizedTexts,
    Tokenizer,
    content_ids,
    describe_unused_terms,
    read_term_list,
    tokenize_texts,
    unknown_report,
    unused_terms,
    without_cleaning,
)
from paddlenlp_embtune.training._continual import (
    Continuation,
    begin_continuation,
    continual_recipe,
    former_labels,
    joint_labels,
    with_former_names,
    with_measured,
    with_replayed,
    with_task_head,
)
from paddlenlp_embtune.training._contrastive_recipe import (
    check_label_rows,
    check_retrieval_rows,
    with_contrastive_defaults,
    with_embedding_only,
)
from paddlenlp_embtune.training._self_training import SelfTraining, self_trained
from paddlenlp_embtune.training._teacher import Teaching, prepare_teaching
from paddlenlp_embtune.training._trackers import check_trackers
from paddlenlp_embtune.training._tuning_choice import TuningChoice, choose_tuning
from paddlenlp_embtune.training.initialize import Progress, Start, check_labels, initialize_embedding
from paddlenlp_embtune.utils.files.atomic_io import sha256_of

if TYPE_CHECKING:
    from paddlenlp_embtune.data import EncodedDataset

__all__ = ["Prepared", "check_names", "data_summary", "prepare"]

_ENCODERS = ("encoder", PRETRAINED)
_SEVERAL = {None: None, "single": False, "ordered": False, "multi": True}
"""Whether rows may have several labels, by the kind that a recipe states; None finds out."""

_LOSS, _LOSS_OF_SEVERAL = "cross_entropy", "binary_cross_entropy"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything that is known before the first step.

    Args:
        recipe: what to do, with every default that depends on the data filled in, and absolute paths.
        train, dev: labelled rows; behind those of the data, ``train`` has the rows that augmentation added.
        train_ids, dev_ids: the same rows as the model gets them.
        labels: class names in order.
        kind: of the labels.
        report: what a look at the data found.
        augmentation: what was added to the training rows; None without it.
        tuning: what was chosen where the recipe left it open; None where it did not.
        self_training: what became of unlabelled texts, the last of the training rows; None without it.
        continuation: of a run with ``continual``, which may have put stored examples behind all other training rows.
        tokenizer: with its vocabulary.
        table: (V, D) float32, the embedding's start.
        coverage: where its rows came from.
        bundle: whose weights training continues from.
        pretrained: whose weights the encoder starts with. With neither, all weights but the table are new.
        teaching: the teacher, and the unlabelled texts that it is asked about; None without ``distill``.
        soft_targets: its answers; None until it has been asked.
        remarks: one line each about further input that was left out: terms, or parts of their lines.
        unused_terms: terms of the recipe's list that no text contains, cleaned.
        term_groups: terms of the recipe's domain by name of a group; empty without a domain.
    """

    recipe: Recipe
    train: Examples
    dev: Examples
    train_ids: TokenizedTexts
    dev_ids: TokenizedTexts
    labels: tuple[str, ...]
    kind: LabelKind
    report: DataReport
    tokenizer: Tokenizer
    table: npt.NDArray[np.float32]
    coverage: Coverage
    augmentation: AugmentationReport | None = None
    tuning: TuningChoice | None = None
    self_training: SelfTraining | None = None
    continuation: Continuation | None = None
    bundle: Bundle | None = None
    pretrained: Pretrained | None = None
    teaching: Teaching | None = None
    soft_targets: SoftTargets | None = None
    remarks: tuple[str, ...] = ()
    unused_terms: tuple[str, ...] = ()
    term_groups: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def with_soft_targets(self, soft_targets: SoftTargets) -> Prepared:
        """Return the same with the answers of the teacher; what has been computed of the data and the embedding is kept."""
        answered = dataclasses.replace(self, soft_targets=soft_targets)
        vars(answered).update({name: value for name, value in vars(self).items() if name not in self.__dataclass_fields__})
        return answered

    def dataset(self, rows: Examples, ids: TokenizedTexts) -> EncodedDataset:
        """Return rows and their ids as a data set for the Trainer, with class numbers; needs Paddle."""
        from paddlenlp_embtune.data import dataset_from_tokenized

        truth: Any = self.kind.encode(rows.labels_of_rows, self.labels)
        truth = truth if self.kind.several else truth.tolist()
        return dataset_from_tokenized(ids, truth, windows=self.recipe.text.windows, weights=rows.weights, kind=self.kind)

    @property
    def stated(self) -> Examples:
        """The training rows of the data alone, without those that augmentation added."""
        return self.train.take(range(self.report.rows[0]), self.train.source)

    def train_dataset(self) -> EncodedDataset:
        """Return the training rows as a data set, in order."""
        return self.dataset(self.train, self.train_ids)

    def dev_dataset(self) -> EncodedDataset:
        """Return the development rows as a data set, in order."""
        return self.dataset(self.dev, self.dev_ids)

    @cached_property
    def origins(self) -> dict[str, Any]:
        """Where the rows of the embedding came from, also weighed by how often the training texts use them."""
        tokens, unknown = self.tokenizer.vocabulary.tokens, self.tokenizer.vocabulary.unknown_id
        ids = Counter(chain.from_iterable(_own_ids_of(self.tokenizer, self.train.texts, self.train_ids)))
        outside = ids.pop(unknown, 0)
        counts = {tokens[number]: count for number, count in ids.items()} | ({UNK: outside} if outside else {})
        return self.coverage.summary(counts=counts)

    @cached_property
    def dev_unknown_share(self) -> float:
        """Share of unknown tokens in the development texts."""
        return unknown_report(self.tokenizer, self.dev.texts).share

    @cached_property
    def hashes(self) -> dict[str, str]:
        """SHA-256 of the files of training and development rows, by path, as they are when this is first asked."""
        return {rows.source: sha256_of(Path(rows.source)) for rows in (self.train, self.dev) if Path(rows.source).is_file()}


def check_names(recipe: Recipe) -> None:
    """Refuse unknown names and missing packages before any work is done."""
    check_trackers(recipe.report_to)
    known = registry.current()
    wanted = [("model", [recipe.model.name]), ("loss", [recipe.train.loss]), ("exporter", recipe.export.engines)]
    for kind, names in wanted:
        for name in names:
            if name not in known.names(kind):
                raise RecipeError(f"the recipe asks for the {kind} {name!r}; {expected_names(name, known.names(kind))}")
    for name in recipe.export.engines:
        for package in getattr(known.get("exporter", name), "requires", ()):
            if importlib.util.find_spec(package) is None:
                raise MissingDependencyError(
                    f"the exporter {name!r} needs {package}, which is not installed; install it with: pip install {package}, "
                    "or leave the engine out of export.engines"
                )
    if recipe.domain is not None and recipe.domain not in known.names("domain"):
        raise RecipeError(f"the recipe's domain is {recipe.domain!r}; {expected_names(recipe.domain, known.names('domain'))}")


def prepare(recipe: Recipe, *, progress: Progress | None = None) -> Prepared:
    """Read and check the data, build vocabulary and embedding; no Paddle yet.

    Args:
        recipe: what to do.
        progress: called with the bytes of a vector file that have been read, and their number.
    Raises:
        RecipeError: the recipe names no training data.
        DataError: the data cannot be trained on, or the teacher has other labels.
        BundleError: the teacher is no bundle, or is damaged.
        VectorError: the vectors do not fit.
    """
    data = recipe.data
    if data.train is None:
        raise RecipeError("the recipe names no training data; set data.train, or pass --data FILE")
    how: dict[str, Any] = {"text_column": data.text_column, "options": data.read_options}
    continuation = begin_continuation(recipe)
    rows = with_former_names(continuation, read_examples(data.train, **data.reading(), several=_SEVERAL[recipe.label_kind]))
    several = rows.label_sets is not None
    recipe = _for_several(recipe) if several else recipe
    domain = _domain(recipe)
    continuation, labels = _labels(continuation, rows, recipe.label_names or (domain.labels if domain else None))
    if data.dev is not None:
        dev = with_former_names(continuation, read_examples(data.dev, **data.reading(), several=several))
    else:
        rows, dev = hold_out(rows, ratio=data.dev_ratio, seed=recipe.seed)
    check_cleaning((rows, dev), recipe.text.cleaning)
    report = check_examples(rows, dev, labels)
    rows, augmentation = _augmented(recipe, rows, dev, domain)
    recipe, tuning = choose_tuning(recipe, rows.labels)
    if recipe.contrastive is not None:
        check_label_rows(recipe.contrastive, rows.labels)
    if recipe.retrieval is not None:
        check_retrieval_rows(recipe.retrieval, rows.labels)
    self_training = None
    if recipe.self_training is not None:
        rows, self_training = self_trained(recipe, recipe.self_training, rows, dev, labels)
    if continuation is not None:
        rows, continuation = with_replayed(with_measured(continuation, labels, data.reading()), rows, dev, labels)
        recipe = continual_recipe(recipe, continuation.spec)
    teaching = None
    if recipe.distill is not None:
        known = former_labels(continuation, labels)
        teaching = prepare_teaching(recipe.distill, known, rows, dev, **how)
    unlabelled = teaching.unlabelled.texts if teaching is not None else ()
    texts = (*rows.texts, *unlabelled)
    start = initialize_embedding(recipe, texts, progress=progress)
    if start.bundle is not None:
        if continuation is None:
            check_labels(start.bundle, labels)
        _refuse_experts(start.bundle)
    teacher = teaching.teacher if teaching is not None and tuple(teaching.teacher.manifest.labels) == tuple(labels) else None
    remarks, unused = _terms_unused(start.terms, start.tokenizer, texts)
    text = recipe.text
    return Prepared(
        recipe=_resolved(recipe, start, rows=len(texts), labels=len(labels)),
        train=rows,
        dev=dev,
        train_ids=tokenize_texts(rows.texts, start.tokenizer, max_length=text.max_length, windows=text.windows),
        dev_ids=tokenize_texts(dev.texts, start.tokenizer, max_length=text.max_length, windows=text.windows),
        labels=labels,
        kind=_kind(recipe, labels, domain, start.bundle or teacher, several=several),
        report=report,
        tokenizer=start.tokenizer,
        table=start.table,
        coverage=start.coverage,
        augmentation=augmentation,
        tuning=tuning,
        self_training=self_training,
        continuation=continuation,
        bundle=start.bundle,
        pretrained=start.pretrained,
        teaching=teaching,
        remarks=remarks,
        unused_terms=unused,
        term_groups=domain.term_groups if domain is not None else {},
    )


def _refuse_experts(bundle: Bundle) -> None:
    """Refuse to train on what was fitted at once, or weighed for a network as it was.

    Raises:
        RecipeError: the bundle is one of several experts.
    """
    if model_name(bundle) == EXPERTS:
        raise RecipeError(
            f"model.start is {bundle.path}, a bundle of several experts, which cannot be trained on; expected a bundle of one "
            "model; state model.encoder and model.experts, and train on all rows anew"
        )


def _augmented(
    recipe: Recipe, train: Examples, dev: Examples, domain: Domain | None
) -> tuple[Examples, AugmentationReport | None]:
    """Add varied copies to the training rows, as far as the recipe asks for them; the terms of recipe and domain stay."""
    if recipe.augmentation is None:
        return train, None
    terms = [*chain.from_iterable(domain.term_groups.values())] if domain is not None else []
    if recipe.text.terms is not None:
        terms += read_term_list(Path(recipe.text.terms)).terms
    filler = None
    if recipe.augmentation.masked:
        from paddlenlp_embtune.training._mask_filler import build_mask_filler

        filler = build_mask_filler(str(recipe.augmentation.encoder or recipe.model.encoder))
    return augment_examples(train, recipe.augmentation, dev_texts=dev.texts, terms=terms, seed=recipe.seed, filler=filler)


def _own_ids_of(tokenizer: Tokenizer, texts: Sequence[str], tokenized: TokenizedTexts) -> Iterator[Sequence[int]]:
    """Yield the ids of each text's own tokens, all of them; only texts that were cut or split are encoded again."""
    begin, behind, cut = len(tokenizer.prefix), len(tokenizer.suffix), set(tokenized.cut)
    for number, text in enumerate(texts):
        first, after = int(tokenized.first[number]), int(tokenized.first[number + 1])
        ids = tokenized.ids[first]
        whole = bool(ids) and after - first == 1 and number not in cut
        yield ids[begin : len(ids) - behind] if whole else content_ids(tokenizer, text)


def _labels(
    continuation: Continuation | None, rows: Examples, stated: Sequence[str] | None
) -> tuple[Continuation | None, tuple[str, ...]]:
    if continuation is None or continuation.bundle is None:
        return continuation, discover_labels(rows, stated)
    continuation = with_task_head(continuation, rows)
    return continuation, joint_labels(continuation, rows, stated)


def _terms_unused(
    listed: TermList | None, tokenizer: Tokenizer, texts: Sequence[str]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what to say about the recipe's list of terms, and those of them that no text contains."""
    if listed is None:
        return (), ()
    cleaning = getattr(tokenizer, "cleaning", CLEANING)
    unused = unused_terms(listed.terms, texts, lowercase=tokenizer.lowercase, cleaning=cleaning)
    lines = [describe_unused_terms(listed.path.name, unused, len(set(listed.terms)))] if unused else []
    return (*listed.remarks(), *lines), unused


def _for_several(recipe: Recipe) -> Recipe:
    """Return the recipe for rows that were found to have several labels.

    Raises:
        RecipeError: it states something that knows one label a text alone.
    """
    recipe = dataclasses.replace(recipe, labels=dataclasses.replace(recipe.labels, kind=MULTI.name))
    if recipe.train.loss != _LOSS:
        return recipe
    return dataclasses.replace(recipe, train=dataclasses.replace(recipe.train, loss=_LOSS_OF_SEVERAL))


def _kind(recipe: Recipe, labels: tuple[str, ...], domain: Domain | None, bundle: Bundle | None, *, several: bool) -> LabelKind:
    """Return the kind of the labels: as it was found in the rows, stated, or else as in the domain or the bundle to start from.

    Raises:
        RecipeError: they are ordered in no order, or the bundle to start from has labels of another kind.
    """
    if bundle is not None and several != kind_of(bundle.manifest).several:
        raise RecipeError(
            f"{bundle.path} has labels of the kind {bundle.manifest.label_kind!r}, and a row of the data has "
            f"{'several' if several else 'one'}; expected labels of one kind"
        )
    return MULTI if several else ORDERED if _ordered(recipe, labels, domain, bundle) else SINGLE


def _ordered(recipe: Recipe, labels: tuple[str, ...], domain: Domain | None, bundle: Bundle | None) -> bool:
    """Whether the order of the labels means something: as stated, or else as in the domain or the bundle to start from.

    Raises:
        RecipeError: it is stated of labels whose order is not stated.
    """
    of_domain = domain is not None and labels == domain.labels
    stated = None if recipe.label_kind is None else recipe.label_kind == ORDERED.name
    if stated and recipe.label_names is None and not of_domain and bundle is None:
        raise RecipeError(
            f"data.ordered is true, but the labels ({', '.join(labels)}) were found in the data, in no order; state them in "
            "order in data.labels, or leave data.ordered out"
        )
    if stated is not None:
        return stated
    if domain is not None and of_domain:
        return domain.ordered
    return bundle is not None and bundle.manifest.ordered


def _domain(recipe: Recipe) -> Domain | None:
    found: Domain | None = registry.current().get("domain", recipe.domain) if recipe.domain is not None else None
    return found


def _resolved(recipe: Recipe, start: Start, *, rows: int, labels: int) -> Recipe:
    """Fill in what follows from the data: length and size of the run, the model and steps of a bundle, absolute paths."""
    if start.pretrained is not None:
        recipe = with_contrastive_defaults(recipe, start.pretrained.settings)
    recipe = with_embedding_only(recipe)
    model = recipe.model
    if start.bundle is not None:
        model = dataclasses.replace(model, name=model_name(start.bundle))
    text = dataclasses.replace(recipe.text, cleaning=without_cleaning(start.tokenizer)[1])
    model = _with_folder(model)
    train = recipe.train.resolved(rows, encoder=model.name in _ENCODERS, labels=labels)
    return dataclasses.replace(recipe, text=text, model=model, train=train).relative_to(Path.cwd())


def _with_folder(model: ModelSpec) -> ModelSpec:
    """Write an encoder's folder as a path, where it was found in the current folder without ``./`` in front of its name."""
    encoder = model.encoder
    if encoder is None or encoder in registry.current().names("encoder") or not Path(encoder).expanduser().is_dir():
        return model
    return dataclasses.replace(model, encoder=str(Path(encoder).expanduser().absolute()))


def data_summary(prepared: Prepared, *, folders: bool = True) -> dict[str, Any]:
    """Counts and fingerprints of the data; a bundle, which travels, gets the names of files without their folders."""

    def shown(source: str) -> str:
        return source if folders else Path(source).name

    return {
        "train": shown(prepared.train.source),
        "dev": shown(prepared.dev.source),
        "train_rows": prepared.report.rows[0],
        "dev_rows": len(prepared.dev),
        "classes": prepared.report.classes,
        "duplicates": prepared.report.duplicates,
        "conflicts": prepared.report.conflicts,
        "leaks": prepared.report.leaks,
        "skipped_empty": prepared.train.skipped_empty + prepared.dev.skipped_empty,
        "skipped_blank": prepared.train.skipped_blank + prepared.dev.skipped_blank,
        "warnings": [*prepared.report.warnings(), *prepared.train.remarks(), *prepared.dev.remarks(), *prepared.remarks],
        "unused_terms": len(prepared.unused_terms),
        "vocabulary": len(prepared.tokenizer.vocabulary),
        "dev_unknown_rate": round(prepared.dev_unknown_share, 6),
        "sha256": {shown(source): digest for source, digest in prepared.hashes.items()},
    }
