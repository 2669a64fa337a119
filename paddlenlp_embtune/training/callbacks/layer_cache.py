"""Frozen lower layers, computed once a text instead of once a step."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune.errors import RecipeError
from paddlenlp_embtune.models import LayerCache, cacheable_layers
from paddlenlp_embtune.training.callbacks._lowest_layers import choose_engine
from paddlenlp_embtune.training.callbacks.base import EmbtuneCallback

if TYPE_CHECKING:
    from paddlenlp_embtune.training.context import TrainingContext

__all__ = ["LayerCacheCallback"]

logger = logging.getLogger("paddlenlp_embtune")


class LayerCacheCallback(EmbtuneCallback):
    """Looks up what the lowest layers give for a text, as long as these and the embedding are frozen.

    The states of all texts are computed when training begins, without dropout, and dropped for good as soon as one of these
    layers is released; a resumed run does as the one that was cut. Texts that are in none of the data sets are computed as
    ever. States are kept in half precision where no token's vector changes by more than a thousandth of its length.

    Args:
        most_megabytes: the most room for the states, in MiB; where they would take more, nothing is cached.
        memory_megabytes: the most memory of that; larger states are kept in a file without a name in the Trainer's folder,
            which is gone when training ends, however it ends.
    Raises:
        RecipeError: on_train_begin, no layer is frozen from below together with the embedding, or the rows of a data set have
            no ids.
    """

    def __init__(self, *, most_megabytes: int = 16384, memory_megabytes: int = 1024) -> None:
        super().__init__()
        self.most_megabytes = most_megabytes
        self.memory_megabytes = memory_megabytes
        self.datasets: Sequence[Any] = ()
        self._model: Any = None
        self._cache: LayerCache | None = None
        self._over = False
        self._engine: str | None = None

    def setup(self, context: TrainingContext) -> None:
        """Cache the texts of the Trainer's data sets, where none were named."""
        super().setup(context)
        self.datasets = self.datasets or context.datasets

    def settings(self) -> Mapping[str, Any]:
        """Whether states are cached."""
        return {"cached": True}

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Compute the states of all texts, unless caching has ended for this run."""
        self.teardown()
        self._over, self._engine = False, None
        super().on_train_begin(args, state, control, **kwargs)
        if self._over:
            return
        self._model = model = kwargs["model"]
        if (depth := cacheable_layers(model)) == 0:
            raise RecipeError(
                "freeze.cached is set, but no layer is frozen from below together with the embedding, or an adapter of kind "
                "prompt comes in between; expected groups such as [embedding, layer.0, layer.1] without such an adapter, or "
                "cached: false"
            )
        texts = self._texts()
        cache = LayerCache(model, depth)
        needed = sum(map(len, texts)) * cache.width * 2
        if needed > self.most_megabytes * 2**20:
            logger.warning(
                "the states of %d texts would take %d MiB, more than %d, so they are not cached",
                len(texts),
                needed // 2**20,
                self.most_megabytes,
            )
            self._give_up(needed)
            return
        try:
            self._fill(cache, texts, Path(args.output_dir))
        except OSError as error:
            logger.warning(
                "the states of %d texts are not cached: %s: %s", len(texts), args.output_dir, error.strerror or error
            )
            self._give_up(needed)
            return
        cache.use()
        self._cache = cache

    def _fill(self, cache: LayerCache, texts: Sequence[Sequence[int]], folder: Path) -> None:
        """Compute the states, by the engine of the run that was cut if there was one, and say how.

        Raises:
            OSError: the disk has no room for them.
        """
        began = time.perf_counter()
        engine, compute = ("paddle", None)
        if self._engine != "paddle":
            with cache.evaluating():
                engine, compute = choose_engine(cache, texts)
        if self._engine not in (None, engine):
            logger.warning(
                "the frozen layers are computed by %s, where the run that is continued had %s: the last digits may differ",
                engine,
                self._engine,
            )
        self._engine = engine
        cache.fill(texts, compute=compute, half=True, folder=folder, most_in_memory=self.memory_megabytes * 2**20)
        self.record.write(
            "cached",
            layers=cache.depth,
            megabytes=cache.store.nbytes // 2**20,
            engine=engine,
            precision="float16" if cache.store.half else "float32",
            kept="file" if cache.store.in_file else "memory",
            seconds=round(time.perf_counter() - began, 2),
        )

    def _give_up(self, needed: int) -> None:
        self.record.write("cached", layers=0, megabytes=needed // 2**20)
        self._over = True

    def _texts(self) -> list[Sequence[int]]:
        """The ids of all texts of the data sets.

        Raises:
            RecipeError: one of them has none.
        """
        sets = [each for dataset in self.datasets for each in (dataset.values() if isinstance(dataset, dict) else [dataset])]
        for dataset in sets:
            if not hasattr(dataset, "ids"):
                raise RecipeError(
                    f"freeze.cached needs the ids of all texts, which {type(dataset).__name__} has not; give data sets with an "
                    "attribute ids, such as paddlenlp_embtune.data.dataset.EncodedDataset, or set cached: false"
                )
        return list(chain.from_iterable(dataset.ids for dataset in sets))

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End caching as soon as one of the layers is released."""
        self._look()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Let the layers compute again."""
        self.teardown()

    def state(self) -> Mapping[str, Any]:
        """Whether nothing is cached any more, and what computed the states."""
        self._look()
        return {"over": self._over, "engine": self._engine}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Take back whether caching has ended, and what computed the states."""
        self._over = bool(state.get("over"))
        self._engine = state.get("engine")

    def teardown(self) -> None:
        """Let the layers compute again; also called when training was interrupted."""
        if self._cache is not None:
            self._cache.release()
            self._cache = None

    def _look(self) -> None:
        if self._cache is not None and cacheable_layers(self._model) < self._cache.depth:
            self.teardown()
            self._over = True
