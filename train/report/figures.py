"""Pictures of runs: curves of their metrics side by side, and the fixed latents' images as they grew."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter
from numpy.typing import NDArray
from PIL import Image

from animegen.errors import DataError, UsageError
from animegen.files import check_file, is_file, replacing
from animegen.images import animation, stills
from animegen.images.formats import ANIMATIONS, still_format
from animegen.images.sources import readable
from animegen.images.stills import Images
from train.run import checkpoint, samples
from train.run.log import METRICS, SCORES, read_rows
from train.run.monitor import protocol_of

# What a row of metrics holds, and what a reader wants to know of it; the second column is drawn with dashes.
CURVES: dict[str, tuple[str, ...]] = {
    "critic loss": ("critic_loss",),
    "generator loss": ("generator_loss",),
    "Wasserstein estimate E[D(x)] − E[D(x̃)]": ("wasserstein",),
    "mean σ(D) of real (line) and generated images (dashes)": ("real_probability", "fake_probability"),
    "mean ‖∇D(x̂)‖, where there is a penalty": ("gradient_norm",),
}
_STYLES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")  # of the keys of a panel
_SMOOTH = 20  # rows of the running mean; the rows themselves stand behind it, faint
_GROWTH_FPS = 8.0  # sample grids a second
_SHEET_COLUMNS, _SHEET_ROWS = 8, 8  # of a contact sheet: latents across, steps down


@dataclass(frozen=True)
class History:
    """The rows of one run."""

    name: str
    metrics: list[dict[str, Any]]
    scores: list[dict[str, Any]]  # FIDs, where they were measured

    @classmethod
    def read(cls, folder: Path) -> History:
        """Read `metrics.jsonl`, and `fid.jsonl` where there is one.

        Raises:
            DataError: no metrics.
        """
        if not is_file(folder / METRICS):
            raise DataError(f"{folder} holds no {METRICS}: name a run that python -m train fit has written")
        metrics = read_rows(folder / METRICS)
        if not metrics:
            raise DataError(f"{folder / METRICS} has no rows yet: train for some more steps")
        return cls(readable(folder.resolve().name), metrics, read_rows(folder / SCORES))


def plot_curves(folders: Sequence[Path], out: Path) -> None:
    """Draw the curves of several runs in one picture, over the real images that the critic had seen.

    Raises:
        DataError: a run without metrics.
        UsageError: an extension other than .png, .webp, .pdf or .svg.
        OutputError: the path can't be written.
    """
    form = check_form(out)
    runs = [History.read(folder) for folder in folders]

    figure = Figure(figsize=(15, 8), layout="constrained")
    *panels, last = figure.subplots(2, 3).flat
    for axes, (title, keys) in zip(panels, CURVES.items(), strict=True):
        _panel(axes, title, [(run.name, run.metrics) for run in runs], keys, smooth=True)
    _fids(last, runs)
    handles = [Line2D([], [], color=f"C{k}", label=run.name) for k, run in enumerate(runs)]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(runs)), fontsize=9)
    save_figure(figure, out, form)


def _fids(axes: Axes, runs: Sequence[History]) -> None:
    """A curve for each run and protocol, in a style for each protocol where there are several."""
    protocols = {protocol_of(row): row for run in runs for row in run.scores}
    keys = dict(zip(protocols, map(str, range(len(protocols))), strict=True))
    rows = [
        (run.name, [{"images_seen": row["images_seen"], keys[protocol_of(row)]: row["fid"]} for row in run.scores])
        for run in runs
    ]
    _panel(axes, "FID, where it was measured", rows, tuple(keys.values()), smooth=False)
    if len(keys) > 1:
        handles = [
            Line2D([], [], color="grey", linestyle=style, label=_protocol_in_words(row))
            for row, style in zip(protocols.values(), cycle(_STYLES), strict=False)
        ]
        axes.legend(handles=handles, fontsize=7)


def _protocol_in_words(row: dict[str, Any]) -> str:
    return (
        f"{row['extractor']} {row['extractor_sha256'][:8]}, {row['count']:,} images to {row['reference']} "
        f"{row['reference_sha256'][:8]}"
    )


def _panel(
    axes: Axes, title: str, runs: Sequence[tuple[str, list[dict[str, Any]]]], keys: tuple[str, ...], *, smooth: bool
) -> None:
    """Curves of `keys` for each run; one that has none of them has no curve, and the scale follows the others."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("real images seen")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 250k, 1.5M: whole numbers run into one another
    axes.grid(alpha=0.3)
    settled = []
    for k, (_name, rows) in enumerate(runs):
        for key, style in zip(keys, cycle(_STYLES), strict=False):
            points = np.array([(row["images_seen"], row[key]) for row in rows if key in row], float)
            if not len(points):
                continue
            seen, values = points.T
            if smooth:
                axes.plot(seen, values, style, color=f"C{k}", alpha=0.2, linewidth=0.8)
                values = running_mean(values)
            axes.plot(seen, values, style, color=f"C{k}", marker="" if smooth else "o", markersize=3)
            settled.append(values[len(values) // 20 if smooth else 0 :])
    if settled:
        # The first steps tower over all that follows; the curve worth reading is the rest.
        later = np.concatenate(settled)
        margin = 0.05 * (np.ptp(later) or 1)
        axes.set_ylim(later.min() - margin, later.max() + margin)
    else:
        axes.set(xticks=[], yticks=[], xlabel="")
        axes.text(0.5, 0.5, "none", transform=axes.transAxes, ha="center", color="grey")


def check_form(out: Path) -> str:
    """The form that the extension of `out` names.

    Raises:
        UsageError: an extension other than .png, .webp, .pdf or .svg.
        OutputError: its folder isn't there, or it is one.
    """
    form = out.suffix.lower().removeprefix(".")
    if form not in {"png", "webp", "pdf", "svg"}:
        raise UsageError(f"{out} has the extension {out.suffix!r}: figures are drawn as .png, .webp, .pdf or .svg")
    check_file(out)
    return form


def save_figure(figure: Figure, out: Path, form: str) -> None:
    """Draw a figure into a file; on an error nothing is left there."""
    buffer = io.BytesIO()
    options: dict[str, Any] = {"pil_kwargs": {"lossless": True}} if form == "webp" else {}
    figure.savefig(buffer, format=form, dpi=110, **options)
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


def check_growth(out: Path, curves: Path) -> None:
    """Refuse, before anything is drawn, a file of samples over time that can't be written.

    Raises:
        UsageError: an extension of no picture and no animation, or the file of the curves.
        OutputError: its folder isn't there, or it is one.
    """
    if out.suffix.lower() in ANIMATIONS:
        animation.check_animation(out, fps=_GROWTH_FPS)
    else:
        still_format(out)
    if out.absolute() == curves.absolute():
        raise UsageError(f"{out} is the file of the curves and must be another: name one with --growth")
    check_file(out)


def draw_growth(folder: Path, out: Path, *, fps: float = _GROWTH_FPS) -> None:
    """Show how the fixed latents' images grew: an animation (.gif, .webp, .mp4) or a contact sheet (.png, .jpg).

    The animation shows every sample grid of the run; the sheet 8 latents across and 8 of the steps down.

    Raises:
        CheckpointError: no checkpoint, which knows the images' size.
        DataError: a run without sample grids.
        UsageError: an unknown extension.
        OutputError: the path can't be written.
    """
    grids = samples.grids(folder)
    if not grids:
        raise DataError(f"{folder} holds no sample grids: name a run that python -m train fit has written")
    if out.suffix.lower() in ANIMATIONS:
        animation.save_animation(_opened(grids), out, fps=fps)
        return
    chosen = [grids[k] for k in np.unique(np.linspace(0, len(grids) - 1, _SHEET_ROWS).astype(int))]
    size = checkpoint.read_card(checkpoint.of(folder)).config.size
    rows = [cells(sheet, size)[:_SHEET_COLUMNS] for sheet in _opened(chosen)]
    stills.save_image(stills.grid(np.concatenate(rows), columns=_SHEET_COLUMNS), out)


def cells(sheet: Images, size: int) -> Images:
    """The images of a grid that `animegen.images.grid` laid out, row by row: uint8 [N, size, size, C]."""
    step = size + stills.GAP
    tops, lefts = range(0, sheet.shape[0], step), range(0, sheet.shape[1], step)
    return np.stack([sheet[top : top + size, left : left + size] for top in tops for left in lefts])


def _opened(paths: Sequence[Path]) -> Iterator[Images]:
    for path in paths:
        with Image.open(path) as picture:
            yield np.asarray(picture.convert("RGB"))
