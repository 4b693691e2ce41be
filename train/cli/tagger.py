"""`tagger`: pictures and their tags → a feature extractor."""

from __future__ import annotations

from pathlib import Path

import click

from animegen.cli.console import progress_shown, say
from animegen.cli.options import SEED
from train.cli import options


@click.command()
@click.option("--data", type=options.PATH, required=True, help="A folder or zip of pictures.")
@click.option("--tags", type=options.PATH, required=True, help="A table: file, a tab, tags; its header first.")
@click.option("--out", type=options.PATH, required=True, help="The file, NAME.onnx; its card goes beside it.")
@click.option("--epochs", type=click.IntRange(1, 10_000), default=7, help="Passes over the labelled pictures.")
@click.option("--seed", type=SEED, default=0, help="Of weights, order and augmentation.")
@options.threads
@click.option("--licence", default="unspecified", help="Who may use the extractor, for its card.")
@click.option("--provenance", default="unspecified", help="Where the training pictures come from, for its card.")
def tagger(
    data: Path, tags: Path, out: Path, epochs: int, seed: int, threads: int | None, licence: str, provenance: str
) -> None:
    """Train the extractor that names hair colour, eye colour and hair length, and measures images by its features.

    The table begins with the line file, a tab, tags. Each line after it is a file's name, a tab, and phrases such as
    "blonde long hair and purple eyes". A tenth of the pictures, chosen by a hash of their names, is held out, and the
    card says how often each tag is right there.

    \b
    Example: python -m train tagger --data faces.zip --tags tags.tsv --out my-tagger.onnx
    """
    from train.extractors.tagger.export import train_tagger

    options.use_threads(threads)
    with progress_shown():
        card = train_tagger(data, tags, out, epochs=epochs, seed=seed, licence=licence, provenance=provenance)
    groups = ", ".join(f"{name} {value['share']:.1%}" for name, value in card["accuracy"].items() if ":" not in name)
    say(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB; right on the {card['data']['held_out']} held-out pictures: {groups}"
    )
