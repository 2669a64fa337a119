"""Checking the settings of a checkpoint: each must be supported, or known not to change predictions.

The lists are in ``_model_settings`` and ``_tokenizer_settings``. Any other setting is rejected by name and value.
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
    """The known settings of one file.

    Args:
        understood: supported settings by name, with their effect.
        only: supported values by name; others are rejected. Mappings and tokens are compared by content.
        reasons: by name, why other values are rejected, and the next step.
        harmless: cannot change predictions. Names that begin with an underscore are harmless as well.
    """

    understood: Mapping[str, str]
    only: Mapping[str, tuple[Any, ...]]
    reasons: Mapping[str, str]
    harmless: frozenset[str]


OFF = (None, False)
"""Allowed values of a switch that must be off."""

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
    """Reject unknown settings and unsupported values.

    Args:
        values: content of the file.
        known: the known settings of such a file.
        file: for messages.
        also: further supported names, such as those that PaddleNLP's class accepts.
        only: values of the tokenizer class, which replace those of the file.
        without: names that cannot change predictions here, such as those of a head that is not used.
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
                raise BundleError(f"{name} in {file} must be {shown}, got {_shown(value)}: {reason}")
        elif name not in known.understood and name not in also:
            raise BundleError(
                f"{file} has the unknown setting {name} {_shown(value)}, which may change predictions; remove it if "
                f"it does not, otherwise {_TRAIN_AGAIN}"
            )


def token_content(token: Any) -> Any:
    """Return the text of a token that may be stored with its flags."""
    return token["content"] if isinstance(token, Mapping) and "content" in token else token


def _same(value: Any, allowed: Any) -> bool:
    value = token_content(value)
    return type(value) is type(allowed) and bool(value == allowed)


def _plain_weights(value: Any) -> bool:
    """Return whether a ``quantization_config`` means no quantization: PaddleNLP may write out its defaults."""
    asked = ("weight_quantize_algo", "quant_type", "quant_method", "fmt", "activation_scheme")
    return isinstance(value, Mapping) and "weight_quant_method" in value and all(value.get(name) is None for name in asked)


def _shown(value: Any) -> str:
    return (
        {None: "null", True: "true", False: "false"}.get(value, "") if isinstance(value, (bool, type(None))) else shorten(value)
    )
