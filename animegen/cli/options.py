"""Options that several commands share, declared once, and what they all do with them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import click

from animegen.cli.console import say
from animegen.errors import UsageError
from animegen.model.catalog import DEFAULT
from animegen.runtime.devices import DEVICES, ENGINES, Device, Engine
from animegen.runtime.machine import most_threads
from animegen.seeds import LARGEST, Seeds

if TYPE_CHECKING:
    from animegen.generator import Generator

Command = TypeVar("Command", bound=Callable[..., Any])


class Finite(click.FloatRange):
    """A number within bounds: what is not finite, as nan, is within none, and click alone takes it for within all."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        if not math.isfinite(click.FLOAT.convert(value, param, ctx)):
            self.fail(f"{value} must be a finite number", param, ctx)
        return super().convert(value, param, ctx)


SEED = click.IntRange(0, LARGEST)
SEEDS = click.IntRange(1, LARGEST + 1)  # how many
MEASURED = 10_000_000  # the most images of a measurement: a hundred times what publications take
THREADS = click.IntRange(1, most_threads())


def apply(*options: Callable[[Any], Any]) -> Callable[[Command], Command]:
    """One decorator of several options, which `--help` then lists in this order."""

    def declare(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return declare


@dataclass(frozen=True)
class ModelOptions:
    """The options that say which model runs where."""

    model: str
    device: Device
    batch_size: int | None
    threads: int | None
    overrides: dict[str, Any]
    cuda: dict[str, Any]
    engine: Engine = "onnxruntime"

    def arguments(self) -> list[str]:
        """These options as they are typed, of a command that takes `model_options`; the engine is left out."""
        named: dict[str, Any] = {"model": self.model, "device": self.device, "threads": self.threads}
        named |= {"batch-size": self.batch_size, "cuda-memory": self.cuda.get("memory")}
        foreign = dict(self.overrides)
        inputs = foreign.pop("inputs", {})
        labels, classes = foreign.pop("labels", None), foreign.pop("classes", ())
        named |= {f"model-{name.replace('_', '-')}": value for name, value in foreign.items()}
        named["model-labels"] = "=".join(filter(None, [labels, ",".join(classes)])) if labels else None
        typed = [part for name, value in named.items() if value is not None for part in (f"--{name}", str(value))]
        typed += [part for name, value in inputs.items() for part in ("--model-input", f"{name}={value:.17g}")]
        flags = {"--fp16": self.cuda.get("half"), "--cuda-graphs": self.cuda.get("graphs")}
        return typed + [name for name, is_set in flags.items() if is_set]

    def load(self, *, images: int = 0, quiet: bool = False) -> Generator:
        """The generator; which device, and of an installed choice which engine, `auto` took goes to stderr.

        `images` are how many are expected of it. `quiet` leaves the device out, where an extractor's was told already.
        """
        from animegen.generator import Generator
        from animegen.model.foreign import Overrides
        from animegen.runtime import CudaOptions, wheels

        wheels.silence()
        overrides = Overrides(**self.overrides)
        generator = Generator.load(
            self.model,
            device=self.device,
            threads=self.threads,
            overrides=overrides,
            cuda=CudaOptions(**self.cuda),
            engine=self.engine,
            images=images,
        )
        if self.device == "auto" and not quiet:
            say(f"device: {generator.device} ({generator.device_reason})")
        if generator.engine_reason or generator.engine != "onnxruntime":
            say(f"engine: {generator.engine} ({generator.engine_reason or 'asked for'})")
        return generator


def _named_number(text: str) -> tuple[str, float]:
    """The two parts of such as truncation_psi=0.7."""
    name, _, value = text.rpartition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or not math.isfinite(number):
        raise click.BadParameter(f"{text!r} must be a name and a number, such as truncation_psi=0.7")
    return name, number


def _named_classes(text: str) -> tuple[str, tuple[str, ...]]:
    """The name, and the classes if they are given, of such as c=smile,frown."""
    name, _, listed = text.partition("=")
    classes = tuple(part.strip() for part in listed.split(",")) if listed else ()
    if not all(classes):
        raise click.BadParameter(f"{text!r} has a class without a name, and must be such as {name}=smile,frown")
    return name, classes


MODEL = click.option("--model", default=DEFAULT, help="A shipped model's name, or an .onnx file's path or address.")

_foreign_options = apply(
    click.option("--model-z-dim", type=click.IntRange(1, 2**20), help="A foreign model's latent length."),
    click.option("--model-layout", type=click.Choice(["nchw", "nhwc"]), help="Where its channels are."),
    click.option("--model-range", type=click.Choice(["-1:1", "0:1", "0:255"]), help="Its black and white."),
    click.option("--model-output", metavar="NAME", help="Its output that gives images."),
    click.option(
        "--model-input",
        type=_named_number,
        metavar="NAME=VALUE",
        multiple=True,
        help="The value of another input, such as truncation_psi=0.7; once for each.",
    ),
    click.option(
        "--model-labels",
        type=_named_classes,
        metavar="NAME[=A,B,…]",
        default="",
        show_default=False,
        help="Its input for labels, and their names.",
    ),
)


def _overrides(given: dict[str, Any]) -> dict[str, Any]:
    """What the options for foreign models say, taken out of the others."""
    labels, classes = given.pop("model_labels")
    values = {name: given.pop(f"model_{name}") for name in ("z_dim", "layout", "range", "output")}
    return {**values, "inputs": dict(given.pop("model_input")), "labels": labels or None, "classes": classes}


def model_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--model`, `--device` and what belongs to them; the command gets them as one `options`."""

    @functools.wraps(command)
    def with_options(
        *args: Any,
        model: str,
        device: Device,
        batch_size: int | None,
        threads: int | None,
        fp16: bool,
        cuda_graphs: bool,
        cuda_memory: int | None,
        engine: Engine = "onnxruntime",
        **kwargs: Any,
    ) -> Any:
        cuda = {"half": fp16, "graphs": cuda_graphs, "memory": cuda_memory}
        options = ModelOptions(model, device, batch_size, threads, _overrides(kwargs), cuda, engine)
        return command(*args, options=options, **kwargs)

    return apply(
        MODEL,
        click.option(
            "--device",
            type=click.Choice(DEVICES),
            default="auto",
            help="auto takes CUDA where it works, else the CPU; the others fail where they don't work.",
        ),
        click.option(
            "--batch-size",
            type=click.IntRange(1, 2**16),
            help="Images in one call of the model.  [default: the device's]",
        ),
        click.option("--threads", type=THREADS, help="CPU threads.  [default: all it may use]"),
        click.option("--fp16", is_flag=True, help="On CUDA: compute in fp16; images differ a little."),
        click.option("--cuda-graphs", is_flag=True, help="On CUDA: replay captured graphs."),
        click.option("--cuda-memory", type=click.IntRange(1, 2**20), help="On CUDA: at most this many MB."),
        _foreign_options,
    )(with_options)


# Of commands that make pictures; a measurement is always by ONNX Runtime, so that its figures can be compared.
engine_option = click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="auto",
    help="What computes on a CPU; auto tries openvino in long jobs, where it is installed.",
)


def graph_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """`--model` and what a foreign one needs, for a command that runs it nowhere; it gets them as one `options`."""

    @functools.wraps(command)
    def with_options(*args: Any, model: str, **kwargs: Any) -> Any:
        return command(*args, options=ModelOptions(model, "cpu", None, 1, _overrides(kwargs), {}), **kwargs)

    return apply(MODEL, _foreign_options)(with_options)


def graphs_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """As `graph_options`, with `--model` once for each of several; the command gets a list."""

    @functools.wraps(command)
    def with_options(*args: Any, models: tuple[str, ...], **kwargs: Any) -> Any:
        overrides = _overrides(kwargs)
        options = [ModelOptions(model, "cpu", None, 1, overrides, {}, "onnxruntime") for model in models]
        return command(*args, options=options, **kwargs)

    several = click.option(
        "--model", "models", multiple=True, default=[DEFAULT], help="As of sample; once for each of several."
    )
    return apply(several, _foreign_options)(with_options)


truncation_option = click.option(
    "--truncation",
    type=Finite(0, 1),
    default=1.0,
    help="Less than 1: shorter latents, less varied images; anime-pixels-64 fades.",
)

label_option = click.option(
    "--label",
    "label_texts",
    metavar="GROUP=CLASS",
    multiple=True,
    help="What to draw, such as hair=blue or a mix eyes=green:0.7+blue:0.3; once for each group.",
)

size_option = click.option(
    "--size", type=click.IntRange(8, 4096), help="Crop pictures to their central square and resize them to this side."
)

reference_option = click.option(
    "--reference",
    help="Statistics: a shipped name, an .npz, or images to measure now.  [default: the model's own, else anime-faces]",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print what was made as one JSON object.")


class _Named(click.types.StringParamType):
    """A name of a file or folder. An empty one, as a shell makes of an unset variable, would be the current folder."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The name."""
        if not str(value).strip():
            self.fail("it is empty and must name a file or folder; the current one is ./", param, ctx)
        return super().convert(value, param, ctx)


def out_option(default: str | None, explanation: str) -> Callable[[Command], Command]:
    """`--out`, which is `default` where it isn't given; with None it must be given."""
    return click.option("--out", "-o", type=_Named(), default=default, required=default is None, help=explanation)


scale_option = click.option(
    "--scale", type=click.IntRange(1, 64), default=1, help="A square of so many pixels for each of its own."
)


def motion_options(fps: float) -> Callable[[Command], Command]:
    """`--fps` and `--scale`."""
    return apply(
        click.option("--fps", type=Finite(0, min_open=True), default=fps, help="Frames a second of an animation."),
        click.option(
            "--scale", type=click.IntRange(1, 16), default=1, help="A square of so many pixels for each of its own."
        ),
    )


def runs_on(generator: Generator) -> dict[str, str]:
    """What `--json` says of where pictures were made, and by what."""
    return {"device": generator.device, "engine": generator.engine}


def label_facts(generator: Generator, wanted: Mapping[str, Any] | list[dict[str, Any]]) -> dict[str, Any]:
    """What `--json` says of the labels that were asked for, of both ends if they differ; seeds draw the others."""
    return {"labels": wanted} if generator.labels else {}


def chosen_seeds(seeds: str | None, seed: int | None, n: int | None, default_n: int, *, count: str = "--n") -> Seeds:
    """What `--seeds`, or else `--seed` and the count's option, ask for.

    Raises:
        UsageError: both were given, or a seed is out of range.
    """
    if seeds is None:
        return Seeds.starting(seed or 0, default_n if n is None else n)
    if seed is not None or n is not None:
        raise UsageError(f"--seeds names every seed by itself: leave --seed and {count} out, or take those two alone")
    return Seeds.parse(seeds)
