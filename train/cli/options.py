"""What the forge's commands share."""

from __future__ import annotations

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path)
device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="auto is a GPU where there is one."
)
threads = click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: torch's]")
