"""``embtune demo``: the whole way from rows to Taskflow on the finance texts in the package."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from paddlenlp_embtune import builtin, compat
from paddlenlp_embtune.cli._console import err, per_class_table
from paddlenlp_embtune.cli._paddle import start_paddle
from paddlenlp_embtune.cli._run_display import RunDisplay
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.data import read_examples

__all__ = ["demo"]

_EXAMPLES = (
    "公司拟以不低于十亿元回购股份并全部注销，金额约为市值的一成",
    "控股股东计划未来三个月减持不超过1%的股份",
    "董事会审议通过聘任新一届审计机构",
    "这票今天放量站上年线，慢慢拿着吧",
    "公司因涉嫌信息披露违法被证监会立案，股票存在退市风险",
    "",
)


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the run; an earlier one is replaced.")] = Path("runs/demo"),
    seed: Annotated[int, typer.Option(help="Random seed of data order, dropout and initialisation.")] = 0,
) -> None:
    """Train on the finance texts in the package, export, verify parity, and query Taskflow."""
    start_paddle()
    from paddlenlp_embtune.training import train

    recipe = dataclasses.replace(Recipe.load(builtin.FINANCE / "recipe.yaml"), seed=seed)
    result = train(recipe, out, overwrite=True, listeners=[RunDisplay()])
    _test(result.bundle)
    with compat.quiet():
        from paddlenlp import Taskflow
    sentiment = Taskflow("domain_sentiment", task_path=str(result.bundle))
    err.print('Taskflow("domain_sentiment"):')
    for answer in sentiment(list(_EXAMPLES)):
        print(f"{answer['label'] or '(blank)'}\t{answer['score']:.3f}\t{answer['text']}")
    err.print(f"record: {result.run_dir / 'record.jsonl'}", markup=False)
    err.print(f"bundle: {result.bundle}", markup=False)


def _test(bundle: Path) -> None:
    """Show the bundle on the test texts, which training has not seen."""
    from paddlenlp_embtune.evaluation import classification_report
    from paddlenlp_embtune.inference import Predictor

    rows = read_examples(builtin.FINANCE / "test.tsv", text_column="text", label_column="label")
    predictor = Predictor(bundle)
    predicted = predictor.probabilities(rows.texts).argmax(axis=1).tolist()
    truth = [predictor.labels.index(label) for label in rows.labels]
    err.print("on the test texts, which neither training nor early stopping has seen:")
    err.print(per_class_table(classification_report(truth, predicted, predictor.labels)))
