"""Where a command's result goes, by the name that `--out` gives it: a still, an animation, or many images."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from animegen.cli.console import STOPPED, print_json, progress_shown, say, stop_on_signals, write_stdout
from animegen.cli.origin import of_one, record
from animegen.errors import UsageError

if TYPE_CHECKING:
    from animegen.generator import Generator
    from animegen.images.sinks import Sink
    from animegen.images.stills import Images
    from animegen.labels import Label
    from animegen.seeds import Seeds

_STDOUT = "-"


@dataclass
class Output:
    """`--out`, `--format` and `--json` of one command, and the time since it began.

    Attributes:
        takes_folders: whether the command can store images one by one too, which advice then names.
        scale: how many times stills are enlarged.
        metadata: what the picture says of itself, once `describe` was told.
    """

    name: str
    form: str
    as_json: bool
    takes_folders: bool = False
    scale: int = 1
    metadata: dict[str, Any] | None = field(default=None, init=False)
    _began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        if self.name == _STDOUT and self.as_json:
            raise UsageError("--json and --out - both want stdout: name a file with --out")
        asked = click.get_current_context().get_parameter_source("form") is ParameterSource.COMMANDLINE
        if asked and not self._takes_form():
            raise UsageError(f"--format is {self.form} and {self.name} says what it is by its name: leave --format out")

    def _takes_form(self) -> bool:
        suffix = self.path.suffix.lower().replace(".jpeg", ".jpg")
        return suffix in {"", ".zip", f".{self.form}"} or self.name.endswith(("/", os.sep))

    @property
    def path(self) -> Path:
        """The file or folder; for stdout the name that a file of the form would have."""
        return Path(f"stdout.{self.form}" if self.name == _STDOUT else self.name)

    @property
    def takes_many(self) -> bool:
        """Whether this is a folder, a .zip or an .npz, which hold images one by one."""
        from animegen.images.formats import ONE_BY_ONE, STILLS

        suffix = self.path.suffix.lower()
        is_folder = self.name.endswith(("/", os.sep)) or (self.path.is_dir() and suffix not in STILLS)
        return self.name != _STDOUT and (is_folder or suffix in ONE_BY_ONE)

    @property
    def moves(self) -> bool:
        """Whether this is an animation's name, for a command that makes stills too."""
        from animegen.images.formats import ANIMATIONS

        return self.path.suffix.lower() in ANIMATIONS

    def check_still(self) -> None:
        """Refuse, before any work, a picture that can't be written."""
        from animegen.images.formats import still_format

        try:
            still_format(self.path)
        except UsageError as error:
            hint = f"; for a folder write {self.name}/" if self.takes_folders and not self.path.suffix else ""
            raise UsageError(f"{error}{hint}") from error
        self._check_file()

    def check_grid(self, generator: Generator, n: int, columns: int | None, *, labels: bool = False) -> None:
        """Refuse, before any image is made, a grid of `n` of them that the picture's format can't hold."""
        from animegen.images.stills import check_grid

        try:
            check_grid(n, columns, _shape(generator), self.path.suffix[1:], labels=labels, scale=self.scale)
        except UsageError as error:
            hint = ", or for a folder/, a .zip or an .npz, which take any number" if self.takes_folders else ""
            raise UsageError(f"{error}{hint}") from error

    def check_table(self, generator: Generator, rows: Sequence[str], columns: Sequence[str]) -> None:
        """Refuse, before any image is made, a table that the picture's format can't hold."""
        from animegen.images.stills import check_table

        check_table(rows, columns, _shape(generator), self.path.suffix[1:], scale=self.scale)

    def check_motion(self, fps: float, scale: int) -> None:
        """Refuse, before any work, an animation that can't be written."""
        from animegen.images.animation import check_animation

        check_animation(self.path, fps=fps, scale=scale)
        self._check_file()

    def check_frames(self, generator: Generator, frames: int, fps: float, scale: int, *, ways: int = 1) -> None:
        """Refuse, before any image is made, frames of so many images side by side that the format can't hold."""
        from animegen.images.animation import check_animation
        from animegen.images.stills import grid_shape

        shape = grid_shape(ways, None, _shape(generator))
        check_animation(self.path, fps=fps, scale=scale, frames=frames, shape=shape)

    def describe(self, generator: Generator, **options: Any) -> None:
        """Let the picture say that the running command made it, with these options whether they were given or not."""
        self.metadata = record(generator, **options)

    def still(self, sheet: Images, facts: dict[str, Any]) -> None:
        """Write one picture."""
        from animegen.images.stills import encode, enlarge, save_image

        sheet = enlarge(sheet, self.scale)
        if self.name == _STDOUT:
            write_stdout(encode(sheet, self.form, metadata=self.metadata))
            return
        save_image(sheet, self.path, metadata=self.metadata)
        self._report({"width": sheet.shape[1], "height": sheet.shape[0], **facts})

    def motion(self, frames: Iterator[Images], total: int, fps: float, scale: int, facts: dict[str, Any]) -> None:
        """Write an animation of frames that come lazily."""
        from animegen.images.animation import encode_animation, save_animation
        from animegen.images.formats import animation_format

        with progress_shown():
            if self.name == _STDOUT:
                write_stdout(encode_animation(frames, self.form, fps=fps, scale=scale, metadata=self.metadata))
                return
            save_animation(frames, self.path, fps=fps, scale=scale, metadata=self.metadata)
        played = animation_format(self.path).played_fps(fps, total)
        self._report({"frames": total, "fps": round(played, 4), **facts})

    def metadata_of(self, seed: int | None) -> dict[str, Any]:
        """What the picture of one seed says of itself, or with None the file of them all."""
        made = self.metadata or {}
        return made if seed is None else of_one(made, seed)

    def many(
        self,
        sink: Sink,
        generator: Generator,
        seeds: Seeds,
        labels: Mapping[str, Label],
        truncation: float,
        batch_size: int | None,
        facts: dict[str, Any],
    ) -> int:
        """Make every missing image, with a bar; the first Ctrl-C finishes what is there. Returns the exit status."""
        from animegen.images.stills import enlarge
        from animegen.progress import track

        made = 0
        with stop_on_signals() as stop, progress_shown(), sink:
            advance = track(self.path.name, len(seeds))
            wanted = sink.missing(seeds)
            pairs = generator.pairs(wanted, labels=labels, truncation=truncation, batch_size=batch_size)
            began = time.perf_counter()
            enlarged = ((seed, enlarge(image, self.scale)) for seed, image in pairs)
            with closing(sink.write(enlarged)) as written:
                for made, _ in enumerate(written, 1):
                    advance(note=f"{made / (time.perf_counter() - began):,.0f} images/s")
                    if stop.requested:
                        break
        stopped = stop.requested and made < len(seeds)
        self._report({**facts, "images": made, "asked": len(seeds), "stopped": stopped})
        if stopped:
            goes_on = self.path.suffix.lower() != ".npz"
            instead = " in place of --force" if click.get_current_context().params.get("force") else ""
            rest = f"; the same command with --skip-existing{instead} makes the rest" if goes_on else ""
            say(f"stopped after {made} of {len(seeds)} images, which are whole{rest}")
        return STOPPED if stopped else 0

    def _check_file(self) -> None:
        from animegen.files import check_file

        if self.name != _STDOUT:
            check_file(self.path)

    def _report(self, facts: dict[str, Any]) -> None:
        seconds = time.perf_counter() - self._began
        if self.as_json:
            print_json({"out": self.name, **facts, "seconds": round(seconds, 3)})
        else:
            frames = f"{facts['frames']} frames, {facts['fps']:g} a second," if "frames" in facts else ""
            say(f"{self.name}: {frames or str(facts['images']) + ' images'} in {seconds:.2f} s")


def _shape(generator: Generator) -> tuple[int, int, int]:
    """Of one image as an array."""
    channels, height, width = generator.card.image_shape
    return height, width, channels
