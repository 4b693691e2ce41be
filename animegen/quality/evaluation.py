"""All metrics of a generator at once, as a report for people and for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from animegen.generator import Generator
from animegen.images.sets import ImageSet, picked
from animegen.images.stills import Images, flatten, grid, to_pillow
from animegen.model import catalog
from animegen.quality.agreement import Agreement, Within, agreements, untold, within
from animegen.quality.distances import Estimate, frechet_infinity, kernel_distance
from animegen.quality.extractors import Extractor, Features
from animegen.quality.fid import Score
from animegen.quality.measure import SAMPLE, N, as_set, check_size, images_of, loaded, measure_set
from animegen.quality.neighbours import NEIGHBOURS, Manifold, manifold, nearest
from animegen.quality.opening import open_extractor, open_reference
from animegen.quality.reference import Reference, StatedProtocol
from animegen.quality.smoothness import Smoothness, smoothness
from animegen.runtime import Device
from animegen.runtime.machine import check_memory
from animegen.seeds import Seeds, check_seed, whole_number

PATHS, STEPS = 64, 16  # interpolations that smoothness is a mean over, and their steps
_QUERIES = 2048  # generated images whose nearest training image is looked for
_PAIRS = 64  # of them on the sheet
_ACROSS = 16  # images in a row of the sheet
_STREAM = 51


@dataclass(frozen=True)
class Likeness:
    """How near generated images come to training images, in features.

    Attributes:
        median, closest: of the distances of generated images to their nearest training image.
        between_real: the median distance of a training image to its nearest other one.
        share_closer: generated images nearer to a training image than 99 % of training images are to any other; 1 %
            is what new drawings of the same kind would have.
        queries: generated images looked at, and as many training images.
        pool: training images that were searched.
        data_sha256: of those.
    """

    median: float
    closest: float
    between_real: float
    share_closer: float
    queries: int
    pool: int
    data_sha256: str


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Every metric, with what each was measured on.

    Attributes:
        model: the generator's name.
        score: the Fréchet distance and the protocol of both sides.
        infinity: that distance extrapolated to endlessly many images, from `features` of them.
        kernel: KID and its spread over subsets; None of a reference that holds no images' features.
        manifold: precision, recall, density and coverage, of `compared` features on each side; None likewise.
        smoothness: along interpolations.
        likeness: to the training images; None without them.
        neighbours: a sheet uint8 [H, W, C] of the pairs that are closest: each generated image, with its seed under it,
            stands left of its nearest training image, with their distance in features; None without training images.
        agreements: how often the extractor's tags are the labels asked for, of a generator that takes labels.
        within: the Fréchet distance within each group of labels, where the training images have them too.
        untold: why groups of labels have no agreement, or no such distance.
        features: how many generated images' features the metrics beside the score are of.
        compared: features on each side of `manifold`.
    """

    model: str
    score: Score
    infinity: float
    kernel: Estimate | None
    manifold: Manifold | None
    smoothness: Smoothness
    likeness: Likeness | None
    neighbours: Images | None = field(repr=False, compare=False)
    agreements: tuple[Agreement, ...] = ()
    within: tuple[Within, ...] = ()
    untold: tuple[str, ...] = ()
    features: int
    compared: int

    def to_json(self) -> dict[str, Any]:
        """Everything but the sheet as plain values."""
        values = asdict(replace(self, neighbours=None))
        del values["neighbours"]
        return {**values, "score": self.score.to_json()}

    def figures(self) -> dict[str, Any]:
        """What a model's card keeps: the figures, to four digits, and the protocol that they hold under."""
        m, near = self.manifold, self.likeness
        values = {"fid": self.score.value, "fid_infinity": self.infinity}
        if self.kernel is not None:
            values["kid"] = self.kernel.value
        if m is not None:
            values |= {"precision": m.precision, "recall": m.recall, "density": m.density, "coverage": m.coverage}
        if near is not None:
            values |= {
                "nearest_training_image": near.median,
                "nearest_between_training_images": near.between_real,
                "share_nearer_than_training_images": near.share_closer,
            }
        for label in self.agreements:
            values[f"agreement_{label.group}"] = label.generated
            if label.real is not None:
                values[f"agreement_{label.group}_of_real_images"] = label.real
        values |= {f"fid_within_{group.group}": group.fid for group in self.within}
        measured, reference = self.score.measured, self.score.reference
        return {
            **{name: float(f"{value:.4g}") for name, value in values.items()},
            "images": self.score.count,
            "preparation": measured.preparation,
            "extractor": measured.extractor,
            "extractor_sha256": measured.extractor_sha256,
            "reference": reference.source,
            "reference_images": self.score.reference_count,
            "reference_sha256": reference.data_sha256,
            **({"reference_protocol": "stated, not measured"} if self.score.stated else {}),
        }

    def to_markdown(self) -> str:
        """A page for people."""
        m, s = self.manifold, self.smoothness
        rows = [
            ("FID", f"{self.score.value:.4g}", f"{self.score.count:,} images"),
            ("FID∞", f"{self.infinity:.4g}", f"extrapolated from {self.features:,} images"),
        ]
        if self.kernel is not None:
            kernel = f"{1000 * self.kernel.value:.4g} ± {1000 * self.kernel.spread:.2g}"
            rows += [("KID × 1000", kernel, "over subsets")]
        if m is not None:
            rows += [
                ("precision", f"{m.precision:.3f}", f"k = {m.k}, {self.compared:,} images a side"),
                ("recall", f"{m.recall:.3f}", "likewise"),
                ("density", f"{m.density:.3f}", "likewise"),
                ("coverage", f"{m.coverage:.3f}", "likewise"),
            ]
        rows += [
            ("path length", f"{s.length:.4g}", f"{s.paths} slerps of {s.steps} steps, in features"),
            ("detour", f"{s.detour:.3f}", "path length over its ends' distance"),
            ("jump", f"{s.jump:.3f}", "largest step over the mean step"),
        ]
        if self.likeness is not None:
            near = self.likeness
            rows += [
                (
                    "nearest training image, median",
                    f"{near.median:.4g}",
                    f"{near.queries:,} images among {near.pool:,}",
                ),
                ("the same between training images", f"{near.between_real:.4g}", "each to the nearest other"),
                ("closer than training images are", f"{near.share_closer:.1%}", "1 % is chance: see the sheet"),
            ]
        for label in self.agreements:
            rows.append((f"{label.group} as asked for", f"{label.generated:.3f}", f"{label.images:,} images, by tags"))
            if label.real is not None:
                named = f", {label.filled:,} of all named by an extractor" if label.filled else ""
                rows.append(("real images' own", f"{label.real:.3f}", f"{label.real_images:,} images{named}"))
        rows += [
            (
                f"FID within {group.group}",
                f"{group.fid:.4g}",
                f"mean of {len(group.classes)} classes, {group.images:,} images or more",
            )
            for group in self.within
        ]
        lines = [f"# Quality of {self.model}", "", "| metric | value | of |", "|---|---|---|"]
        lines += [f"| {name} | {value} | {of} |" for name, value, of in rows]
        lines += ["", "## Protocol", "", "| fact | value |", "|---|---|"]
        lines += [f"| {name} | {text} |" for name, text in self.score.rows()[1:]]
        lines += ["", *(f"- {warning}" for warning in (*self.score.warnings, *self.untold))]
        return "\n".join(lines).rstrip() + "\n"


