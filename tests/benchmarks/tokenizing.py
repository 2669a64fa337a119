"""What tokenizers cost: texts a second of ours and of PaddleNLP's for the same job, all in one process, taking turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import paddlenlp_embtune as embtune

embtune.prepare_cpu()

from paddlenlp.data import JiebaTokenizer, Vocab  # noqa: E402
from paddlenlp.transformers import AlbertTokenizer, ErnieTokenizer  # noqa: E402
from paddlenlp.transformers.bert.tokenizer_fast import BertTokenizerFast  # noqa: E402

from paddlenlp_embtune.text import (  # noqa: E402
    CharTokenizer,
    SentencePieceTokenizer,
    Vocabulary,
    WordPieceTokenizer,
    WordTokenizer,
    add_terms,
    clean,
)
from paddlenlp_embtune.text.factory import build_tokenizer  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
# Not that of ERNIE 3.0: PaddleNLP's Rust tokenizer cannot be built from a vocabulary with a token that stands there twice.
VOCABULARY = DATA / "vocab" / "ernie-1.0.vocab.txt"
SETS = {"finfe": 2000, "legal_charge4": 200}
ROUNDS = 5
TERMS = 10_000

Encode = Callable[[str], Sequence[int]]
Encoders = dict[str, Callable[[], Encode]]


def read(name: str, count: int) -> list[str]:
    """The first texts of a training set."""
    lines = (DATA / name / "train.tsv").read_text(encoding="utf-8").split("\n")
    return [line.split("\t")[0] for line in lines[1 : count + 1]]


def lexicon(*names: str) -> list[str]:
    """Terms of the lexicons, the frequent ones of each first."""
    found: dict[str, None] = {}
    for name in names:
        lines = (DATA / "lexicons" / f"thuocl_{name}.tsv").read_text(encoding="utf-8").split("\n")[1:]
        found.update(dict.fromkeys(term for line in lines if len(term := line.split("\t")[0].strip()) > 1))
    return list(found)


def measure(encoders: Encoders, texts: Sequence[str]) -> dict[str, list[float]]:
    """Seconds of each encoder in each round; they take turns, and the first round does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in encoders}
    for round_number in range(ROUNDS + 1):
        for name, prepare in encoders.items():
            encode = prepare()
            started = time.perf_counter()
            for text in texts:
                encode(text)
            if round_number:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def show(job: str, encoders: Encoders, texts: Sequence[str]) -> None:
    """Print the medians, and the ratios to the first encoder in the same rounds."""
    seconds = measure(encoders, texts)
    first = next(iter(seconds))
    print(f"  {job}")
    for kind, mine in seconds.items():
        ratios = [theirs / own for theirs, own in zip(seconds[first], mine, strict=True)]
        spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
        speed = len(texts) / statistics.median(mine)
        print(f"    {kind:36} {speed:9,.0f} texts/s   {statistics.median(ratios):5.2f} times as fast ({spread})")


def wordpiece() -> Encoders:
    """Pieces of ERNIE 1.0."""
    vocabulary = Vocabulary.load(VOCABULARY)
    ours, python, rust = WordPieceTokenizer(vocabulary), ErnieTokenizer(str(VOCABULARY)), BertTokenizerFast(str(VOCABULARY))
    return {
        "PaddleNLP, Python": lambda: lambda text: python(text)["input_ids"],
        "PaddleNLP, Rust": lambda: lambda text: rust(text)["input_ids"],
        "ours": lambda: ours.encode,
        "ours, nothing seen": lambda: WordPieceTokenizer(vocabulary).encode,
    }


def words(texts: Sequence[str]) -> Encoders:
    """Words; PaddleNLP's tokenizer knows those of its vocabulary only, and is given the whole dictionary here."""
    plain, guessing = (WordTokenizer(_words(texts), hmm=hmm, split_unknown=False) for hmm in (False, True))
    known = [word for word, weight in plain._cutter.weights.items() if weight is not None]
    entries = {token: number for number, token in enumerate(dict.fromkeys(["[PAD]", "[UNK]", *known]))}
    theirs = JiebaTokenizer(Vocab.from_dict(entries, unk_token="[UNK]", pad_token="[PAD]"))
    many = lexicon("finance", "medical")[:TERMS]
    terms = WordTokenizer(_words(texts), user_terms=tuple(many), split_unknown=False)
    return {
        "PaddleNLP, HMM": lambda: lambda text: theirs.encode(clean(text, lowercase=True)),
        "PaddleNLP, no HMM": lambda: lambda text: theirs.encode(clean(text, lowercase=True), use_hmm=False),
        "ours, HMM": lambda: guessing.encode,
        "ours, no HMM": lambda: plain.encode,
        f"ours, no HMM, {len(many):,} terms": lambda: terms.encode,
    }


def _words(texts: Sequence[str]) -> Vocabulary:
    return Vocabulary.from_counts(WordTokenizer.count(texts, lowercase=True))


def pieces(texts: Sequence[str]) -> Encoders:
    """Pieces of a SentencePiece model that was trained on the texts, for PaddleNLP by way of its ALBERT tokenizer."""
    ours = build_tokenizer("sentencepiece", texts=texts, size=4000)
    if not isinstance(ours, SentencePieceTokenizer):
        raise TypeError(type(ours))
    theirs = _albert(ours.model)
    return {
        "PaddleNLP": lambda: lambda text: theirs(text, add_special_tokens=False)["input_ids"],
        "ours": lambda: ours.encode,
    }


def _albert(model: bytes) -> Any:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "spiece.model"
        path.write_bytes(model)
        return AlbertTokenizer(vocab_file=None, sentencepiece_model_file=str(path))


def terms(texts: Sequence[str]) -> Encoders:
    """Characters, with and without terms that were added."""
    base = CharTokenizer(Vocabulary.from_counts(CharTokenizer.count(texts, lowercase=True)))
    many = lexicon("finance", "medical")[:TERMS]
    few, most = (add_terms(base, many[:count])[0] for count in (100, TERMS))
    return {
        "ours, characters": lambda: base.encode,
        "ours, characters and 100 terms": lambda: few.encode,
        f"ours, characters and {len(many):,} terms": lambda: most.encode,
    }


def main() -> None:
    """Print a block for each set of texts and each job."""
    from paddlenlp_embtune import compat

    compat.quiet_logging()
    for name, count in SETS.items():
        texts = read(name, count)
        length = statistics.mean(map(len, texts))
        print(f"{len(texts)} texts of {name}, {length:.0f} characters on average; {ROUNDS} rounds")
        show("WordPiece", wordpiece(), texts)
        show("words", words(texts), texts)
        show("SentencePiece", pieces(texts), texts)
        show("terms", terms(texts), texts)


if __name__ == "__main__":
    main()
