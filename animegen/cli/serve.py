"""`animegen serve`."""

from __future__ import annotations

import click

from animegen.cli.console import say
from animegen.model.catalog import DEFAULT
from animegen.runtime.devices import DEVICES, Device


@click.command()
@click.option("--host", default="127.0.0.1", help="The address to listen at; 0.0.0.0 lets other machines ask.")
@click.option("--port", type=click.IntRange(0, 65535), default=8720, help="The port; 0 takes a free one.")
@click.option("--model", "models", multiple=True, default=[DEFAULT], help="NAME or NAME=PATH; once for each.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", help="As of sample.")
def serve(host: str, port: int, models: tuple[str, ...], device: Device) -> None:
    """Serve models over HTTP, with a page to play with.

    \b
    Example: animegen serve --port 8720
    """
    import uvicorn

    from animegen.generator import Generator
    from animegen.server import create_app

    generators = {}
    for text in models:
        name, _, path = text.rpartition("=")
        generator = Generator.load(path, device=device, threads=1)
        generators[name or generator.card.name] = generator
    say(f"serving at http://{host}:{port}")
    uvicorn.run(create_app(generators), host=host, port=port, log_level="warning", access_log=False)