def evaluate(
    model: Generator | str | Path = catalog.DEFAULT,
    reference: str | Path | Reference | None = None,
    *,
    extractor: Extractor | str | Path | None = None,
    protocol: StatedProtocol | None = None,
    data: ImageSet | Images | str | Path | None = None,
    n: int = N,
    seed: int = 0,
    size: int | None = None,
    truncation: float = 1.0,
    batch_size: int | None = None,
    device: Device = "auto",
    threads: int | None = None,
) -> Evaluation:
    """Measure everything at once.

    Args:
        model: a generator, or a model's name, path or address.
        reference: as with `fid`.
        extractor: likewise.
        protocol: likewise; such a reference has no features of single images, so no KID, precision or recall.
        data: the training images, as a set, an array or what `open_images` takes: for the likeness and its sheet.
        n: images of the generator, at least 20.
        seed: the first of its seeds.
        size: of pictures in `reference` and `data`, the side that they are cropped and resized to.
        truncation: as with `Generator.sample`.
        batch_size: images in one call of a network.
        device: of networks that are loaded by name, as with `Generator.load`.
        threads: likewise.

    Raises:
        UsageError: a seed out of range, a size where there are no pictures, an extractor that must be named, or a
            protocol as with `fid`.
        DataError: what can't be compared or measured, too few images, or too little memory.
        ModelError, DeviceError, MissingPackageError: as with `Generator.load`.
    """
    n, seed = whole_number("n", n), check_seed(seed)
    seeds = Seeds.starting(seed, n)
    Seeds.starting(seed, 2 * PATHS)  # of the interpolations, which are made last
    training = as_set(data, size=size) if data is not None else None
    with loaded(model, device=device, threads=threads) as generator:
        opened = open_reference(reference, generator, extractor, protocol=protocol, size=size)
        check_size(size, opened, training)
        extractor = open_extractor(extractor, generator, opened, device=device, threads=threads)
        check_memory(_bytes(extractor.dimensions, n, training.count if training else 0), f"{n:,} images")
        against = opened if isinstance(opened, Reference) else measure_set(opened, extractor)
        images = images_of(generator, seeds, truncation=truncation, batch_size=batch_size)
        measured = measure_set(images, extractor, against=against, batch_size=batch_size)
        real, generated = _as_many(against.sample, measured.sample)
        likeness, sheet = None, None
        in_classes: tuple[Within, ...] = ()
        if training is not None:
            pool = measure_set(training, extractor, against=against, sample=training.count, batch_size=batch_size)
            asked = measured.rows[np.random.default_rng([_STREAM, 0]).permutation(len(measured.rows))[:_QUERIES]]
            queries = measured.sample[np.searchsorted(measured.rows, asked)]
            in_classes = within(generator, [seeds[k] for k in measured.rows], measured.sample, training, pool.sample)
            likeness, rows, distances = _likeness(queries, pool)
            closest = np.argsort(distances)[:_PAIRS]
            numbers = [seeds[int(k)] for k in asked[closest]]
            left = generator.sample(seeds=numbers, truncation=truncation, batch_size=batch_size)
            sheet = _sheet(left, picked(training, rows[closest]), numbers, distances[closest])
        enough = len(real) > NEIGHBOURS  # the reference may have kept fewer features, or none
        agreed = agreements(generator, extractor, seeds, training, truncation=truncation, batch_size=batch_size)
        return Evaluation(
            model=generator.card.name,
            score=Score.of(against, [measured], extractor.device),
            infinity=frechet_infinity(against.statistics, measured.sample),
            kernel=kernel_distance(against.sample, measured.sample) if enough else None,
            manifold=manifold(real, generated) if enough else None,
            smoothness=smoothness(_paths(generator, extractor, seed, truncation, batch_size)),
            likeness=likeness,
            neighbours=sheet,
            within=in_classes,
            agreements=agreed,
            untold=tuple(untold(generator, extractor, training, agreed, in_classes)),
            features=len(measured.sample),
            compared=len(real),
        )


