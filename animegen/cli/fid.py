"""`animegen fid`."""

from __future__ import annotations

import click

from animegen.cli.console import print_json, say
from animegen.cli.options import (
    MEASURED,
    SEED,
    Finite,
    ModelOptions,
    json_option,
    model_options,
    reference_option,
    size_option,
    truncation_option,
)
from animegen.cli.quality import extractor_option, measured, protocol_option


@click.command()
@click.argument("images", metavar="[IMAGES]", required=False)
@reference_option
@protocol_option
@extractor_option
@size_option
@click.option("--n", type=click.IntRange(2, MEASURED), default=10_000, help="Of a model: how many images.")
@click.option("--seed", type=SEED, default=0, help="Of a model: the first seed.")
@click.option("--repeats", type=click.IntRange(1, 100), default=1, help="Of a model: so many draws, for a ± value.")
@click.option("--max", "most", type=Finite(min=0), help="Exit with status 1 if the distance is larger.")
@json_option
@truncation_option
@model_options
@click.pass_context
def fid(
    ctx: click.Context,
    images: str | None,
    reference: str | None,
    protocol: str | None,
    extractor: str,
    size: int | None,
    n: int,
    seed: int,
    repeats: int,
    most: float | None,
    as_json: bool,
    truncation: float,
    options: ModelOptions,
) -> None:
    """Print the Fréchet distance of a model from reference statistics, with all that it takes to get it again.

    With IMAGES, a folder, zip, packed dataset or npz, it is theirs in place of the model's. A reference may also be
    images.

    \b
    Example: animegen fid --n 2048
             animegen fid --reference faces.npz --n 10000 --repeats 3 --max 40
             animegen fid drawn/ --reference real/ --extractor inception
    """
    from animegen.quality.fid import fid as measure_fid

    with measured(options, images) as whose:
        score = measure_fid(
            whose,
            reference,
            extractor=extractor,
            protocol=protocol,
            n=n,
            seed=seed,
            repeats=repeats,
            size=size,
            truncation=truncation,
            batch_size=options.batch_size,
            device=options.device,
            threads=options.threads,
        )
    for warning in score.warnings:
        say(f"warning: {warning}")
    if as_json:
        print_json({**score.to_json(), **({} if most is None else {"max": most, "passed": score.value <= most})})
    else:
        for name, text in score.rows():
            click.echo(f"{name:10}  {text}")
    if most is not None and not score.value <= most:
        say(f"failed: FID {score.value:.4g} is above --max {most:g}")
        ctx.exit(1)
