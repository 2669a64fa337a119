"""What WordPiece costs: texts a second of ours, of PaddleNLP's Python tokenizer and of its Rust one, all in one process."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import paddlenlp_embtune as embtune

embtune.prepare_cpu()

from paddlenlp.transformers import ErnieTokenizer  # noqa: E402
from paddlenlp.transformers.bert.tokenizer_fast import BertTokenizerFast  # noqa: E402

from paddlenlp_embtune.text import Vocabulary, WordPieceTokenizer  # noqa: E402

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
# Not that of ERNIE 3.0: PaddleNLP's Rust tokenizer cannot be built from a vocabulary with a token that stands there twice.
VOCABULARY = DATA / "vocab" / "ernie-1.0.vocab.txt"
SETS = {"finfe": 2000, "legal_charge4": 200}
ROUNDS = 5

Encode = Callable[[str], Sequence[int]]


def read(name: str, count: int) -> list[str]:
    """The first texts of a training set."""
    lines = (DATA / name / "train.tsv").read_text(encoding="utf-8").split("\n")
    return [line.split("\t")[0] for line in lines[1 : count + 1]]


def measure(encoders: dict[str, Callable[[], Encode]], texts: Sequence[str]) -> dict[str, list[float]]:
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


def main() -> None:
    """Print the medians, and the ratios to PaddleNLP's Python tokenizer in the same rounds."""
    from paddlenlp_embtune import host

    host.calm_logging()
    vocabulary = Vocabulary.load(VOCABULARY)
    ours, python, rust = WordPieceTokenizer(vocabulary), ErnieTokenizer(str(VOCABULARY)), BertTokenizerFast(str(VOCABULARY))
    encoders: dict[str, Callable[[], Encode]] = {
        "PaddleNLP, Python": lambda: lambda text: python(text)["input_ids"],
        "PaddleNLP, Rust": lambda: lambda text: rust(text)["input_ids"],
        "ours": lambda: ours.encode,
        "ours, nothing seen": lambda: WordPieceTokenizer(vocabulary).encode,
    }
    for name, count in SETS.items():
        texts = read(name, count)
        seconds = measure(encoders, texts)
        length = statistics.mean(map(len, texts))
        print(f"{len(texts)} texts of {name}, {length:.0f} characters on average; {ROUNDS} rounds")
        for kind, mine in seconds.items():
            ratios = [theirs / own for theirs, own in zip(seconds["PaddleNLP, Python"], mine, strict=True)]
            spread = f"{min(ratios):.1f} to {max(ratios):.1f}"
            speed = len(texts) / statistics.median(mine)
            print(f"  {kind:20} {speed:9,.0f} texts/s   {statistics.median(ratios):5.1f} times as fast ({spread})")


if __name__ == "__main__":
    main()
