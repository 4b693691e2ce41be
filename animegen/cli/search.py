"""`animegen search`."""

from __future__ import annotations

import click

from animegen.cli.console import print_json, say
from animegen.cli.options import SEED, Source, json_option, model_options, truncation_option
from animegen.cli.quality import load_extractor, measuring


@click.command()
@click.option("--hair", help="Its colour, such as blue.")
@click.option("--eyes", help="Their colour, such as green.")
@click.option("--length", help="The hair's: long or short.")
@click.option("--n", type=click.IntRange(min=1), default=8, help="How many seeds to find.")
@click.option("--seed", type=SEED, default=0, help="The first seed to look at.")
@click.option("--most", type=click.IntRange(min=1), default=10_000, help="Look at no more seeds than this.")
@click.option(
    "--confidence",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.25,
    help="The least product of the tags' probabilities.",
)
@click.option("--extractor", default="anime", help="anime, or an .onnx file that names tags.")
@json_option
@truncation_option
@model_options
@click.pass_context
def search(
    ctx: click.Context,
    hair: str | None,
    eyes: str | None,
    length: str | None,
    n: int,
    seed: int,
    most: int,
    confidence: float,
    extractor: str,
    as_json: bool,
    truncation: float,
    source: Source,
) -> None:
    """Find seeds whose images the tagger calls as wanted, by drawing and scoring seeds; every --seeds takes them.

    An image has blonde hair if no other hair colour is as probable. The confidence is printed for each seed.

    \b
    Example: animegen search --hair blue --eyes green --n 8
    """
    from animegen.quality.search import search as look

    wanted = {group: name for group, name in (("hair", hair), ("eyes", eyes), ("length", length)) if name is not None}
    tagger = load_extractor(extractor, source)
    with source.load(quiet=True) as generator, measuring(most, "search") as each:
        found = look(
            generator,
            tagger,
            wanted,
            n=n,
            seed=seed,
            most=most,
            confidence=confidence,
            truncation=truncation,
            each=each,
        )
        model = generator.card.name
    if as_json:
        seeds = [{"seed": one.seed, "confidence": one.confidence} for one in found.found]
        print_json({"model": model, "wanted": wanted, "seeds": seeds, "drawn": found.drawn, "asked": n})
    elif found.found:
        click.echo(",".join(str(one.seed) for one in found.found))
    for one in found.found:
        say(f"seed {one.seed}: {one.confidence:.1%}")
    say(f"{len(found.found)} of {n} found among {found.drawn} seeds, from {seed} on")
    if len(found.found) < n:
        best = found.best
        say(f"the likest was seed {best.seed} with {best.confidence:.1%}: raise --most or lower --confidence")
        ctx.exit(1)
