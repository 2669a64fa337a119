"""``embtune params``: the parameters of a model and their groups."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from paddlenlp_embtune import compat
from paddlenlp_embtune.bundle import Bundle
from paddlenlp_embtune.cli._options import JsonLinesOption
from paddlenlp_embtune.cli._terminal import out
from paddlenlp_embtune.config import Recipe
from paddlenlp_embtune.errors import RecipeError, expected_names
from paddlenlp_embtune.plugin import registry
from paddlenlp_embtune.training import pretrained_encoder

__all__ = ["params"]


def params(
    model: Annotated[str, typer.Argument(help="Folder of a bundle, recipe (YAML), or name of a registered model.")],
    as_json: JsonLinesOption = False,
) -> None:
    """List the parameters of a model with the group, learning rate and weight decay of each."""
    compat.require_paddle()
    layer, recipe = _layer(model)
    from paddlenlp_embtune.models.adapters import add_adapter
    from paddlenlp_embtune.training import group_specs, resolve_groups

    if recipe.adapter is not None:
        add_adapter(layer, recipe.adapter)
    rows: list[dict[str, Any]] = []
    for group in resolve_groups(layer, group_specs(recipe, layer)):
        for name, parameter in group.parameters.items():
            decay = group.spec.weight_decay if name in group.decayed else 0.0
            shape = [int(size) for size in parameter.shape]
            rows.append(
                {"name": name, "shape": shape, "group": group.spec.name, "rate": group.spec.rate, "weight_decay": decay}
            )
    if as_json:
        for row in rows:
            print(json.dumps(row))
        return
    table = Table("parameter", "shape", "group", "learning rate", "weight decay")
    for row in rows:
        table.add_row(
            row["name"],
            " x ".join(map(str, row["shape"])),
            row["group"],
            f"{row['rate']:.1e}",
            f"{row['weight_decay']:g}",
        )
    out.print(table)


def _layer(model: str) -> tuple[Any, Recipe]:
    """Return the layer, at its real size from a bundle and at a token size otherwise, with its recipe."""
    path = Path(model)
    if path.is_dir():
        from paddlenlp_embtune.models import load_layer

        bundle = Bundle.open(path)
        return load_layer(bundle.path), Recipe.from_dict(bundle.manifest.recipe)
    recipe = Recipe.load(path) if path.suffix in (".yaml", ".yml") else Recipe()
    if recipe.model.encoder is not None:
        from paddlenlp_embtune.models import classifier_on

        pretrained = pretrained_encoder(recipe.model.encoder)
        return classifier_on(pretrained, pretrained.table, num_labels=2, options=recipe.model.options), recipe
    name = recipe.model.name if path.suffix in (".yaml", ".yml") else model
    from paddlenlp_embtune.models import build_model

    known = registry.current().names("model")
    if name not in known:
        raise RecipeError(f"{name!r} is neither a bundle, nor a recipe, nor a registered model; {expected_names(name, known)}")
    return build_model(name, vocabulary_size=100, dimension=128, num_labels=2, options=recipe.model.options), recipe
