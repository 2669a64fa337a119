"""Serving speed: one ERNIE-type checkpoint through PaddleNLP's stock Taskflow, a Hugging Face pipeline, and our bundles.

Each contender is a process of its own that loads once and then labels the texts when it is told to; rounds alternate, and
ratios are taken within a round. ``EMBTUNE_HF_PYTHON`` names an interpreter that has torch and transformers; without one that
row is left out.
"""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from paddlenlp_embtune.data import read_texts

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
PEERS = "tests.benchmarks.serving_peers"
SHORT, LONG = 2000, 500
ROUNDS = {"short": 3, "long": 2}
CONTENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "stock Taskflow, defaults": ("stock", {}),
    "stock Taskflow, 2 threads": ("stock", {"num_threads": 2}),
    "stock Taskflow, 2 threads, batches of 32": ("stock", {"num_threads": 2, "batch_size": 32}),
    "Hugging Face pipeline, 2 threads, batches of 32": ("hugging_face", {"threads": 2, "batch_size": 32}),
    "bare ONNX Runtime loop, 2 threads": ("bare", {"threads": 2}),
    "embtune fp32, 1 thread": ("embtune", {"num_threads": 1}),
    "embtune fp32, 2 threads": ("embtune", {"num_threads": 2}),
    "embtune int8, 1 thread": ("embtune", {"num_threads": 1, "precision": "int8"}),
    "embtune int8, 2 threads": ("embtune", {"num_threads": 2, "precision": "int8"}),
}
AGAINST = ("stock Taskflow, defaults", "stock Taskflow, 2 threads", "bare ONNX Runtime loop, 2 threads")


class Peer:
    """A process that has loaded one contender."""

    def __init__(self, kind: str, options: dict[str, Any], folder: Path) -> None:
        python = os.environ.get("EMBTUNE_HF_PYTHON", sys.executable) if kind == "hugging_face" else sys.executable
        # Nothing of the parent's: thread counts are the contender's own business.
        environment = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
        command = [python, "-W", "ignore", "-m", PEERS, kind, str(folder), json.dumps(options)]
        self._errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115 - closed with the peer
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment
        )
        self.ready = self._answer() is not None

    def run(self, name: str) -> dict[str, Any] | None:
        """Label a set of texts; gives seconds and labels, or None where the process has ended."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(name + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        return self._answer()

    def why(self) -> str:
        """Tell why the process ended: the last line that it wrote about it."""
        self.process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        return lines[-1] if lines else f"exit code {self.process.returncode}, without a word"

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _answer(self) -> dict[str, Any] | None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("{"):  # PaddleNLP prints to stdout as well
                answer: dict[str, Any] = json.loads(line)
                return answer
        return None


def main() -> None:
    if not DATA.is_dir():
        print(f"serving: skipped, {DATA} is absent")
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        texts = {
            "short": read_texts(DATA / "finfe" / "train.tsv", text_column="text")[-SHORT:],
            "long": read_texts(DATA / "legal_charge4" / "train.tsv", text_column="text")[:LONG],
        }
        (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        subprocess.run([sys.executable, "-W", "ignore", "-m", PEERS, "prepare", str(folder), "{}"], check=True)
        for name, rounds in ROUNDS.items():
            report(name, len(texts[name]), measure(folder, name, rounds))
        latency(folder)


def measure(folder: Path, name: str, rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Let every contender label the texts, in turns; one that does not start or ends is named and left out."""
    peers = {contender: Peer(kind, options, folder) for contender, (kind, options) in CONTENDERS.items()}
    try:
        answers: dict[str, list[dict[str, Any]]] = {contender: [] for contender, peer in peers.items() if peer.ready}
        for contender in peers.keys() - answers.keys():
            print(f"left out: {contender} did not start: {peers[contender].why()}", flush=True)
        for _ in range(rounds):
            for contender in list(answers):
                if (answer := peers[contender].run(name)) is None:
                    print(f"left out: {contender} ended while it labelled: {peers[contender].why()}", flush=True)
                    del answers[contender]
                else:
                    answers[contender].append(answer)
        return answers
    finally:
        for peer in peers.values():
            peer.close()


def report(name: str, count: int, answers: dict[str, list[dict[str, Any]]]) -> None:
    """Print texts a second, ratios within rounds, and how many labels agree with those of the stock task, of those that ran."""
    if not answers:
        print(f"\n{count} {name} texts: no contender ran")
        return
    stock = answers[AGAINST[0]][0]["labels"] if AGAINST[0] in answers else None
    measured = len(next(iter(answers.values())))
    print(f"\n{count} {name} texts; ratios are the median of {measured} rounds (lowest to highest)")
    heads = "".join(f"{head:>24}" for head in ("to stock, defaults", "to stock, 2 threads", "to bare ONNX Runtime"))
    print(f"{'':<50}{'texts/s':>9}{heads}{'same labels':>13}")
    for contender, rounds in answers.items():
        speed = count / statistics.median(answer["seconds"] for answer in rounds)
        cells = []
        for other in AGAINST:
            if other not in answers:
                cells.append("not measured")
                continue
            ratios = [b["seconds"] / a["seconds"] for a, b in zip(rounds, answers[other], strict=True)]
            cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
        labels = rounds[0]["labels"]
        same = f"{sum(a == b for a, b in zip(labels, stock, strict=True)) / count:.2%}" if labels and stock else ""
        print(f"{contender:<50}{speed:>9.0f}{''.join(f'{cell:>24}' for cell in cells)}{same:>13}", flush=True)


def latency(folder: Path) -> None:
    """One short text at a time: the predictor against a bare session and tokenization; and 8 client threads at once."""
    peer = Peer("latency", {}, folder)
    found = peer.run("short") if peer.ready else None
    if found is None:
        print(f"left out: one text at a time did not run: {peer.why()}")
        peer.close()
        return
    peer.close()
    print(
        f"\none short text, median of 2,000 calls: {found['predict_ms']:.3f} ms; tokenization and a bare session run "
        f"{found['bare_ms']:.3f} ms, in the same rounds; ratio {found['predict_ms'] / found['bare_ms']:.2f}"
    )
    print(
        f"8 client threads: median {found['median_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms, ratio "
        f"{found['p99_ms'] / found['median_ms']:.2f}; {found['per_second']:.0f} texts/s"
    )


if __name__ == "__main__":
    main()
