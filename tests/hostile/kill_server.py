"""Runs commands in children that are killed before their N-th change to the file system; Paddle is loaded once.

Reads one JSON object a line from stdin, and answers each with one on stdout. No ONNX Runtime session is made here, only in the
children, as a fork while one runs may copy a held lock.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

CALLS = ("replace", "rename", "fsync", "unlink", "remove", "rmdir", "link", "mkdir")


def arm(kill_at: int, count: list[int]) -> None:
    """Count every call that changes the file system, and kill this process before the one of a number.

    Paddle's folder of this process does not count: one with the same number may have left it, and then it is not made.
    """
    from paddlenlp_embtune.utils.files import folder_swap

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def before(*given: Any, **named: Any) -> Any:
            if "to_static_tmp" not in str(given[0]):
                count[0] += 1
                if count[0] == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            return call(*given, **named)

        return before

    for name in CALLS:
        setattr(os, name, counted(getattr(os, name)))
    folder_swap.exchange = counted(folder_swap.exchange)  # renameat2, which Python does not name


def without_exchange() -> None:
    """Let folders be exchanged in three renames, as on a file system that cannot do it in one."""
    from paddlenlp_embtune.utils.files import folder_swap

    folder_swap.exchange = lambda one, other: False


def keep_programs() -> None:
    """Translate each program once: that takes a process of its own, and seconds, and makes none of the calls counted here."""
    from paddlenlp_embtune.export import onnx as exporting

    store, translate = Path(tempfile.mkdtemp(prefix="programs-")), exporting.translate

    def kept(program: Path, weights: Path, target: Path) -> None:
        known = store / hashlib.sha256(program.read_bytes() + weights.read_bytes()).hexdigest()
        if not known.exists():
            translate(program, weights, target)
            shutil.copyfile(target, known)
        shutil.copyfile(known, target)

    exporting.translate = kept


def prepare(task: dict[str, Any]) -> None:
    """Fill a folder with a bundle, labelled rows, a store of two versions, a recipe, a run and a student's run."""
    import numpy as np

    from paddlenlp_embtune.bundle.embedding import embedding_table
    from paddlenlp_embtune.embeddings.io.write import write_vectors
    from paddlenlp_embtune.embeddings.store import VectorStore
    from paddlenlp_embtune.export import write_bundle
    from paddlenlp_embtune.inference import Predictor
    from tests.export.large_bundle import large_content, make_texts
    from tests.helpers import QUICK, ROWS, tsv

    here = Path(task["cwd"])
    bundle = write_bundle(here / "b", large_content(), engines=["onnxruntime"])
    texts = make_texts(120)
    labels = [answer["label"] for answer in Predictor(bundle, num_threads=1).predict(texts)]
    labels[::7] = labels[1::7][: len(labels[::7])] + labels[:1] * (len(labels[::7]) - len(labels[1::7]))
    (here / "rows.tsv").write_text(tsv(list(zip(texts, labels, strict=True))), encoding="utf-8")
    (here / "terms.txt").write_text("".join(f"{text[:3]}\n" for text in texts[:3] if len(text) > 2), encoding="utf-8")
    store, tokens = VectorStore.open(here / "store", create=True), bundle.vocabulary.tokens
    table = embedding_table(bundle)
    store.save("v1", tokens, table)
    store.save("v2", tokens, table * np.float32(1.25))
    write_vectors(here / "old.npz", tokens, table, format="npz")
    (here / "train.tsv").write_text(tsv(ROWS), encoding="utf-8")
    (here / "quick.yaml").write_text(QUICK.replace("batch_size: 16", "batch_size: 16, checkpoint_seconds: 0"), encoding="utf-8")
    student = "distill: {teacher: run/bundle, answers: answers.safetensors}\n"
    (here / "student.yaml").write_text((here / "quick.yaml").read_text(encoding="utf-8") + student, encoding="utf-8")
    for name in ("quick", "student"):
        assert run({"argv": ["train", f"{name}.yaml", "--out", {"quick": "run"}.get(name, name)]}) == 0
    (here / "answers.safetensors").unlink()


def run(task: dict[str, Any]) -> int:
    """Run a command line; return its exit code."""
    from paddlenlp_embtune.cli.main import main

    sys.argv = ["embtune", *task["argv"]]
    try:
        main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def answers(task: dict[str, Any]) -> list[Any]:
    """Open a bundle; what it answers, and what it says about itself."""
    from paddlenlp_embtune.inference import Predictor

    predictor = Predictor(task["path"], engine=task.get("engine", "onnxruntime"), num_threads=1)
    found = predictor.predict(["公司拟回购股份", "控股股东减持", "基金召开股东大会"], scores=True)
    scores = [{label: round(score, 4) for label, score in each["scores"].items()} for each in found]
    manifest = predictor.bundle.manifest
    return [scores, len(predictor.bundle.vocabulary), sorted(manifest.quantized), manifest.calibration is not None]


def pair(task: dict[str, Any]) -> list[int]:
    """Run two commands at once, the second a little later; return their exit codes."""
    children = []
    for argv, late in zip(task["pair"], (0, task["late"]), strict=True):
        number = os.fork()
        if number == 0:
            time.sleep(late)
            os._exit(run({"argv": argv}))
        children.append(number)
    return [os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]) for number in children]


def child(task: dict[str, Any], told: Path) -> None:
    """Do a task in this process, which ends with it."""
    os.chdir(task["cwd"])
    with (Path(task["cwd"]).parent / "said.txt").open("wb") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    count, code, result = [0], 70, None
    if task.get("exchange") is False:
        without_exchange()
    try:
        if task["op"] == "run":
            write = told.write_text
            arm(task.get("kill_at", 0), count)
            code = run(task)
            result = count[0]
        else:
            write = told.write_text
            result, code = {"answers": answers, "prepare": prepare, "pair": pair}[task["op"]](task), 0
        write(json.dumps(result), encoding="utf-8")
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Answer tasks until there are no more."""
    import paddlenlp_embtune

    paddlenlp_embtune.prepare_cpu()
    import paddle  # noqa: F401
    import paddlenlp.trainer  # noqa: F401

    import paddlenlp_embtune.training.run
    from paddlenlp_embtune.cli import main  # noqa: F401
    from paddlenlp_embtune.export import quantization

    quantization._speedup = lambda *given: 2.0  # a busy machine must not refuse it
    keep_programs()
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    print("ready", file=channel, flush=True)
    for line in sys.stdin:
        task = json.loads(line)
        told = Path(task["cwd"]).parent / "told.json"
        told.unlink(missing_ok=True)
        number = os.fork()
        if number == 0:
            child(task, told)
        _, status = os.waitpid(number, 0)
        result = json.loads(told.read_text(encoding="utf-8")) if told.exists() else None
        said = (Path(task["cwd"]).parent / "said.txt").read_text(encoding="utf-8", errors="replace")
        answer = {"code": os.waitstatus_to_exitcode(status), "result": result, "said": said[-2000:]}
        print(json.dumps(answer), file=channel, flush=True)


if __name__ == "__main__":
    serve()
