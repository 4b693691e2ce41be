"""`animegen bench`."""

from __future__ import annotations

import dataclasses

import click

from animegen.cli.console import print_json
from animegen.cli.options import Finite, ModelOptions, engine_option, json_option, model_options
from animegen.errors import UsageError


@click.command()
@click.option("--batch-sizes", default="1,8,32", help="The batches to time, with commas between them.")
@click.option("--seconds", type=Finite(0, 600, min_open=True), default=2.0, help="Time for each batch size.")
@json_option
@engine_option
@model_options
def bench(batch_sizes: str, seconds: float, as_json: bool, options: ModelOptions) -> None:
    """Time the model by batch size, and the start of a new process with its peak memory.

    \b
    Example: animegen bench --batch-sizes 1,8,32 --seconds 2 --json
    """
    sizes = [int(text) for text in batch_sizes.split(",") if text.strip().isdecimal() and len(text) < 9]
    if len(sizes) != batch_sizes.count(",") + 1 or not all(0 < size <= 4096 for size in sizes):
        raise UsageError(f"--batch-sizes is {batch_sizes} and must be numbers from 1 to 4096, as in 1,8,32")

    from animegen.checks.bench import cold_start, machine, measure

    with options.load(images=10**9) as generator:  # so that auto tries engines
        generator.warm_up()
        facts = {
            "model": generator.card.name,
            "device": generator.device,
            "engine": generator.engine,
            "threads": generator.threads,
            **machine(),
        }
        speeds = [measure(generator, size, seconds) for size in sizes]
    start = cold_start([*options.arguments(), "--engine", str(facts["engine"])])
    if as_json:
        print_json({**facts, "speeds": [dataclasses.asdict(s) for s in speeds], "start": dataclasses.asdict(start)})
        return
    for key, value in facts.items():
        click.echo(f"{key:10} {value}")
    click.echo("batch   images/s   ms a call: median  (fastest to slowest, calls)")
    for s in speeds:
        click.echo(
            f"{s.batch_size:5} {s.images_per_second:10.1f} {s.median_ms:18.2f}  "
            f"({s.fastest_ms:.2f} to {s.slowest_ms:.2f}, {s.calls})"
        )
    memory = f", peak memory {start.peak_megabytes:.0f} MB" if start.peak_megabytes is not None else ""
    click.echo(f"a new process makes its first image in {start.seconds:.2f} s (median of {start.runs}){memory}")
