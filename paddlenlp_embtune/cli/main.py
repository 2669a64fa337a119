"""The application behind ``embtune``, and the exit codes."""

from __future__ import annotations

import io
import itertools
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from typing import Annotated, Any, Optional

import typer
import typer.core

import paddlenlp_embtune
from paddlenlp_embtune import compat
from paddlenlp_embtune.cli._failures import exit_with_error, name_output_errors
from paddlenlp_embtune.cli._terminal import err
from paddlenlp_embtune.cli.commands import (
    adopt,
    auto,
    calibrate,
    check,
    compare,
    demo,
    distill,
    doctor,
    domains,
    embed,
    evaluate,
    export,
    lr_find,
    params,
    plugins,
    predict,
    pretrain,
    quantize,
    report,
    score,
    search,
    serve,
    train,
    vectors,
    vocabulary,
)
from paddlenlp_embtune.errors import PluginError, expected_names
from paddlenlp_embtune.plugin import manager, registry

__all__ = ["app", "main"]


class _Commands(typer.core.TyperGroup):
    """The commands; an interrupt exits with 130 under every version of Typer."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the command line names."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("interrupted", style="bold red")
            raise typer.Exit(130) from None


app = typer.Typer(
    name="embtune",
    cls=_Commands,
    help="Tune, monitor and serve domain embeddings on PaddleNLP.",
    epilog="Data goes to stdout, logs to stderr. Exit codes: 0 done, 1 failed, 2 misuse (command line or recipe).",
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for _command in (
    demo.demo,
    check.check,
    domains.domains,
    train.train,
    distill.distill,
    pretrain.pretrain,
    evaluate.evaluate,
    compare.compare,
    auto.auto,
    predict.predict,
    score.score,
    embed.embed,
    serve.serve,
    calibrate.calibrate,
    quantize.quantize,
    adopt.adopt,
    export.export,
    report.report,
    params.params,
    lr_find.lr_find,
    search.search,
    plugins.plugins,
    doctor.doctor,
):
    app.command(_command.__name__.replace("_", "-"))(_command)
app.add_typer(vectors.app)
app.add_typer(vocabulary.app)


@app.callback()
def options(
    context: typer.Context,
    threads: Annotated[Optional[int], typer.Option(min=1, help="CPU threads; by default one per processor, at most 8.")] = None,
    block: Annotated[  # noqa: ARG001 - read ahead of the parser, in main
        Optional[list[str]], typer.Option(metavar="PLUGIN", help="Plugin not to load; repeat for more.")
    ] = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    """Tune, monitor and serve domain embeddings on PaddleNLP."""
    if version:
        print(f"embtune {paddlenlp_embtune.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)
    compat.prepare_cpu(threads=threads)
    # Paddle's C++ side logs its internals at the level of warnings; errors still come through.
    os.environ.setdefault("GLOG_minloglevel", "2")


def main() -> None:
    """Run the command line; every failure becomes one line on stderr and an exit code.

    The traceback of an unexpected error is written to a file in the folder for temporary files, which only its owner can
    read; with the variable ``EMBTUNE_TRACEBACK`` every failure shows its traceback instead.
    """
    warnings.simplefilter("ignore")
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Lone surrogates, or a terminal that knows ASCII only, must not end a run.
            stream.reconfigure(errors="backslashreplace")
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        _run()
    except KeyboardInterrupt:
        err.print("interrupted", style="bold red")
        sys.exit(130)
    except Exception as error:
        exit_with_error(error)


def _run() -> None:
    if names := _blocked(sys.argv[1:]):
        registry.use(registry.load(block=names))
    registry.current().call("embtune_add_commands", app=app)
    try:
        app()
    except SystemExit:
        with name_output_errors():
            sys.stdout.flush()  # so that a full disk is reported here, and not by the interpreter at exit
        raise


def _blocked(arguments: Sequence[str]) -> list[str]:
    """Read ``--block`` ahead of the parser, because plugins may add commands to it.

    Raises:
        PluginError: there is no such plugin.
    """
    names = [value for option, value in itertools.pairwise(arguments) if option == "--block"]
    names += [argument.partition("=")[2] for argument in arguments if argument.startswith("--block=")]
    for name in names:
        if name not in (known := manager.installed_names()):
            raise PluginError(f"--block names the plugin {name!r}, which is not installed; {expected_names(name, known)}")
    return names
