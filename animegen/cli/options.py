"""Options that several commands share, declared once."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from animegen.catalog import DEFAULT
from animegen.console import print_json, say, write_stdout
from animegen.errors import UsageError

if TYPE_CHECKING:
    from animegen.generator import Generator
    from animegen.images import Images

Command = TypeVar("Command", bound=Callable[..., Any])

SEED = click.IntRange(0, 2**32 - 1)
_STDOUT = Path("-")


def model_option(command: Command) -> Command:
    """`--model`."""
    return click.option("--model", default=DEFAULT, help="A shipped model's name, or the path of an .onnx file.")(
        command
    )


def device_options(command: Command) -> Command:
    """`--device`, `--batch-size` and `--threads`."""
    for option in (
        click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: all this process may use]"),
        click.option("--batch-size", type=click.IntRange(min=1), default=16, help="Images in one call of the model."),
        click.option(
            "--device",
            type=click.Choice(["auto", "cpu", "cuda"]),
            default="auto",
            help="auto takes CUDA where it works; cuda fails where it doesn't.",
        ),
    ):
        command = option(command)
    return command


def picture_options(default: str) -> Callable[[Command], Command]:
    """`--out`, which is `default` if not given, `--format` and `--json`."""

    def declare(command: Command) -> Command:
        for option in (
            click.option("--json", "as_json", is_flag=True, help="Print what was made as one JSON object."),
            click.option(
                "--format", "form", type=click.Choice(["png", "jpg", "webp"]), default="png", help="For --out - only."
            ),
            click.option(
                "--out",
                "-o",
                type=click.Path(path_type=Path),
                default=default,
                help="A .png, .jpg or .webp file, or - for stdout.",
            ),
        ):
            command = option(command)
        return command

    return declare


def check_picture(out: Path, as_json: bool) -> None:
    """Refuse an output that can't be written, before any work is done for it."""
    from animegen.files import check_parent
    from animegen.images import format_of

    if out == _STDOUT:
        if as_json:
            raise UsageError("--json and --out - both want stdout: name a file with --out")
    else:
        format_of(out)
        check_parent(out)


def load(model: str, device: str, threads: int | None) -> Generator:
    """The generator; for `auto` the device taken and the reason go to stderr."""
    from animegen.generator import Generator

    generator = Generator.load(model, device=device, threads=threads)  # type: ignore[arg-type]
    if device == "auto":
        say(f"device: {generator.device} ({generator.device_reason})")
    return generator


def deliver(sheet: Images, out: Path, form: str, as_json: bool, facts: dict[str, Any], began: float) -> None:
    """Write the picture where it was asked for, and say so."""
    from animegen import images

    if out == _STDOUT:
        write_stdout(images.encode(sheet, images.FORMATS[f".{form}"]))
        return
    images.save(sheet, out)
    seconds = time.perf_counter() - began
    if as_json:
        print_json({"out": str(out), "width": sheet.shape[1], "height": sheet.shape[0], **facts, "seconds": seconds})
    else:
        say(f"{out}: {facts['images']} images in {seconds:.2f} s")
