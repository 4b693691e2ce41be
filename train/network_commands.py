"""The commands that make networks of images: those that measure, and those that generators are trained with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from animegen.console import progress_bar, say
from train import options
from train.options import FOLDER

if TYPE_CHECKING:
    import torch

    from train.autoencoder.file import AutoencoderCard

Device = Literal["auto", "cpu", "cuda"]


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

    from train.tagger.export import train_tagger

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
    from train.inception import export_inception, find_weights

    found = find_weights(weights, say)
    target = out or inception_file()
    if out is None:
        target.parent.mkdir(parents=True, exist_ok=True)
    card = export_inception(found, target)
    say(f"{target}: at most {card['parity']['max_feature']} apart from torch in a feature")


@click.command()
@click.option("--data", type=FOLDER, required=True, help="A folder or zip of pictures.")
@click.option("--tags", type=FOLDER, required=True, help="A table of file names and tags, with a tab between them.")
@click.option("--out", type=FOLDER, required=True, help="The features' file, NAME.safetensors.")
@click.option("--against", type=FOLDER, multiple=True, help="A .onnx: also learn to tell its images; repeatable.")
@click.option("--from", "start", type=FOLDER, help="Go on from the features in this file.")
@click.option("--epochs", type=click.IntRange(min=1), default=4, help="Passes over the pictures.")
@click.option("--seed", type=click.IntRange(min=0), default=1, help="Of weights, order, augmentation and faults.")
@options.threads
@click.option("--licence", default="unspecified", help="Who may use the features, for their card.")
@click.option("--provenance", default="unspecified", help="Where the training pictures come from, for their card.")
def features(
    data: Path,
    tags: Path,
    out: Path,
    against: tuple[Path, ...],
    start: Path | None,
    epochs: int,
    seed: int,
    threads: int | None,
    licence: str,
    provenance: str,
) -> None:
    """Train the features that a critic looks through: fit --set critic.features=NAME.safetensors.

    A network learns to read a face's tags and to find where a face was spoilt (bent, blurred, mixed with another one),
    and with --against to tell the pictures from a generator's. What it makes of the pictures is whitened. It is never
    the extractor that measures.

    \b
    Example: python -m train features --data faces.zip --tags tags.tsv --out my-features.safetensors
             python -m train features --data faces.zip --tags tags.tsv --against models/anime-face-64.onnx \\
                 --from my-features.safetensors --epochs 2 --out sharper-features.safetensors
    """
    import torch

    from train.features.making import train_features

    if threads is not None:
        torch.set_num_threads(threads)
    with progress_bar("loss") as bar:
        task = bar.add_task("features", total=None, loss="")
        card = train_features(
            data,
            tags,
            out,
            epochs=epochs,
            seed=seed,
            licence=licence,
            provenance=provenance,
            against=against,
            start=start,
            each=lambda step, steps, loss: bar.update(task, completed=step, total=steps, loss=f"loss {loss:.3f}"),
        )
    right = ", ".join(f"{name} {share:.1%}" for name, share in card.accuracy.items())
    say(f"{out}: {out.stat().st_size / 1e6:.1f} MB; right on the {card.held_out} held-out pictures: {right}")


@click.command()
@click.option("--data", type=FOLDER, required=True, help="A dataset that prepare made, of 64×64 pictures in colour.")
@click.option("--features", "features_file", type=FOLDER, required=True, help="A file of python -m train features.")
@click.option("--out", type=FOLDER, required=True, help="The autoencoder's file, NAME.safetensors.")
@click.option("--values", type=click.IntRange(min=1), default=96, help="Of a code: so many principal components.")
@click.option("--bits", type=click.IntRange(min=1), default=500, help="That a map tells of its picture, on average.")
@click.option("--epochs", type=click.IntRange(min=1), default=6, help="Passes over the pictures.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of weights, order, mirroring and noise.")
@options.device
@options.threads
@click.option("--licence", default="unspecified", help="Who may use the autoencoder, for its card.")
@click.option("--provenance", default="unspecified", help="Where the training pictures come from, for its card.")
def autoencoder(
    data: Path,
    features_file: Path,
    out: Path,
    values: int,
    bits: int,
    epochs: int,
    seed: int,
    device: Device,
    threads: int | None,
    licence: str,
    provenance: str,
) -> None:
    """Train the autoencoder in whose codes networks can work: fit --set autoencoder=NAME.safetensors.

    Its encoder makes a map of 8×8 places of a picture, and of the map a code: its first principal components. Its
    decoder makes a picture of a code. The generator then makes codes, the critic values them, and the decoder, which
    stays as it is, draws. With few values a code is easy to make, and gives less of its picture back.

    \b
    Example: python -m train autoencoder --data data/faces64 --features my-features.safetensors \\
                 --out my-autoencoder.safetensors
    """
    import torch

    from train.autoencoder.making import train_autoencoder

    chosen = _device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    with progress_bar("loss") as bar:
        task = bar.add_task("autoencoder", total=None, loss="")
        card = train_autoencoder(
            data,
            features_file,
            out,
            values=values,
            bits=bits,
            epochs=epochs,
            seed=seed,
            licence=licence,
            provenance=provenance,
            device=chosen,
            each=lambda step, steps, loss: bar.update(task, completed=step, total=steps, loss=f"loss {loss:.3f}"),
        )
    say(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB; the {card.held_out} held-out pictures come back within "
        f"{card.grey_levels} grey levels on average; of maps of {card.bits} bits the codes keep {card.variance:.0%}"
    )


@click.command()
@click.argument("source", metavar="AUTOENCODER", type=FOLDER)
@click.option("--data", type=FOLDER, required=True, help="The dataset that the autoencoder was trained on.")
@click.option("--features", "features_file", type=FOLDER, required=True, help="A file of python -m train features.")
@click.option("--out", type=FOLDER, required=True, help="The new autoencoder's file, NAME.safetensors.")
@click.option("--epochs", type=click.IntRange(min=1), default=24, help="Passes over the pictures.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of order, mirroring and noise.")
@options.device
@options.threads
def tune(
    source: Path,
    data: Path,
    features_file: Path,
    out: Path,
    epochs: int,
    seed: int,
    device: Device,
    threads: int | None,
) -> None:
    """Train AUTOENCODER further through its codes, so that their values go to what a face is seen by.

    The codes change: train generators with the new one.

    \b
    Example: python -m train tune my-autoencoder.safetensors --data data/faces64 \\
                 --features my-features.safetensors --out my-tuned-autoencoder.safetensors
    """
    _learn_on(source, data, features_file, out, "tuned", "loss", epochs, seed, device, threads)


@click.command()
@click.argument("source", metavar="AUTOENCODER", type=FOLDER)
@click.option("--data", type=FOLDER, required=True, help="The dataset that the autoencoder was trained on.")
@click.option("--features", "features_file", type=FOLDER, required=True, help="A file of python -m train features.")
@click.option("--out", type=FOLDER, required=True, help="The sharper autoencoder's file, NAME.safetensors.")
@click.option("--epochs", type=click.IntRange(min=1), default=27, help="Passes over the pictures.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of the critic's weights, order and mirroring.")
@options.device
@options.threads
def sharpen(
    source: Path,
    data: Path,
    features_file: Path,
    out: Path,
    epochs: int,
    seed: int,
    device: Device,
    threads: int | None,
) -> None:
    """Train the decoder of AUTOENCODER further, against a critic of pixels, until it draws sharp pictures.

    The codes stay the same, so a generator that was trained in them draws sharper too: export RUN --autoencoder NAME.

    \b
    Example: python -m train sharpen my-autoencoder.safetensors --data data/faces64 \\
                 --features my-features.safetensors --out my-sharp-autoencoder.safetensors
    """
    _learn_on(source, data, features_file, out, "sharpened", "margin", epochs, seed, device, threads)


@click.command()
@click.argument("blurred", type=FOLDER)
@click.argument("sharp", type=FOLDER)
@click.option("--data", type=FOLDER, required=True, help="The dataset that both were trained on.")
@click.option("--features", "features_file", type=FOLDER, required=True, help="A file of python -m train features.")
@click.option("--out", type=FOLDER, required=True, help="The new autoencoder's file, NAME.safetensors.")
@click.option("--share", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.5, help="Of SHARP.")
def blend(blurred: Path, sharp: Path, data: Path, features_file: Path, out: Path, share: float) -> None:
    """Make an autoencoder that draws between BLURRED and SHARP, which sharpen made of it.

    A sharpened decoder draws lines that a generated code doesn't always bear out. Nearer to the blurred one pictures
    are softer, and eyes match more often. The codes stay the same.

    \b
    Example: python -m train blend my-autoencoder.safetensors my-sharp-autoencoder.safetensors --data data/faces64 \\
                 --features my-features.safetensors --out my-soft-autoencoder.safetensors
    """
    from train.autoencoder.making import blend_autoencoders

    card = blend_autoencoders(blurred, sharp, data, features_file, out, share=share)
    _say_what_comes_back(out, card)


def _learn_on(
    source: Path,
    data: Path,
    features_file: Path,
    out: Path,
    how: Literal["tuned", "sharpened"],
    word: str,
    epochs: int,
    seed: int,
    device: Device,
    threads: int | None,
) -> None:
    """Train on what is in `source`; the bar shows the value that says how far it is, by its `word`."""
    import torch

    from train.autoencoder.making import learn_on

    chosen = _device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    with progress_bar("value") as bar:
        task = bar.add_task(how, total=None, value="")

        def each(step: int, steps: int, value: float) -> None:
            bar.update(task, completed=step, total=steps, value=f"{word} {value:.3f}")

        card = learn_on(source, data, features_file, out, how=how, epochs=epochs, seed=seed, device=chosen, each=each)
    _say_what_comes_back(out, card)


def _device(name: Device) -> torch.device:
    """The device to train on, which is said."""
    from train.devices import choose_device, device_name

    chosen = choose_device(name)
    say(f"device: {device_name(chosen)}")
    return chosen


def _say_what_comes_back(out: Path, card: AutoencoderCard) -> None:
    say(
        f"{out}: {out.stat().st_size / 1e6:.1f} MB; the {card.held_out} held-out pictures come back within "
        f"{card.grey_levels} grey levels on average"
    )
