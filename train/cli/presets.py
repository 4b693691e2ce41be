"""`presets`: what can be trained."""

from __future__ import annotations

import click


@click.command()
def presets() -> None:
    """List the presets, a line each.

    \b
    Example: python -m train presets
    """
    from train.config import load_config, preset_names

    for name in preset_names():
        click.echo(f"{name:20} {load_config(name).description}")
