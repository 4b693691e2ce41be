"""The forge's commands. Each only reads its options and calls the room that does the work."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from animegen.cli.console import CONTEXT, ErrorLineGroup, progress_bar, say
from animegen.errors import MissingPackageError, UsageError
from train.cli import options
from train.cli.networks import inception, tagger
from train.cli.options import FOLDER

if TYPE_CHECKING:
    from train.data import Channels
    from train.export.model import Weights

_BROKEN_SHOWN = 5  # names in the closing line; dataset.json has them all


@click.group(cls=ErrorLineGroup, context_settings=CONTEXT)
def main() -> None:
    """Train GAN image generators and export them for animegen.

    \b
    python -m train prepare faces.zip --size 64 --out data/faces64
    python -m train fit --preset anime-pixels-64 --data data/faces64 --out runs/faces
    python -m train export runs/faces --out models/my-faces.onnx
    """
    # Looked for and not imported: torch takes seconds, and prepare doesn't need it.
    missing = [
        name for name in ("matplotlib", "msgspec", "onnx", "onnxscript", "safetensors", "torch") if not find_spec(name)
    ]
    if missing:
        raise MissingPackageError(f"training needs {', '.join(missing)}: pip install -e '.[cpu,train]'")


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
@click.option("--size", type=click.Choice([8, 16, 28, 32, 64, 128]), default=64, help="Side in pixels.")
@click.option("--channels", type=click.Choice([1, 3]), help="1 is grey.  [default: the source's own; pictures 3]")
@click.option("--out", type=FOLDER, required=True, help="The new dataset's folder.")
def prepare(source: Path, size: int, channels: Channels | None, out: Path) -> None:
    """Pack SOURCE, a folder or zip of pictures, into one uint8 dataset with a hash.

    Nested folders, mixed sizes and formats are fine; broken files are counted, named and skipped. SOURCE may also be
    cifar10:ROOT, mnist:ROOT or celeba:ROOT, where ROOT holds the published files. Nothing is downloaded.

    \b
    Example: python -m train prepare faces.zip --size 64 --out data/faces64
             python -m train prepare cifar10:downloads --size 32 --out data/cifar32
    """
    from train import data

    with progress_bar() as bar:
        task = bar.add_task("prepare", total=None)
        card = data.prepare(
            source,
            out,
            size=size,
            channels=channels,
            each=lambda done, total: bar.update(task, completed=done, total=total),
        )
    say(f"{out}: {card.count} images of {size}×{size}×{card.channels}, {card.resize}, sha256 {card.sha256}")
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
@click.option("--from", "start", type=FOLDER, help="Start with the networks of another run or checkpoint.")
@click.option("--steps", type=click.IntRange(min=1), help="Stop at this many generator steps.  [default: the preset's]")
@click.option("--minutes", type=click.FloatRange(min=0, min_open=True), help="Stop after this much time.")
@options.device
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", help="bf16 is autocast.")
@click.option("--compile", "compiled", is_flag=True, help="Fuse kernels with torch.compile: a minute, then faster.")
@options.threads
@click.option("--log-every", type=click.IntRange(min=1), default=10, help="Steps between two rows of metrics.")
@click.option("--sample-every", type=click.IntRange(min=1), default=250, help="Steps between two sample grids.")
@click.option("--checkpoint-every", type=click.IntRange(min=1), default=250, help="Steps between two checkpoints.")
@click.option("--reference", type=FOLDER, help="Statistics that animegen stats made: measure the FID against them.")
@click.option("--fid-every", type=click.IntRange(min=1), default=1000, help="Steps between two measurements.")
@click.option("--fid-images", type=click.IntRange(min=2), default=5000, help="Generated images for each.")
@click.option("--rollbacks", type=click.IntRange(min=0), default=3, help="Allowed returns from values not finite.")
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
    minutes: float | None,
    device: Literal["auto", "cpu", "cuda"],
    precision: Literal["auto", "fp32", "bf16"],
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
             python -m train fit --from runs/faces --preset anime-pixels-64 --data data/cats64 --out runs/cats
    Several GPUs:
             torchrun --nproc-per-node 4 -m train fit --preset anime-pixels-64 --data data/faces64 --out runs/faces
    """
    import torch

    from train.run import checkpoint
    from train.run.monitor import Referee
    from train.run.open import configuration, open_session
    from train.run.session import Limits
    from train.step import processes
    from train.step.devices import choose_device, choose_precision

    if threads is not None:
        torch.set_num_threads(threads)
    group, where = processes.join(choose_device(device))
    ctx.call_on_close(processes.leave)
    session = open_session(
        run,
        data,
        config=configuration(preset, settings, resume=resume),
        resume=resume,
        start=start,
        device=where,
        precision=choose_precision(precision, where),
        limits=Limits(
            steps=steps,
            minutes=minutes,
            log_every=log_every,
            sample_every=sample_every,
            checkpoint_every=checkpoint_every,
            fid_every=fid_every,
            rollbacks=rollbacks,
            tensorboard=tensorboard,
        ),
        group=group,
        referee=Referee.open(reference, count=fid_images) if reference is not None else None,
        compiled=compiled,
    )
    for line in session.describe() if group.leads else ():
        say(line)
    ending = session.fit()
    trainer, saved = session.trainer, run / checkpoint.NAME
    if group.leads:
        say(f"{ending} at step {trainer.step}, {trainer.images_seen:,} real images seen; saved in {saved}")
        if ending == "interrupted":
            say(f"continue with: python -m train fit --resume --data {data} --out {run}")
    if ending == "interrupted":
        ctx.exit(130)  # what a shell expects of a command ended by Ctrl-C


