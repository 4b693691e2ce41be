"""A generator: seeds in, with labels where the model takes them, uint8 images out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, tee
from operator import length_hint

import numpy as np

from animegen import latents
from animegen.errors import UsageError
from animegen.images.stills import Images
from animegen.labels import Asked, Labels, Wanted, ask, ask_each, blended_loop, draw_labels, sheet_cells
from animegen.latents import Latents, Mode
from animegen.model.loaded import LoadedModel
from animegen.points import Moves, Toward, check_moves, check_toward
from animegen.seeds import Seeds, check_seed, whole_number


class Generator(LoadedModel):
    """A session and the card of the model in it. Safe to share between threads: it keeps no state of its own.

    Images are uint8 [N, H, W, C] arrays, channels last, as Pillow and most viewers want them. Whole numbers may be
    Python's, numpy's or those of another library.

    A copied or pickled one loads its model again where it arrives, with the options that it was loaded with.

    Attributes:
        card: what the model file says of itself.
        signature: how its graph is used.

    Example:
        >>> from animegen import Generator
        >>> with Generator.load() as generator:
        ...     images = generator.sample(4, seed=7)
        >>> images.shape
        (4, 64, 64, 3)
    """

    def latents(self, seeds: Iterable[int], *, truncation: float = 1.0) -> Latents:
        """The latents of seeds, which this model takes: float32 [len(seeds), z_dim]. `truncation` is as in `sample`.

        Raises:
            UsageError: a seed outside of 0 … 2³²−1, or a truncation outside of 0 … 1.
        """
        return latents.truncate(latents.from_seeds(seeds, self.card.z_dim), truncation)

    def label_vectors(self, seeds: Sequence[int], labels: Wanted | Sequence[Wanted | None] | None = None) -> Labels:
        """The labels of seeds, as this model takes them: float32 [len(seeds), L]; L is 0 for a model without.

        A seed draws a class for each group, by the law of `labels.draw_classes`; what is asked for, of all or of each
        its own, takes its place, and the other groups stay as they are.

        Raises:
            UsageError: a seed outside of 0 … 2³²−1, labels that the model doesn't have, or another number of them than
                of seeds.
        """
        return ask_each(seeds, self.card.z_dim, self.labels, labels, model=self.card.name)

    def sample(
        self,
        n: int = 1,
        *,
        seed: int = 0,
        seeds: Iterable[int] | None = None,
        labels: Wanted | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Images:
        """The images of `seeds`, or of the `n` seeds from `seed` on: uint8 [N, H, W, C].

        A seed, with the labels asked for, names the same image in any batch and at any place. `truncation` is ψ of
        `latents.truncate`.

        `labels` name a class of some groups, as in `{"hair": "blue"}`, a mix of several, as in
        `{"eyes": {"green": 0.7, "blue": 0.3}}`, or "unknown"; the seed draws those of the other groups.

        Raises:
            UsageError: `n` or `batch_size` below 1, a seed outside of 0 … 2³²−1, a truncation outside of 0 … 1, or
                labels that the model doesn't have.
            DataError: the images, or a batch of them, don't fit into the memory that is left.
        """
        wanted = Seeds.starting(seed, n) if seeds is None else list(map(check_seed, seeds))
        batches = self.stream(wanted, labels=labels, truncation=truncation, batch_size=batch_size)
        return self._together(batches, len(wanted))

    def stream(
        self,
        seeds: Iterable[int],
        *,
        labels: Wanted | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Iterator[Images]:
        """The images of `seeds`, lazily, in batches uint8 [≤ batch_size, H, W, C]; memory stays constant.

        Raises:
            UsageError, DataError: as `sample`.
        """
        batch_size = self._batch_size(batch_size, length_hint(seeds))
        latents.check_truncation(truncation)  # now, not in the loop
        return self._stream(iter(seeds), self._ask(labels), truncation, batch_size)

    def _stream(self, seeds: Iterator[int], asked: Asked, truncation: float, batch_size: int) -> Iterator[Images]:
        def images_of(batch: list[int]) -> Images:
            labels = asked.over(draw_labels(batch, self.card.z_dim, self.labels))
            return self._run(self.latents(batch, truncation=truncation), labels)

        batches = iter(lambda: list(islice(seeds, batch_size)), [])
        return self._open().lanes.map(images_of, batches)

    def pairs(
        self,
        seeds: Iterable[int],
        *,
        labels: Wanted | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Iterator[tuple[int, Images]]:
        """Each seed with its image uint8 [H, W, C], lazily, as sinks take them.

        Raises:
            UsageError, DataError: as `sample`.
        """
        batch_size = self._batch_size(batch_size, length_hint(seeds))
        names, wanted = tee(map(check_seed, seeds))
        batches = self.stream(wanted, labels=labels, truncation=truncation, batch_size=batch_size)
        return zip(names, chain.from_iterable(batches), strict=True)

    def interpolate(
        self,
        *seeds: int,
        steps: int = 8,
        mode: Mode = "slerp",
        labels: Wanted | Sequence[Wanted | None] | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Images:
        """The images from that of one seed to that of the next, `steps` for each two, ends included.

        Two seeds give uint8 [steps, H, W, C], and each further one steps − 1 more. `labels` are as in `sample`, for
        all seeds or for each its own, and are blended in a straight line:
        `interpolate(3, 3, labels=[{"hair": "blonde"}, {"hair": "blue"}])` keeps the face and changes its hair.

        Raises:
            UsageError: fewer than 2 seeds or steps, an unknown mode, another number of labels than of seeds, or as
                `sample`.
            DataError: as `sample`.
        """
        stops, labels_of_stops = self.latents(seeds, truncation=truncation), self.label_vectors(seeds, labels)
        self._check_memory((len(stops) - 1) * (whole_number("steps", steps) - 1) + 1, images=True)
        path = latents.through(stops, steps, mode), latents.through(labels_of_stops, steps, "lerp")
        return self(*path, batch_size=batch_size)

    def walk(
        self,
        seeds: Iterable[int],
        *,
        frames: int = 144,
        labels: Wanted | Sequence[Wanted | None] | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Iterator[Images]:
        """The `frames` of an endless animation that passes the images of `seeds`, lazily: each uint8 [H, W, C].

        The frame after the last is the first one; `latents.loop` is the path. `labels` are as in `interpolate`.

        Raises:
            UsageError: fewer than 2 seeds, fewer frames than seeds, or as `interpolate`.
            DataError: the latents of so many frames don't fit into the memory that is left.
        """
        frames, stops = whole_number("frames", frames), list(seeds)
        self._check_memory(frames, images=False)
        path = latents.loop(self.latents(stops, truncation=truncation), frames)
        return self.frames(path, blended_loop(self.label_vectors(stops, labels), frames), batch_size=batch_size)

    def edit(
        self,
        seed: int,
        direction: int | None,
        amounts: Sequence[float],
        *,
        labels: Wanted | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Images:
        """The image of `seed` moved along one of the card's directions: uint8 [len(amounts), H, W, C].

        With None it is moved along each of them, and the rows follow each other. An amount is a length in latent space,
        where a latent value has a standard deviation of 1; 0 is the seed's own image, and −3 to 3 keeps images within
        what the generator knows. Shen & Zhou 2021, equation 1.

        Raises:
            UsageError: the model has no such direction, an amount that is not finite, or as `sample`.
        """
        count = len(self.card.directions)
        if not count:
            raise UsageError(f"{self.card.name} has no directions to edit along: name a model that has them")
        if direction is not None:
            direction = whole_number("direction", direction, 0, count - 1, why=f" for {self.card.name}")
        chosen = self.card.directions if direction is None else self.card.directions[direction : direction + 1]
        lengths, vectors = np.asarray(amounts, np.float32), np.array(chosen, np.float32)
        moves = np.concatenate([np.outer(lengths, vector) for vector in vectors])
        moved = self.latents([seed], truncation=truncation) + moves
        y = np.repeat(self.label_vectors([seed], labels), len(moved), axis=0)
        return self(moved, y, batch_size=batch_size)

    def point(
        self,
        seed: int,
        *,
        toward: Toward = (),
        moves: Moves | None = None,
        labels: Wanted | None = None,
        mode: Mode = "slerp",
        truncation: float = 1.0,
    ) -> tuple[Latents, Labels]:
        """Where `image` takes its image from: the latent float32 [z_dim] and the labels float32 [L].

        Raises:
            UsageError: as `image`.
        """
        steps = check_toward(toward)
        lengths = check_moves(moves or {}, len(self.card.directions), self.card.name)
        seeds = [seed, *(other for other, _ in steps)]
        z_of_each = self.latents(seeds, truncation=truncation)
        y_of_each = self.label_vectors(seeds, labels)
        z, y = z_of_each[0], y_of_each[0]
        for (_, share), other_z, other_y in zip(steps, z_of_each[1:], y_of_each[1:], strict=True):
            z, y = latents.toward(z, other_z, share, mode), latents.lerp(y, other_y, np.array([share]))[0]
        for direction, length in lengths:
            z = z + np.float32(length) * np.array(self.card.directions[direction], np.float32)
        return z, y

    def image(
        self,
        seed: int,
        *,
        toward: Toward = (),
        moves: Moves | None = None,
        labels: Wanted | None = None,
        mode: Mode = "slerp",
        truncation: float = 1.0,
    ) -> Images:
        """The image of `seed`, brought towards those of other seeds and then along directions: uint8 [H, W, C].

        `toward` are pairs of a seed and a share from 0 to 1, taken one after another: at 0 the image stays, at 1 it is
        that seed's; `mode` is as in `interpolate`. `moves` have a length for some of the card's directions, as in
        `edit`. `labels` are as in `sample`, and hold for all seeds; those that seeds draw are blended by the same
        shares.

        Raises:
            UsageError: more than 32 seeds, a share outside of 0 … 1, an unknown mode, a direction that the model
                doesn't have, a length outside of −1000 … 1000, or as `sample`.
        """
        z, y = self.point(seed, toward=toward, moves=moves, labels=labels, mode=mode, truncation=truncation)
        return np.asarray(self(z[None], y[None], batch_size=1)[0])

    def sheet(
        self,
        *seeds: int,
        rows: str,
        columns: str | None = None,
        labels: Wanted | None = None,
        truncation: float = 1.0,
        batch_size: int | None = None,
    ) -> Images:
        """One face in all classes of two groups of labels, `rows` and `columns`: uint8 [rows·columns, H, W, C].

        Without `columns` there is a column for each of `seeds`. `labels` are of other groups, as in `sample`;
        `table` lays the images out with captions.

        Raises:
            UsageError: a group that the model doesn't have, one that is named twice, no seed, several of them beside
                `columns`, or as `sample`.
        """
        cells = sheet_cells(seeds, rows, columns, self.labels, labels, model=self.card.name)
        seeds_of_cells = [seed for seed, _ in cells]
        y = self.label_vectors(seeds_of_cells, [wanted for _, wanted in cells])
        return self(self.latents(seeds_of_cells, truncation=truncation), y, batch_size=batch_size)

    def _ask(self, labels: Wanted | None) -> Asked:
        return ask(labels, self.labels, model=self.card.name)
