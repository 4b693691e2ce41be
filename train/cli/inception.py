"""`inception`: pytorch-fid's network → a feature extractor."""

from __future__ import annotations

from pathlib import Path

import click

from animegen.cli.console import say
from animegen.files import make_folder
from train.cli import options


@click.command()
@click.option("--weights", type=options.PATH, help="A copy of the weights.  [default: the cache's, or else fetched]")
@click.option("--out", type=options.PATH, help="Where to write the extractor.  [default: the cache, for animegen]")
def inception(weights: Path | None, out: Path | None) -> None:
    """Export pytorch-fid's Inception-v3, once, as the extractor that published FIDs are measured with.

    The weights have 95,628,359 bytes and are checked by their sha256.

    \b
    Example: python -m train inception --weights pt_inception-2015-12-05-6726825d.pth
    """
    from animegen.quality.extractors import inception_file
    from train.extractors.inception import export_inception, find_weights

    checked = find_weights(weights)
    target = out or inception_file()
    if out is None:
        make_folder(target.parent, parents=True)
    card = export_inception(checked, target)
    say(f"{target}: at most {card['parity']['max_feature']} apart from torch in a feature")
