"""`prepare`: pictures → one packed dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from animegen.cli.console import progress_shown, say
from train.cli import options

if TYPE_CHECKING:
    from train.data import Channels


@click.command()
@click.argument("source", type=options.PATH)
@click.option("--size", type=click.Choice([8, 16, 28, 32, 64, 128]), default=64, help="Side in pixels.")
@click.option("--channels", type=click.Choice([1, 3]), help="1 is grey.  [default: the source's own; pictures 3]")
@click.option(
    "--labels",
    metavar="TABLE|none",
    help="A table of files and classes, or none.  [default: the source's own: class folders, CIFAR-10's, MNIST's]",
)
@click.option(
    "--fill-labels", "fill", metavar="EXTRACTOR", help="Who names unknown labels where it is sure: anime, or a file."
)
@click.option("--out", type=options.PATH, required=True, help="The new dataset's folder.")
def prepare(
    source: Path, size: int, channels: Channels | None, labels: str | None, fill: str | None, out: Path
) -> None:
    """Pack SOURCE, a folder or zip of pictures, into one uint8 dataset with a hash.

    Nested folders, mixed sizes and formats are fine; broken files are counted, named and skipped. SOURCE may also be
    cifar10:ROOT, mnist:ROOT or celeba:ROOT, where ROOT holds the published files. Nothing is downloaded.

    A table of labels has tabs between its cells and a header: file, then a column for each group, whose cells are
    classes, and empty where they are unknown; a column called tags holds phrases such as "blonde long hair and purple
    eyes", which are classes of the groups hair, length and eyes.

    \b
    Example: python -m train prepare faces.zip --size 64 --labels tags.tsv --out data/faces64
             python -m train prepare cifar10:downloads --size 32 --out data/cifar32
    """
    from train import data

    with progress_shown():
        card = data.prepare(source, out, size=size, channels=channels, labels=_meant(labels), fill=fill)
    say(f"{out}: {card.count} images of {size}×{size}×{card.channels}, {card.resize}, sha256 {card.sha256}")
    for group in card.labels:
        classes = ", ".join(f"{name} {count}" for name, count in zip(group.classes, group.counts, strict=True))
        filled = f", {group.filled / card.count:.1%} were filled" if card.filling else ""
        say(f"{group.name}: {classes}; unknown {group.unknown / card.count:.1%}{filled}")


def _meant(labels: str | None) -> Path | Literal["own", "none"]:
    if labels is None:
        return "own"
    return "none" if labels == "none" else Path(labels)
