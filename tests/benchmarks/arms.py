"""All arms of ``embtune compare`` on the sets in ../shared/data, over seeds, in one table.

finfe has no test rows: a tenth of its training rows is held out to stop on, and dev.tsv is the test. Every cell is kept in
``--out``, so that the benchmark can be interrupted, and continues when it is called again; with ``--finished`` it runs nothing
and shows the sets that are complete. Encoders on all rows take days on two cores, so ``--few`` compares pretraining, rates and
freezing on 200 labelled rows, which each seed draws from train.tsv and dev.tsv, and on 300 test rows at most, the same for all.

    python -m tests.benchmarks arms -- --sets finfe,waimai --arms tfidf,textcnn --seeds 3 --out runs/arms
    python -m tests.benchmarks arms -- --few encoder --jobs 1 --out runs/few-encoder
    python -m tests.benchmarks arms -- --few encoder --out runs/few-encoder --finished
    python -m tests.benchmarks arms -- --few textcnn --out runs/few-textcnn
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.benchmarks._few import FEW, ROWS, write_few

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
SETS = (
    *("fin_news_pn", "finfe", "thucnews_titles10", "kuake_qic", "waimai", "eprstmt_fewshot", "nlpcc14_sc", "weibo2018"),
    *("chnsenticorp", "legal_charge4", "asap_star5_sample"),
)
"""Those of short texts first, which are done soon."""
ARMS = ("tfidf", "tfidf-svm", "fasttext", "textcnn", "plain", "rates", "freeze", "gradual")
ENCODERS = ("frozen", "encoder", "encoder+plain", "encoder+rates", "encoder+gradual")
PLUGIN = ROOT / "plugins" / "embtune_e5"


def main() -> None:
    stated = arguments()
    data = Path(stated.data)
    if not data.is_dir():
        print(f"arms: skipped, {data} is absent")
        return
    arms, settings = stated.arms.split(",") + (list(ENCODERS) if stated.encoders else []), []
    if stated.few:
        (arms, settings), stated.sizes = FEW[stated.few], str(ROWS)
    command = [sys.executable, "-W", "ignore", "-m", "paddlenlp_embtune", "compare", "--against", stated.against]
    for arm in arms:
        command += ["--arm", arm]
    for setting in [*settings, *stated.set]:
        command += ["--set", setting]
    command += ["--seeds", str(stated.seeds), "--metric", stated.metric, "--out", stated.out]
    command += ["--html", f"{stated.out}.html"] + (["--jobs", str(stated.jobs)] if stated.jobs else [])
    command += (["--sizes", stated.sizes] if stated.sizes else []) + (["--finished"] if stated.finished else [])
    with tempfile.TemporaryDirectory(prefix="embtune-") as folder:
        for name in stated.sets.split(","):
            if stated.few:
                write_few(data, name, Path(folder) / "rows" / name)
            command += files_of(Path(folder) / "rows" if stated.few else data, name)
        paths = [str(ROOT), *e5_plugin(Path(folder)), os.environ.get("PYTHONPATH", "")]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        sys.exit(subprocess.run(command, check=False, env=environment).returncode)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks arms --")
    parser.add_argument("--data", default=str(DATA), help="folder of the sets")
    parser.add_argument("--sets", default=",".join(SETS), help="sets, separated by commas")
    parser.add_argument("--arms", default=",".join(ARMS), help="arms, separated by commas")
    parser.add_argument("--encoders", action="store_true", help=f"also {', '.join(ENCODERS)}")
    parser.add_argument("--few", choices=sorted(FEW), help=f"{ROWS} labelled rows of each set, and the arms for them")
    parser.add_argument("--finished", action="store_true", help="run nothing; show the sets that are complete")
    parser.add_argument("--set", action="append", default=[], help="setting, as embtune compare takes it")
    parser.add_argument("--sizes", help="numbers of labelled rows for learning curves")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--against", default="tfidf")
    parser.add_argument("--metric", default="f1_macro")
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--out", default="runs/arms")
    return parser.parse_args()


def files_of(data: Path, name: str) -> list[str]:
    folder = data / name
    if (folder / "test.tsv").is_file():
        return ["--data", f"{name}={folder}"]
    return ["--data", f"{name}={folder / 'train.tsv'}", "--test", f"{name}={folder / 'dev.tsv'}"]


def e5_plugin(folder: Path) -> list[str]:
    """Let child processes find embtune_e5 as if it were installed, where it is not."""
    if any(point.value == "embtune_e5" for point in importlib.metadata.entry_points(group="paddlenlp_embtune")):
        return []
    described = folder / "embtune_e5-0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: embtune-e5\nVersion: 0\n")
    (described / "entry_points.txt").write_text("[paddlenlp_embtune]\ne5 = embtune_e5\n")
    return [str(PLUGIN), str(folder)]


if __name__ == "__main__":
    main()
