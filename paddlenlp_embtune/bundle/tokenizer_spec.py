"""How text becomes ids, step by step, for a port to another language: one list for each kind of tokenizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from paddlenlp_embtune.text import BLANKS, CONTROLS, FORMER_CONTROLS, IGNORABLE, RADICALS, describe_cleaning, describe_ranges

__all__ = ["tokenizer_steps"]

_REPLACED = f"Replace {describe_ranges(BLANKS)} by U+0020, and each of these by what follows it: " + " ".join(
    f"U+{code:04X} U+{ord(ideograph):04X}," for code, ideograph in sorted(RADICALS.items())
).rstrip(",")
_WANTED = {
    1: (f"Remove {describe_ranges(FORMER_CONTROLS)}.",),
    2: (f"Remove {describe_ranges(tuple(sorted((*CONTROLS, *IGNORABLE))))}.", f"{_REPLACED}."),
}
_FOLDING = (
    "Of each run of characters with a canonical combining class other than 0, keep the first 30.",
    "Normalize to Unicode NFKC.",
    "Make each run of white space (Unicode's White_Space, and U+001C to U+001F) one U+0020, and remove it at both ends.",
    "If `lowercase`, map to lower case (Unicode, full mapping).",
)
_BLANK = (
    "A text has no ids, and so no label, where each of its characters is white space (Unicode's White_Space, and U+001C to "
    f"U+001F) or one of {describe_ranges(tuple(sorted((*CONTROLS, *IGNORABLE, *BLANKS))))}."
)
_LOOK_UP = "Look each token up in `vocabulary`: its line, counted from 0; `unknown_id` if it has none."
_KEEP = "Keep the first `max_length` ids. A text without ids has no label."
_STEPS: dict[str, tuple[str, ...]] = {
    "char": (
        "Look each code point up in `vocabulary`: its line, counted from 0; `unknown_id` if it has none.",
        _KEEP,
    ),
    "word": (
        "If `user_terms` is not 0, find the lines of user_dictionary.txt in the text: the leftmost first, of those the "
        "longest, and none that begins or ends between two ASCII letters or digits. Each is a token. The next steps cut what "
        "is between.",
        "Split before and after each character that is not of U+4E00-9FD5, an ASCII letter or digit, or one of + # & . _ % -; "
        "such a character is a token. Cut longer runs of the others after each 2,000 characters.",
        "Take the dict.txt of the package jieba, of which `dictionary_sha256` is the SHA-256 (with `hmm`: of it and of "
        "finalseg/prob_start.py, prob_trans.py and prob_emit.py, one after the other): a word and its count in each line.",
        "Cut a run into words of it, or a single character that counts as 1 where no word begins, so that the product of their "
        "counts, each divided by the sum of all counts, is highest; of equals, from the left, take the longer word. Words with "
        "the count 0 are none.",
        "Without `hmm`, join ASCII letters and digits that stand alone side by side. With `hmm`, cut each row of single "
        "characters as jieba.finalseg.cut does, unless there is only one, or the row is a word.",
        "If `split_unknown`, cut each word that `vocabulary` lacks into its code points.",
        _LOOK_UP,
        _KEEP,
    ),
    "sentencepiece": (
        "Replace each lone surrogate by U+FFFD. A text of white space alone has no pieces.",
        "Encode the text with sentencepiece.model (SentencePiece, without its own markers and without sampling) into pieces. "
        "Control symbols such as <s> in a text are text like any other.",
        "Look each normal, user-defined and byte piece up in `vocabulary` by its name: its line, counted from 0. Any other "
        "piece, one that is named [PAD], [UNK], [CLS] or [SEP], and one that has no line, is `unknown_id`.",
        "Keep as many as fit in `max_length` between `prefix` and `suffix`. A text without pieces has no label.",
    ),
    "ernie_m": (
        "Replace each lone surrogate by U+FFFD. A text of white space alone has no pieces.",
        "If `lowercase`, replace each code point by its lower case (Unicode, full mapping), looked up alone.",
        "Encode the text with sentencepiece.model (SentencePiece, without its own markers and without sampling) into pieces, "
        "as text. Leave out those that are U+2581 alone.",
        "Cut each piece: before and after each code point of U+4E00-9FFF or of ,;:.?!~，；：。？！《》【】, and between two of "
        "which one is a digit (Unicode) and the other is not, unless the second is U+2581. Leave out parts that are U+2581 "
        "alone and that something follows.",
        "Look each part up in `vocabulary` by its name: its line, counted from 0. One that has no line, and one that is named "
        "[PAD], [UNK], [CLS], [SEP] or [MASK], is `unknown_id`.",
        "Keep as many as fit in `max_length` between `prefix` and `suffix`. A text without pieces has no label.",
    ),
}
_TERMS = (
    "Find the terms in the cleaned copy: the leftmost first, of those the longest, and none that begins or ends between two "
    "ASCII letters or digits. Leave out those that begin or end within what one character as given, or several that were "
    "composed, became. Where none is left, the text is read with the steps of `base` alone.",
    "Cut the text as given where the terms begin and end. A term is its line in `vocabulary`. Each part between terms is read "
    "with the steps of `base`, as if it were a text of its own, without `prefix` and `suffix`; a part may have no ids.",
    "Keep as many ids as fit in `max_length` between `prefix` and `suffix`. The steps of `base`, whose vocabulary is the lines "
    "before the terms:",
)


_WHOLE = (
    "Find the tokens that `whole` lists in the text: the leftmost first, of those the longest, also within a word. If "
    "`fold_whole`, first map all to lower case, character by character, but for what is spelled exactly as one of them (found "
    "from the left; of two that begin there, the first by code points). Each is its line in `vocabulary`; each part between "
    "them is read with the next steps, as if it were a text of its own.",
)


def _wordpiece(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The steps of WordPiece, which depend on its options."""
    lowercase = bool(config.get("lowercase", True))
    symbols, ideographs, words = (bool(config.get(name, True)) for name in ("symbols", "ideographs", "words"))
    accents = bool(config.get("strip_accents", lowercase))
    folding = "If `lowercase`, map each character to lower case, then decompose it (NFD) and remove the category Mn."
    if accents != lowercase:
        folding = (
            "Decompose each character (NFD) and remove the category Mn." if accents else "Map each character to lower case."
        )
    alone = (
        "Set a space on both sides of each character of the categories P*"
        + (" and S*" if symbols else "")
        + ", of the ASCII range that is neither letter nor digit"
        + (
            ", of the ideograph blocks U+3400-4DBF, U+4E00-9FFF, U+F900-FAFF, U+20000-2A6DF, U+2A700-2B73F, U+2B740-2B81F, "
            "U+2B820-2CEAF and U+2F800-2FA1F"
            if ideographs
            else ""
        )
        + (", and of \u00b2 \u00ba \u3007 \u00b5 \u00d8 \u014b \u01b1" if symbols else "")
        + ". Words are what spaces part."
    )
    cleaning = (
        "Tab, line feed, carriage return and the categories Z* become a space. Remove U+FFFD and the categories C*: controls, "
        "formats, surrogates, private use, and what the Unicode version above does not know.",
        folding,
        alone,
    )
    plain = ("If `lowercase`, map each character to lower case.", "Words are what white space parts.")
    framed = " between `prefix` and `suffix`" if config.get("frame", True) else ""
    return (
        *(_WHOLE if config.get("whole") else ()),
        *(cleaning if words else plain),
        "Cut each word into the longest pieces that `vocabulary` has, from the left, those within a word beginning with ##; a "
        "word that cannot be cut, or has more than 100 characters, is `unknown_id`."
        + ("" if "[SEP]" in config.get("whole", ()) else " [SEP] in a text is text like any other."),
        "Look each piece up in `vocabulary`: its line, counted from 0; where a line stands twice, the last one.",
        f"Keep as many as fit in `max_length`{framed}. A text without pieces has no label.",
    )


