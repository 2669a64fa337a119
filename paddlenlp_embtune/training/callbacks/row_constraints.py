"""Control of single rows of the embedding: train some, protect some, keep all near where they started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.config import RowsSpec
from paddlenlp_embtune.embeddings.metrics import cosine_drift
from paddlenlp_embtune.errors import RecipeError, expected_names
from paddlenlp_embtune.models import embedding_name
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback
from paddlenlp_embtune.training.parameter_groups import match_parameters

if TYPE_CHECKING:
    from paddlenlp_embtune.training.context import TrainingContext

paddle = compat.require_paddle()

__all__ = ["RowConstraintsCallback", "put_rows", "restore_rows", "row_numbers", "turn_back"]


class RowConstraintsCallback(EmbtuneCallback):
    """Keeps rows of the embedding bit-equal, and all rows within a cone around where they started.

    Fixed rows get no gradient, so they do not count in clipping either, and are put back after each step, because weight
    decay and the momentum of AdamW move rows that have no gradient.

    Args:
        spec: which rows, and how far.
        tokens: the token of each row; needed where ``spec`` names tokens or terms.
    Raises:
        RecipeError: on_train_begin, a row that is not in the embedding.
    """

    def __init__(self, spec: RowsSpec, *, tokens: Sequence[str] | None = None) -> None:
        super().__init__()
        self.spec = spec
        self.tokens = tokens
        self.turned_back = 0
        self._embedding: Any = None
        self._fixed: Any = None
        self._fixed_values: Any = None
        self._is_fixed = np.zeros(0, dtype=np.bool_)
        self._by_rows = False
        self._moved: list[npt.NDArray[np.int64]] | None = None
        self._start: npt.NDArray[np.float32] | None = None

    def setup(self, context: TrainingContext) -> None:
        """Take the tokens of the run, where none were given."""
        super().setup(context)
        self.tokens = self.tokens if self.tokens is not None else context.tokens

    def settings(self) -> Mapping[str, Any]:
        """Which rows train or are protected, and how far the others may turn."""
        spec = self.spec
        return {
            "train": None if spec.train is None else list(spec.train),
            "protect": list(spec.protect),
            "trust_cosine": spec.trust_cosine,
            "trust_every_steps": spec.trust_every_steps,
        }

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Find the rows and remember where they start."""
        model = kwargs["model"]
        name = self.spec.parameter or embedding_name(model)
        self._embedding = match_parameters(model, [name], what="rows.parameter")[name]
        self._start = self._moved = None
        super().on_train_begin(args, state, control, **kwargs)
        fixed = self._fixed_rows(int(self._embedding.shape[0]))
        if fixed.size:
            self._fixed = paddle.to_tensor(fixed)
            self._is_fixed = np.zeros(int(self._embedding.shape[0]), dtype=np.bool_)
            self._is_fixed[fixed] = True
            with paddle.no_grad():
                self._fixed_values = paddle.gather(self._embedding, self._fixed)
        if self.spec.trust_cosine is not None and self._start is None:
            self._start = compat.read_only_view(self._embedding).astype(np.float32, copy=True)

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Take the gradient of fixed rows away."""
        self._by_rows = False
        if self._embedding.stop_gradient or self._embedding.grad is None:
            return
        values, numbers = compat.gradient_values(self._embedding), compat.gradient_rows(self._embedding)
        self._by_rows = numbers is not None and compat.has_lazy_updates(kwargs.get("optimizer"))
        if numbers is None or not self._by_rows:
            self._moved = None
        elif self._moved is not None and self.spec.trust_cosine is not None:
            self._moved.append(numbers)
        if self._fixed is not None:
            places = self._fixed if numbers is None else paddle.to_tensor(np.flatnonzero(self._is_fixed[numbers]))
            if places.shape[0]:
                with paddle.no_grad():
                    paddle.scatter_(values, places, paddle.zeros([places.shape[0], values.shape[1]], dtype=values.dtype))

    def on_optimizer_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put fixed rows back, and at every so many steps rows that have left the cone."""
        if self._embedding.stop_gradient:
            return
        # Steps by rows leave rows without a gradient alone, and those to put back may be nearly all of a large table.
        if self._fixed is not None and not self._by_rows:
            with paddle.no_grad():
                paddle.scatter_(self._embedding, self._fixed, self._fixed_values)
        if (int(state.global_step) + 1) % self.spec.trust_every_steps == 0:
            self._turn_back(None if self._moved is None else np.unique(np.concatenate([np.zeros(0, np.int64), *self._moved])))

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let an evaluation find every row inside the cone."""
        if control.should_evaluate:
            self.turn_back()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave no row outside the cone."""
        self.turn_back()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Leave no row outside the cone, and say how often rows were put back."""
        self.turn_back()
        if self.spec.trust_cosine is not None:
            self.record.write("trust_region", step=state.global_step, turned_back=self.turned_back)

    def turn_back(self) -> None:
        """Put rows that have left the cone back onto its border, now."""
        self._turn_back(None)

    def _turn_back(self, moved: npt.NDArray[np.int64] | None) -> None:
        """Look at the rows that may have moved since the last look, or at all."""
        if self._start is None or self.spec.trust_cosine is None:
            return
        # What moves rows otherwise, an average or a step with a dense gradient, is followed by a look at all of them.
        self._moved = []
        if moved is None:
            rows, values = turn_back(self._start, self._embedding, self.spec.trust_cosine)
        elif moved.size:
            now = paddle.gather(self._embedding.detach(), paddle.to_tensor(moved))
            places, values = turn_back(self._start[moved], now, self.spec.trust_cosine)
            rows = moved[places]
        else:
            return
        if rows.size:
            self.turned_back += int(rows.size)
            put_rows(self._embedding, rows, values)

    def _fixed_rows(self, count: int) -> npt.NDArray[np.int64]:
        protected = row_numbers(self.spec.protect, count, self.tokens, what="rows.protect")
        if self.spec.train is None:
            return protected
        trained = row_numbers(self.spec.train, count, self.tokens, what="rows.train")
        if (both := np.intersect1d(trained, protected)).size:
            shown = self.tokens[int(both[0])] if self.tokens is not None else int(both[0])
            raise RecipeError(f"rows.train and rows.protect share {both.size} rows, {shown!r} first; expected one of the two")
        return np.setdiff1d(np.arange(count), trained)

    def state(self) -> Mapping[str, Any]:
        """Where the rows started, and how many were put back."""
        kept: dict[str, Any] = {"turned_back": self.turned_back}
        return kept if self._start is None else {**kept, "start": self._start}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Measure from the same start."""
        self.turned_back = state["turned_back"]
        self._start = state.get("start")


