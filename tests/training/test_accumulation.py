"""Four batches of eight train as one of thirty-two does: weighted classes, a short last step, and windows included."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.config.recipe import Recipe
from paddlenlp_embtune.data.dataset import EncodedDataset, LengthBatchSampler
from paddlenlp_embtune.training.run import train
from tests.helpers import tsv

TEXTS = {"利空": "公司业绩大幅下滑亏损", "中性": "今日召开股东大会讨论", "利好": "净利润增长超预期回购股份"}


def rows(number: int) -> list[tuple[str, str]]:
    """Classes of very different size, texts of different length."""
    generator = np.random.default_rng(2)
    made = []
    for _ in range(number):
        label = str(generator.choice(list(TEXTS), p=[0.1, 0.2, 0.7]))
        letters = generator.choice(list(TEXTS[label] + "的了在是"), generator.integers(3, 14))
        made.append(("".join(letters), label))
    return [*((text, label) for label, text in TEXTS.items()), *made]


def weights(folder: Path, number: int, *, batch_size: int, accumulation_steps: int, **options: Any) -> dict[str, np.ndarray]:
    (folder / "train.tsv").write_text(tsv(rows(number)), encoding="utf-8")
    (folder / "dev.tsv").write_text(tsv(rows(12)), encoding="utf-8")
    chosen = Recipe.from_dict(
        {
            "data": {"train": str(folder / "train.tsv"), "dev": str(folder / "dev.tsv")},
            "text": {"extra_rows": 0, "min_count": 1},
            "model": {"options": {"filters": 8, "ngram_buckets": 0, "dropout": 0.0, "token_dropout": 0.0}},
            "train": {
                "epochs": 2,
                "batch_size": batch_size,
                "accumulation_steps": accumulation_steps,
                "class_balance": 1.0,
                "checkpoint_seconds": None,
                **options,
            },
            "freeze": None,
            "export": {"engines": []},
        }
    )
    bundle = Bundle.open(train(chosen, folder / f"{batch_size}x{accumulation_steps}").bundle)
    from safetensors.numpy import load_file

    return load_file(bundle.path / "weights.safetensors")


@pytest.mark.parametrize("number", [61, 77, 95], ids=["whole steps", "a short last one", "fewer rows than batches"])
def test_small_batches_of_a_step_train_as_one_large_batch_does(tmp_path: Path, number: int) -> None:
    whole = weights(tmp_path, number, batch_size=32, accumulation_steps=1)
    for size, steps in ((8, 4), (16, 2)):
        parts = weights(tmp_path, number, batch_size=size, accumulation_steps=steps)
        for name, value in whole.items():
            np.testing.assert_allclose(parts[name], value, atol=2e-5, rtol=1e-3, err_msg=f"{size} x {steps} {name}")


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("number", [64, 65, 90])
def test_steps_have_the_rows_of_large_batches_and_their_parts_add_up(number: int, ranks: int) -> None:
    generator = np.random.default_rng(0)
    data = EncodedDataset([[1] * int(n) for n in generator.integers(1, 30, number)], generator.integers(0, 3, number).tolist())
    heavy = generator.random(number) + 0.5
    for rank in range(ranks):
        common = {"seed": 3, "num_replicas": ranks, "rank": rank}
        large = LengthBatchSampler(data, batch_size=32, **common)
        small = LengthBatchSampler(data, batch_size=8, accumulation_steps=4, **common)
        for epoch in range(2):
            large.set_epoch(epoch)
            small.set_epoch(epoch)
            batches, shares = list(small), small.shares(heavy)
            assert len(batches) == len(shares) == len(small) == 4 * len(large)
            for at, whole in enumerate(large):
                parts, part = batches[4 * at : 4 * at + 4], shares[4 * at : 4 * at + 4]
                counted = [row for rows, share in zip(parts, part, strict=True) if share for row in rows]
                assert counted == whole
                assert sum(part) == pytest.approx(1.0)
                assert all(0 < len(rows) <= 8 for rows in parts)
                for rows, share in zip(parts, part, strict=True):
                    assert share in (0.0, pytest.approx(heavy[rows].sum() / heavy[whole].sum()))
