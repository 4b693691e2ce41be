"""`prepare`: pictures → one packed dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from animegen.cli.console import progress_shown, say
from train.cli import options

if TYPE_CHECKING:
    from train.data import Channels


@click.command()
@click.argument("source", type=options.PATH)
@click.option("--size", type=click.Choice([8, 16, 28, 32, 64, 128]), default=64, help="Side in pixels.")
@click.option("--channels", type=click.Choice([1, 3]), help="1 is grey.  [default: the source's own; pictures 3]")
@click.option("--out", type=options.PATH, required=True, help="The new dataset's folder.")
def prepare(source: Path, size: int, channels: Channels | None, out: Path) -> None:
    """Pack SOURCE, a folder or zip of pictures, into one uint8 dataset with a hash.

    Nested folders, mixed sizes and formats are fine; broken files are counted, named and skipped. SOURCE may also be
    cifar10:ROOT, mnist:ROOT or celeba:ROOT, where ROOT holds the published files. Nothing is downloaded.

    \b
    Example: python -m train prepare faces.zip --size 64 --out data/faces64
             python -m train prepare cifar10:downloads --size 32 --out data/cifar32
    """
    from train import data

    with progress_shown():
        card = data.prepare(source, out, size=size, channels=channels)
    say(f"{out}: {card.count} images of {size}×{size}×{card.channels}, {card.resize}, sha256 {card.sha256}")
