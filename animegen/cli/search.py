"""`animegen search`."""

from __future__ import annotations

import click

from animegen.cli.console import print_json, say
from animegen.cli.options import SEED, SEEDS, Finite, ModelOptions, json_option, model_options, truncation_option
from animegen.cli.quality import measured


@click.command()
@click.option("--hair", help="Its colour, such as blue.")
@click.option("--eyes", help="Their colour, such as green.")
@click.option("--length", help="The hair's: long or short.")
@click.option("--n", type=SEEDS, default=8, help="How many seeds to find.")
@click.option("--seed", type=SEED, default=0, help="The first seed to look at.")
@click.option("--most", type=SEEDS, default=10_000, help="Look at no more seeds than this.")
@click.option(
    "--confidence",
    type=Finite(0, 1, min_open=True),
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
    options: ModelOptions,
) -> None:
    """Find seeds whose images the tagger calls as wanted, by drawing and scoring seeds; every --seeds takes them.

    An image has blonde hair if no other hair colour is as probable. The confidence is printed for each seed.

    \b
    Example: animegen search --hair blue --eyes green --n 8
    """
    from animegen.quality.search import search as find_seeds

    wanted = {group: name for group, name in (("hair", hair), ("eyes", eyes), ("length", length)) if name is not None}
    with measured(options) as model:
        result = find_seeds(
            model,
            wanted,
            extractor=extractor,
            n=n,
            seed=seed,
            most=most,
            confidence=confidence,
            truncation=truncation,
            batch_size=options.batch_size,
            device=options.device,
            threads=options.threads,
        )
    matches = [{"seed": match.seed, "confidence": match.confidence} for match in result.matches]
    if as_json:
        print_json({"model": result.model, "wanted": wanted, "seeds": matches, "drawn": result.seen, "asked": n})
    elif matches:
        click.echo(",".join(str(match.seed) for match in result.matches))
    for match in result.matches:
        say(f"seed {match.seed}: {match.confidence:.1%}")
    say(f"{len(matches)} of {n} found among {result.seen} seeds, from {seed} on")
    if len(matches) < n:
        best = result.best
        more = "raise --most" if result.seen == most else "begin at a lower --seed"  # or else the seeds came to an end
        say(f"the best match was seed {best.seed} with {best.confidence:.1%}: {more} or lower --confidence")
        ctx.exit(1)
