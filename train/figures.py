"""Pictures of runs: curves of their metrics side by side, and the fixed latents' images as they grew."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from animegen import images as pictures
from animegen import motion
from animegen.errors import DataError, UsageError
from animegen.files import check_parent, replacing
from animegen.images import Images
from train.log import METRICS
from train.loop import SAMPLES

# What a metrics row holds, and what a reader wants to know of it.
CURVES = {
    "critic_loss": "critic loss",
    "generator_loss": "generator loss",
    "wasserstein": "Wasserstein estimate E[D(x)] − E[D(x̃)]",
    "gradient_norm": "mean ‖∇D(x̂)‖",
}
_SMOOTH = 20  # rows of the running mean; the rows themselves stand behind it, faint
_SHEET_COLUMNS, _SHEET_ROWS = 8, 8  # of a contact sheet: latents across, steps down


@dataclass(frozen=True)
class Run:
    """The metrics of one run, as columns."""

    name: str
    columns: dict[str, NDArray[np.float64]]

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read `metrics.jsonl`.

        Raises:
            DataError: no metrics.
        """
        try:
            lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
        except OSError as error:
            raise DataError(f"{folder} holds no {METRICS}: name a run that python -m train fit has written") from error
        rows = [json.loads(line) for line in lines if line.endswith("}")]
        if not rows:
            raise DataError(f"{folder / METRICS} has no rows yet: train for some more steps")
        return cls(folder.resolve().name, {key: np.array([row[key] for row in rows], float) for key in rows[0]})


def plot_curves(folders: Sequence[Path], out: Path) -> None:
    """Draw the curves of several runs in one picture, over the real images that the critic had seen.

    Raises:
        DataError: a run without metrics.
        UsageError: an extension other than .png, .pdf or .svg.
        OutputError: the path can't be written.
    """
    form = out.suffix.lower().removeprefix(".")
    if form not in {"png", "pdf", "svg"}:
        raise UsageError(f"{out} has the extension {out.suffix!r}: curves are drawn as .png, .pdf or .svg")
    check_parent(out)
    runs = [Run.read(folder) for folder in folders]

    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7), layout="constrained")
    for axes, (key, title) in zip(figure.subplots(2, 2).flat, CURVES.items(), strict=True):
        for k, run in enumerate(runs):
            seen, values = run.columns["images_seen"], run.columns[key]
            axes.plot(seen, values, color=f"C{k}", alpha=0.2, linewidth=0.8)
            axes.plot(seen, running_mean(values), color=f"C{k}", label=run.name)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("real images seen")
        # The first steps tower over all that follows; the curve worth reading is the rest.
        later = np.concatenate([run.columns[key][len(run.columns[key]) // 20 :] for run in runs])
        margin = 0.05 * (np.ptp(later) or 1)
        axes.set_ylim(later.min() - margin, later.max() + margin)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=form, dpi=110)
    with replacing(out) as temporary:
        temporary.write_bytes(buffer.getvalue())


def running_mean(values: NDArray[np.float64], reach: int = _SMOOTH // 2) -> NDArray[np.float64]:
    """The mean of each value and up to `reach` on either side of it, so that the curve doesn't lag behind."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    ends = np.minimum(places + reach + 1, len(values))
    starts = np.maximum(places - reach, 0)
    means: NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
    return means


def draw_growth(folder: Path, out: Path, *, size: int, fps: float = 8) -> None:
    """Show how the fixed latents' images grew: an animation (.gif, .webp, .mp4) or a contact sheet (.png, .jpg).

    The animation shows every sample grid of the run; the sheet 8 latents across and 8 of the steps down.
    `size` is the side of one image.

    Raises:
        DataError: a run without sample grids.
        UsageError: an unknown extension.
        OutputError: the path can't be written.
    """
    grids = sorted((folder / SAMPLES).glob("step*.png"))
    if not grids:
        raise DataError(f"{folder} holds no sample grids: name a run that python -m train fit has written")
    if out.suffix.lower() in motion.SUFFIXES:
        motion.save(_opened(grids), out, fps=fps)
        return
    chosen = [grids[k] for k in np.unique(np.linspace(0, len(grids) - 1, _SHEET_ROWS).astype(int))]
    rows = [cells(sheet, size)[:_SHEET_COLUMNS] for sheet in _opened(chosen)]
    pictures.save(pictures.grid(np.concatenate(rows), columns=_SHEET_COLUMNS), out)


def cells(sheet: Images, size: int) -> Images:
    """The images of a grid that `animegen.images.grid` laid out, row by row: uint8 [N, size, size, C]."""
    step = size + pictures.GAP
    tops, lefts = range(0, sheet.shape[0], step), range(0, sheet.shape[1], step)
    return np.stack([sheet[top : top + size, left : left + size] for top in tops for left in lefts])


def _opened(paths: Sequence[Path]) -> Iterator[Images]:
    for path in paths:
        with Image.open(path) as picture:
            yield np.asarray(picture.convert("RGB"))
