"""Adding varied copies of training rows: which methods, which rows, and what keeps copies from leaking."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune.data.augmentation._character_tables import HOMOPHONES, LOOKALIKES
from paddlenlp_embtune.data.augmentation._characters import replace_characters
from paddlenlp_embtune.data.augmentation._deletion import delete_words
from paddlenlp_embtune.data.augmentation._insertion import insert_synonyms
from paddlenlp_embtune.data.augmentation._lexicon import Alternatives, alternatives, read_groups
from paddlenlp_embtune.data.augmentation._mask_filling import MaskFiller, fill_masks
from paddlenlp_embtune.data.augmentation._protection import Protection
from paddlenlp_embtune.data.augmentation._swap import swap_words
from paddlenlp_embtune.data.augmentation._synonyms import replace_synonyms
from paddlenlp_embtune.data.augmentation._words import Word, split_words
from paddlenlp_embtune.data.validation import text_key
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.text import is_blank, read_term_list, word_cutter

if TYPE_CHECKING:
    from paddlenlp_embtune.config import AugmentationSpec
    from paddlenlp_embtune.data.readers import Examples

__all__ = ["AugmentationReport", "augment_examples"]

Method = Callable[[Sequence[Sequence[Word]], Sequence[random.Random]], Sequence[str | None]]
"""Makes a copy of each text's words, with what draws for it; None where it can change nothing."""


@dataclasses.dataclass(frozen=True)
class AugmentationReport:
    """What augmentation added.

    Args:
        rows: added by each method.
        unchanged: copies that a method could not make, because it found nothing to change.
        repeated: copies that were left out, because they equal a training or development text, or another copy.
    """

    rows: Mapping[str, int]
    unchanged: Mapping[str, int]
    repeated: Mapping[str, int]

    @property
    def added(self) -> int:
        """Rows added in all."""
        return sum(self.rows.values())


def augment_examples(
    train: Examples,
    spec: AugmentationSpec,
    *,
    dev_texts: Sequence[str],
    terms: Iterable[str],
    seed: int,
    filler: MaskFiller | None = None,
) -> tuple[Examples, AugmentationReport]:
    """Add varied copies behind the training rows, with the label and the weight of their row.

    A copy depends on the seed, the method, and the number and text of its row, so the same rows give the same copies, whatever
    other rows follow. No copy equals a development text, nor a training text, so none leaks or contradicts a label.

    Args:
        train: training rows.
        spec: how.
        dev_texts: texts that no copy may equal.
        terms: of the recipe and its domain, which stay as they are.
        seed: of the recipe.
        filler: guesses masked characters; needed by ``masked``.
    Raises:
        RecipeError: ``masked`` is set, and there is no filler.
        DataError: a file of the specification cannot be read, or has no groups or words.
        MissingDependencyError: jieba is not installed.
    """
    further = read_term_list(Path(spec.protected)).terms if spec.protected is not None else ()
    protection = Protection([*terms, *further])
    cutter = word_cutter(hmm=False)
    words = [split_words(text, cutter, protection) for text in train.texts]
    seen = {text_key(text) for text in (*train.texts, *dev_texts)}
    counts: dict[str, dict[str, int]] = {name: {} for name in ("rows", "unchanged", "repeated")}
    sources, texts = list[int](), list[str]()
    for name, method in _methods(spec, protection, filler).items():
        found = dict.fromkeys(counts, 0)
        for copy in range(spec.copies):
            draws = [random.Random(f"{seed} {name} {copy} {row} {text}") for row, text in enumerate(train.texts)]
            for row, text in enumerate(method(words, draws)):
                if text is None or is_blank(text):
                    found["unchanged"] += 1
                elif (key := text_key(text)) in seen:
                    found["repeated"] += 1
                else:
                    found["rows"] += 1
                    seen.add(key)
                    sources.append(row)
                    texts.append(text)
        for kind, number in found.items():
            counts[kind][name] = number
    all_rows = train.take([*range(len(train)), *sources], train.source)
    taken = dataclasses.replace(train, texts=(*train.texts, *texts), labels=all_rows.labels, weights=all_rows.weights)
    return taken, AugmentationReport(**counts)


def _methods(spec: AugmentationSpec, protection: Protection, filler: MaskFiller | None) -> dict[str, Method]:
    """Return the methods of a specification, with what they need."""
    needed = _tables(spec)
    known: dict[str, Callable[..., str | None]] = {
        "synonyms": replace_synonyms,
        "insertion": insert_synonyms,
        "swap": swap_words,
        "deletion": delete_words,
        "homophones": replace_characters,
        "lookalikes": replace_characters,
    }
    found: dict[str, Method] = {}
    for name, rate in spec.rates.items():
        if name in known:
            found[name] = _one_by_one(partial(known[name], rate=rate, protection=protection, **needed.get(name, {})))
        elif filler is None:
            raise RecipeError(f"augmentation.{name} is {rate:g}, but no encoder was given; pass filler, or set it to 0")
        else:
            found[name] = partial(fill_masks, rate=rate, protection=protection, filler=filler)
    return found


def _one_by_one(method: Callable[..., str | None]) -> Method:
    def of_all(texts: Sequence[Sequence[Word]], draws: Sequence[random.Random]) -> list[str | None]:
        return [method(words, draw=draw) for words, draw in zip(texts, draws, strict=True)]

    return of_all


def _tables(spec: AugmentationSpec) -> dict[str, dict[str, Any]]:
    """Read the files that the methods need."""
    needed: dict[str, dict[str, Alternatives]] = {}
    rates = spec.rates
    if spec.lexicon is not None and any(name in rates for name in spec.WITH_LEXICON):
        lexicon = alternatives(read_groups(Path(spec.lexicon), setting="augmentation.lexicon"))
        needed |= {name: {"lexicon": lexicon} for name in spec.WITH_LEXICON}
    for name, setting, path, table in (
        ("homophones", "homophone_table", spec.homophone_table, HOMOPHONES),
        ("lookalikes", "lookalike_table", spec.lookalike_table, LOOKALIKES),
    ):
        if name in rates:
            groups: Any = table.split()
            if path is not None:
                groups = read_groups(Path(path), setting=f"augmentation.{setting}", characters=True)
            needed[name] = {"table": alternatives(groups)}
    return needed
