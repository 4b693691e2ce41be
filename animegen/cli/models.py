"""`animegen models`."""

from __future__ import annotations

import hashlib
from typing import Any

import click

from animegen.cli.console import print_json


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the list as one JSON object.")
def models(as_json: bool) -> None:
    """List the models that are here: the shipped ones, and those that were fetched from an address.

    --model takes a shipped name, a path, or an address: https://host/face.onnx or hf://owner/repo/face.onnx, with
    #sha256:… behind it if it is known. What is fetched is kept, and pinned by its checksum.

    \b
    Example: animegen models
    """
    from animegen.model import catalog, fetch

    entries: list[dict[str, Any]] = [
        {"model": name, "origin": "shipped", "path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for name, path in catalog.shipped_models().items()
    ]
    entries += [
        {"model": entry.address, "origin": "fetched", "path": str(entry.path), "sha256": entry.sha256}
        for entry in fetch.cached()
    ]
    if as_json:
        folder = fetch.cache_folder()
        print_json({"models": entries, "cache": str(folder) if folder else None})
        return
    for entry in entries:
        click.echo(f"{entry['model']}  {entry['origin']}  {entry['path']}  sha256 {entry['sha256']}")
