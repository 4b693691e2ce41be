"""`animegen info`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from animegen.cli.console import print_json, say
from animegen.cli.options import ModelOptions, graph_options
from animegen.cli.origin import again, model_file, printable
from animegen.errors import UsageError


@click.command()
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print it as one JSON object.")
@click.option("--markdown", is_flag=True, help="Print a model's card as a Markdown page.")
@graph_options
@click.pass_context
def info(ctx: click.Context, file: str | None, as_json: bool, markdown: bool, options: ModelOptions) -> None:
    """Print what FILE says of itself: a picture, where it comes from; a model, its card. Without FILE it is --model.

    \b
    Example: animegen info --model anime-face-64
             animegen info grid.png
    """
    from animegen.model.catalog import names_model

    if file is not None and ctx.get_parameter_source("model") is not ParameterSource.DEFAULT:
        raise UsageError(f"{file} is named, and --model {options.model} too: leave one of them out")
    if as_json and markdown:
        raise UsageError("--json and --markdown are two forms: take one of them")
    if file is not None and not names_model(file):
        if markdown:
            raise UsageError(f"--markdown prints a model's card and must stand without {file}: leave one of them out")
        _print_picture(ctx, Path(file), as_json=as_json)
        return

    with replace(options, model=file or options.model).load() as generator:
        card = generator.card
    if as_json:
        print_json(card.to_json())
    elif markdown:
        click.echo(card.to_markdown(), nl=False)
    else:
        _print_rows(card.rows())


def _print_picture(ctx: click.Context, path: Path, *, as_json: bool) -> None:
    from animegen.images.metadata import read_metadata, suffix_of

    made = read_metadata(path)
    commands = ctx.parent.command.commands if ctx.parent and isinstance(ctx.parent.command, click.Group) else {}
    line = again(made, commands, f"again{path.suffix or suffix_of(path)}")
    if as_json:
        print_json({**made, "again": line})
        return
    rows = [(key, value) for key, value in made.items() if key != "options"]
    options = made.get("options")
    rows += options.items() if isinstance(options, dict) else []
    rows += [("again", line)] if line is not None else []
    _print_rows([(printable(str(key)), _in_words(value)) for key, value in rows])
    if line is not None and (name := model_file(made)):
        say(f"{name} stands for the model's file, whose sha256 is above: write its path there")


def _in_words(value: Any) -> str:
    return printable(value if isinstance(value, str) else json.dumps(value))


def _print_rows(rows: list[tuple[str, str]]) -> None:
    width = max(len(key) for key, _ in rows)
    for key, value in rows:
        click.echo(f"{key:{width}}  {value}")
