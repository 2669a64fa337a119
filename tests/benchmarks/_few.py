"""Few rows of each data set, and the arms that tell apart what pretraining, rates by group and freezing do on them."""

from __future__ import annotations

import random
from pathlib import Path

__all__ = ["FEW", "write_few"]

ROWS, TEST_ROWS = 200, 300
_CHANGES = ("plain", "rates", "freeze", "gradual")

# Four epochs are about 50 steps, in which the default rates, made for 240, hardly move an encoder. Four times these were
# chosen on the dev.tsv of thucnews_titles10, with one seed, and looked at on that of fin_news_pn.
_ONE, _BY_GROUP = "{rate: 2e-4, decay: 1.0}", "{rate: 2e-4, decay: 0.9, head_rate: 2e-3}"
_LAYERWISE = {"plain": _ONE, "rates": _BY_GROUP, "freeze": _ONE, "gradual": _BY_GROUP}
_TUNED = (
    *("text.max_length=64", "early_stopping=null", "health=null", "export.engines=[]"),
    *("train.epochs=4", "train.batch_size=16", "train.precision=auto"),
)

FEW: dict[str, tuple[list[str], list[str]]] = {
    "encoder": (
        ["tfidf", "frozen", *(f"{name}=encoder+{name}" for name in _CHANGES)],
        [f"{name}:{setting}" for name in _CHANGES for setting in (*_TUNED, f"layerwise={_LAYERWISE[name]}")]
        + ["frozen:text.max_length=64"],
    ),
    "textcnn": (
        ["tfidf", *(f"{start}-{name}=textcnn+{name}" for start in ("lac", "random") for name in _CHANGES)],
        # The network alone: with so few rows, the regression over n-grams beside it answers in its place.
        ["model.options.ngram_buckets=0"]
        + [f"{start}-{name}:vectors.source={start}" for start in ("lac", "random") for name in _CHANGES],
    ),
}
"""For either model the arms, and their settings."""


def write_few(data: Path, name: str, folder: Path) -> None:
    """Write the rows that seeds draw from, and the test rows: those of test.tsv, or of dev.tsv where there is none."""
    train, dev = _rows(data / name / "train.tsv"), _rows(data / name / "dev.tsv")
    has_test = (data / name / "test.tsv").is_file()
    test = _rows(data / name / "test.tsv") if has_test else dev
    folder.mkdir(parents=True, exist_ok=True)
    drawn = random.Random(0).sample(test, min(TEST_ROWS, len(test)))
    for split, rows in (("train", train + dev if has_test else train), ("test", drawn)):
        (folder / f"{split}.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")


def _rows(path: Path) -> list[str]:
    return [line for line in path.read_text(encoding="utf-8").split("\n")[1:] if line]
