"""Rows of the embedding: which of them move, how far, and how a recipe names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import paddle
import pytest

import paddlenlp_embtune as embtune
from paddlenlp_embtune.config.freezing import RowsSpec
from paddlenlp_embtune.errors import PatternError, RecipeError
from paddlenlp_embtune.training.callbacks import RowConstraintsCallback
from paddlenlp_embtune.training.callbacks.row_constraints import row_numbers, turn_back
from tests.host import TrainerCallback
from tests.toy import VOCABULARY, WIDTH, Snapshots, Toy, make_trainer, new_process

TOKENS = ["[PAD]", "的", "了", "降", "准", "加息", "息", "3", *(f"字{number}" for number in range(8, VOCABULARY))]
"""Row 4 is 准; 加息 is a token of its own, 降准 is not; the token 3 is in row 7. Rows 25 to 29 are in no text."""

Table = npt.NDArray[np.float32]


def recipe(rows: dict[str, Any], **parts: Any) -> embtune.Recipe:
    """One group with large weight decay, nothing frozen, clipped or stopped, unless asked for."""
    group = {"name": "all", "rate": 0.05, "weight_decay": 4.0, "decay_bias_and_norm": True}
    nothing = dict.fromkeys(("freeze", "clip", "early_stopping", "health"))
    schedule = {"kind": "constant", "warmup_ratio": 0.0}
    return embtune.Recipe.from_dict({"groups": [group], "schedule": schedule, "rows": rows, **nothing, **parts})


class Tables(TrainerCallback):
    """The embedding at the start, after every step and at the end."""

    def __init__(self) -> None:
        self.tables: list[Table] = []

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.tables.append(kwargs["model"].embedding.weight.numpy().copy())

    on_step_end = on_train_end = on_train_begin


class Push(TrainerCallback):
    """Gives every row a gradient in the first step, after all other callbacks: the optimizer's momentum lives on it."""

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 0:
            with paddle.no_grad():
                kwargs["model"].embedding.weight.grad.fill_(1.0)


class PaddedToy(Toy):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = paddle.nn.Embedding(VOCABULARY, WIDTH, padding_idx=0)


def run(folder: Path, chosen: embtune.Recipe, *callbacks: Any, model: Any = None, **arguments: Any) -> list[Table]:
    """Train, with callbacks behind the recipe's; return the embedding at the start, after every step and at the end."""
    tables = Tables()
    trainer = make_trainer(folder, tables, model=model, **arguments)
    embtune.attach(trainer, chosen, tokens=TOKENS)
    for callback in callbacks:
        trainer.add_callback(callback)
    trainer.train()
    return tables.tables


def moved(tables: Sequence[Table]) -> list[int]:
    """Rows that are not bit-equal in all tables."""
    bits = np.stack(tables).view(np.uint32)
    rows: list[int] = np.flatnonzero((bits != bits[0]).any(axis=(0, 2))).tolist()
    return rows


def cosines(start: Table, now: Table) -> npt.NDArray[np.float64]:
    """The cosine of every row to its start, 1 for rows that are or were zero."""
    a, b = start.astype(np.float64), now.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(axis=1), norms, out=np.ones(len(a)), where=norms > 0)


# --- rows that stay -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "may_move"),
    [
        ({"protect": [3, 5, 27]}, sorted({*range(VOCABULARY)} - {3, 5, 27})),
        ({"train": [4, 7, 28]}, [4, 7, 28]),
        ({"train": [4, 7], "protect": [9, 29]}, [4, 7]),
        ({"protect": [3], "trust_cosine": 0.5, "trust_every_steps": 1}, sorted({*range(VOCABULARY)} - {3})),
        ({"protect": ["的", "降准", "加息", 7, "字9"]}, sorted({*range(VOCABULARY)} - {1, 3, 4, 5, 7, 9})),
        ({"train": ["降准", "3", 28]}, [3, 4, 7, 28]),
    ],
)
def test_decay_and_momentum_move_no_row_that_is_to_stay(tmp_path: Path, rows: dict[str, Any], may_move: list[int]) -> None:
    assert moved(run(tmp_path, recipe(rows), Push())) == may_move


