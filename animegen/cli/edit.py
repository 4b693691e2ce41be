"""`animegen edit`."""

from __future__ import annotations

import re

import click

from animegen.cli.options import (
    SEED,
    ModelOptions,
    engine_option,
    json_option,
    label_facts,
    label_option,
    model_options,
    out_option,
    runs_on,
    scale_option,
    truncation_option,
)
from animegen.cli.origin import PictureCommand
from animegen.cli.output import Output
from animegen.errors import UsageError

_FARTHEST = 1000  # in latent space, where a value has a standard deviation of 1


def _range(text: str) -> tuple[float, float]:
    """The two numbers of such as -3:3."""
    number = r"([-+]?(?:\d+\.?\d*|\.\d+))"
    match = re.fullmatch(f"{number}:{number}", text)
    if match is None:
        raise click.BadParameter(f"{text!r} must be two numbers, such as -3:3")
    span = float(match[1]), float(match[2])
    if max(map(abs, span)) > _FARTHEST:
        raise click.BadParameter(f"{text!r} must be from {-_FARTHEST} to {_FARTHEST}, such as -3:3")
    return span


@click.command(cls=PictureCommand)
@click.option("--seed", type=SEED, default=0, help="The image to change.")
@click.option("--direction", type=click.IntRange(min=0), help="The number of a direction; 0 is the strongest.")
@click.option("--all", "every", is_flag=True, help="A row for every direction of the model.")
@click.option("--range", "span", type=_range, metavar="A:B", default="-3:3", help="How far to move, in latent space.")
@click.option("--steps", type=click.IntRange(min=2), default=7, help="Images in a row, both ends included.")
@out_option("edit.png", "A .png, .jpg or .webp file, or - for stdout.")
@click.option("--format", "form", type=click.Choice(["png", "jpg", "webp"]), default="png", help="Of stdout.")
@scale_option
@json_option
@label_option
@truncation_option
@engine_option
@model_options
def edit(
    seed: int,
    direction: int | None,
    every: bool,
    span: tuple[float, float],
    steps: int,
    out: str,
    form: str,
    scale: int,
    as_json: bool,
    label_texts: tuple[str, ...],
    truncation: float,
    options: ModelOptions,
) -> None:
    """Change one image along directions that the generator itself has: hair, background, pose.

    They are found without labels, from its first layer (SeFa, Shen & Zhou 2021), and kept in the model file.

    \b
    Example: animegen edit --seed 5 --direction 3 --range -3:3 --out row.png
             animegen edit --seed 5 --all --out sheet.png
    """
    import numpy as np

    from animegen.images.stills import grid
    from animegen.labels import read_labels

    if (direction is None) == (not every):
        raise UsageError("edit takes either --direction with a number or --all")
    output = Output(out, form, as_json, scale=scale)
    output.check_still()
    with options.load() as generator:
        asked = read_labels(label_texts, generator.labels)
        chosen = list(range(len(generator.card.directions))) if direction is None else [direction]
        output.describe(generator, seed=seed, steps=steps, truncation=truncation)
        output.check_grid(generator, max(1, len(chosen)) * steps, steps)
        amounts = np.linspace(*span, steps).tolist()
        images = generator.edit(
            seed, direction, amounts, labels=asked, truncation=truncation, batch_size=options.batch_size
        )
        facts = {
            "images": len(images),
            "seeds": [seed],
            "directions": chosen,
            "amounts": amounts,
            "model": generator.card.name,
            **runs_on(generator),
            **label_facts(generator, asked),
        }
    output.still(grid(images, columns=steps), facts)
