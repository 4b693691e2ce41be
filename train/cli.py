"""The forge's commands. Each only reads its options and calls the room that does the work."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from animegen.console import CONTEXT, ErrorLineGroup, progress_bar, say
from animegen.errors import DeviceError, MissingPackageError, OutputError
from animegen.files import check_parent

if TYPE_CHECKING:
    import torch

    from train.trainer import Precision

FOLDER = click.Path(path_type=Path)
_BROKEN_SHOWN = 5  # names in the closing line; dataset.json has them all


@click.group(cls=ErrorLineGroup, context_settings=CONTEXT)
def main() -> None:
    """Train GAN image generators and export them for animegen.

    \b
    python -m train prepare faces.zip --size 64 --out data/faces64
    python -m train fit --preset anime-face-64 --data data/faces64 --out runs/faces
    python -m train export runs/faces --out models/my-faces.onnx
    """
    try:
        import msgspec  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingPackageError(f"training needs {error.name}: pip install -e '.[cpu,train]'") from error


@main.command()
def presets() -> None:
    """List the presets, a line each.

    \b
    Example: python -m train presets
    """
    from train.config import load_config, preset_names

    for name in preset_names():
        click.echo(f"{name:20} {load_config(name).description}")


@main.command()
@click.argument("source", type=FOLDER)
@click.option("--size", type=click.Choice([8, 16, 32, 64, 128]), default=64, help="Side in pixels.")
@click.option("--out", type=FOLDER, required=True, help="The new dataset's folder.")
def prepare(source: Path, size: int, out: Path) -> None:
    """Pack SOURCE, a folder or zip of pictures, into one uint8 dataset with a hash.

    Nested folders, mixed sizes and formats are fine; broken files are counted, named and skipped.

    \b
    Example: python -m train prepare faces.zip --size 64 --out data/faces64
    """
    from animegen.sources import Source
    from train import data

    with progress_bar() as bar:
        task = bar.add_task("prepare", total=len(Source(source)) if source.exists() else None)
        card = data.prepare(source, out, size=size, each=lambda _: bar.advance(task))
    say(f"{out}: {card.count} images of {size}×{size}, {card.resize}, sha256 {card.sha256}")
    if card.ignored:
        say(f"{card.ignored} files with another extension were left out")
    if card.broken:
        more = f" and {len(card.broken) - _BROKEN_SHOWN} more" if len(card.broken) > _BROKEN_SHOWN else ""
        say(f"{len(card.broken)} broken files were skipped: {', '.join(card.broken[:_BROKEN_SHOWN])}{more}")


@main.command()
@click.option("--preset", help="A preset's name or a .toml file. With --resume the run's own is the default.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a value of the preset; repeatable.")
@click.option("--data", type=FOLDER, required=True, help="A dataset that prepare made.")
@click.option("--out", "run", type=FOLDER, required=True, help="The run's folder.")
@click.option("--resume", is_flag=True, help="Go on from the run's checkpoint, exactly where it stopped.")
@click.option("--steps", type=click.IntRange(min=1), help="Stop at this many generator steps.  [default: the preset's]")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after this much time.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto")
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", help="bf16 is autocast.")
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads.  [default: torch's]")
@click.option("--log-every", type=click.IntRange(min=1), default=10, help="Steps between two rows of metrics.")
@click.option("--sample-every", type=click.IntRange(min=1), default=250, help="Steps between two sample grids.")
@click.option("--checkpoint-every", type=click.IntRange(min=1), default=250, help="Steps between two checkpoints.")
@click.pass_context
def fit(
    ctx: click.Context,
    preset: str | None,
    settings: tuple[str, ...],
    data: Path,
    run: Path,
    resume: bool,
    steps: int | None,
    minutes: float | None,
    device: str,
    precision: str,
    threads: int | None,
    log_every: int,
    sample_every: int,
    checkpoint_every: int,
) -> None:
    """Train a generator and its critic. Ctrl-C saves; --resume continues.

    \b
    Example: python -m train fit --preset anime-face-64 --data data/faces64 --out runs/faces --minutes 60
             python -m train fit --resume --data data/faces64 --out runs/faces
    """
    import math

    import torch

    from animegen.errors import DataError, UsageError
    from train import checkpoint
    from train.config import load_config
    from train.data import Dataset
    from train.loop import Limits, Session, device_name
    from train.networks import parameter_count
    from train.penalty import form_for
    from train.trainer import Trainer

    saved = run / checkpoint.NAME
    earlier = checkpoint.read_card(saved) if resume else None
    if earlier is not None and preset is None:
        if settings:
            raise UsageError("--set changes a preset, and a resumed run keeps its own values: leave --set out")
        config = earlier.config
    elif preset is not None:
        config = load_config(preset, settings)
    else:
        raise UsageError("a new run needs --preset: see python -m train presets")
    if not resume and saved.exists():
        raise OutputError(f"{run} already holds a run: add --resume to continue it, or name another folder")
    dataset = Dataset.open(data)
    if earlier is not None:
        checkpoint.check_same(earlier, config, dataset.card.sha256)
    if (dataset.card.size, dataset.card.channels) != (config.size, config.channels):
        raise DataError(
            f"{data} has images of {dataset.card.size}×{dataset.card.size}×{dataset.card.channels}, and the preset "
            f"{config.preset} wants {config.size}×{config.size}×{config.channels}: prepare it with --size {config.size}"
        )
    if threads is not None:
        torch.set_num_threads(threads)
    chosen = _device(device)
    trainer = Trainer(config, dataset.images, device=chosen, precision=_precision(precision, chosen))
    if earlier is not None:
        checkpoint.restore(saved, trainer)
    else:
        check_parent(run)
        run.mkdir(exist_ok=True)
    say(
        f"{config.preset} on {device_name(chosen)}, {trainer.precision}, {torch.get_num_threads()} CPU threads, "
        f"penalty in {form_for(trainer.critic)}; generator {parameter_count(trainer.generator):,} and critic "
        f"{parameter_count(trainer.critic):,} weights; {dataset.card.count:,} images from {dataset.card.source}"
    )
    if earlier is not None:
        say(f"resumed at step {earlier.step} after {earlier.seconds / 60:.0f} minutes of training")
        where = (device_name(chosen), trainer.precision, torch.get_num_threads())
        if where != (earlier.device, earlier.precision, earlier.threads):
            was = f"{earlier.device}, {earlier.precision}, {earlier.threads} threads"
            say(
                f"the run was on {was}: from here its values are no longer those of an uninterrupted run to the last bit"
            )
    limits = Limits(
        steps=steps or config.steps,
        minutes=minutes or math.inf,
        log_every=log_every,
        sample_every=sample_every,
        checkpoint_every=checkpoint_every,
    )
    ending = Session(trainer, dataset, run, limits, earlier).fit()
    say(f"{ending} at step {trainer.step}, {trainer.images_seen:,} real images seen; saved in {saved}")
    if ending == "interrupted":
        say(f"continue with: python -m train fit --resume --data {data} --out {run}")
        ctx.exit(130)  # what a shell expects of a command ended by Ctrl-C


def _device(name: str) -> torch.device:
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        reason = (
            "this torch was built without CUDA" if torch.version.cuda is None else "torch finds no NVIDIA GPU or driver"
        )
        raise DeviceError(f"cuda was asked for, and {reason}: mend that, or take --device cpu")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _precision(name: str, device: torch.device) -> Precision:
    """bf16 where the hardware multiplies it: elsewhere it is emulated, and slower than fp32."""
    import torch

    if name == "fp32":
        return "fp32"
    if name == "bf16":
        return "bf16"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if torch.ops.mkldnn._is_mkldnn_bf16_supported() else "fp32"
