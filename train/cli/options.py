"""The options that the forge's commands share, declared once, and what they mean together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from animegen.cli.console import STOPPED, progress_shown, say, stderr_console
from animegen.cli.options import THREADS
from animegen.progress import Progress, report_progress

if TYPE_CHECKING:
    import torch

    from train.run.monitor import Monitor

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16"]

PATH = click.Path(path_type=Path)
INTERRUPTED = STOPPED
STEPS = click.IntRange(1, 2**31 - 1)  # more than a GPU makes in a lifetime, and what every library counts to

dataset = click.option("--data", type=PATH, required=True, help="A dataset that prepare made.")
device = click.option(
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help="auto is a GPU where there is one."
)
precision = click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    help="bf16 is autocast; auto the quicker.",
)
threads = click.option("--threads", type=THREADS, help="CPU threads.  [default: torch's]")


def use_threads(count: int | None) -> None:
    """Let torch compute with so many threads; None leaves it its own number."""
    import torch

    if count is not None:
        torch.set_num_threads(count)


def choose(device: Device, precision: Precision) -> tuple[torch.device, Literal["fp32", "bf16"]]:
    """What `--device` and `--precision` mean on this machine.

    Raises:
        DeviceError: a GPU was asked for and there is none.
    """
    from train.step.devices import choose_device, choose_precision

    where = choose_device(device)
    return where, choose_precision(precision, where)


def monitor_of(reference: Path | None, count: int, threads: int | None = None) -> Monitor | None:
    """The monitor that `--reference` and `--fid-images` ask for, if they do, on the threads of the training.

    Raises:
        DataError, ModelError: as `Monitor.open`.
    """
    from train.run.monitor import Monitor

    return Monitor.open(reference, count=count, threads=threads) if reference is not None else None


@contextmanager
def figures_shown() -> Iterator[None]:
    """Show a run's progress with its figures: a bar on a terminal, else a line for each row of figures."""
    if stderr_console().is_terminal:
        with progress_shown(time_left=False):
            yield
        return

    def line(progress: Progress) -> None:
        if progress.job == "fit" and progress.note:
            say(f"step {progress.done}/{progress.total} {progress.note}")

    with report_progress(line):
        yield
