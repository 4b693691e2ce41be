"""`animegen ray`."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from animegen.cli.console import STOPPED, print_json, progress_shown, say, stop_on_signals
from animegen.cli.options import (
    SEED,
    SEEDS,
    THREADS,
    ModelOptions,
    apply,
    chosen_seeds,
    json_option,
    label_facts,
    label_option,
    model_options,
    out_option,
    truncation_option,
)
from animegen.cli.origin import PictureCommand
from animegen.cli.output import Output
from animegen.errors import UsageError
from animegen.model.catalog import DEFAULT
from animegen.runtime.devices import DEVICES, ENGINES, Device, Engine

if TYPE_CHECKING:
    from animegen.images.sinks import Existing

_engine_option = click.option(
    "--engine",
    type=click.Choice([engine for engine in ENGINES if engine != "auto"]),
    default="onnxruntime",
    help="What computes on a CPU, in all workers alike.",
)
_cluster_options = apply(
    click.option("--address", help="A Ray cluster's address, or auto.  [default: one of this machine alone]"),
    click.option("--cpus", type=click.IntRange(1, 4096), help="The CPUs of such a one.  [default: all it may use]"),
    click.option(
        "--object-store", type=click.IntRange(80, 2**20), default=128, help="The MB that its processes share."
    ),
)


@click.group()
def ray() -> None:
    """Go past one machine: many images, or the server, on a Ray cluster.

    \b
    Example: animegen ray sample --n 1000000 --out faces/
             animegen ray serve --port 8000 --most 8 --address auto
    """


@ray.command(cls=PictureCommand)
@click.option("--n", type=SEEDS, default=None, help="How many images.  [default: 64]")
@click.option("--seed", type=SEED, help="The first image's seed; image k has seed + k.  [default: 0]")
@click.option("--seeds", help="Seeds and ranges in place of --seed and --n, such as 0-31,77.")
@out_option(None, "A folder/, which all machines of the cluster must share.")
@click.option("--format", "form", type=click.Choice(["png", "jpg", "webp"]), default="png", help="Of the pictures.")
@click.option("--force", is_flag=True, help="Overwrite pictures that the folder already holds.")
@click.option("--skip-existing", is_flag=True, help="Keep what the folder already holds, and make the rest.")
@click.option("--workers", type=click.IntRange(1, 10_000), help="[default: as many as there are CPUs or GPUs for]")
@json_option
@label_option
@truncation_option
@_cluster_options
@_engine_option
@model_options
@click.pass_context
def sample(
    ctx: click.Context,
    n: int | None,
    seed: int | None,
    seeds: str | None,
    out: str,
    form: str,
    force: bool,
    skip_existing: bool,
    workers: int | None,
    as_json: bool,
    label_texts: tuple[str, ...],
    truncation: float,
    address: str | None,
    cpus: int | None,
    object_store: int,
    options: ModelOptions,
) -> None:
    """Make many images, each the same file as `animegen sample` makes. Each worker has --threads, or 1.

    \b
    Example: animegen ray sample --n 1000000 --out faces/
             animegen ray sample --n 1000000 --out /shared/faces/ --skip-existing --address auto
    """
    from animegen.deploy import ray as deploy
    from animegen.generator import Generator
    from animegen.images.formats import ONE_BY_ONE
    from animegen.labels import file_suffix, read_labels
    from animegen.model.foreign import Overrides
    from animegen.runtime import CudaOptions

    output, wanted = Output(out, form, as_json, takes_folders=True), chosen_seeds(seeds, seed, n, 64)
    if out == "-" or output.path.suffix.lower() in ONE_BY_ONE:
        raise UsageError(f"{out} is written by one process and must be a folder for many: name one")
    if force and skip_existing:
        raise UsageError("--force overwrites what --skip-existing would keep: take one of them")
    existing: Existing = "overwrite" if force else "skip" if skip_existing else "refuse"
    overrides, engine = Overrides(**options.overrides), options.engine
    with Generator.load(options.model, device="cpu", threads=1, overrides=overrides, engine=engine) as generator:
        asked = read_labels(label_texts, generator.labels)
        generator.label_vectors([0], asked)  # so that a wrong one is told before a cluster starts
        output.describe(generator, seeds=str(wanted), truncation=truncation)
        facts = {"seeds": str(wanted), "model": generator.card.name, **label_facts(generator, asked)}
    recipe = deploy.Recipe(
        model=options.model,
        seeds=wanted,
        folder=Path(out),
        form=form,
        existing=existing,
        suffix=file_suffix(asked),
        metadata=None if output.metadata is None else output.metadata_of,
        labels=asked,
        truncation=truncation,
        batch_size=options.batch_size,
        device="cpu" if options.device == "auto" else options.device,
        threads=options.threads or 1,
        overrides=overrides,
        cuda=CudaOptions(**options.cuda),
        engine=engine,
    )
    recipe.check()
    with deploy.connected(address, cpus=cpus, object_store=object_store) as module:
        ctx.exit(_drawn(module, recipe, workers, output, facts))


def _drawn(module: Any, recipe: Any, workers: int | None, output: Output, facts: dict[str, Any]) -> int:
    """Draw with a bar; the first Ctrl-C stops, and what is there is whole. Returns the exit status."""
    from animegen.deploy import ray as deploy
    from animegen.progress import track

    began, made, done = time.perf_counter(), 0, 0
    with stop_on_signals() as stop, progress_shown():
        advance = track(recipe.folder.name, len(recipe.seeds))
        with closing(deploy.draw(module, recipe, workers=workers)) as chunks:
            for chunk in chunks:
                done, made = done + chunk.seeds, made + chunk.made
                advance(chunk.seeds, note=f"{made / (time.perf_counter() - began):,.0f} images/s")
                if stop.requested:
                    break
    stopped = stop.requested and done < len(recipe.seeds)
    seconds = time.perf_counter() - began
    if output.as_json:
        facts |= {"device": recipe.device, "images": made, "asked": len(recipe.seeds), "stopped": stopped}
        print_json({"out": output.name, **facts, "seconds": round(seconds, 3)})
    else:
        say(f"{output.name}: {made} images in {seconds:.2f} s")
    if stopped:
        say(f"stopped with at least {done} of {len(recipe.seeds)} images done; with --skip-existing the rest is made")
    return STOPPED if stopped else 0


@ray.command()
@click.option("--host", default="127.0.0.1", help="The address that each machine listens at; 0.0.0.0 lets others ask.")
@click.option("--port", type=click.IntRange(1, 65535), default=8720, help="The port.")
@click.option("--model", "models", multiple=True, default=[DEFAULT], help="NAME or NAME=PATH; once for each.")
@click.option("--device", type=click.Choice(DEVICES), default="auto", help="As of sample; auto is the CPU here.")
@_engine_option
@click.option("--threads", type=THREADS, default=1, help="CPU threads of each replica.")
@click.option("--least", type=click.IntRange(1, 10_000), default=1, help="Replicas at least.")
@click.option("--most", type=click.IntRange(1, 10_000), default=1, help="Replicas at most.")
@click.option(
    "--ongoing", type=click.IntRange(1, 10_000), default=64, help="Requests of a replica that call for another one."
)
@click.option("--token", envvar="ANIMEGEN_SERVE_TOKEN", show_envvar=True, help="What clients must send.")
@click.option("--v2", is_flag=True, help="Speak the Open Inference Protocol too.")
@_cluster_options
def serve(
    host: str,
    port: int,
    models: tuple[str, ...],
    device: Device,
    engine: Engine,
    threads: int,
    least: int,
    most: int,
    ongoing: int,
    token: str | None,
    v2: bool,
    address: str | None,
    cpus: int | None,
    object_store: int,
) -> None:
    """Run the server of `animegen serve` in replicas on a Ray cluster, as many as the requests call for.

    \b
    Example: animegen ray serve --port 8720
             animegen ray serve --host 0.0.0.0 --most 16 --address auto
    """
    from animegen.deploy import ray as deploy
    from animegen.model.catalog import find_model

    service = deploy.Service(
        models=dict(map(_named, models)),
        device="cpu" if device == "auto" else device,
        engine=engine,
        threads=threads,
        token=token,
        v2=v2,
        least=least,
        most=most,
        ongoing=ongoing,
    )
    if address is None:  # a replica would fail, and Ray say less of it
        for source in service.models.values():
            find_model(source)
    with (
        deploy.connected(address, cpus=cpus, object_store=object_store) as module,
        deploy.serve(module, service, host=host, port=port),
        stop_on_signals() as stop,
    ):
        say(f"serving at http://{host}:{port}")
        while not stop.requested:
            time.sleep(0.1)
    say("stopped")


def _named(text: str) -> tuple[str, str]:
    """A model's name and source from such as mine=/shared/mine.onnx; a name alone is both."""
    name, is_named, source = text.partition("=")
    return (name, source) if is_named else (text, text)