@main.command()
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@click.option("--out", type=FOLDER, default="curves.png", help="A .png, .pdf or .svg.")
@click.option("--growth", type=FOLDER, help="Also the first run's samples over time: .png, .gif, .webp or .mp4.")
def plot(runs: tuple[Path, ...], out: Path, growth: Path | None) -> None:
    """Draw the curves of RUNS in one picture, and how the images of the fixed latents grew.

    \b
    Example: python -m train plot runs/faces --out curves.png --growth growth.gif
    """
    from train.report.figures import draw_growth, plot_curves
    from train.run import checkpoint

    plot_curves(runs, out)
    say(f"{out}: {len(runs)} runs")
    if growth is not None:
        draw_growth(runs[0], growth, size=checkpoint.read_card(runs[0] / checkpoint.NAME).config.size)
        say(f"{growth}: {runs[0]}")


@main.command()
@click.option("--presets", required=True, help="Comma-separated; preset+key=value changes one of them.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Change a value of all; repeatable.")
@click.option("--data", type=FOLDER, required=True, help="A dataset that prepare made.")
@click.option("--out", type=FOLDER, required=True, help="A folder for the runs, the table and the figures.")
@click.option("--steps", type=click.IntRange(min=1), help="Steps of each run.")
@click.option("--images", type=click.IntRange(min=1), help="Or real images that each critic sees.  [default: 200000]")
@click.option("--seeds", type=click.IntRange(min=1), default=3, help="Runs of each recipe.")
@click.option("--reference", type=FOLDER, help="Statistics that animegen stats made, to measure against.")
@click.option("--fid-images", type=click.IntRange(min=20), default=5000, help="Generated images for a measurement.")
@click.option("--fid-every", type=click.IntRange(min=1), help="Also measure during the runs.")
@options.device
@click.option("--precision", type=click.Choice(["auto", "fp32", "bf16"]), default="auto", help="bf16 is autocast.")
@options.threads
@click.pass_context
def compare(
    ctx: click.Context,
    presets: str,
    settings: tuple[str, ...],
    data: Path,
    out: Path,
    steps: int | None,
    images: int | None,
    seeds: int,
    reference: Path | None,
    fid_images: int,
    fid_every: int | None,
    device: Literal["auto", "cpu", "cuda"],
    precision: Literal["auto", "fp32", "bf16"],
    threads: int | None,
) -> None:
    """Train several recipes under one protocol: a table, their curves and their images.

    The same command goes on where an earlier one stopped.

    \b
    Example: python -m train compare --presets dcgan-anime64,wgan-gp-anime64,wgan-gp-anime64+lambda_gp=10 \\
                 --set size=32 --seeds 2 --data data/faces32 --out runs/compared
    """
    import torch

    from train.report import compare as comparison
    from train.run.monitor import Referee
    from train.run.session import Limits
    from train.step.devices import choose_device, choose_precision

    if steps is not None and images is not None:
        raise UsageError("say how long each run is once: either --steps or --images, the real images each critic sees")
    if steps is None and images is None:
        images = 200_000
    recipes = [comparison.Recipe.parse(name.strip()) for name in presets.split(",")]
    if threads is not None:
        torch.set_num_threads(threads)
    where = choose_device(device)
    ending = comparison.compare(
        recipes,
        data,
        out,
        protocol=comparison.Protocol(settings=settings, steps=steps, images=images, seeds=seeds),
        referee=Referee.open(reference, count=fid_images) if reference is not None else None,
        device=where,
        precision=choose_precision(precision, where),
        limits=Limits(log_every=10, fid_every=fid_every or 2**62),
    )
    if ending == "interrupted":
        say("continue with the same command")
        ctx.exit(130)
    say(f"{out}: table.md, curves.png, grids.png of {len(recipes)} recipes with {seeds} seeds")


