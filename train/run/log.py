"""What a run notes of itself: rows of JSON, a line each, and the same figures as TensorBoard events on request."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from animegen.errors import MissingPackageError, OutputError
from animegen.files import replacing, status

METRICS = "metrics.jsonl"  # of steps
SCORES = "fid.jsonl"  # of the monitor
SESSIONS = "sessions.jsonl"  # of each start
EVENTS = "tensorboard"  # the folder to give to tensorboard --logdir


class Log:
    """Writes rows to the files of a run's folder, each flushed as it comes."""

    def __init__(self, run: Path, events: Any | None = None) -> None:
        self._run = run
        self._events = events

    def write(self, name: str, row: Mapping[str, Any]) -> None:
        """Append a row with a `step` to the file `name`.

        Raises:
            OutputError: it can't be written.
        """
        try:
            with (self._run / name).open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OutputError(f"{self._run / name} can't be written: {error.strerror}") from error
        if self._events is not None:
            for key, value in row.items():
                if key != "step" and isinstance(value, int | float):
                    self._events.add_scalar(f"{name.removesuffix('.jsonl')}/{key}", value, row["step"])


@contextmanager
def open_log(run: Path, *, events: bool) -> Iterator[Log]:
    """The log of the folder `run`, with TensorBoard events beside the rows if `events`.

    Raises:
        MissingPackageError: events are wanted and tensorboardX isn't installed.
    """
    if not events:
        yield Log(run)
        return
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise MissingPackageError("--tensorboard needs tensorboardX: pip install -r train/requirements.txt") from error
    with SummaryWriter(str(run / EVENTS)) as writer:
        yield Log(run, writer)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a file, without one that was cut in half; none where there is no file."""
    if not status(path):
        return []
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict) and "step" in row:
            rows.append(row)
    return rows


def drop_rows_after(path: Path, step: int) -> None:
    """Forget the rows of steps that a resumed run will make again."""
    if status(path):
        rows = [json.dumps(row) + "\n" for row in read_rows(path) if row["step"] <= step]
        with replacing(path) as temporary:
            temporary.write_text("".join(rows), encoding="utf-8")