def row_numbers(rows: Sequence[int | str], count: int, tokens: Sequence[str] | None, *, what: str) -> npt.NDArray[np.int64]:
    """Turn tokens, terms and numbers into row numbers; a term that is no token stands for its characters.

    Args:
        rows: what a recipe names.
        count: rows of the embedding, V.
        tokens: the token of each row, or None.
        what: what the rows are for, for messages.
    Shapes:
        returns: sorted, without repeats, int64
    Raises:
        RecipeError: a row that is not there.
    """
    known = {token: number for number, token in enumerate(tokens)} if tokens is not None else {}
    found: set[int] = set()
    for row in rows:
        if isinstance(row, int):
            if not 0 <= row < count:
                raise RecipeError(f"{what} names the row {row}; expected 0 to {count - 1}")
            found.add(row)
            continue
        if tokens is None:
            raise RecipeError(f"{what} names {row!r}, but the tokens of the rows are not known; pass tokens= to attach")
        if not row:
            raise RecipeError(f"{what} names an empty text; expected tokens, terms and row numbers")
        pieces = [row] if row in known else list(row)
        for piece in pieces:
            if piece not in known:
                raise RecipeError(f"{what} names {row!r}, which is not in the vocabulary; {expected_names(row, known)}")
            if known[piece] >= count:
                raise RecipeError(f"{what} names {row!r}, row {known[piece]} of the tokens; the embedding has {count} rows")
            found.add(known[piece])
    return np.array(sorted(found), dtype=np.int64)


