"""Bundles with another vocabulary: domain terms added to a trained model, or rows that a domain does not use taken away."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune.bundle import Bundle, model_name
from paddlenlp_embtune.embeddings import add_tokens
from paddlenlp_embtune.embeddings.init import Coverage
from paddlenlp_embtune.embeddings.io import VectorTable
from paddlenlp_embtune.errors import BundleError, DataError
from paddlenlp_embtune.evaluation import encode_labels
from paddlenlp_embtune.export._calibration import MIN_CALIBRATION_ROWS
from paddlenlp_embtune.export._place import locked_bundle
from paddlenlp_embtune.export.bundle_content import BundleContent
from paddlenlp_embtune.export.replace_embedding import measure_again
from paddlenlp_embtune.export.transaction import new_bundle
from paddlenlp_embtune.inference import refuse_several_labels
from paddlenlp_embtune.models import embedding_name, load_layer, with_table
from paddlenlp_embtune.text import AddedTerms, PrunedTokenizer, Tokenizer, prune_tokenizer, tokenizer_files

__all__ = ["Resized", "cut_bundle", "extend_bundle"]

Table = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Resized:
    """A bundle with another vocabulary.

    Args:
        bundle: opened.
        change: what became of the terms, or what was dropped.
        coverage: where the new rows came from; None where there are none.
        notes: what the bundle lacks now.
    """

    bundle: Bundle
    change: AddedTerms | PrunedTokenizer
    coverage: Coverage | None
    notes: tuple[str, ...]


def extend_bundle(
    bundle: Bundle,
    target: Path,
    terms: Sequence[str],
    *,
    vectors: VectorTable | None = None,
    texts: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> Resized:
    """Give domain terms tokens and rows of their own in a bundle that is trained.

    Old ids and rows stay as they are, bit for bit, so texts without these terms get the same answers. A new row is made of the
    rows of the term's pieces. The network has not met the new tokens yet: train on with ``model.start``.

    Args:
        bundle: an opened bundle.
        target: where the result goes; may be the bundle's own folder.
        terms: what is added; those that are tokens already are left out.
        vectors: pretrained rows for them, as in :func:`paddlenlp_embtune.embeddings.add_tokens`.
        texts: labelled rows that the model was not trained on, to fit the calibration and measure on; none, or 20 or more.
        labels: their labels.
    Raises:
        DataError: a term is invalid, or all of them are tokens already, or the rows are too few.
        ParityError, BundleError, PluginError: as :func:`paddlenlp_embtune.export.write_bundle`.
    """
    if not terms:
        raise DataError("there are no terms to add; expected one or more")
    with locked_bundle(bundle, target) as current:
        _check_rows(current, texts, labels)
        model = load_layer(current.path)
        tokenizer, change, table, coverage = add_tokens(current.tokenizer, _table(model), terms, vectors)
        if not change.added:
            raise BundleError(f"all {len(terms)} terms are tokens of {current.path} already; there is nothing to add")
        origin = {"extended": {"terms": len(change.added), "origins": dict(coverage.counts())}}
        written, notes = _rewrite(current, target, model, tokenizer, table, origin, texts, labels)
        return Resized(written, change, coverage, notes)


def cut_bundle(
    bundle: Bundle,
    target: Path,
    domain_texts: Sequence[str],
    *,
    min_count: int = 1,
    texts: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> Resized:
    """Take the tokens and rows that a domain does not use out of a bundle, so that its programs become small.

    The rows that stay are the same, bit for bit; so are the answers on texts that are cut into the same tokens.

    Args:
        bundle: an opened bundle.
        target: where the result goes; may be the bundle's own folder.
        domain_texts: what the vocabulary must serve.
        min_count: rarer tokens are dropped, unless they are single characters.
        texts: labelled rows that the model was not trained on, to fit the calibration and measure on; none, or 20 or more.
        labels: their labels.
    Raises:
        BundleError: the model's answers depend on the numbers of its ids.
        DataError, ParityError, PluginError: as :func:`extend_bundle`.
    """
    with locked_bundle(bundle, target) as current:
        _check_rows(current, texts, labels)
        model = load_layer(current.path)
        if getattr(model, "hashes_ids", False):
            raise BundleError(
                f"the {type(model).__name__} of {current.path} hashes ids, so they cannot be renumbered; train it with a "
                "larger text.min_count, or without n-grams: with model.options {ngram_buckets: 0}, or model.experts [vectors]"
            )
        cut = prune_tokenizer(current.tokenizer, domain_texts, min_count=min_count)
        origin = {"cut": {"dropped": len(cut.dropped), "rows": len(cut.rows), "texts": cut.texts, "min_count": min_count}}
        written, notes = _rewrite(current, target, model, cut.tokenizer, _table(model)[cut.rows], origin, texts, labels)
        return Resized(written, cut, None, notes)


def _check_rows(bundle: Bundle, texts: Sequence[str], labels: Sequence[str]) -> None:
    """Refuse labelled rows that cannot be used, and a bundle of several labels a text, before anything is exported."""
    refuse_several_labels(bundle.manifest, "resizing the vocabulary of a bundle")
    if len(texts) or len(labels):
        encode_labels(bundle, texts, labels, least=MIN_CALIBRATION_ROWS)


def _table(model: Any) -> Table:
    table: Table = dict(model.named_parameters())[embedding_name(model)].numpy()
    return table


def _rewrite(
    bundle: Bundle,
    target: Path,
    model: Any,
    tokenizer: Tokenizer,
    table: Table,
    origin: Mapping[str, Any],
    texts: Sequence[str],
    labels: Sequence[str],
) -> tuple[Bundle, tuple[str, ...]]:
    """Write the bundle with its model on another table, every engine exported and proven again."""
    manifest = bundle.manifest
    name = model_name(bundle)
    content = BundleContent(
        model=with_table(model, name, table),
        model_name=name,
        tokenizer=tokenizer,
        labels=manifest.labels,
        ordered=manifest.ordered,
        max_length=manifest.max_length,
        windows=manifest.windows,
        domain=manifest.domain,
        recipe=manifest.recipe,
        data=manifest.data,
        vectors={**manifest.vectors, **origin},
        sample_texts=texts[:512],
    )
    bundle.check_current("weights.safetensors", "model.json", *tokenizer_files(bundle.manifest.tokenizer))
    engines = [each for each in manifest.engines if each != "paddle"]
    with new_bundle(target, content) as builder:
        builder.add_engines(engines)
        notes = measure_again(builder, manifest, texts=texts, labels=labels, same_rows=True)
    return builder.bundle, tuple(notes)
