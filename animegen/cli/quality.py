"""What the commands that measure images share: what they measure, under bars."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

from animegen.cli.console import progress_shown
from animegen.cli.options import ModelOptions

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

    wheels.silence()
    with progress_shown():
        if images is not None and not names_model(images):
            yield images
            return
        chosen = options if images is None else dataclasses.replace(options, model=images)
        with chosen.load(quiet=True) as generator:  # its device is the extractor's, which the library logs
            yield generator
