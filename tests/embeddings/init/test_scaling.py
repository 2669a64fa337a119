from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from paddlenlp_embtune.embeddings.init._scaling import mean_at_norm
from paddlenlp_embtune.embeddings.metrics import row_norms
from tests.embeddings.tables import gaussian

Table = npt.NDArray[np.float32]


@pytest.mark.parametrize("count", [1, 2, 9])
def test_a_mean_is_as_long_as_its_rows(count: int) -> None:
    rows = gaussian(count, 64)
    found = mean_at_norm(rows)
    assert found.dtype == np.float32
    assert np.linalg.norm(found) == pytest.approx(float(row_norms(rows).mean()), rel=1e-5)
    plain = rows.mean(axis=0)
    assert found @ plain == pytest.approx(np.linalg.norm(found) * np.linalg.norm(plain), rel=1e-5)


def test_rows_that_cancel_out_give_zero() -> None:
    rows = gaussian(1, 5)
    assert not mean_at_norm(np.concatenate([rows, -rows])).any()
