"""Sizes in a ``config.json`` that no encoder has, or not the one beside it, are refused before anything is built."""

from __future__ import annotations

from pathlib import Path

import pytest

from paddlenlp_embtune.encoders.checkpoint import check_sizes, check_weight_sizes
from paddlenlp_embtune.errors import BundleError
from tests.hostile.reader_cases import CONFIG, WEIGHTS

FILE = Path("config.json")


@pytest.mark.parametrize("name", ["vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings", "num_labels"])
@pytest.mark.parametrize("size", [10**12, -1, 0, True, 1.5, "8", [8], {}])
def test_sizes_that_no_encoder_has(name: str, size: object) -> None:
    with pytest.raises(BundleError, match=f"{name} in config.json must be 1 to .*, got "):
        check_sizes({**CONFIG, name: size}, FILE)


@pytest.mark.parametrize("name", ["vocab_size", "hidden_size", "intermediate_size", "max_position_embeddings", "num_labels"])
def test_sizes_that_the_weights_do_not_have(name: str) -> None:
    check_sizes(CONFIG, FILE)
    check_weight_sizes(CONFIG, WEIGHTS, FILE)
    changed = {**CONFIG, name: 2**30}
    check_sizes(changed, FILE)
    with pytest.raises(
        BundleError, match=r"config\.json describes an encoder of [0-9,]+ values or more, .* have only 2[0-9]{2};"
    ):
        check_weight_sizes(changed, WEIGHTS, FILE)