@main.command()
@click.argument("run", type=FOLDER)
@click.option("--out", type=FOLDER, required=True, help="The model file, NAME.onnx.")
@click.option("--name", help="The model's name.  [default: the file's]")
@click.option("--licence", default="unspecified", help="Who may use the model, for its card.")
@click.option("--provenance", default="unspecified", help="Where the training pictures come from, for its card.")
@click.option("--weights", type=click.Choice(["fp32", "fp16"]), default="fp32", help="How the file stores them.")
@click.option("--reference", type=FOLDER, help="Statistics that animegen stats made: the card gets FID, KID and more.")
@click.option("--data", type=FOLDER, help="With --reference, the training images: also how near the images come.")
@click.option("--fid-images", type=click.IntRange(min=20), default=10_000, help="Images to measure.")
def export(
    run: Path,
    out: Path,
    name: str | None,
    licence: str,
    provenance: str,
    weights: Weights,
    reference: Path | None,
    data: Path | None,
    fid_images: int,
) -> None:
    """Write the EMA generator of RUN as one ONNX file, and prove that it computes the same images.

    RUN is a run's folder, or a checkpoint in it such as best.safetensors.

    \b
    Example: python -m train export runs/faces --out models/my-faces.onnx
             python -m train export runs/faces/best.safetensors --out my-faces.onnx --weights fp16 \\
                 --reference faces64.npz --data data/faces64
    """
    from train.export.model import export as export_run
    from train.run.monitor import Referee

    if data is not None and reference is None:
        raise UsageError("--data is for measuring, which needs statistics to measure against: add --reference")
    card = export_run(
        run,
        out,
        name=name,
        licence=licence,
        provenance=provenance,
        weights=weights,
        referee=Referee.open(reference, count=fid_images) if reference is not None else None,
        data=data,
    )
    parity = card.parity
    say(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB after {card.steps} steps. Against torch at batches "
        f"{', '.join(map(str, parity['batches']))}: at most {parity['max_before_rounding']} grey levels apart before "
        f"rounding, {parity['max_grey_levels']} after it, on {parity['share_differing']:.2%} of the values"
    )
    if card.quality:
        found = card.quality
        say(f"FID {found['fid']} ({found['extractor']}, {found['images']} images), recall {found['recall']}")


main.add_command(tagger)
main.add_command(inception)
