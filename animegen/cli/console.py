"""The terminal side that both command lines share: errors and notices as lines, progress, and JSON on stdout."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from animegen.errors import AnimegenError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from animegen.progress import Progress as JobProgress

CONTEXT = {"help_option_names": ["-h", "--help"], "show_default": True, "max_content_width": 100}


class ErrorLineGroup(click.Group):
    """A click group that turns every foreseen error into one line on stderr and an exit status.

    It declares `--debug`, with which the traceback is shown instead. Commands hold no try/except.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(click.Option(["--debug"], is_flag=True, help="Show a traceback on an error."))

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the group's own options; a wrong one ends the process with exit status 2."""
        try:
            return super().make_context(*args, **kwargs)
        except click.NoSuchOption as error:
            _error_line(error.format_message())
            sys.exit(error.exit_code)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a foreseen error ends the process with its exit status."""
        debug = ctx.params.pop("debug", False)
        try:
            with notices_on_stderr():
                return super().invoke(ctx)
        except AnimegenError as error:
            if debug:
                raise
            _error_line(str(error))
            ctx.exit(error.exit_status)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else ctx.command_path
            _error_line(f"{error.format_message().rstrip('.')}; see {command} --help")
            ctx.exit(error.exit_code)


def _error_line(message: str) -> None:
    click.echo("error: " + " ".join(message.split()), err=True)


class _Notices(logging.Handler):
    """A line on stderr for each record of the library; what is worse than a notice says so."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record."""
        prefix = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        say(prefix + record.getMessage())


@contextmanager
def notices_on_stderr() -> Iterator[None]:
    """Show what the loggers `animegen` and `train` say, from INFO on, for as long as a command runs."""
    handler = _Notices()
    loggers = [logging.getLogger(name) for name in ("animegen", "train")]
    before = [(logger.level, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
    try:
        yield
    finally:
        for logger, (level, propagate) in zip(loggers, before, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def say(message: str) -> None:
    """One line for the person at the terminal; stdout stays free for data."""
    click.echo(message, err=True)


def print_json(table: Mapping[str, Any]) -> None:
    """The one JSON object that `--json` prints."""
    click.echo(json.dumps(table, indent=2, ensure_ascii=False))


def write_stdout(data: bytes) -> None:
    """The bytes of a result, for `-o -`.

    Raises:
        UsageError: stdout is a terminal, which picture bytes would garble.
    """
    stream = sys.stdout.buffer
    if stream.isatty():
        raise UsageError("stdout is a terminal: pipe it somewhere, or name a file with --out")
    stream.write(data)
    stream.flush()


class Stop:
    """Whether the user has asked to stop."""

    requested = False


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Let the first Ctrl-C or SIGTERM only be noted, so that the work can stop where all is whole.

    A second one acts as usual. Signals belong to the main thread; on another this notes nothing.
    """
    stop = Stop()

    def note(number: int, _frame: FrameType | None) -> None:
        stop.requested = True
        signal.signal(number, before[signal.Signals(number)])

    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stderr_console() -> Console:
    """A rich console on stderr."""
    from rich.console import Console

    return Console(stderr=True, highlight=False)


def _bar(console: Console, *, time_left: bool) -> Progress:
    """A bar for each job with a count, a note and the time left; it shows on a terminal only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        *([TimeRemainingColumn()] if time_left else []),
        console=console,
        disable=not console.is_terminal,
    )


@contextmanager
def progress_shown(*, time_left: bool = True) -> Iterator[None]:
    """Show the library's jobs as bars on stderr, a bar each, inside the `with`; on a terminal only."""
    from animegen.progress import report_progress

    with _bar(stderr_console(), time_left=time_left) as bar:
        tasks: dict[str, TaskID] = {}

        def show(progress: JobProgress) -> None:
            if progress.job not in tasks:
                tasks[progress.job] = bar.add_task(progress.job, total=progress.total, note="")
            bar.update(tasks[progress.job], completed=progress.done, total=progress.total, note=progress.note)

        with report_progress(show):
            yield
