"""`animegen evaluate`."""

from __future__ import annotations

from pathlib import Path

import click

from animegen.cli.console import print_json, say
from animegen.cli.options import (
    MEASURED,
    SEED,
    ModelOptions,
    json_option,
    model_options,
    out_option,
    reference_option,
    size_option,
    truncation_option,
)
from animegen.cli.quality import extractor_option, measured, protocol_option, refuse_source


@click.command()
@reference_option
@protocol_option
@extractor_option
@click.option("--data", type=click.Path(path_type=Path), help="The training images, for the sheet of neighbours.")
@size_option
@click.option("--n", type=click.IntRange(20, MEASURED), default=10_000, help="How many images.")
@click.option("--seed", type=SEED, default=0, help="The first seed.")
@out_option("report", "The report's folder: report.md, report.json, and neighbours.png with --data.")
@json_option
@truncation_option
@model_options
def evaluate(
    reference: str | None,
    protocol: str | None,
    extractor: str,
    data: Path | None,
    size: int | None,
    n: int,
    seed: int,
    out: str,
    as_json: bool,
    truncation: float,
    options: ModelOptions,
) -> None:
    """Measure everything at once: FID, FID∞, KID, precision, recall, density, coverage, smoothness and likeness.

    With --data, the training images, each generated image's nearest one is looked for, and the closest pairs are shown.

    \b
    Example: animegen evaluate --n 2048 --out report
             animegen evaluate --data faces.zip --size 64 --out report
    """
    from animegen.quality.evaluation import evaluate as measure_all
    from animegen.quality.report import check_folder, write

    folder = Path(out)
    check_folder(folder)
    refuse_source(folder, data, reference)
    with measured(options) as model:
        evaluation = measure_all(
            model,
            reference,
            extractor=extractor,
            protocol=protocol,
            data=data,
            n=n,
            seed=seed,
            size=size,
            truncation=truncation,
            batch_size=options.batch_size,
            device=options.device,
            threads=options.threads,
        )
    files = write(folder, evaluation)
    if as_json:
        print_json({"out": out, **evaluation.to_json()})
        return
    click.echo(evaluation.to_markdown(), nl=False)
    say(f"{out}: {', '.join(files)}")
