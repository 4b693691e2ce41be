"""`plot`: the curves of runs, and how their images grew."""

from __future__ import annotations

from pathlib import Path

import click

from animegen.cli.console import say
from train.cli import options


@click.command()
@click.argument("runs", type=options.PATH, nargs=-1, required=True)
@click.option("--out", type=options.PATH, default="curves.png", help="A .png, .webp, .pdf or .svg.")
@click.option("--growth", type=options.PATH, help="Also the first run's samples over time: .png, .gif, .webp or .mp4.")
def plot(runs: tuple[Path, ...], out: Path, growth: Path | None) -> None:
    """Draw the curves of RUNS in one picture, and how the images of the fixed latents grew.

    \b
    Example: python -m train plot runs/faces --out curves.png --growth growth.gif
    """
    from train.report.figures import check_growth, draw_growth, plot_curves

    if growth is not None:
        check_growth(growth, out)
    plot_curves(runs, out)
    say(f"{out}: {len(runs)} runs")
    if growth is not None:
        draw_growth(runs[0], growth)
        say(f"{growth}: {runs[0]}")