def turn_back(start: npt.NDArray[np.float32], now: Any, least_cosine: float) -> tuple[npt.NDArray[np.int64], Any]:
    """Find rows that have left the cone around their start, and the nearest points on its border, at the same norm.

    Rows that are zero, or started at zero, have no direction and are left alone.

    Args:
        start: where the rows started.
        now: the embedding, a tensor.
        least_cosine: the border.
    Shapes:
        start: (V, D) float32; now: (V, D); returns: (N,) int64 and (N, D) float32
    Source:
        ours; the projection of a vector onto a circular cone, with the norm kept
    """
    dots, squares = compat.row_dots(now, paddle.to_tensor(start)), compat.row_dots(now, now)
    norms = np.sqrt(squares) * np.sqrt(np.einsum("ij,ij->i", start, start))
    with np.errstate(invalid="ignore", divide="ignore"):
        cosines = np.where(norms > 0, dots / norms, 1.0)
    rows = np.flatnonzero(cosines < least_cosine)
    if not rows.size:
        return rows, np.empty((0, start.shape[1]), dtype=np.float32)
    view = compat.read_only_view(now)
    axis = start[rows].astype(np.float64)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    values = view[rows].astype(np.float64)
    length = np.linalg.norm(values, axis=1, keepdims=True)
    along = (values * axis).sum(axis=1, keepdims=True)
    aside = values - along * axis
    size = np.linalg.norm(aside, axis=1, keepdims=True)
    # A row exactly opposite its start has no side; any does, so it turns over the axis's smallest coordinate.
    other = np.zeros_like(axis)
    other[np.arange(len(rows)), np.abs(axis).argmin(axis=1)] = 1.0
    other -= (other * axis).sum(axis=1, keepdims=True) * axis
    other /= np.linalg.norm(other, axis=1, keepdims=True)
    direction = np.where(size > 1e-9 * length, np.divide(aside, size, out=np.zeros_like(aside), where=size > 0), other)
    # A hair inside, so that rounding to float32 does not put the row outside again.
    cosine = min(1.0, least_cosine + 1e-6)
    placed = length * (cosine * axis + np.sqrt(1.0 - cosine**2) * direction)
    return rows, placed.astype(np.float32)


@paddle.no_grad()  # type: ignore[untyped-decorator]
def put_rows(embedding: Any, rows: npt.NDArray[np.int64], values: npt.NDArray[np.float32]) -> None:
    """Write rows into an embedding in place.

    Shapes:
        embedding: (V, D); rows: (N,); values: (N, D) float32
    """
    numbers, new = paddle.to_tensor(rows), paddle.to_tensor(values)
    if "float32" in str(embedding.dtype):
        paddle.scatter_(embedding, numbers, new)
    else:  # there is no scatter for half precision on a CPU
        embedding.set_value(paddle.scatter(embedding.astype("float32"), numbers, new).astype(embedding.dtype))


def restore_rows(
    embedding: Any,
    start: npt.NDArray[np.float32],
    now: npt.NDArray[np.float32],
    rows: npt.NDArray[np.int64] | None,
    *,
    bound: float,
) -> int:
    """Put rows that have turned further than a bound, or are not finite, back to where they started.

    Args:
        embedding: the table that is written to.
        start: where the watched rows started.
        now: where they are.
        rows: the row numbers of the watched rows; None if all are.
        bound: a cosine drift.
    Returns:
        The number of rows that were put back.
    """
    places = np.flatnonzero((cosine_drift(start, now) > bound) | ~np.isfinite(now).all(axis=1))
    if places.size:
        put_rows(embedding, places if rows is None else rows[places], start[places])
    return int(places.size)