def tokenizer_steps(config: Mapping[str, Any]) -> list[str]:
    """Give the steps from a text to ids.

    Args:
        config: what a tokenizer's ``config`` returned.
    """
    return [_BLANK, *_steps(config)]


def _steps(config: Mapping[str, Any]) -> list[str]:
    name, cleaning = str(config["name"]), _cleaning(int(config.get("cleaning", 1)))
    if name == "cleaned":
        return [*_cleaning_steps(config["cleaning_steps"]), *_steps(config["base"])]
    if name in ("char", "word"):
        return [*cleaning, *_STEPS[name]]
    if name == "wordpiece":
        return list(_wordpiece(config))
    if name != "terms":
        return list(_STEPS.get(name, ()))
    piecewise = config["base"]["name"] in ("sentencepiece", "ernie_m")
    folds = "the normalizer of sentencepiece.model has a name that ends in _cf" if piecewise else "`lowercase` of `base`"
    first = "The last `count` lines of `vocabulary` are terms. Make a cleaned copy of the text with the indented steps:"
    terms = [step.replace("`lowercase`", folds) for step in (first, *(f"  {step}" for step in cleaning), *_TERMS)]
    return [*terms, *_steps(config["base"])]


def _cleaning_steps(steps: Sequence[str]) -> list[str]:
    first = (
        "Change the text with the indented steps, in this order, and all of them again until nothing changes, at most four "
        "times. Patterns are regular expressions as Python's re module reads them. A text of which nothing visible is left has "
        "no label."
    )
    return [first, *(f"  {line}" for step in steps for line in describe_cleaning(step))]


def _cleaning(rule: int) -> tuple[str, ...]:
    return ("Replace each lone surrogate by U+FFFD.", *_WANTED[rule], *_FOLDING)
