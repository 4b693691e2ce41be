"""`animegen serve`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from animegen.cli.console import say
from animegen.cli.options import THREADS, Finite, ModelOptions
from animegen.errors import MissingPackageError, UsageError
from animegen.model.catalog import DEFAULT
from animegen.runtime.devices import DEVICES, ENGINES, Device, Engine

if TYPE_CHECKING:
    from animegen.generator import Generator

INSTALL = "pip install 'animegen[cpu,serve]'"
_USUAL_PORT = 8720
_MANY = 10**7  # images that are expected of a server: whatever an engine takes to start, it pays


def _named(text: str) -> tuple[str | None, str]:
    """The name, if one is given, and the model of such as mine=faces.onnx."""
    name, sign, model = text.partition("=")
    if sign and name and "/" not in name and model:
        return name, model
    return None, text


@click.command()
@click.option("--host", default="127.0.0.1", help="The address to listen at; 0.0.0.0 lets other machines ask.")
@click.option("--port", type=click.IntRange(0, 65535), default=_USUAL_PORT, help="The port; 0 takes a free one.")
@click.option(
    "--model",
    "models",
    metavar="[NAME=]MODEL",
    multiple=True,
    default=[DEFAULT],
    help="A shipped model's name, or an .onnx file's path or address; once for each, the first is the usual one.",
)
@click.option("--device", type=click.Choice(DEVICES), default="auto", help="As of sample.")
@click.option("--threads", type=THREADS, help="CPU threads.  [default: all it may use]")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="onnxruntime",
    help="What computes on a CPU. auto takes the faster one; after a restart images may differ a little.",
)
@click.option("--fp16", is_flag=True, help="On CUDA: compute in fp16; images differ a little.")
@click.option("--cuda-memory", type=click.IntRange(1, 2**20), help="On CUDA: at most this many MB.")
@click.option("--token", help="Who asks must send it. Better in ANIMEGEN_SERVE_TOKEN, where other users don't see it.")
@click.option("--cors-origin", "origins", multiple=True, help="A page elsewhere that may ask, such as https://a.org.")
@click.option("--v2", is_flag=True, help="Speak the Open Inference Protocol too, as Triton does, below /v2.")
@click.option("--queue", type=click.IntRange(1, 2**20), default=1024, help="Images that may wait; more get a 503.")
@click.option("--max-images", type=click.IntRange(1, 2**16), default=256, help="Images of one request.")
@click.option("--max-frames", type=click.IntRange(2, 2**16), default=600, help="Frames of one animation.")
@click.option("--timeout", type=Finite(0.1, 3600), default=30, help="Seconds that a request may take.")
@click.option("--wait", type=Finite(0, 1000), default=0, help="On CUDA: milliseconds to wait for a fuller batch.")
@click.option("--grace", type=Finite(0, 600), default=2, help="Seconds to go on after SIGTERM, while /readyz says 503.")
@click.option("--root-path", default="", help="The path that a proxy in front takes away, such as /faces.")
@click.option("--open", "opens", is_flag=True, help="Show the page in a browser.")
def serve(
    host: str,
    port: int,
    models: tuple[str, ...],
    device: Device,
    threads: int | None,
    engine: Engine,
    fp16: bool,
    cuda_memory: int | None,
    token: str | None,
    origins: tuple[str, ...],
    v2: bool,
    queue: int,
    max_images: int,
    max_frames: int,
    timeout: float,
    wait: float,
    grace: float,
    root_path: str,
    opens: bool,
) -> None:
    """Serve models over HTTP: a page to play with at /, pictures below /v1, and /docs says what else.

    Ctrl-C stops it. SIGTERM stops it once /readyz has said 503 for the grace and all that was asked is answered.

    \b
    Example: animegen serve --port 8720
             animegen serve --model anime-face-64 --model mine=my-faces.onnx --host 0.0.0.0
    """
    try:
        from animegen.server import Limits, create_app
        from animegen.server.runner import Runner, bind
    except ModuleNotFoundError as error:
        raise MissingPackageError(f"serve needs {error.name}, which is not installed: {INSTALL}") from error

    limits = Limits(images=max_images, frames=max_frames, queue=queue, seconds=timeout)
    options = ModelOptions("", device, None, threads, {}, {"half": fp16, "memory": cuda_memory}, engine)
    with bind(host, port) as listener:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        named = _load(models, options)
        app = create_app(named, limits, token=token, cors_origins=origins, wait=wait / 1000, v2=v2)

        def started() -> None:
            devices = ", ".join(sorted({generator.device for generator in named.values()}))
            say(f"serving {', '.join(named)} at {address} on {devices}; Ctrl-C stops it")
            if opens:
                click.launch(address)

        Runner(app, grace=grace, root_path=root_path, started=started).run(sockets=[listener])


def _load(texts: tuple[str, ...], options: ModelOptions) -> dict[str, Generator]:
    """The generators by the names that requests choose them by."""
    named: dict[str, Generator] = {}
    for text in texts:
        name, model = _named(text)
        generator = replace(options, model=model).load(images=_MANY, quiet=True)
        name = name or generator.card.name
        if name in named:
            raise UsageError(f"two models are named {name}: give one another name, as in --model other={model}")
        named[name] = generator
    return named
