"""`animegen image`."""

from __future__ import annotations

from typing import TYPE_CHECKING

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

if TYPE_CHECKING:
    from animegen.latents import Mode


@click.command(cls=PictureCommand)
@click.option("--seed", type=SEED, default=0, help="The image to begin with.")
@click.option(
    "--toward",
    "toward_texts",
    metavar="SEED:SHARE",
    multiple=True,
    help="Bring it towards another seed's image, such as 1234:0.25; one after another.",
)
@click.option(
    "--mode", type=click.Choice(["slerp", "lerp"]), default="slerp", help="slerp keeps to the latents' usual length."
)
@click.option(
    "--move",
    "move_texts",
    metavar="DIRECTION:LENGTH",
    multiple=True,
    help="Then move it along a direction of the model, such as 0:1.5; once for each.",
)
@scale_option
@out_option("image.png", "A .png, .jpg or .webp file, or - for stdout.")
@click.option("--format", "form", type=click.Choice(["png", "jpg", "webp"]), default="png", help="Of stdout.")
@json_option
@label_option
@truncation_option
@engine_option
@model_options
def image(
    seed: int,
    toward_texts: tuple[str, ...],
    mode: Mode,
    move_texts: tuple[str, ...],
    scale: int,
    out: str,
    form: str,
    as_json: bool,
    label_texts: tuple[str, ...],
    truncation: float,
    options: ModelOptions,
) -> None:
    """Make one image: a seed's, or one on the way to others, or moved along what the generator knows.

    This is the command that the page of `animegen serve` shows for the image that is seen.

    \b
    Example: animegen image --seed 42 --scale 8 --out large.png
             animegen image --seed 42 --toward 1234:0.25 --move 0:1.5 --out mine.png
    """
    from animegen.labels import read_labels
    from animegen.points import read_moves, read_toward

    output = Output(out, form, as_json, scale=scale)
    output.check_still()
    toward, moves = read_toward(toward_texts), read_moves(move_texts)
    with options.load() as generator:
        asked = read_labels(label_texts, generator.labels)
        output.describe(generator, seed=seed, truncation=truncation)
        made = generator.image(seed, toward=toward, moves=moves, labels=asked, mode=mode, truncation=truncation)
        facts = {
            "images": 1,
            "seeds": [seed],
            "toward": toward,
            "mode": mode,
            "moves": moves,
            "model": generator.card.name,
            **runs_on(generator),
            **label_facts(generator, asked),
        }
    output.still(made, facts)
