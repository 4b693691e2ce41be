"""Where a command's result goes, by the name that `--out` gives it: a still, an animation, or many images."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from animegen.cli.console import print_json, progress_bar, say, stop_on_signals, write_stdout
from animegen.errors import UsageError

if TYPE_CHECKING:
    from animegen.generator import Generator
    from animegen.images.sinks import Sink
    from animegen.images.stills import Images
    from animegen.seeds import Seeds

STOPPED = 130  # the exit status that a shell expects of a command ended by Ctrl-C
_STDOUT = "-"


@dataclass
class Output:
    """`--out`, `--format` and `--json` of one command, and the time since it began."""

    name: str
    form: str
    as_json: bool
    _began: float = field(default_factory=time.perf_counter)

    def __post_init__(self) -> None:
        if self.name == _STDOUT and self.as_json:
            raise UsageError("--json and --out - both want stdout: name a file with --out")

    @property
    def path(self) -> Path:
        """The file or folder; for stdout the name that a file of the form would have."""
        return Path(f"stdout.{self.form}" if self.name == _STDOUT else self.name)

    @property
    def takes_many(self) -> bool:
        """Whether this is a folder, a .zip or an .npz, which hold images one by one."""
        from animegen.images.sinks import SUFFIXES
        from animegen.images.stills import FORMATS

        suffix = self.path.suffix.lower()
        is_folder = self.name.endswith(("/", os.sep)) or (self.path.is_dir() and suffix not in FORMATS)
        return self.name != _STDOUT and (is_folder or suffix in SUFFIXES)

    @property
    def moves(self) -> bool:
        """Whether this is an animation's name, for a command that makes stills too."""
        from animegen.images.animation import SUFFIXES

        return self.path.suffix.lower() in SUFFIXES

    def check_still(self) -> None:
        """Refuse, before any work, a picture that can't be written."""
        from animegen.files import check_parent
        from animegen.images.stills import format_of

        try:
            format_of(self.path)
        except UsageError as error:
            hint = "" if self.path.suffix else f"; for a folder write {self.name}/"
            raise UsageError(f"{error}{hint}") from error
        if self.name != _STDOUT:
            check_parent(self.path)

    def check_motion(self, fps: float) -> None:
        """Refuse, before any work, an animation that can't be written."""
        from animegen.files import check_parent
        from animegen.images.animation import check

        check(self.path, fps)
        if self.name != _STDOUT:
            check_parent(self.path)

    def still(self, sheet: Images, facts: dict[str, Any]) -> None:
        """Write one picture."""
        from animegen.images import stills as images

        if self.name == _STDOUT:
            write_stdout(images.encode(sheet, images.format_of(self.path)))
            return
        images.save(sheet, self.path)
        self._report({"width": sheet.shape[1], "height": sheet.shape[0], **facts})

    def motion(self, frames: Iterator[Images], total: int, fps: float, scale: int, facts: dict[str, Any]) -> None:
        """Write an animation of frames that come lazily."""
        from animegen.images import animation as motion

        with progress_bar() as bar:
            tracked = bar.track(frames, total=total, description=self.path.name)
            if self.name == _STDOUT:
                with tempfile.TemporaryDirectory() as folder:
                    made = Path(folder) / self.path
                    motion.save(tracked, made, fps=fps, scale=scale)
                    write_stdout(made.read_bytes())
                return
            motion.save(tracked, self.path, fps=fps, scale=scale)
        self._report({"frames": total, "fps": fps, **facts})

    def many(
        self,
        sink: Sink,
        generator: Generator,
        seeds: Seeds,
        truncation: float,
        batch_size: int | None,
        facts: dict[str, Any],
    ) -> int:
        """Make every missing image, with a bar; the first Ctrl-C finishes what is there. Returns the exit status."""
        made = 0
        with stop_on_signals() as stop, progress_bar("speed") as bar, sink:
            task = bar.add_task(self.path.name, total=len(seeds), speed="")
            wanted = sink.missing(seeds)
            pairs = generator.pairs(wanted, truncation=truncation, batch_size=batch_size)
            began = time.perf_counter()
            with closing(sink.write(pairs)) as written:  # type: ignore[type-var]
                for _ in written:
                    made += 1
                    speed = made / (time.perf_counter() - began)
                    bar.update(task, completed=made, speed=f"{speed:,.0f} images/s")
                    if stop.requested:
                        break
        stopped = stop.requested and made < len(seeds)
        self._report({**facts, "images": made, "asked": len(seeds), "stopped": stopped})
        if stopped:
            goes_on = self.path.suffix.lower() != ".npz"
            rest = "; the same command with --skip-existing makes the rest" if goes_on else ""
            say(f"stopped after {made} of {len(seeds)} images, which are whole{rest}")
        return STOPPED if stopped else 0

    def _report(self, facts: dict[str, Any]) -> None:
        seconds = time.perf_counter() - self._began
        if self.as_json:
            print_json({"out": self.name, **facts, "seconds": round(seconds, 3)})
        else:
            what = "frames" if "frames" in facts else "images"
            say(f"{self.name}: {facts[what]} {what} in {seconds:.2f} s")
