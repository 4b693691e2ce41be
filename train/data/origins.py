"""What `prepare` packs: a folder or zip of pictures, or a published dataset that lies on this machine.

faces/ or faces.zip    any pictures
cifar10:ROOT           the 50,000 training images of ROOT/cifar-10-batches-py/
mnist:ROOT             the 60,000 training images of ROOT/MNIST/raw/
celeba:ROOT            all aligned faces of ROOT/celeba/img_align_celeba/, or of the zip of that name

The places are torchvision's own. Nothing is ever downloaded.

Pictures in class folders, CIFAR-10 and MNIST have labels of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from PIL import Image

from animegen.errors import DataError, MissingPackageError
from animegen.files import status
from animegen.images.sources import Broken, Source, readable

Channels = Literal[1, 3]

# The centre 108×108, as DCGAN-tensorflow's center_crop cuts it (github.com/carpedm20/DCGAN-tensorflow, utils.py):
# the face without most of the ground. Others take 148 or 178, so the card names the crop.
_CELEBA_SIZE = (178, 218)
_CELEBA_BOX = (35, 55, 143, 163)
_CELEBA_CROP = "centre 108×108 of the aligned 178×218 (as DCGAN-tensorflow)"


@dataclass(frozen=True)
class Origin:
    """Decoded pictures in an order that never changes, and what a dataset's card says of them."""

    name: str  # without its path
    count: int  # broken files among them
    read: Callable[[], Iterator[Image.Image | Broken]]
    channels: Channels = 3  # its own
    crop: str | None = None  # what `read` has cut away already
    left_out: Mapping[str, int] = field(default_factory=dict)  # files that are no pictures, by what they are
    names: Sequence[str] = ()  # of the files, as `read` yields them; () where they have none
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)  # its own: for each group each picture's class
    labelled_by: str = ""  # what those labels are, in words


def find(source: Path) -> Origin:
    """The pictures that `source` names; a file or folder comes before a published dataset of the same name.

    Raises:
        DataError: nothing is there, or what is there holds no pictures, is incomplete or is damaged.
        MissingPackageError: CIFAR-10 or MNIST without torchvision.
    """
    kind, colon, root = str(source).partition(":")
    there = status(source)
    if colon and kind in _PUBLISHED and not there:
        return _PUBLISHED[kind](Path(root).expanduser())
    if not there:
        published = ", ".join(f"{name}:ROOT" for name in _PUBLISHED)
        raise DataError(f"{source} does not exist: name a folder or a zip file of images, or one of {published}")
    pictures = Source(source)
    return Origin(
        readable(source.resolve().name),
        len(pictures),
        pictures.read,
        left_out=pictures.left_out,
        names=pictures.names,
        labels=_class_folders(pictures.names),
        labelled_by="class folders",
    )


def _class_folders(names: Sequence[str]) -> dict[str, Sequence[str]]:
    """The group `class`, if all pictures lie in folders of one depth: the last level on which these differ.

    A folder that can't be read says nothing about the others.
    """
    folders = [() if name.endswith("/") else PurePosixPath(name).parts[:-1] for name in names]
    of_pictures = [parts for name, parts in zip(names, folders, strict=True) if not name.endswith("/")]
    if len({len(parts) for parts in of_pictures}) != 1:
        return {}
    telling = [level for level, parts in enumerate(zip(*of_pictures, strict=True)) if len(set(parts)) > 1]
    return {"class": [parts[telling[-1]] if parts else "" for parts in folders]} if telling else {}


def _cifar10(root: Path) -> Origin:
    # The files are pickles, CIFAR-10's own format. torchvision opens them only after their md5 has shown that
    # they are the published ones.
    how = f"unpack cifar-10-python.tar.gz from https://www.cs.toronto.edu/~kriz/cifar.html in {root}"
    folder = root / "cifar-10-batches-py"
    return _training_images("CIFAR10", root, folder, how, name="CIFAR-10", channels=3, group="class")


def _mnist(root: Path) -> Origin:
    folder = root / "MNIST" / "raw"
    how = f"put the four files of https://ossci-datasets.s3.amazonaws.com/mnist/ into {folder}, and gunzip them"
    return _training_images("MNIST", root, folder, how, name="MNIST", channels=1, group="digit")


def _training_images(
    kind: str, root: Path, folder: Path, how: str, *, name: str, channels: Channels, group: str
) -> Origin:
    """The training half of a dataset that torchvision reads."""
    if not status(folder):
        raise DataError(f"{name} was looked for in {folder}, which is not there: {how}")
    try:
        from torchvision import datasets
    except ImportError as error:
        raise MissingPackageError(f"{name} is read by torchvision: pip install -r train/requirements.txt") from error
    try:
        dataset: Any = getattr(datasets, kind)(root, train=True, download=False)
    # torchvision has no error of its own: a file that is missing or cut off raises one of many kinds.
    except Exception as error:
        raise DataError(f"{name} in {folder} is incomplete or damaged: {how}") from error
    numbers = [int(number) for number in dataset.targets]
    return Origin(
        f"{name}, training images",
        len(dataset),
        lambda: (dataset[k][0] for k in range(len(dataset))),
        channels=channels,
        labels={group: [str(number) if group == "digit" else dataset.classes[number] for number in numbers]},
        labelled_by=f"{name}'s own",
    )


def _celeba(root: Path) -> Origin:
    # Not through torchvision: it wants the five lists of attributes too, and the pictures unpacked. Neither is
    # needed here, and every face is taken, as the literature does.
    name = "img_align_celeba"
    places = [folder / file for folder in (root / "celeba", root) for file in (name, f"{name}.zip")]
    if root.stem == name:
        places = [root]
    place = next((place for place in places if status(place)), None)
    if place is None:
        raise DataError(
            f"CelebA was looked for in {' and '.join(map(str, places))}, and is not there: "
            f"put {name}.zip from https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html into {root}"
        )
    pictures = Source(place)

    def read() -> Iterator[Image.Image | Broken]:
        for file, picture in zip(pictures.names, pictures.read(), strict=True):
            if isinstance(picture, Broken):
                yield picture
                continue
            if picture.size != _CELEBA_SIZE:
                width, height = picture.size
                raise DataError(
                    f"{file} in {place} is {width}×{height}, and every aligned face of CelebA is 178×218: "
                    f"to pack other pictures, name {place} itself"
                )
            yield picture.crop(_CELEBA_BOX)

    return Origin(
        "CelebA, aligned, all images",
        len(pictures),
        read,
        crop=_CELEBA_CROP,
        left_out=pictures.left_out,
        names=pictures.names,
    )


_PUBLISHED: dict[str, Callable[[Path], Origin]] = {"cifar10": _cifar10, "mnist": _mnist, "celeba": _celeba}