@pytest.mark.parametrize("checkpoint", [3, 4])
def test_rows_stay_where_they_first_were_after_a_restart(tmp_path: Path, checkpoint: int) -> None:
    chosen = recipe({"train": [4, 7, 9, 28], "protect": [3], "trust_cosine": 0.9})
    with new_process():
        whole = run(tmp_path, chosen, Push(), save_strategy="steps", save_steps=1)
    with new_process():
        paddle.seed(1)
        tables = Tables()
        trainer = make_trainer(tmp_path, tables)
        embtune.attach(trainer, chosen)
        trainer.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{checkpoint}"))
    assert moved([whole[0], *tables.tables]) == [4, 7, 9, 28]
    np.testing.assert_array_equal(tables.tables[-1], whole[-1])


def test_rows_that_stay_do_not_count_in_clipping(tmp_path: Path) -> None:
    class Norms(TrainerCallback):
        """The norm of all gradients, after all other callbacks."""

        def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            found = [parameter.grad.numpy() for parameter in kwargs["model"].parameters()]
            norms.append(float(np.sqrt(sum(np.square(each.astype(np.float64)).sum() for each in found))))
            fixed.append(float(np.abs(kwargs["model"].embedding.weight.grad.numpy()[1:]).max()))

    norms: list[float] = []
    fixed: list[float] = []
    trainer = make_trainer(tmp_path)
    embtune.attach(trainer, recipe({"train": [0]}, clip={"global_norm": 1e-3}))
    trainer.add_callback(Norms())
    trainer.train()
    # Had they counted, less than the limit would be left to the others.
    np.testing.assert_allclose(norms, 1e-3, rtol=1e-4)
    assert max(fixed) == 0


def test_rows_obey_also_when_the_embedding_is_frozen_at_first(tmp_path: Path) -> None:
    freeze = {"groups": ["embedding"], "unfreeze_at_epoch": 1}
    groups = [
        {"name": "embedding", "parameters": ["embedding.*"], "rate": 0.05, "weight_decay": 4.0},
        {"name": "rest", "rate": 0.05},
    ]
    chosen = recipe({"protect": [3, 27], "trust_cosine": 0.9, "trust_every_steps": 1}, groups=groups, freeze=freeze)
    snapshots, tables = Snapshots(), Tables()
    trainer = make_trainer(tmp_path, snapshots, tables)
    embtune.attach(trainer, chosen)
    trainer.train()
    frozen, released = snapshots.weights[:2], snapshots.weights[1:]
    assert moved([each["embedding.weight"] for each in frozen]) == []
    assert moved([each["embedding.weight"] for each in released]) == sorted({*range(VOCABULARY)} - {3, 27})
    assert cosines(tables.tables[0], tables.tables[-1]).min() >= 0.9 - 1e-6


@pytest.mark.parametrize("rows", [{"protect": [3]}, {"train": [4]}, {"trust_cosine": 0.9, "trust_every_steps": 1}])
def test_the_row_of_the_padding_stays_zero(tmp_path: Path, rows: dict[str, Any]) -> None:
    paddle.seed(0)
    start, *_, end = tables = run(tmp_path, recipe(rows), model=PaddedToy())
    assert not start[0].any()
    assert 0 not in moved(tables)
    assert np.isfinite(end).all()
    assert 4 in moved(tables)


def test_without_attach_the_callback_does_the_same(tmp_path: Path) -> None:
    snapshots = Snapshots()
    rows = RowConstraintsCallback(RowsSpec(protect=("的", 5), parameter="embedding.weight"), tokens=TOKENS)
    make_trainer(tmp_path, rows, snapshots, weight_decay=4.0).train()
    assert moved([each["embedding.weight"] for each in snapshots.weights]) == sorted({*range(VOCABULARY)} - {1, 5})


# --- the cone -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [0.97, 0.0, -0.5])
def test_every_evaluation_and_the_end_find_all_rows_inside_the_cone(tmp_path: Path, bound: float) -> None:
    def widest(name: str, rows: dict[str, Any]) -> list[float]:
        """The least cosine at every evaluation, of the weights and of their average, and at the end."""
        found: list[float] = []
        model = Toy()
        trainer = make_trainer(tmp_path / name, model=model, evaluation_strategy="steps", eval_steps=3, num_train_epochs=4)
        start = model.embedding.weight.numpy().copy()

        def metrics(prediction: Any) -> dict[str, float]:
            found.append(float(cosines(start, model.embedding.weight.numpy()).min()))
            return {"number": float(len(found))}

        trainer.compute_metrics = metrics
        group = {"name": "all", "rate": 0.9, "weight_decay": 0.0}
        average = {"every_steps": 1, "metric": "number", "mode": "max"}
        record = embtune.attach(trainer, recipe(rows, groups=[group], average=average))
        trainer.train()
        assert len(record.of("average")) == 5
        assert [event["kept"] for event in record.of("averaged")] == ["average"]
        return [*found, float(cosines(start, model.embedding.weight.numpy()).min())]

    assert min(widest("free", {"protect": [0]})) < bound
    assert min(widest("bound", {"trust_cosine": bound, "trust_every_steps": 1000})) >= bound - 1e-6


