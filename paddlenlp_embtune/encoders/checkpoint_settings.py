"""Checking the settings of a checkpoint: every one must be understood, or known not to change an answer.

The lists are in ``_model_settings`` and ``_tokenizer_settings``. A setting in none of them is refused by name and value.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from paddlenlp_embtune.errors import BundleError
from paddlenlp_embtune.utils.json_yaml import shorten

__all__ = ["OFF", "KnownSettings", "check_settings", "token_content"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class KnownSettings:
    """What is known about the settings of one file.

    Args:
        understood: by name, what we do with each.
        only: by name, the values that we understand; any other is refused. For a mapping or a token, its content counts.
        reasons: by name, why others are refused, and the next step.
        harmless: cannot change an answer. Names that begin with an underscore are harmless as well.
    """

    understood: Mapping[str, str]
    only: Mapping[str, tuple[Any, ...]]
    reasons: Mapping[str, str]
    harmless: frozenset[str]


OFF = (None, False)
"""Values of a switch that must be off."""

_TRAIN_AGAIN = "fine-tune it without that setting"


def check_settings(
    values: Mapping[str, Any],
    known: KnownSettings,
    *,
    file: Path,
    also: Collection[str] = (),
    only: Mapping[str, tuple[Any, ...]] | None = None,
    without: Collection[str] = (),
) -> None:
    """Refuse a setting that we do not know, or a value that we do not understand.

    Args:
        values: what the file holds.
        known: what is known of such a file.
        file: for messages.
        also: further names that are understood, such as those that PaddleNLP's class takes.
        only: values of the tokenizer's class, in place of those of the file.
        without: names that cannot change an answer here, as those of a head that is left out.
    Raises:
        BundleError: naming the setting, its value and the next step.
    """
    limits = {**known.only, **(only or {})}
    for name, value in values.items():
        if name.startswith("_") or name in known.harmless or name in without:
            continue
        if name == "quantization_config" and _plain_weights(value):
            continue
        if name in limits:
            if not any(_same(value, allowed) for allowed in limits[name]):
                shown = " or ".join(_shown(allowed) for allowed in limits[name])
                reason = known.reasons.get(name, f"nothing else is supported; {_TRAIN_AGAIN}")
                raise BundleError(f"{file} has {name} {_shown(value)}, expected {shown}: {reason}")
        elif name not in known.understood and name not in also:
            raise BundleError(
                f"{file} has the setting {name} {_shown(value)}, which is not known here and may change answers; remove it if "
                f"it does not, otherwise {_TRAIN_AGAIN}"
            )


def token_content(token: Any) -> Any:
    """Return the text of a token that may be stated with its flags."""
    return token["content"] if isinstance(token, Mapping) and "content" in token else token


def _same(value: Any, allowed: Any) -> bool:
    value = token_content(value)
    return type(value) is type(allowed) and bool(value == allowed)


def _plain_weights(value: Any) -> bool:
    """Tell whether a ``quantization_config`` asks for none: PaddleNLP may write its defaults out."""
    asked = ("weight_quantize_algo", "quant_type", "quant_method", "fmt", "activation_scheme")
    return isinstance(value, Mapping) and "weight_quant_method" in value and all(value.get(name) is None for name in asked)


def _shown(value: Any) -> str:
    return (
        {None: "null", True: "true", False: "false"}.get(value, "") if isinstance(value, (bool, type(None))) else shorten(value)
    )
