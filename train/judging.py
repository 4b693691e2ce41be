"""Pictures to be judged, and what was said of them: a table of seeds and verdicts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animegen import Generator
from animegen.errors import DataError
from animegen.files import replacing_folder
from animegen.images import Images, grid, labelled, save, to_pillow
from animegen.seeds import LARGEST, Seeds

TABLE = "verdicts.tsv"
_HEADER = "seed\tverdict"
_WORDS = {"yes": True, "no": False}
_ACROSS, _DOWN = 6, 4  # pictures on a sheet: more are looked at less
_LARGER = 3  # times as large as they are


@dataclass(frozen=True)
class Verdicts:
    """What was said of some images of one generator.

    Attributes:
        seeds: int64 [N], of the images that were judged.
        good: bool [N], whether each is well-formed.
    """

    seeds: NDArray[np.int64]
    good: NDArray[np.bool_]


def read_verdicts(path: Path) -> Verdicts:
    """The table `seed<TAB>yes` or `seed<TAB>no`, a line an image, below its header; one without a verdict is left out.

    Raises:
        DataError: no such file, a line of another form, or a seed that is there twice.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can't be read ({error}): name a table of seeds and verdicts") from error
    if not lines or lines[0] != _HEADER:
        raise DataError(f"{path} doesn't begin with the line seed<TAB>verdict: take the table that sheets wrote")
    found: dict[int, bool] = {}
    for number, line in enumerate(lines[1:], 2):
        seed, tab, verdict = line.partition("\t")
        if not tab or not _is_seed(seed) or verdict not in {*_WORDS, ""}:
            raise DataError(f"{path} has {line[:40]!r} in line {number}: each is a seed, a tab, and yes, no or nothing")
        if int(seed) in found:
            raise DataError(f"{path} has the seed {seed} a second time in line {number}: leave one verdict of an image")
        if verdict:
            found[int(seed)] = _WORDS[verdict]
    return Verdicts(np.array(list(found), np.int64), np.array(list(found.values()), np.bool_))


def write_sheets(
    model: Path, out: Path, *, first: int, count: int, each: Callable[[int, int], None] = lambda *_: None
) -> int:
    """Write the images of `count` seeds from `first` on into the new folder `out`; returns how many sheets they fill.

    On a sheet are 24 of them, three times as large as they are, with their seeds; beside the sheets lies the table to
    fill in. `each` is told how many are drawn, of how many.

    Raises:
        UsageError: a count below 1, or seeds that can't name images.
        ModelError: no model in the file.
        OutputError: `out` already holds something or can't be written; nothing is left behind.
    """
    seeds = list(Seeds.starting(first, count))
    with Generator.load(model, device="cpu") as generator, replacing_folder(out) as folder:
        for start in range(0, count, _ACROSS * _DOWN):
            own = seeds[start : start + _ACROSS * _DOWN]
            images = labelled(_enlarged(generator.sample(seeds=own)), [str(seed) for seed in own])
            save(grid(images, columns=_ACROSS), folder / f"{own[0]:010}.png")
            each(start + len(own), count)
        table = "".join(f"{seed}\t\n" for seed in seeds)
        (folder / TABLE).write_text(f"{_HEADER}\n{table}", encoding="utf-8")
    return -(-count // (_ACROSS * _DOWN))


def _is_seed(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len(str(LARGEST)) and int(text) <= LARGEST


def _enlarged(images: Images) -> Images:
    size = (images.shape[2] * _LARGER, images.shape[1] * _LARGER)
    larger = [np.asarray(to_pillow(image).resize(size, Image.Resampling.LANCZOS)) for image in images]
    return np.stack(larger).reshape(len(images), size[1], size[0], images.shape[3])
