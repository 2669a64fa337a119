"""The pages' templates, rendered with Jinja. Every value is escaped unless it was rendered itself."""

from __future__ import annotations

import functools
import importlib
from typing import TYPE_CHECKING, Any

from paddlenlp_embtune.errors import MissingDependencyError
from paddlenlp_embtune.report._formatting import plural, printable

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

__all__ = ["check_jinja", "render"]


def check_jinja() -> None:
    """Make sure that templates can be rendered, before any work is done.

    Raises:
        MissingDependencyError: Jinja is not installed.
    """
    try:
        importlib.import_module("jinja2")
    except ModuleNotFoundError as error:
        if error.name not in ("jinja2", "markupsafe"):
            raise
        raise MissingDependencyError('a report needs jinja2; install it with: pip install "paddlenlp-embtune[plot]"') from None


def render(template: str, **values: Any) -> Markup:
    """Render a template of the folder ``templates``.

    Args:
        template: its path in that folder.
        values: text, numbers, and what other templates rendered to; only the latter goes into the page as markup.
    Raises:
        LookupError: the template needs a value that is not there.
    """
    from jinja2 import UndefinedError
    from markupsafe import Markup

    try:
        return Markup(_environment().get_template(template).render(values))  # noqa: S704 - escaped by the environment
    except UndefinedError as error:
        raise LookupError(error.message) from error


@functools.cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("paddlenlp_embtune.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["plural"] = plural
    return environment


def _finalize(value: Any) -> Any:
    """Let a page hold only characters that can be shown; markup has been through here already."""
    return value if hasattr(value, "__html__") else printable(str(value))
