"""The predictor: texts in, labels out, in the order they came."""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.errors import DataError, expected_names
from paddlenlp_embtune.inference._occlusion import occlude
from paddlenlp_embtune.inference._opening import open_engine, window_spec
from paddlenlp_embtune.inference.batching import BatchRunner
from paddlenlp_embtune.inference.engines import EngineOptions
from paddlenlp_embtune.inference.explain import Attribution, Explanation, explain_answer
from paddlenlp_embtune.inference.inputs import as_iterable, as_list, check_bundle_argument, check_name, whole_number
from paddlenlp_embtune.inference.label_kinds import kind_of
from paddlenlp_embtune.inference.postprocessing import format_predictions, thresholds_of
from paddlenlp_embtune.inference.sentence_vectors import check_dimensions, shape_vectors
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.text import TokenizedTexts, WindowSpec, chunk_texts, tokenize_texts

__all__ = ["Predictor"]

Floats = npt.NDArray[np.float32]
Answer = dict[str, Any]


class Predictor:
    """Labels texts with one bundle; every method may be called from several threads.

    It can be pickled, copied and sent to other processes: a copy opens the bundle again by its path, with the same options, and
    refuses one that was replaced meanwhile. A forked process can use it with ``onnxruntime``: a program that ran in another
    thread at the moment of the fork is loaded again there. Paddle's engines cannot be used in a forked process (``HostError``).

    Args:
        bundle: folder of a bundle, or an opened one.
        engine: a registered engine: ``onnxruntime``, ``paddle_inference`` or ``paddle``.
        precision: ``fp32``, or what the bundle was quantized to, such as ``int8``; for ``onnxruntime``.
        device: ``cpu``, ``gpu``, or ``auto`` for a GPU where the engine has one.
        num_threads: processors to use, 1 or more; None takes all, at most 8.
        batch_size: texts of similar length that go through the engine together, 1 or more.
        windows: how long texts are read: a ``WindowSpec`` or a mapping of its fields; True takes its defaults, False cuts
            the texts, None follows the bundle.
        abstain_below: an answer with a lower score is marked as abstained; one probability for all labels, or one by label;
            None takes the thresholds of the bundle. With a threshold of 1 every answer abstains. Where a text may have several
            labels, those with a lower score are not given.
    Raises:
        BundleError: the bundle is damaged, or has no files for the engine or the precision.
        DataError, RecipeError: an option is not valid.
        PluginError: no engine has that name.
        MissingDependencyError: the engine's package is not installed, or has no GPU support and a GPU was asked for.
        HostError: a GPU was asked for, and cannot be used.
    """

    def __init__(
        self,
        bundle: str | Path | Bundle,
        *,
        engine: str = "onnxruntime",
        precision: str = "fp32",
        device: str = "auto",
        num_threads: int | None = None,
        batch_size: int = 64,
        windows: WindowSpec | Mapping[str, Any] | bool | None = None,
        abstain_below: float | Mapping[str, float] | None = None,
    ) -> None:
        # Checked before the bundle is read.
        options = EngineOptions(num_threads=num_threads, device=device, precision=precision)
        batch_size = whole_number(batch_size, "batch_size")
        check_name(engine, "engine")
        registry.current().guarded("engine", engine)
        self._options: dict[str, Any] = {
            "engine": engine,
            "precision": precision,
            "device": device,
            "num_threads": options.num_threads,
            "batch_size": batch_size,
            "windows": windows,
            "abstain_below": abstain_below,
        }
        if not isinstance(bundle, Bundle):
            check_bundle_argument(bundle)
        num_threads = options.num_threads or compat.usable_threads()
        options = dataclasses.replace(options, num_threads=num_threads)
        self.bundle, self.engine, example = open_engine(bundle, engine, options)
        manifest = self.bundle.manifest
        self.engine_name = engine
        self.windows = manifest.windows if windows is None else window_spec(windows)
        self.kind = kind_of(manifest)
        self.thresholds = thresholds_of(abstain_below, manifest.labels, manifest.thresholds, unset=self.kind.no_threshold)
        source = f"the engine {engine} of the bundle {self.bundle.path}"
        self._runner = BatchRunner(
            self.engine, num_labels=len(self.labels), batch_size=batch_size, num_threads=num_threads, source=source
        )
        self._runner.submit([example])()  # refuses a program that does not match the labels, or gives NaN

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the bundle's path and fingerprint, and the options: a copy opens the bundle again, and refuses another one."""
        return _rebuild, (type(self), self.bundle, self._options)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the bundle, in the order of its probabilities."""
        return self.bundle.manifest.labels

    def decide(self, texts: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return what texts are answered with, as :meth:`paddlenlp_embtune.inference.LabelKind.encode` has it.

        Shapes:
            returns: (N,) class numbers, or where a text may have several labels (N, C), 1 for each that it gets
        Raises:
            TypeError: something is not a text; the message gives its index.
        """
        return self.kind.decide(self.probabilities(texts), self.thresholds)

    @property
    def batch_size(self) -> int:
        """Largest number of texts that go through the engine together."""
        return self._runner.batch_size

    def predict(self, texts: Sequence[str], *, scores: bool = False) -> list[Answer]:
        """Label texts.

        Args:
            texts: any number of texts, blanks included: a list, a column of a table, an array, or any other iterable.
            scores: also return the probability of every label; of ordered labels the expected level too.
        Returns:
            For each text, in order:

            - ``text`` as given, ``label``, and ``score``, the label's probability. A text without a visible character gets
              ``label`` None and ``score`` 0.0.
            - ``cut``, True, if the text has more tokens than the model reads and the rest was left out; otherwise absent.
            - ``abstained`` where thresholds are set: whether the score is below that of its label.
            - ``window`` where long texts are read in windows: ``start`` and ``end`` of the one with the highest probability of
              the label, and ``windows``, their number.
            - ``scores`` by label if asked for, and with ordered labels ``level``, the mean of the labels' numbers (the first
              is 0) weighted by their probabilities, and ``level_spread``, the standard deviation.
            - Where a text may have several labels, ``labels`` in place of ``label``, ``score`` and ``abstained``: each one that
              the text gets, with its ``label`` and ``score``, the surest first; empty where it gets none.
        Raises:
            TypeError: something is not a text; the message gives its index.
        """
        texts = as_list(texts)
        tokenized = self._tokenize(texts)
        return self._format(texts, tokenized, self._runner.submit(tokenized.ids)(), scores=scores)

    def stream(self, texts: Iterable[str], *, scores: bool = False) -> Iterator[Answer]:
        """Label any number of texts in bounded memory.

        Texts are read in chunks of about two thousand, of which up to three are held: answers to the first chunk come when
        the second has been read.

        Args:
            texts: yields texts.
            scores: as for :meth:`predict`.
        Yields:
            As many answers as texts, in order, as :meth:`predict` returns them.
        Raises:
            TypeError: something is not a text; the message gives its index. Answers to the texts before it are yielded first.
        """
        texts = as_iterable(texts)
        running: deque[tuple[list[str], TokenizedTexts, Callable[[], Floats]]] = deque()

        def finish(most: int) -> Iterator[Answer]:
            while len(running) > most:
                chunk, tokenized, wait = running.popleft()
                try:
                    answers = self._format(chunk, tokenized, wait(), scores=scores)
                except Exception:
                    running.clear()  # no answers after a gap
                    raise
                yield from answers

        try:
            for start, chunk in chunk_texts(texts):
                good = list(itertools.takewhile(lambda text: isinstance(text, str), chunk))
                tokenized = self._tokenize(good, start=start)
                running.append((good, tokenized, self._runner.submit(tokenized.ids)))
                yield from finish(1)
                self._tokenize(chunk[len(good) :], start=start + len(good))  # names what is not a text
        except Exception:  # of the source or of a text; first the answers to what came before it
            yield from finish(0)
            raise
        yield from finish(0)

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Return the probability of every label for every text.

        Shapes:
            returns: (N, C) float32, rows in the order of ``texts``
        Raises:
            TypeError: something is not a text; the message gives its index.
        """
        return self.scaled_probabilities(texts)(self.bundle.manifest.temperature)

    def embed(self, texts: Sequence[str], *, dimensions: int | None = None, normalize: bool = True) -> Floats:
        """Return the sentence vector of every text: what the head of the model reads, scaled to length 1.

        The product of two such vectors is their cosine. How the tokens' vectors become one stands in
        ``bundle.manifest.sentence_vectors.pooling``; a text that is read in windows gets the mean of theirs, weighted by their
        tokens, and one that the model cannot read to its end is cut as for :meth:`predict` (see :meth:`count_cut`).

        Args:
            texts: as for :meth:`predict`.
            dimensions: keep the first so many values, and scale what is left to length 1; None keeps all.
            normalize: whether to scale to length 1.
        Shapes:
            returns: (N, d) float32, rows in the order of ``texts``; 0 for a text without a visible character
        Raises:
            BundleError: the programs of the bundle give no vectors; the message says how to write them.
            TypeError: something is not a text; the message gives its index.
            DataError: ``dimensions`` is not 1 or more, or more than a vector has.
        """
        runner = self._vector_runner
        count = None if dimensions is None else whole_number(dimensions, "dimensions")
        kept = check_dimensions(count, self.vector_width)
        tokenized = self._tokenize(as_list(texts))
        if not len(tokenized.ids):
            return np.zeros((0, kept), dtype=np.float32)
        return shape_vectors(runner.submit(tokenized.ids)(), tokenized, dimensions=kept, normalize=normalize)

    @property
    def vector_width(self) -> int:
        """Values of a sentence vector, H.

        Raises:
            BundleError: the programs of the bundle give no vectors.
        """
        return self.bundle.vector_width(self.engine_name, self._options["precision"])

    @cached_property
    def _vector_runner(self) -> BatchRunner:
        return BatchRunner(
            self.engine,
            num_labels=self.vector_width,
            batch_size=self.batch_size,
            num_threads=self._runner.num_threads,
            source=f"the engine {self.engine_name} of the bundle {self.bundle.path}",
            vectors=True,
        )

    def scaled_probabilities(self, texts: Sequence[str]) -> Callable[[float], Floats]:
        """Run texts once, and return a function from a temperature to their (N, C) float32 probabilities.

        Raises:
            TypeError: something is not a text; the message gives its index.
        """
        texts = as_list(texts)
        tokenized = self._tokenize(texts)
        logits = self._runner.submit(tokenized.ids)()
        return lambda temperature: self.kind.combine(logits, tokenized, temperature=temperature, windows=self.windows)[0]

    def count_cut(self, texts: Sequence[str]) -> int:
        """Count the texts of which a part is left out because they have more tokens than the model reads.

        Raises:
            TypeError: something is not a text; the message gives its index.
        """
        return len(self._tokenize(as_list(texts)).cut)

    def count_tokens(self, texts: Sequence[str]) -> int:
        """Count the tokens that the model reads of all texts together, those that windows repeat included.

        Raises:
            TypeError: something is not a text; the message gives its index.
        """
        return sum(map(len, self._tokenize(as_list(texts)).ids))

    def explain(self, texts: Sequence[str], *, label: str | None = None, method: str | None = None) -> list[Explanation]:
        """Find which characters of texts speak for a label, and which against it.

        Of a text that is read in windows, the decisive one is explained. For answers that are there already, take
        :meth:`explain_answers`.

        Args:
            texts: any number of texts, blanks included.
            label: the label to explain; None takes the one that each text gets, or of several the surest.
            method: ``occlusion``, or ``integrated_gradients`` with an engine that can; None takes the engine's best.
        Returns:
            For each text, in order, its contributions; a text without a visible character has none, and the label None.
        Raises:
            TypeError: something is not a text; the message gives its index.
            DataError: the bundle has no such label, or the engine no such method.
        """
        self._attribution(label, method)  # refuses them before anything is predicted
        return self.explain_answers(self.predict(texts, scores=label is not None), label=label, method=method)

    def explain_answers(
        self, answers: Sequence[Mapping[str, Any]], *, label: str | None = None, method: str | None = None
    ) -> list[Explanation]:
        """Explain answers of this predictor without predicting again; otherwise as :meth:`explain`.

        Args:
            answers: what :meth:`predict` or :meth:`stream` returned; with ``scores=True`` where a label is named.
            label: the label to explain; None takes the one that each text got.
            method: as for :meth:`explain`.
        Raises:
            DataError: the bundle has no such label, the engine no such method, or an answer lacks the label's score.
        """
        name, attribute = self._attribution(label, method)
        return [explain_answer(answer, label=label, method=name, attribute=attribute, bundle=self.bundle) for answer in answers]

    def _attribution(self, label: str | None, method: str | None) -> tuple[str, Callable[..., Attribution]]:
        """Return the name and the function of a method of explanation; the label is only checked."""
        if label is not None and label not in self.labels:
            raise DataError(f"the bundle {self.bundle.path} has no label {label!r}; {expected_names(label, self.labels)}")
        methods: dict[str, Callable[..., Attribution]] = {
            "occlusion": partial(occlude, self._runner.run, log_odds=self.kind.log_odds)
        }
        if hasattr(self.engine, "attribute") and not self.kind.several:  # gradients of a softmax
            methods["integrated_gradients"] = self.engine.attribute
        name = next(reversed(methods)) if method is None else method
        if name not in methods:
            raise DataError(f"the engine {self.engine_name!r} does not explain by {name!r}; {expected_names(name, methods)}")
        return name, methods[name]

    def close(self) -> None:
        """Stop the predictor's threads; it can still be used, and starts new ones."""
        self._runner.close()
        if "_vector_runner" in self.__dict__:
            self._vector_runner.close()

    def __enter__(self) -> Predictor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _tokenize(self, texts: Sequence[str], *, start: int = 0) -> TokenizedTexts:
        manifest = self.bundle.manifest
        return tokenize_texts(texts, self.bundle.tokenizer, max_length=manifest.max_length, windows=self.windows, start=start)

    def _format(self, texts: Sequence[str], tokenized: TokenizedTexts, logits: Floats, *, scores: bool) -> list[Answer]:
        manifest = self.bundle.manifest
        return format_predictions(
            texts,
            tokenized,
            logits,
            labels=self.labels,
            kind=self.kind,
            temperature=manifest.temperature,
            windows=self.windows,
            thresholds=self.thresholds,
            scores=scores,
        )


def _rebuild(cls: type[Predictor], bundle: Bundle, options: Mapping[str, Any]) -> Predictor:
    return cls(bundle, **options)
