"""``embtune export``: further engines for a bundle, or a model repository for Triton."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.cli._console import err
from paddlenlp_embtune.cli._data_format import DataFormat, reads_data
from paddlenlp_embtune.cli._options import BundleArgument, BundleOutOption, ParityTextsOption
from paddlenlp_embtune.cli._paddle import start_paddle
from paddlenlp_embtune.cli._run_display import print_parity
from paddlenlp_embtune.data import read_texts
from paddlenlp_embtune.errors import RecipeError, expected_names
from paddlenlp_embtune.plugin import registry

__all__ = ["export"]


@reads_data(labels=False)
def export(
    data_format: DataFormat,
    bundle: BundleArgument,
    engine: Annotated[
        Optional[list[str]], typer.Option(help="Engine: onnxruntime or paddle_inference; repeat for more.")
    ] = None,
    triton: Annotated[
        Optional[Path],
        typer.Option(metavar="DIR", help="Write a model repository for NVIDIA Triton instead; needs no Paddle."),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the model in Triton.")] = "domain_sentiment",
    precision: Annotated[str, typer.Option(help="Precision in Triton: fp32, or one that the bundle has.")] = "fp32",
    head: Annotated[
        Optional[str],
        typer.Option(
            metavar="TASK", help="Write a bundle that answers by the head of an earlier task to --out; for multitask."
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --triton, replace a model of that name from another bundle.")
    ] = False,
    out: BundleOutOption = None,
    data: ParityTextsOption = None,
) -> None:
    """Add engines to a bundle after verifying that they agree with its model; or write a Triton model repository."""
    if sum((triton is not None, bool(engine), head is not None)) != 1:
        raise RecipeError("give --engine, one or several, or --triton, or --head")
    if head is not None:
        _export_head(bundle, head, out)
        return
    if triton is not None:
        if out is not None or data is not None:
            raise RecipeError("--out and --data go with --engine, not with --triton")
        from paddlenlp_embtune.export import write_triton

        for folder in write_triton(Bundle.open(bundle), triton, name=name, precision=precision, overwrite=overwrite):
            print(folder)
        return
    engines = tuple(dict.fromkeys(engine or ()))
    known = registry.current().names("exporter")
    for chosen in engines:
        if chosen not in known:
            raise RecipeError(f"--engine is {chosen!r}; {expected_names(chosen, known)}")
    opened = Bundle.open(bundle)
    start_paddle()
    from paddlenlp_embtune.export import add_engines

    texts = read_texts(data, **data_format.for_texts())[:512] if data is not None else ()
    written = add_engines(opened, out or bundle, engines=engines, sample_texts=texts)
    print_parity({name: written.manifest.parity[name] for name in engines})
    err.print(f"engines: {', '.join(written.manifest.engines)}")
    print(written.path)


def _export_head(bundle: Path, head: str, out: Path | None) -> None:
    if out is None:
        raise RecipeError("--head needs --out, the folder of the bundle that answers by it")
    opened = Bundle.open(bundle)
    start_paddle()
    from paddlenlp_embtune.export import bundle_of_head

    print(bundle_of_head(opened, head, out).path)
