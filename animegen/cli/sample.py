"""`animegen sample`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from animegen.cli.options import (
    SEED,
    SEEDS,
    ModelOptions,
    chosen_seeds,
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

if TYPE_CHECKING:
    from animegen.images.sinks import Existing


def _columns_and_rows(text: str) -> tuple[int, int]:
    """The two numbers of such as 8x4."""
    match = re.fullmatch(r"([1-9]\d{0,8})x([1-9]\d{0,8})", text.lower(), re.ASCII)
    if match is None:
        raise click.BadParameter(f"{text!r} must be columns and rows, such as 8x4")
    return int(match[1]), int(match[2])


@click.command(cls=PictureCommand)
@click.option("--n", type=SEEDS, help="How many images.  [default: 64, or what --grid holds]")
@click.option("--seed", type=SEED, help="The first image's seed; image k has seed + k.  [default: 0]")
@click.option("--seeds", help="Seeds and ranges in place of --seed and --n, such as 0-31,77.")
@out_option("grid.png", "A .png, .jpg or .webp grid; or one by one a folder/, a .zip or an .npz; or - for stdout.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["png", "jpg", "webp"]),
    default="png",
    help="Of stdout, and of the pictures in a folder or .zip.",
)
@click.option(
    "--grid", "grid_size", type=_columns_and_rows, metavar="CxR", help="Columns and rows of a grid, such as 8x4."
)
@click.option("--labels", is_flag=True, help="Write the seed under each image of a grid.")
@scale_option
@click.option("--force", is_flag=True, help="Overwrite what a folder, .zip or .npz already holds.")
@click.option("--skip-existing", is_flag=True, help="Keep what a folder or .zip already holds, and make the rest.")
@json_option
@label_option
@truncation_option
@engine_option
@model_options
@click.pass_context
def sample(
    ctx: click.Context,
    n: int | None,
    seed: int | None,
    seeds: str | None,
    out: str,
    form: str,
    grid_size: tuple[int, int] | None,
    labels: bool,
    scale: int,
    force: bool,
    skip_existing: bool,
    as_json: bool,
    label_texts: tuple[str, ...],
    truncation: float,
    options: ModelOptions,
) -> None:
    """Make images. A seed names the same image in any grid, any batch and any file.

    \b
    Example: animegen sample --n 64 --seed 0 --out grid.png
             animegen sample --seeds 0-31,77 --grid 11x3 --labels --out grid.png
             animegen sample --n 10000 --out faces/
             animegen sample --model mnist-28 --label class=7 --n 16 --scale 4 --out sevens.png
    """
    output = Output(out, form, as_json, takes_folders=True, scale=scale)
    cells = grid_size[0] * grid_size[1] if grid_size else None
    wanted = chosen_seeds(seeds, seed, n, cells or 64)
    if output.takes_many:
        _refuse(out, "takes images one by one", {"--grid": grid_size is not None, "--labels": labels})
        if force and skip_existing:
            raise UsageError("--force overwrites what --skip-existing would keep: take one of them")
    else:
        _refuse(out, "is one picture", {"--force": force, "--skip-existing": skip_existing})
        output.check_still()
        if cells is not None and len(wanted) > cells:
            raise UsageError(f"--grid has {cells} cells and must have at least {len(wanted)}, one for each image")
    from animegen.labels import file_suffix, read_labels

    with options.load(images=len(wanted)) as generator:
        asked = read_labels(label_texts, generator.labels)
        facts = {"images": len(wanted), "seeds": str(wanted), "model": generator.card.name, **runs_on(generator)}
        facts |= label_facts(generator, asked)
        output.describe(generator, seeds=str(wanted), truncation=truncation)
        if output.takes_many:
            from animegen.images.sinks import open_sink

            existing: Existing = "overwrite" if force else "skip" if skip_existing else "refuse"
            described = None if output.metadata is None else output.metadata_of
            sink = open_sink(output.path, form=form, existing=existing, suffix=file_suffix(asked), metadata=described)
            ctx.exit(output.many(sink, generator, wanted, asked, truncation, options.batch_size, facts))

        from animegen.images.stills import grid

        columns = grid_size[0] if grid_size else None
        output.check_grid(generator, len(wanted), columns, labels=labels)
        images = generator.sample(seeds=wanted, labels=asked, truncation=truncation, batch_size=options.batch_size)
    output.still(grid(images, columns, wanted if labels else None), facts)


def _refuse(out: str, why: str, options: dict[str, bool]) -> None:
    given = [name for name, is_given in options.items() if is_given]
    if given:
        raise UsageError(f"{out} {why}: leave {' and '.join(given)} out, or name another output")