def _as_many(real: NDArray[Any], generated: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """As many features on each side, the larger one thinned at random: balls shrink with the number of points."""
    count = min(len(real), len(generated))
    rng = np.random.default_rng([_STREAM, 1])
    thinned = [side[np.sort(rng.permutation(len(side))[:count])] for side in (real, generated)]
    return thinned[0], thinned[1]


def _likeness(queries: Features, pool: Reference) -> tuple[Likeness, NDArray[np.int64], NDArray[np.float64]]:
    rows, distances = nearest(queries, pool.sample)
    # As many training images, looked for among the others.
    asking = np.zeros(len(pool.sample), bool)
    asking[np.random.default_rng([_STREAM, 2]).permutation(len(asking))[: min(len(queries), len(asking) // 2)]] = True
    _, between = nearest(pool.sample[asking], pool.sample[~asking])
    likeness = Likeness(
        median=float(np.median(distances)),
        closest=float(distances.min()),
        between_real=float(np.median(between)),
        share_closer=float((distances < np.quantile(between, 0.01)).mean()),
        queries=len(queries),
        pool=len(pool.sample),
        data_sha256=pool.protocol.data_sha256,
    )
    return likeness, rows, distances


def _sheet(generated: Images, real: Images, seeds: list[int], distances: NDArray[np.float64]) -> Images:
    sides = [np.stack([_as_rgb(image) for image in images]) for images in (generated, real)]
    pairs = np.stack(sides, axis=1).reshape(-1, *sides[0].shape[1:])
    labels = [text for seed, distance in zip(seeds, distances, strict=True) for text in (f"{seed}", f"{distance:.3g}")]
    return grid(pairs, _ACROSS, labels)


def _as_rgb(image: Images) -> Images:
    """An image beside others: uint8 [H, W, 3], as pictures are read as RGB and a generator may give greys."""
    return np.asarray(flatten(to_pillow(image)).convert("RGB"))


def _paths(
    generator: Generator, extractor: Extractor, seed: int, truncation: float, batch_size: int | None
) -> Features:
    """Features [PATHS, STEPS + 1, D] along slerps from one seed to another."""
    seeds = range(seed, seed + 2 * PATHS)
    paths = [
        extractor(
            generator.interpolate(a, b, steps=STEPS + 1, truncation=truncation, batch_size=batch_size),
            batch_size=batch_size,
        )
        for a, b in zip(seeds[::2], seeds[1::2], strict=True)
    ]
    return np.stack(paths)


def _bytes(dimensions: int, n: int, pool: int) -> int:
    """The most memory that the arrays take, each stage with its copies in float64."""
    sample, square = min(n, SAMPLE), dimensions * dimensions * 8
    block = 1024 * max(SAMPLE, pool) * 8
    return 12 * dimensions * (pool + sample + SAMPLE) + 8 * square + 4 * block
