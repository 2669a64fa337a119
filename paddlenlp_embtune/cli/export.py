"""``embtune export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from paddlenlp_embtune import host, registry
from paddlenlp_embtune.cli.console import err, show_event
from paddlenlp_embtune.data import read_texts
from paddlenlp_embtune.errors import RecipeError, legal_names
from paddlenlp_embtune.schema import to_plain
from paddlenlp_embtune.serving import Bundle

__all__ = ["add_to"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("export")(export)


def export(
    bundle: Annotated[Path, typer.Argument(help="Folder of a bundle.")],
    engine: Annotated[list[str], typer.Option(help="onnxruntime or paddle_inference; may be given several times.")],
    out: Annotated[Optional[Path], typer.Option(help="Write the bundle here instead of replacing it.")] = None,
    data: Annotated[Optional[Path], typer.Option(help="Texts for the parity check, beside random ones.")] = None,
    text_column: Annotated[str, typer.Option(help="Column or key of the text.")] = "text",
) -> None:
    """Export a bundle's weights for engines, prove that they agree, and put them into the bundle."""
    known = registry.current().names("exporter")
    for name in engine:
        if name not in known:
            raise RecipeError(f"--engine is {name!r}; {legal_names(name, known)}")
    opened = Bundle.open(bundle)
    host.require_paddle()
    host.calm_logging()
    from paddlenlp_embtune.export import add_engines

    texts = read_texts(data, text_column=text_column)[:512] if data is not None else ()
    written = add_engines(opened, out or bundle, engines=tuple(dict.fromkeys(engine)), sample_texts=texts)
    for name in engine:
        show_event({"event": "parity", "engine": name, **to_plain(written.manifest.parity[name])})
    err.print(f"engines: {', '.join(written.manifest.engines)}")
    print(written.path)
