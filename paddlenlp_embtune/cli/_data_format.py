"""How a command reads its data: the options for columns, encoding, quoting and the like, which commands get as one value."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any, Optional, TypeVar

import typer

from paddlenlp_embtune.utils.text_files.read_options import ReadOptions

__all__ = ["DataFormat", "given", "reads_data", "states_data_format"]

Command = TypeVar("Command", bound=Callable[..., Any])

_HELP = {
    "text_column": "Column or key that holds the text.",
    "label_column": "Column or key that holds the label.",
    "weight_column": "Column or key that holds the weight of a row in the loss.",
    "encoding": "Encoding of the data, such as gb18030 or big5; by default UTF-8, or another one that is evident.",
    "quoting": "Meaning of double quotes in TSV and CSV data: quotes around fields (csv), part of the text (none), or detected "
    "(auto).",
    "delimiter": "Character between the fields of a table, or tab; by default by the ending, or another that is evident.",
    "header": "Whether tables have a header; by default found out. Without one, columns are called 1, 2 and so on.",
    "sheet": "Sheet of a workbook; by default the only one with the columns.",
    "limit": "Read no more than so many rows of each file.",
    "label_separator": "What parts the labels of a row, such as a comma, where a text has several.",
}
_KINDS: dict[str, Any] = {"header": Optional[bool], "limit": Optional[int]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataFormat(ReadOptions):
    """How labelled rows or texts are read.

    Args:
        text_column: column or key of the text.
        label_column: column or key of the label.
    """

    text_column: str = "text"
    label_column: str = "label"

    @property
    def options(self) -> ReadOptions:
        """How files are read, labelled or not."""
        return ReadOptions.of(self)

    def for_texts(self) -> dict[str, Any]:
        """Return the arguments of the functions that read texts without labels."""
        return {"text_column": self.text_column, "options": self.options}

    def for_examples(self) -> dict[str, Any]:
        """Return the arguments of the functions that read labelled rows."""
        return {**self.for_texts(), "label_column": self.label_column}


def reads_data(*, labels: bool) -> Callable[[Command], Command]:
    """Add the options of how data are read to a command, whose first parameter gets a :class:`DataFormat`.

    Args:
        labels: also add ``--label-column``.
    """
    left_out = {"weight_column"} if labels else {"weight_column", "label_column", "label_separator"}
    names = [name for name in _HELP if name not in left_out]
    defaults = {name: getattr(DataFormat(), name) for name in names}
    return functools.partial(_with_options, defaults=defaults, collect=DataFormat)


def states_data_format(command: Command) -> Command:
    """Add the options of :func:`reads_data` to a command that changes a recipe; its first parameter gets what was given."""
    return _with_options(command, defaults=dict.fromkeys(_HELP), collect=given)


def given(**values: Any) -> dict[str, Any]:
    """Leave out what was not given on the command line, so that a recipe's own values hold."""
    return {name: value for name, value in values.items() if value is not None}


def _with_options(command: Command, *, defaults: dict[str, Any], collect: Callable[..., Any]) -> Command:
    """Replace the first parameter of a command by options; Typer reads the signature and the annotations."""
    _, *own = inspect.signature(command, eval_str=True).parameters.values()

    @functools.wraps(command)
    def wrapper(**arguments: Any) -> Any:
        stated = collect(**{name: arguments.pop(name) for name in defaults})
        return command(stated, **arguments)

    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=_option(name, default))
        for name, default in defaults.items()
    ]
    kept = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    wrapper.__signature__ = inspect.Signature([*kept, *added])  # type: ignore[attr-defined]
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in (*kept, *added)}
    return wrapper  # type: ignore[return-value]


def _option(name: str, default: str | None) -> Any:
    kind: Any = str if default is not None else _KINDS.get(name, Optional[str])
    metavar = "auto|csv|none" if name == "quoting" else None
    least = 1 if name == "limit" else None
    return Annotated[kind, typer.Option(metavar=metavar, min=least, help=_HELP[name])]
