"""The example plugins, installed as a stranger would install them, beside the package and not into it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
NAMES = sorted(path.name for path in PLUGINS.iterdir() if (path / "setup.cfg").is_file())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("site")
    for name in NAMES:
        copy = tmp_path_factory.mktemp("source") / name
        subprocess.run(["cp", "-r", str(PLUGINS / name), str(copy)], check=True)
        command = [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--no-build-isolation",
            "--target",
            str(target),
        ]
        subprocess.run([*command, str(copy)], check=True, capture_output=True)
    return target


def embtune(site: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-W", "ignore", "-m", "paddlenlp_embtune", *arguments]
    return subprocess.run(command, check=check, text=True, capture_output=True, env=environment)


@pytest.mark.slow
def test_plugins_are_listed_with_what_they_bring(site: Path) -> None:
    found = json.loads(embtune(site, "plugins", "--json").stdout)
    assert {(row["name"], row["source"]) for row in found["plugins"]} >= {
        ("reviews", "embtune-reviews 0.1.0"),
        ("discriminative", "embtune-discriminative 0.1.0"),
    }
    assert {"kind": "domain", "name": "reviews", "plugin": "reviews"} in found["registered"]
    assert {"kind": "health metric", "name": "centre_shift", "plugin": "reviews"} in found["registered"]


@pytest.mark.slow
def test_a_run_uses_the_domain_the_measure_and_the_rates(site: Path, tmp_path: Path) -> None:
    rows = [
        f"{word}第{number}次\t{label}"
        for number in range(12)
        for word, label in (("差", "差评"), ("行", "中评"), ("好", "好评"))
    ]
    (tmp_path / "reviews.tsv").write_text("text\tlabel\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "recipe.yaml").write_text(
        "domain: reviews\ndata: {train: reviews.tsv}\ntext: {extra_rows: 0}\nexport: {engines: []}\n"
        "model: {options: {filters: 8, ngram_buckets: 64}}\ntrain: {epochs: 2}\n",
        encoding="utf-8",
    )
    embtune(site, "train", str(tmp_path / "recipe.yaml"), "--out", str(tmp_path / "run"))
    events = [json.loads(line) for line in (tmp_path / "run" / "record.jsonl").read_text(encoding="utf-8").splitlines()]
    (table,) = [event["table"] for event in events if event["event"] == "groups"]
    rates = {row["name"]: row["rate"] for row in table}
    assert rates["head"] == pytest.approx(2.6 * rates["convolution"]) == pytest.approx(2.6**2 * rates["embedding"])
    assert all("centre_shift" in event for event in events if event["event"] == "health")
    bundle = json.loads((tmp_path / "run" / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert bundle["labels"] == ["差评", "中评", "好评"]
    assert bundle["ordered"] is True
