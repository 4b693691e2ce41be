"""`animegen export-triton`."""

from __future__ import annotations

import click

from animegen.cli.console import print_json, say
from animegen.cli.options import ModelOptions, graph_options, json_option, out_option


@click.command("export-triton")
@out_option(None, "The repository's folder; it may hold other models already.")
@click.option("--name", help="The model's name in the repository.  [default: its own]")
@click.option(
    "--max-batch-size", type=click.IntRange(1, 2**16), default=128, help="The most latents that Triton puts together."
)
@json_option
@graph_options
def export_triton(out: str, name: str | None, max_batch_size: int, as_json: bool, options: ModelOptions) -> None:
    """Add a model to a repository of the Triton Inference Server: <name>/config.pbtxt and <name>/1/model.onnx.

    A client of it sends latents and gets levels, not seeds and pictures; a seed's latent is RandomState(seed)'s.

    \b
    Example: animegen export-triton --out repository
             animegen export-triton --model my-faces.onnx --name faces --out repository
    """
    from animegen.deploy import triton
    from animegen.model.foreign import Overrides

    overrides = Overrides(**options.overrides)
    folder = triton.export(options.model, out, name=name, max_batch_size=max_batch_size, overrides=overrides)
    if as_json:
        print_json({"out": out, "model": folder.name, "config": str(folder / "config.pbtxt")})
    else:
        say(f"{folder}: ready for tritonserver --model-repository {out}")
