"""`export`: a run's generator → one ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from animegen.cli.console import progress_shown, say
from animegen.cli.options import MEASURED
from animegen.errors import UsageError
from train.cli import options

if TYPE_CHECKING:
    from train.export.proof import Weights


@click.command()
@click.argument("run", type=options.PATH)
@click.option("--out", type=options.PATH, required=True, help="The model file, NAME.onnx.")
@click.option("--name", help="The model's name.  [default: the file's]")
@click.option("--licence", default="unspecified", help="Who may use the model, for its card.")
@click.option("--provenance", default="unspecified", help="Where the training pictures come from, for its card.")
@click.option("--weights", type=click.Choice(["fp32", "fp16"]), default="fp32", help="How the file stores them.")
@click.option("--reference", type=options.PATH, help="Statistics that animegen stats made: FID, KID and more.")
@click.option("--data", type=options.PATH, help="With --reference, the training images: also how near the images come.")
@click.option("--fid-images", type=click.IntRange(20, MEASURED), default=10_000, help="Images to measure.")
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
    if data is not None and reference is None:
        raise UsageError("--data is for measuring, which needs statistics to measure against: add --reference")

    from train.export.model import export as export_run

    with progress_shown():
        card = export_run(
            run,
            out,
            name=name,
            licence=licence,
            provenance=provenance,
            weights=weights,
            monitor=options.monitor_of(reference, fid_images),
            data=data,
        )
    parity, quality = card.parity, card.quality
    say(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB after {card.steps} steps. Against torch at batches "
        f"{', '.join(map(str, parity['batches']))}: at most {parity['max_before_rounding']} grey levels apart before "
        f"rounding, {parity['max_grey_levels']} after it, on {parity['share_differing']:.2%} of the values"
    )
    if quality:
        recall = f", recall {quality['recall']}" if "recall" in quality else ""  # a reference may hold no features
        say(f"FID {quality['fid']} ({quality['extractor']}, {quality['images']} images){recall}")
