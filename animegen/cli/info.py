"""`animegen info`."""

from __future__ import annotations

import click

from animegen.cli.console import print_json
from animegen.model.catalog import DEFAULT


@click.command()
@click.option("--model", default=DEFAULT, help="A shipped model's name, or an .onnx file's path or address.")
@click.option("--json", "as_json", is_flag=True, help="Print the card as one JSON object.")
@click.option("--markdown", is_flag=True, help="Print the card as a Markdown page.")
def info(model: str, as_json: bool, markdown: bool) -> None:
    """Print what a model file says of itself.

    \b
    Example: animegen info --model anime-face-64
    """
    from animegen.generator import Generator

    with Generator.load(model, device="cpu") as generator:
        card = generator.card
    if as_json:
        print_json(card.to_json())
    elif markdown:
        click.echo(card.to_markdown(), nl=False)
    else:
        rows = card.rows()
        width = max(len(key) for key, _ in rows)
        for key, value in rows:
            click.echo(f"{key:{width}}  {value}")