def test_between_evaluations_the_cone_is_looked_at_as_often_as_asked_for(tmp_path: Path) -> None:
    group = {"name": "all", "rate": 0.9, "weight_decay": 0.0}
    tables = run(tmp_path, recipe({"trust_cosine": 0.97, "trust_every_steps": 2}, groups=[group]), evaluation_strategy="no")
    least = [float(cosines(tables[0], table).min()) for table in tables[1:-1]]
    assert max(least[::2]) < 0.97
    assert min(least[1::2]) >= 0.97 - 1e-6


def test_rows_that_are_put_back_keep_their_norms_and_the_others_their_bits(tmp_path: Path) -> None:
    model = Toy()
    trainer = make_trainer(tmp_path, model=model)
    callback = RowConstraintsCallback(RowsSpec(trust_cosine=0.8))
    callback.on_train_begin(trainer.args, trainer.state, trainer.control, model=model)
    start = model.embedding.weight.numpy().copy()
    turn = np.random.default_rng(0).normal(size=start.shape) * np.linspace(0, 1, VOCABULARY)[:, None]
    now = (start + turn).astype(np.float32)
    model.embedding.weight.set_value(now)
    outside = np.flatnonzero(cosines(start, now) < 0.8)
    callback.turn_back()
    placed = model.embedding.weight.numpy()
    assert 0 < len(outside) < VOCABULARY
    assert moved([now, placed]) == outside.tolist()
    np.testing.assert_allclose(np.linalg.norm(placed, axis=1), np.linalg.norm(now, axis=1), rtol=1e-6)
    np.testing.assert_allclose(cosines(start, placed)[outside], 0.8, atol=2e-6)
    callback.turn_back()
    assert moved([placed, model.embedding.weight.numpy()]) == []


def at(degrees: float, length: float = 1.0) -> list[float]:
    """A point of the plane."""
    return [length * np.cos(np.deg2rad(degrees)), length * np.sin(np.deg2rad(degrees))]


@pytest.mark.parametrize(
    ("start", "now", "border", "placed"),
    [
        (at(0), at(90, 2), 60, at(60, 2)),
        (at(0), at(-90, 2), 60, at(-60, 2)),
        (at(0, 5), at(179, 0.1), 60, at(60, 0.1)),
        (at(100, 3), at(30, 4), 45, at(55, 4)),
        (at(0), at(170), 120, at(120)),
        (at(0), at(91, 7), 90, at(90, 7)),
    ],
)
def test_the_nearest_point_of_the_border_in_the_plane(
    start: list[float], now: list[float], border: float, placed: list[float]
) -> None:
    rows, values = turn_back(np.array([start], np.float32), paddle.to_tensor([now], "float32"), np.cos(np.deg2rad(border)))
    assert rows.tolist() == [0]
    np.testing.assert_allclose(values, [placed], atol=3e-6 * np.linalg.norm(placed))


def test_in_more_dimensions_a_row_turns_in_the_plane_of_itself_and_its_start() -> None:
    generator = np.random.default_rng(0)
    start = generator.normal(size=(50, 8)).astype(np.float32)
    now = generator.normal(size=(50, 8)).astype(np.float32)
    rows, values = turn_back(start, paddle.to_tensor(now), 0.6)
    assert rows.tolist() == np.flatnonzero(cosines(start, now) < 0.6).tolist()
    for row, value in zip(rows, values, strict=True):
        assert np.linalg.matrix_rank(np.stack([start[row], now[row], value]), tol=1e-4) == 2
        # Nearest: turned towards the start, by no more than it takes.
        angles = np.arccos([cosines(a[None], b[None])[0] for a, b in ((start[row], value), (value, now[row]))])
        assert angles.sum() == pytest.approx(np.arccos(cosines(start[row][None], now[row][None])[0]), abs=1e-4)


