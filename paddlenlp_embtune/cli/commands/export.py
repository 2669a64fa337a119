"""``embtune export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.cli._console import err, print_event
from paddlenlp_embtune.cli._options import EncodingOption, QuotingOption
from paddlenlp_embtune.data import read_texts
from paddlenlp_embtune.errors import RecipeError, expected_names
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.utils.schema import to_plain

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    engine: Annotated[
        Optional[list[str]], typer.Option(help="onnxruntime or paddle_inference; may be given several times.")
    ] = None,
    triton: Annotated[
        Optional[Path], typer.Option(metavar="DIR", help="Write a model repository for NVIDIA Triton instead; needs no Paddle.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the model for Triton.")] = "domain_sentiment",
    precision: Annotated[str, typer.Option(help="Program for Triton: fp32, or what the bundle was quantized to.")] = "fp32",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="With --triton: replace the model of another bundle that has the name.")
    ] = False,
    out: Annotated[Optional[Path], typer.Option(help="Write the bundle here instead of replacing it.")] = None,
    data: Annotated[Optional[Path], typer.Option(help="Texts for the parity check, beside random ones.")] = None,
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = "text",
    encoding: EncodingOption = None,
    quoting: QuotingOption = "auto",
) -> None:
    """Export a bundle's weights for engines, prove that they agree, and put them into the bundle; or export to Triton."""
    if (triton is None) == (not engine):
        raise RecipeError("give --engine, one or several, or --triton")
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
    compat.require_paddle()
    compat.quiet_logging()
    from paddlenlp_embtune.export import add_engines

    texts = read_texts(data, text_column=text_column, encoding=encoding, quoting=quoting)[:512] if data is not None else ()
    written = add_engines(opened, out or bundle, engines=engines, sample_texts=texts)
    for chosen in engines:
        print_event({"event": "parity", "engine": chosen, **to_plain(written.manifest.parity[chosen])})
    err.print(f"engines: {', '.join(written.manifest.engines)}")
    print(written.path)
