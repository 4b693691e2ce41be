"""Where a picture comes from: what commands write into their pictures, and the command that makes one again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from animegen import __version__

if TYPE_CHECKING:
    from animegen.generator import Generator

_GIVEN = "animegen.given"
_WRITTEN = "animegen.metadata"
# What has no say in the images of a file, or stands in the record by another name.
_NO_SAY = frozenset(
    ("model", "device", "batch-size", "threads", "cuda-graphs", "cuda-memory", "out", "format", "json", "force")
) | {"skip-existing", "metadata", "workers", "address", "cpus", "object-store"}
_NAMES_SEEDS = frozenset(("n", "seed", "seeds", "stops"))
_LABELS = frozenset(("label", "label-a", "label-b"))


class PictureCommand(click.Command):
    """A command whose pictures say how they were made; it declares `--no-metadata`."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        option = click.Option(
            ["--metadata/--no-metadata"],
            default=True,
            expose_value=False,
            callback=lambda ctx, _, value: ctx.meta.update({_WRITTEN: value}),
            help="Let the picture say where it comes from: model, seeds and options.",
        )
        self.params.append(option)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the options, and keep those that were given and aren't what they are by default.

        A number is kept as it was read, so that .5 and 0.50 are one, and else what was typed.
        """
        typed = list(args)
        rest = super().parse_args(ctx, args)
        options, _, _ = self.make_parser(ctx).parse_args(typed)
        given = {}
        for parameter in self.params:
            value, source = parameter.consume_value(ctx, options)
            if source in {ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT}:
                read, usual = ctx.params.get(parameter.name or ""), parameter.get_default(ctx)
                if usual not in (read, value):
                    name = max(parameter.opts, key=len).lstrip("-")
                    given[name] = read if isinstance(read, bool | int | float | str) else value
        ctx.meta[_GIVEN] = given
        return rest


def record(generator: Generator, **options: Any) -> dict[str, Any] | None:
    """What the running command's picture says: the model, and the options that make it again; None with --no-metadata.

    `options` are recorded whether they were given or not; with `seeds` or `seed`, nothing else names seeds. The record
    is the same however the command was typed: options stand by their names, labels in the model's order.
    """
    from animegen.labels import label_texts, read_labels

    ctx = click.get_current_context()
    if not ctx.meta.get(_WRITTEN, False):
        return None
    hidden = _NO_SAY | (_NAMES_SEEDS if options.keys() & _NAMES_SEEDS else frozenset())
    given = {name: value for name, value in ctx.meta[_GIVEN].items() if name not in hidden}
    for name in _LABELS & given.keys():
        given[name] = label_texts(read_labels(given[name], generator.labels))
    if generator.engine != "onnxruntime":
        options["engine"] = generator.engine  # it has a say in a grey level here and there
    return {
        "software": f"animegen {__version__}",
        "model": generator.card.name,
        "model_sha256": generator.sha256,
        "command": ctx.command.name,
        "options": dict(sorted({**given, **options}.items())),
    }


def of_one(made: Mapping[str, Any], seed: int) -> dict[str, Any]:
    """The record of one of many pictures that are stored one by one."""
    return {**made, "options": {**made["options"], "seeds": str(seed)}}


def again(made: Mapping[str, Any], commands: Mapping[str, click.Command], out: str) -> str | None:
    """The command line that makes a picture again; None if the record is none of these commands'.

    A picture may come from anyone: every word is an option that the command has, or quoted.
    """
    command, options = commands.get(str(made.get("command"))), made.get("options")
    if not isinstance(command, PictureCommand) or not isinstance(options, dict):
        return None
    known = {name for parameter in command.params for name in parameter.opts}
    words = ["animegen", str(command.name), "--model", model_file(made) or str(made["model"])]
    for name, value in options.items():
        if f"--{name}" not in known:
            return None
        for one in value if isinstance(value, list) else [value]:
            if one is True:
                words.append(f"--{name}")
            elif one is not None and one is not False:
                # With "=" a value that begins with a dash, as -3:3, is no option.
                text = printable(str(one))
                words += [f"--{name}={text}"] if text.startswith("-") else [f"--{name}", text]
    return shlex.join([*words, "--out", out])


def model_file(made: Mapping[str, Any]) -> str | None:
    """The name that stands for the model's file in the command line; None if the model is shipped with this version."""
    from animegen.files import sha256
    from animegen.model.catalog import shipped_models

    name = printable(str(made.get("model")))
    shipped = shipped_models().get(name)
    return None if shipped is not None and sha256(shipped) == made.get("model_sha256") else f"{name}.onnx"


def printable(text: str) -> str:
    """The text without what a terminal would obey."""
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode("ascii") for sign in text)