def test_rows_inside_the_cone_and_rows_without_a_direction_are_left_alone() -> None:
    start = np.array([at(0), at(0), [0, 0], at(0), [0, 0]], np.float32)
    now = paddle.to_tensor(np.array([at(59), at(0, 9), at(90), [0, 0], [0, 0]], np.float32))
    rows, values = turn_back(start, now, 0.5)
    assert rows.tolist() == []
    assert values.shape == (0, 2)


@pytest.mark.parametrize("border", [60, 120])
def test_a_row_that_is_opposite_to_its_start_is_put_onto_the_border_too(border: float) -> None:
    bound = float(np.cos(np.deg2rad(border)))
    start = np.array([[1.0, 0.0]], np.float32)
    _, values = turn_back(start, paddle.to_tensor([[-2.0, 0.0]]), bound)
    assert np.linalg.norm(values) == pytest.approx(2.0, rel=1e-5)
    assert cosines(start, values)[0] == pytest.approx(bound, abs=2e-6)


def test_a_bfloat16_embedding_is_turned_back_as_well() -> None:
    rows, values = turn_back(np.array([at(0)], np.float32), paddle.to_tensor([[0.0, 2.0]]).astype("bfloat16"), 0.5)
    assert rows.tolist() == [0]
    np.testing.assert_allclose(values, [at(60, 2)], atol=1e-2)


# --- names of rows --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "numbers"),
    [
        (["的"], [1]),
        (["加息"], [5]),
        (["降准"], [3, 4]),
        (["息", "降准", 4, "降", 29], [3, 4, 6, 29]),
        (["3", 3], [3, 7]),
        ([], []),
    ],
)
def test_tokens_terms_and_numbers_name_rows(rows: list[int | str], numbers: list[int]) -> None:
    found = row_numbers(rows, VOCABULARY, TOKENS, what="rows.protect")
    assert found.tolist() == numbers
    assert found.dtype == np.int64


@pytest.mark.parametrize(
    ("rows", "tokens", "message"),
    [
        ({"protect": ["字99"]}, TOKENS, r"rows\.protect names '字99', which is not in the vocabulary; did you mean '字9'"),
        ({"train": ["降级"]}, TOKENS, r"rows\.train names '降级', which is not in the vocabulary"),
        ({"protect": [VOCABULARY]}, TOKENS, r"rows\.protect names the row 30; expected 0 to 29"),
        ({"train": [-1]}, None, r"rows\.train names the row -1; expected 0 to 29"),
        ({"protect": ["的"]}, None, r"rows\.protect names '的', but the tokens .* pass tokens= to attach"),
        ({"train": ["降准", 9], "protect": [4]}, TOKENS, r"rows\.train and rows\.protect share 1 rows, '准' first"),
    ],
)
def test_rows_that_are_not_there_are_refused_before_the_first_step(
    tmp_path: Path, rows: dict[str, Any], tokens: list[str] | None, message: str
) -> None:
    trainer = make_trainer(tmp_path)
    embtune.attach(trainer, recipe(rows), tokens=tokens)
    with pytest.raises(RecipeError, match=message):
        trainer.train()
    assert trainer.state.global_step == 0


def test_an_embedding_that_is_not_there_is_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    embtune.attach(trainer, recipe({"protect": [3], "parameter": "embeding.weight"}))
    with pytest.raises(PatternError, match=r"rows\.parameter pattern 'embeding\.weight' matched 0 of 7.*mean 'embedding"):
        trainer.train()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({}, "rows is empty"),
        ({"train": []}, "to train none, freeze the embedding"),
        ({"protect": [3], "trust_cosine": 1.0}, "above -1 and below 1"),
        ({"trust_cosine": 0.9, "trust_every_steps": 0}, "1 or more"),
        ({"train": ["的"], "protect": ["的"]}, "name each row in one of them"),
        ({"protect": [True]}, "must be a string, got bool"),
    ],
)
def test_a_recipe_without_sense_is_refused_when_it_is_read(rows: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(rows)


def test_a_row_and_a_token_that_reads_like_its_number_are_two_rows(tmp_path: Path) -> None:
    assert moved(run(tmp_path, recipe({"train": [3], "protect": ["3"]}))) == [3]


def test_an_empty_term_is_refused() -> None:
    with pytest.raises(RecipeError):
        row_numbers([""], VOCABULARY, TOKENS, what="rows.protect")


def test_a_token_beyond_the_table_is_refused() -> None:
    with pytest.raises(RecipeError):
        row_numbers(["新"], VOCABULARY, [*TOKENS, "新"], what="rows.protect")
