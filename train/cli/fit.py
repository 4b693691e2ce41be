"""`fit`: one run of a preset, from its start or from where it stopped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from animegen.cli.console import say, stop_on_signals
from animegen.cli.options import MEASURED, Finite
from animegen.errors import UsageError
from train.cli import options

if TYPE_CHECKING:
    from train.config import Config


@click.command()
@click.option("--preset", help="A preset's name or a .toml file. With --resume the run's own is the default.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a value of the preset; repeatable.")
@options.dataset
@click.option("--out", "run", type=options.PATH, required=True, help="The run's folder.")
@click.option("--resume", is_flag=True, help="Go on from the run's checkpoint, exactly where it stopped.")
@click.option(
    "--from", "start", type=options.PATH, help="Start with the networks of a run or checkpoint, or a model's generator."
)
@click.option("--steps", type=options.STEPS, help="Stop at this many generator steps.  [default: the preset's]")
@click.option("--images", type=options.STEPS, help="Stop once the critic has seen this many real images.")
@click.option("--minutes", type=Finite(min=0, min_open=True), help="Stop after this much time.")
@options.device
@options.precision
@click.option("--compile", "compiled", is_flag=True, help="Fuse kernels with torch.compile: a minute, then faster.")
@options.threads
@click.option("--log-every", type=options.STEPS, default=10, help="Steps between two rows of metrics.")
@click.option("--sample-every", type=options.STEPS, default=250, help="Steps between two sample grids.")
@click.option("--checkpoint-every", type=options.STEPS, default=250, help="Steps between two checkpoints.")
@click.option("--reference", type=options.PATH, help="Statistics that animegen stats made: measure the FID to them.")
@click.option("--fid-every", type=options.STEPS, default=1000, help="Steps between two measurements.")
@click.option("--fid-images", type=click.IntRange(2, MEASURED), default=5000, help="Generated images for each.")
@click.option("--rollbacks", type=click.IntRange(0, 1000), default=3, help="Allowed returns from values not finite.")
@click.option("--tensorboard", is_flag=True, help="Also write the figures as TensorBoard events.")
@click.pass_context
def fit(
    ctx: click.Context,
    preset: str | None,
    settings: tuple[str, ...],
    data: Path,
    run: Path,
    resume: bool,
    start: Path | None,
    steps: int | None,
    images: int | None,
    minutes: float | None,
    device: options.Device,
    precision: options.Precision,
    compiled: bool,
    threads: int | None,
    log_every: int,
    sample_every: int,
    checkpoint_every: int,
    reference: Path | None,
    fid_every: int,
    fid_images: int,
    rollbacks: int,
    tensorboard: bool,
) -> None:
    """Train a generator and its critic. Ctrl-C saves; --resume continues.

    \b
    Example: python -m train fit --preset anime-pixels-64 --data data/faces64 --out runs/faces --minutes 60
             python -m train fit --resume --data data/faces64 --out runs/faces
             python -m train fit --from anime-pixels-64 --preset anime-pixels-64 --data data/cats64 --out runs/cats
    Several GPUs:
             torchrun --nproc-per-node 4 -m train fit --preset anime-pixels-64 --data data/faces64 --out runs/faces
    """
    config = _configuration(preset, settings, resume=resume, start=start)

    from train.run import checkpoint
    from train.run.open import Place, resume_run, start_run
    from train.run.session import Limits
    from train.step import processes
    from train.step.devices import choose_device

    options.use_threads(threads)
    group, where = processes.join(choose_device(device))
    ctx.call_on_close(processes.leave)
    place = Place(where, precision, group, compiled)
    limits = Limits(
        steps=steps,
        images=images,
        minutes=minutes,
        log_every=log_every,
        sample_every=sample_every,
        checkpoint_every=checkpoint_every,
        fid_every=fid_every,
        rollbacks=rollbacks,
        tensorboard=tensorboard,
    )
    monitor = options.monitor_of(reference, fid_images, threads)
    if resume or config is None:
        session = resume_run(run, data, config, place=place, limits=limits, monitor=monitor)
    else:
        session = start_run(run, data, config, place=place, limits=limits, monitor=monitor, start=start)
    for line in session.describe() if group.leads else ():
        say(line)
    with stop_on_signals() as stop, options.figures_shown():
        ending = session.fit(lambda: stop.requested)
    group.wait()  # a process that ends while another still talks to it has been seen to abort
    if group.leads:
        trainer, saved = session.trainer, run / checkpoint.NAME
        say(f"{ending} at step {trainer.step}, {trainer.images_seen:,} real images seen; saved in {saved}")
        if ending == "interrupted":
            say(f"continue with: python -m train fit --resume --data {data} --out {run}")
    if ending == "interrupted":
        ctx.exit(options.INTERRUPTED)


def _configuration(preset: str | None, settings: tuple[str, ...], *, resume: bool, start: Path | None) -> Config | None:
    """The configuration that is asked for; None for the one of the run that is resumed.

    Raises:
        UsageError: options that exclude or need one another.
        ConfigError: an unknown preset, or values out of their range.
    """
    from train.config import load_config

    if resume and start is not None:
        raise UsageError("--from is for a new run, and --resume goes on with one: leave one of them out")
    if preset is not None:
        return load_config(preset, settings)
    if not resume:
        raise UsageError("a new run needs --preset: see python -m train presets")
    if settings:
        raise UsageError("--set changes a preset, and a resumed run has its own values: leave --set out")
    return None
