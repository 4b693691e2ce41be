"""What the commands that measure images share: what they measure, under bars."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from animegen.cli.console import progress_shown
from animegen.cli.options import ModelOptions
from animegen.errors import UsageError

if TYPE_CHECKING:
    from animegen.generator import Generator

extractor_option = click.option(
    "--extractor",
    default="auto",
    help="anime, imagenet, inception, or an .onnx file's path; auto is the reference's, or the model's.",
)

protocol_option = click.option(
    "--reference-protocol",
    "protocol",
    metavar="KEY=VALUE,…",
    help="How another tool measured its mu and sigma, such as extractor=inception,count=50000.",
)


@contextmanager
def measured(options: ModelOptions, images: str | None = None) -> Iterator[Generator | str]:
    """The model that the options name, or else IMAGES: a path, or a model that runs as the options say."""
    from animegen.model.catalog import names_model
    from animegen.runtime import wheels

    if images is not None:
        _refuse(images, ["model"])
        if not names_model(images):
            _refuse(images, ["n", "seed", "truncation"])
    wheels.silence()
    with progress_shown():
        if images is not None and not names_model(images):
            yield images
            return
        chosen = options if images is None else dataclasses.replace(options, model=images)
        with chosen.load(quiet=True) as generator:  # its device is the extractor's, which the library logs
            yield generator


def _refuse(images: str, names: list[str]) -> None:
    """Refuse options that would do nothing beside what is measured."""
    ctx = click.get_current_context()
    if given := [name for name in names if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE]:
        what = "in its place" if given == ["model"] else "of a model"
        raise UsageError(f"{images} is measured, and --{given[0]} is {what}: leave one of them out")


def refuse_source(out: Path, *sources: str | Path | None) -> None:
    """Refuse to write over what is measured, or among it.

    Raises:
        UsageError: `out` is one of the sources, or lies in one.
    """
    target = out.resolve()
    for source in sources:
        if source is not None and Path(source).exists() and Path(source).resolve() in {target, *target.parents}:
            raise UsageError(f"{source} is measured and must stay as it is, so --out {out} must be elsewhere")
