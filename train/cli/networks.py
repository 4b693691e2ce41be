"""The commands that make feature extractors."""

from __future__ import annotations

from pathlib import Path

import click

from animegen.cli.console import progress_bar, say
from train.cli import options
from train.cli.options import FOLDER


@click.command()
@click.option("--data", type=FOLDER, required=True, help="A folder or zip of pictures.")
@click.option("--tags", type=FOLDER, required=True, help="A table of file names and tags, with a tab between them.")
@click.option("--out", type=FOLDER, required=True, help="The extractor's file, NAME.onnx; its card goes beside it.")
@click.option("--epochs", type=click.IntRange(min=1), default=7, help="Passes over the labelled pictures.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of weights, order and augmentation.")
@options.threads
@click.option("--licence", default="unspecified", help="Who may use the extractor, for its card.")
@click.option("--provenance", default="unspecified", help="Where the training pictures come from, for its card.")
def tagger(
    data: Path, tags: Path, out: Path, epochs: int, seed: int, threads: int | None, licence: str, provenance: str
) -> None:
    """Train the extractor that names hair colour, eye colour and hair length, and measures images by its features.

    A line of the table is a file's name, a tab, and tags such as "blonde long hair and purple eyes". A tenth of the
    pictures, chosen by a hash of their names, is held out, and the card says how often each tag is right there.

    \b
    Example: python -m train tagger --data faces.zip --tags tags.tsv --out my-tagger.onnx
    """
    import torch

    from train.extractors.tagger.export import train_tagger

    if threads is not None:
        torch.set_num_threads(threads)
    with progress_bar("loss") as bar:
        task = bar.add_task("tagger", total=None, loss="")
        card = train_tagger(
            data,
            tags,
            out,
            epochs=epochs,
            seed=seed,
            licence=licence,
            provenance=provenance,
            each=lambda step, steps, loss: bar.update(task, completed=step, total=steps, loss=f"loss {loss:.3f}"),
        )
    groups = ", ".join(f"{name} {value['share']:.1%}" for name, value in card["accuracy"].items() if ":" not in name)
    say(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB; right on the {card['data']['held_out']} held-out pictures: {groups}"
    )


@click.command()
@click.option("--weights", type=FOLDER, help="A copy of the weights.  [default: the cache's, or else fetched]")
@click.option("--out", type=FOLDER, help="Where to write the extractor.  [default: the cache, where animegen looks]")
def inception(weights: Path | None, out: Path | None) -> None:
    """Export pytorch-fid's Inception-v3, once, as the extractor that published FIDs are measured with.

    The weights have 95,628,359 bytes and are checked by their sha256.

    \b
    Example: python -m train inception --weights pt_inception-2015-12-05-6726825d.pth
    """
    from animegen.quality.extractors import inception_file
    from train.extractors.inception import export_inception, find_weights

    found = find_weights(weights, say)
    target = out or inception_file()
    if out is None:
        target.parent.mkdir(parents=True, exist_ok=True)
    card = export_inception(found, target)
    say(f"{target}: at most {card['parity']['max_feature']} apart from torch in a feature")
