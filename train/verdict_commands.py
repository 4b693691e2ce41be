"""The commands by which people's verdicts teach a generator."""

from __future__ import annotations

from pathlib import Path

import click

from animegen.console import progress_bar, say
from animegen.errors import UsageError
from train import options
from train.options import FOLDER


@click.command()
@click.argument("model", type=FOLDER)
@click.option("--seed", type=click.IntRange(min=0), default=10_000, help="Of the first image.")
@click.option("--n", "count", type=click.IntRange(min=1), default=1920, help="Images to judge.")
@click.option("--out", type=FOLDER, required=True, help="The new folder of sheets.")
def sheets(model: Path, seed: int, count: int, out: Path) -> None:
    """Draw images of MODEL, a .onnx, on sheets to be judged, 24 on each with their seeds.

    Beside them lies verdicts.tsv: write yes behind the tab after each seed whose image is well-formed, and no after the
    others; one that is left open isn't learnt from. Then: python -m train prefer. Keep the seeds that you will show
    out of it.

    \b
    Example: python -m train sheets models/anime-face-64.onnx --n 960 --out sheets
    """
    from train.judging import TABLE, write_sheets

    with progress_bar() as bar:
        task = bar.add_task("sheets", total=count)
        drawn = write_sheets(model, out, first=seed, count=count, each=lambda done, _: bar.update(task, completed=done))
    say(f"{out}: {count} images on {drawn} sheet{'s' * (drawn > 1)}, and {TABLE} for the verdicts")


@click.command()
@click.argument("model", type=FOLDER)
@click.option("--verdicts", "table", type=FOLDER, required=True, help="The table that sheets wrote, filled in.")
@click.option("--out", type=FOLDER, required=True, help="The new model file, NAME.onnx.")
@click.option("--name", help="The model's name.  [default: the file's]")
@click.option("--provenance", help="Where the training pictures come from, for the card.  [default: as MODEL has it]")
@click.option("--log-odds", type=click.FloatRange(min=0), default=5.0, help="Of a yes that each code is brought to.")
@click.option("--reference", type=FOLDER, help="Statistics that animegen stats made: the card gets FID, KID and more.")
@click.option("--data", type=FOLDER, help="With --reference, the training images: also how near the images come.")
@click.option("--fid-images", type=click.IntRange(min=20), default=10_000, help="Images to measure.")
@options.threads
def prefer(
    model: Path,
    table: Path,
    out: Path,
    name: str | None,
    provenance: str | None,
    log_odds: float,
    reference: Path | None,
    data: Path | None,
    fid_images: int,
    threads: int | None,
) -> None:
    """Teach MODEL, a .onnx whose generator makes codes, what people call well-formed, by verdicts on its own images.

    Which of its codes are drawn well is learnt from the verdicts, and the codes of doubtful images are moved just far
    enough. Each seed keeps its face. It takes two minutes on two cores, and can be repeated with verdicts on the
    new model's images.

    \b
    Example: python -m train sheets models/anime-face-64.onnx --out sheets
             python -m train prefer models/anime-face-64.onnx --verdicts sheets/verdicts.tsv --out better.onnx
    """
    import torch

    from train.preference import prefer as teach
    from train.referee import Referee

    if data is not None and reference is None:
        raise UsageError("--data is for measuring, which needs statistics to measure against: add --reference")
    if threads is not None:
        torch.set_num_threads(threads)
    with progress_bar("left") as bar:
        task = bar.add_task("prefer", total=None, left="")
        card = teach(
            model,
            table,
            out,
            name=name,
            provenance=provenance,
            log_odds=log_odds,
            referee=Referee.open(reference, count=fid_images) if reference is not None else None,
            data=data,
            each=lambda step, steps, left: bar.update(task, completed=step, total=steps, left=f"left {left:.3f}"),
        )
    taught = card.judged[-1]
    say(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB; of {taught['verdicts']} verdicts {taught['yes']:.1%} are yes, and "
        f"held-out ones are told with an AUC of {taught['auc']}; codes were moved by {taught['moved']} deviations on "
        "average"
    )
    if card.quality:
        found = card.quality
        say(f"FID {found['fid']} ({found['extractor']}, {found['images']} images), recall {found['recall']}")
