"""`animegen stats`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from animegen.cli.console import print_json, say
from animegen.cli.options import (
    MEASURED,
    SEED,
    ModelOptions,
    json_option,
    model_options,
    out_option,
    size_option,
    truncation_option,
)
from animegen.cli.quality import extractor_option, measured, refuse_source


@click.command()
@click.argument("images", metavar="[SOURCE]", required=False)
@extractor_option
@size_option
@click.option(
    "--features", type=click.IntRange(0, 10**6), default=10_000, help="Keep at most this many images' features."
)
@click.option("--compact", is_flag=True, help="Write an eighth of the bytes, rounded, which only animegen reads.")
@click.option("--n", type=click.IntRange(2, MEASURED), default=10_000, help="Of a model: how many images.")
@click.option("--seed", type=SEED, default=0, help="Of a model: the first seed.")
@out_option("reference.npz", "The statistics, an .npz that pytorch-fid reads too.")
@json_option
@truncation_option
@model_options
def stats(
    images: str | None,
    extractor: str,
    size: int | None,
    features: int,
    compact: bool,
    n: int,
    seed: int,
    out: str,
    as_json: bool,
    truncation: float,
    options: ModelOptions,
) -> None:
    """Measure SOURCE and write its statistics: a folder or zip of pictures, a packed dataset, an npz, or a model.

    Without SOURCE it is --model. The file holds mu, sigma, how they were measured, and some features for KID, precision
    and recall.

    \b
    Example: animegen stats faces.zip --size 64 --out faces.npz
             animegen stats anime-face-64 --n 2048 --out drawn.npz
    """
    from animegen.quality.measure import measure
    from animegen.quality.reference import check_target

    target = Path(out)
    check_target(target)
    refuse_source(target, images)
    with measured(options, images) as whose:
        reference = measure(
            whose,
            extractor,
            sample=features,
            n=n,
            seed=seed,
            size=size,
            truncation=truncation,
            batch_size=options.batch_size,
            device=options.device,
            threads=options.threads,
        )
    reference.save(target, compact=compact)
    facts = {"count": reference.statistics.count, "features": len(reference.sample)}
    facts |= dataclasses.asdict(reference.protocol)
    if as_json:
        print_json({"out": out, **facts})
        return
    say(f"{out}: {target.stat().st_size / 1e6:.1f} MB")
    for key, value in facts.items():
        say(f"{key:16}  {value}")
