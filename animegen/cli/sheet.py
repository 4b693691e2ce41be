"""`animegen sheet`."""

from __future__ import annotations

import click

from animegen.cli.options import (
    SEED,
    ModelOptions,
    chosen_seeds,
    engine_option,
    json_option,
    label_facts,
    label_option,
    model_options,
    out_option,
    runs_on,
    scale_option,
    truncation_option,
)
from animegen.cli.origin import PictureCommand
from animegen.cli.output import Output


@click.command(cls=PictureCommand)
@click.option("--rows", required=True, metavar="GROUP", help="The labels that are the rows, such as hair.")
@click.option("--columns", metavar="GROUP", help="The labels that are the columns.  [default: a column for each seed]")
@click.option("--seed", type=SEED, help="The face's seed, or the first column's.  [default: 0]")
@click.option("--n", type=click.IntRange(min=1), help="Columns without --columns.  [default: 8]")
@click.option("--seeds", help="The columns' seeds, in place of --seed and --n, such as 3,14,15.")
@out_option("sheet.png", "A .png, .jpg or .webp picture, or - for stdout.")
@click.option("--format", "form", type=click.Choice(["png", "jpg", "webp"]), default="png", help="Of stdout.")
@scale_option
@json_option
@label_option
@truncation_option
@engine_option
@model_options
def sheet(
    rows: str,
    columns: str | None,
    seed: int | None,
    n: int | None,
    seeds: str | None,
    out: str,
    form: str,
    scale: int,
    as_json: bool,
    label_texts: tuple[str, ...],
    truncation: float,
    options: ModelOptions,
) -> None:
    """Make the table of one face in all classes of two groups of labels, or of several faces in those of one.

    \b
    Example: animegen sheet --model mnist-28 --rows class --n 10 --out digits.png
             animegen sheet --model my-faces.onnx --rows hair --columns eyes --seed 3 --out sheet.png
    """
    wanted = chosen_seeds(seeds, seed, n, 8 if columns is None else 1)
    output = Output(out, form, as_json, scale=scale)
    output.check_still()

    from animegen.images.stills import table
    from animegen.labels import read_labels

    with options.load() as generator:
        asked = read_labels(label_texts, generator.labels)
        output.describe(generator, seeds=str(wanted), truncation=truncation)
        classes = {group.name: group.classes for group in generator.labels}
        heads = list(map(str, wanted)) if columns is None else list(classes.get(columns, ()))
        if rows in classes and heads:  # and else the generator says what is wrong
            output.check_table(generator, classes[rows], heads)
        images = generator.sheet(
            *wanted, rows=rows, columns=columns, labels=asked, truncation=truncation, batch_size=options.batch_size
        )
        facts = {
            "images": len(images),
            "seeds": str(wanted),
            "rows": {rows: list(classes[rows])},
            "columns": {columns or "seed": heads},
            "model": generator.card.name,
            **runs_on(generator),
            **label_facts(generator, asked),
        }
    output.still(table(images, classes[rows], heads), facts)
