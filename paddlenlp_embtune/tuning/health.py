"""Watch the embedding while it trains: measure, alarm, act, and say so wherever the run is looked at."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import host
from paddlenlp_embtune.control import AlarmSpec
from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import embedding_name
from paddlenlp_embtune.tuning.alarms import AlarmBoard, settled_alarms
from paddlenlp_embtune.tuning.callback import EmbtuneCallback
from paddlenlp_embtune.tuning.groups import match_parameters
from paddlenlp_embtune.tuning.sampler import StepSampler
from paddlenlp_embtune.tuning.visual import draw_histograms, draw_projector
from paddlenlp_embtune.tuning.watched import Watched
from paddlenlp_embtune.vectors import checkup
from paddlenlp_embtune.vectors.geometry import cosine_drift

paddle = host.require_paddle()

__all__ = ["EmbeddingHealthCallback"]

logger = logging.getLogger("paddlenlp_embtune")

Table = npt.NDArray[np.float32]


class EmbeddingHealthCallback(EmbtuneCallback):
    """Compares the embedding with its start at the end of epochs, samples gradients on the way, and acts on alarms.

    Put it after freezing and clipping, so that it sees the gradients that the optimizer sees.

    Args:
        parameter: name of the embedding parameter; None finds it.
        every_epochs: a check at the end of every so many epochs.
        geometry_every_steps: least number of steps between two measurements of the table's shape; None takes a fiftieth of the
            watched rows, 100 at least.
        gradient_every_steps: look at gradients and batches at every so many steps.
        drift_alarm: the threshold of the alarm ``drift``; None takes that of ``alarms``.
        alarms: by name; None takes those in the box.
        watched: what is known about the rows.
        tokens: short for ``watched=Watched(tokens=tokens)``.
        measures: further measures by name, called with ``start=`` and ``now=``, both (V, D) float32, of the watched rows.
        report: called with numbers for the Trainer's log, for example ``trainer.log``; None reports nowhere.
        lower_rate: called with a factor for the action ``lower_rate``; None refuses alarms that ask for it.
    Raises:
        RecipeError: an illegal value, or an action that cannot be taken.
    """

    def __init__(
        self,
        *,
        parameter: str | None = None,
        every_epochs: int = 1,
        geometry_every_steps: int | None = None,
        gradient_every_steps: int = 16,
        drift_alarm: float | None = None,
        alarms: Mapping[str, AlarmSpec] | None = None,
        watched: Watched | None = None,
        tokens: Sequence[str] | None = None,
        measures: Mapping[str, Callable[..., float]] | None = None,
        report: Callable[[dict[str, float]], Any] | None = None,
        lower_rate: Callable[[float, Any], Any] | None = None,
    ) -> None:
        super().__init__()
        counts = {
            "every_epochs": every_epochs,
            "geometry_every_steps": geometry_every_steps,
            "gradient_every_steps": gradient_every_steps,
        }
        for name, value in counts.items():
            if value is not None and value < 1:
                raise RecipeError(f"{name} is {value}; legal: 1 or more")
        self.parameter = parameter
        self.every_epochs = every_epochs
        self.geometry_every_steps = geometry_every_steps
        self.watched = watched or Watched(tokens=tokens)
        self.measures = dict(measures or {})
        self.report = report
        self.lower_rate = lower_rate
        self.writer: Callable[[], Any] | None = None
        self.checks: list[dict[str, Any]] = []
        self.board = AlarmBoard(settled_alarms({}, {}, drift=drift_alarm) if alarms is None else alarms)
        self.sampler = StepSampler(every_steps=gradient_every_steps)
        self._start: Table | None = None
        self._last: Table | None = None
        self._sample: npt.NDArray[np.int64] | None = None
        self._rows: npt.NDArray[np.int64] | None = None
        self._embedding: Any = None
        self._frozen = False
        self._geometry_step = 0
        self._evals = 0
        self._best_z = float("-inf")

    def settings(self) -> Mapping[str, Any]:
        """Cadence and alarms, which may act on the run."""
        alarms = {name: dataclasses.asdict(alarm) for name, alarm in self.board.alarms.items()}
        for alarm in alarms.values():
            alarm.pop("advice")
        return {"every_epochs": self.every_epochs, "geometry_every_steps": self.geometry_every_steps, "alarms": alarms}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Remember where the embedding starts."""
        asking = [name for name, alarm in self.board.alarms.items() if alarm.action == "lower_rate"]
        if asking and self.lower_rate is None:
            raise RecipeError(
                f"the alarm {asking[0]!r} lowers a rate, but nobody told how; use attach, or pass lower_rate= to the callback"
            )
        model = kwargs["model"]
        name = self.parameter or embedding_name(model)
        self._embedding = match_parameters(model, [name], what="health")[name]
        self._start = self._last = None
        super().on_train_begin(args, state, control, **kwargs)
        count = int(self._embedding.shape[0])
        self._rows = self.watched.choose(count)
        rows = np.arange(count) if self._rows is None else self._rows
        generator = np.random.default_rng(0)
        few = rows.size if rows.size <= 4096 else 4096
        self._sample = np.sort(generator.choice(rows.size, few, replace=False))
        if self._start is None:
            self._start = self._now().copy()
        if self._last is None:
            self._last = self._start[self._sample].copy()
        self.sampler.begin(model, self._embedding, count, self.watched.unknown)
        if self._frozen:
            self._embedding.stop_gradient = True
        if not state.global_step:
            self._judge({**self._probes(), "zero_share": checkup.zero_share(self._start)}, state, control)

    def on_load_data_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Count the tokens of the batch."""
        self.sampler.see_batch(kwargs.get("inputs"))

    def on_optimizer_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Sample the gradients; keep the embedding frozen if an alarm asked for it."""
        if self._frozen and not self._embedding.stop_gradient:
            self._embedding.stop_gradient = True
            self._embedding.clear_gradient(False)
        self.sampler.see_gradients(int(state.global_step))

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Check, record, raise alarms and act on them."""
        steps = host.steps_per_epoch(args, kwargs.get("train_dataloader"))
        epoch = int(state.global_step) // steps if steps else int(state.epoch or 0)
        last = bool(control.should_training_stop) or int(state.global_step) >= int(state.max_steps)
        if epoch % self.every_epochs and not last:
            return
        assert self._start is not None
        wait = self.geometry_every_steps or max(100, len(self._start) // 50)
        self._examine(state, control, geometry=last or int(state.global_step) - self._geometry_step >= wait, last=last)

    def _examine(self, state: Any, control: Any, *, geometry: bool, last: bool) -> None:
        check = {"epoch": state.epoch, "step": int(state.global_step), **self.check(geometry=geometry)}
        if geometry:
            self._geometry_step = int(state.global_step)
        self.checks.append(check)
        self.record.write("health", **check)
        if self.report is not None:
            plain = {
                key: value for key, value in check.items() if isinstance(value, (int, float)) and key not in ("epoch", "step")
            }
            self.report({f"health/{key}": float(value) for key, value in plain.items()})
        writer = self.writer() if self.writer is not None else None
        if writer is not None:
            self._draw(writer, state, last=last)
        self._judge(check, state, control)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at what an evaluation says about the predictions."""
        metrics = kwargs.get("metrics") or {}
        if "eval_agreement_z" not in metrics or not state.global_step:
            return
        self._evals += 1
        self._best_z = max(self._best_z, float(metrics["eval_agreement_z"]))
        found = {"agreement_z": self._best_z, "largest_predicted_share": float(metrics["eval_largest_predicted_share"])}
        self.record.write("agreement", epoch=state.epoch, step=int(state.global_step), **found)
        self._judge(found, state, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look a last time, if the last look was not whole; leave the embedding as trainable as it was found."""
        if self._start is not None and state.global_step and self._geometry_step != int(state.global_step):
            self._examine(state, control, geometry=True, last=True)
        if self._frozen and self._embedding is not None:
            self._embedding.stop_gradient = False

    def check(self, *, geometry: bool = True) -> dict[str, Any]:
        """Measure now, the watched rows only.

        Args:
            geometry: also measure the shape of the table and the term groups.
        Returns:
            What :func:`vectors.checkup.movement`, :func:`vectors.checkup.geometry` and the sampler measure; the same against
            the last check under ``since_…``; ``worst`` (token or row number, cosine drift) and the plugins' measures.
        """
        assert self._start is not None  # set in on_train_begin
        assert self._last is not None
        assert self._sample is not None
        now = self._now()
        counts = self.sampler.counts_of(self._rows)
        found = {"rows_watched": len(now), "rows": int(self._embedding.shape[0]), **checkup.movement(self._start, now, counts)}
        sample = now[self._sample]
        since = checkup.movement(self._last, sample)
        found.update({f"since_{key}": since[key] for key in ("cosine_drift_mean", "norm_drift_mean", "update_ratio")})
        self._last = sample.copy()
        found.update(self.sampler.take())
        if geometry:
            found.update(checkup.geometry(self._start, now, self.watched.checkup(self._rows)))
        drift = cosine_drift(self._start, now)
        worst = np.argsort(-drift, kind="stable")[:5]
        found["worst"] = [[self._token(int(row)), round(float(drift[row]), 4)] for row in worst if drift[row] > 0]
        found.update({name: float(measure(start=self._start, now=now)) for name, measure in self.measures.items()})
        return found

    def _now(self) -> Table:
        view: Table = host.read_only_view(self._embedding)
        return view if self._rows is None else view[self._rows]

    def _probes(self) -> dict[str, float]:
        probes = self.watched.checkup(self._rows).probes
        return {"probe_cohesion": checkup.probe_cohesion(self._start, probes)} if len(probes) >= 3 else {}  # type: ignore[arg-type]

    def _token(self, place: int) -> str | int:
        row = place if self._rows is None else int(self._rows[place])
        return self.watched.tokens[row] if self.watched.tokens is not None else row

    def _judge(self, found: Mapping[str, Any], state: Any, control: Any) -> None:
        for name, alarm, value in self.board.judge(found, evals=self._evals):
            bound = f"above {alarm.above}" if alarm.above is not None else f"below {alarm.below}"
            message = f"{name}: {alarm.measure} is {value:.3g}, {bound}"
            message += f"; {alarm.advice}" if alarm.advice else ""
            done = self._act(alarm, state, control)
            self.record.write(
                "alarm",
                epoch=state.epoch,
                step=int(state.global_step),
                name=name,
                measure=alarm.measure,
                value=value,
                action=alarm.action,
                done=done,
                message=message,
            )
            logger.warning("%s%s", message, f" ({done})" if done else "")

    def _act(self, alarm: AlarmSpec, state: Any, control: Any) -> str:
        """Do what an alarm asks for; return what was done, in words."""
        if alarm.action == "lower_rate" and self.lower_rate is not None:
            self.lower_rate(alarm.factor, state)
            return f"the rate of the embedding was multiplied by {alarm.factor}"
        if alarm.action == "freeze":
            self._frozen = self._embedding.stop_gradient = True
            return "the embedding is frozen from here on"
        if alarm.action == "restore_rows":
            return f"{self._restore(alarm.row_drift)} rows were put back to where they started"
        if alarm.action == "stop":
            control.should_training_stop = True
            self.record.write("stopped", reason="alarm", epoch=state.epoch, step=int(state.global_step))
            return "training stops"
        return ""

    def _restore(self, bound: float) -> int:
        assert self._start is not None
        places = np.flatnonzero(cosine_drift(self._start, self._now()) > bound)
        if places.size:
            rows = places if self._rows is None else self._rows[places]
            with paddle.no_grad():
                values = paddle.to_tensor(self._start[places]).astype(self._embedding.dtype)
                paddle.scatter_(self._embedding, paddle.to_tensor(rows), values)
        return int(places.size)

    def _draw(self, writer: Any, state: Any, *, last: bool) -> None:
        assert self._start is not None
        draw_histograms(writer, self._start, self._now(), int(state.global_step))
        if last:
            draw_projector(writer, self._start, self._now(), self._token)

    def state(self) -> Mapping[str, Any]:
        """Start and last look of the watched rows, alarms that are on, and what was sampled since the last check."""
        kept: dict[str, Any] = {
            "active": sorted(self.board.active),
            "frozen": self._frozen,
            "geometry_step": self._geometry_step,
            "evals": self._evals,
            "best_z": self._best_z if np.isfinite(self._best_z) else None,
            **self.sampler.state(),
        }
        return kept if self._start is None else {**kept, "start": self._start, "last": self._last}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Measure from the same start again."""
        self.board.active = set(state["active"])
        self._frozen, self._geometry_step, self._evals = state["frozen"], state["geometry_step"], state["evals"]
        self._best_z = state["best_z"] if state["best_z"] is not None else float("-inf")
        self._start, self._last = state.get("start"), state.get("last")
        self.sampler.load_state(state)
