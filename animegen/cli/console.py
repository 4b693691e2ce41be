"""The terminal side that both command lines share: errors and notices as lines, progress, and JSON on stdout."""

from __future__ import annotations

import json
import logging
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from animegen.cli.streams import StdoutError, whole_streams
from animegen.errors import AnimegenError, UsageError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from animegen.progress import Progress as JobProgress

STOPPED = 130  # the exit status that a shell expects of a command ended by Ctrl-C
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

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run a command line on streams that lose nothing; every signal to end does what Ctrl-C does."""
        with whole_streams(), interrupting_signals():
            try:
                return super().main(*args, **kwargs)
            except StdoutError as error:  # of --help and --version, which are printed before a command is invoked
                _error_line(str(error))
                sys.exit(error.exit_status)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a foreseen error ends the process with its exit status."""
        debug = ctx.params.pop("debug", False)
        try:
            with notices_on_stderr():
                return super().invoke(ctx)
        except click.exceptions.NoArgsIsHelpError:
            raise
        except click.UsageError as error:
            command = error.ctx.command_path if error.ctx else ctx.command_path
            _error_line(f"{error.format_message().rstrip('.')}; see {command} --help")
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            say("stopped")
            ctx.exit(STOPPED)
        except (AnimegenError, OSError, MemoryError) as error:
            if debug:
                raise
            _error_line(_in_words(error))
            ctx.exit(error.exit_status if isinstance(error, AnimegenError) else 1)


def _error_line(message: str) -> None:
    click.echo("error: " + " ".join(message.split()), err=True)


def _in_words(error: Exception) -> str:
    """An error as a line; of the system's own, what it is about and why."""
    if isinstance(error, MemoryError):
        return "there is not enough memory: ask for fewer or smaller images, or for less at once"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


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
    """The one JSON object that `--json` prints, in ASCII where stdout's encoding lacks a character of it."""
    text = json.dumps(_finite(table), indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding)
    except UnicodeEncodeError:
        text = json.dumps(_finite(table), indent=2)
    click.echo(text)


def _finite(value: Any) -> Any:
    """The value with null for each number that JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_stdout(data: bytes) -> None:
    """The bytes of a result, for `-o -`.

    Raises:
        UsageError: stdout is a terminal, which picture bytes would garble.
        StdoutError: not all of them could be written.
    """
    if sys.stdout.isatty():
        raise UsageError("stdout is a terminal: pipe it somewhere, or name a file with --out")
    sys.stdout.flush()
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


class Stop:
    """Whether the user has asked to stop."""

    requested = False


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Let the first Ctrl-C, SIGTERM or SIGHUP only be noted, so that the work can stop where all is whole.

    A second one acts as usual. Signals belong to the main thread; on another this notes nothing.
    """
    stop = Stop()

    def note(number: int, _frame: FrameType | None) -> None:
        stop.requested = True
        signal.signal(number, before[signal.Signals(number)])

    with _handling([signal.SIGINT, *_signals_to_end()], note) as before:
        yield stop


@contextmanager
def interrupting_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP do what Ctrl-C does, so that what is half made is removed on the way out."""
    unhandled = [number for number in _signals_to_end() if signal.getsignal(number) is signal.SIG_DFL]
    with _handling(unhandled, signal.default_int_handler):
        yield


def _signals_to_end() -> list[signal.Signals]:
    """Those that ask a process to end. SIGHUP, which Windows lacks, tells it that its terminal is gone.

    nohup lets SIGHUP be ignored, and so it stays.
    """
    hangup: signal.Signals | None = getattr(signal, "SIGHUP", None)
    heard = hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN
    return [signal.SIGTERM, hangup] if hangup is not None and heard else [signal.SIGTERM]


@contextmanager
def _handling(
    numbers: Sequence[signal.Signals], handler: Callable[[int, FrameType | None], Any]
) -> Iterator[dict[signal.Signals, Any]]:
    """Handle these signals so inside the `with`, on the main thread; gives the handlers before."""
    before: dict[signal.Signals, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, handler) or signal.SIG_DFL for number in numbers}
    try:
        yield before
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


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
