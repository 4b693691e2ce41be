"""The `animegen` command: a skin over the library. What is heavy is imported inside the commands."""

from __future__ import annotations

import click

from animegen import __version__
from animegen.cli.bench import bench
from animegen.cli.console import CONTEXT, ErrorLineGroup
from animegen.cli.doctor import doctor
from animegen.cli.edit import edit
from animegen.cli.evaluate import evaluate
from animegen.cli.export_triton import export_triton
from animegen.cli.fid import fid
from animegen.cli.image import image
from animegen.cli.info import info
from animegen.cli.interpolate import interpolate
from animegen.cli.models import models
from animegen.cli.ray import ray
from animegen.cli.sample import sample
from animegen.cli.search import search
from animegen.cli.serve import serve
from animegen.cli.sheet import sheet
from animegen.cli.stats import stats
from animegen.cli.walk import walk
from animegen.cli.web import web


@click.group(cls=ErrorLineGroup, context_settings={**CONTEXT, "auto_envvar_prefix": "ANIMEGEN"})
@click.version_option(__version__, "--version", prog_name="animegen")
def main() -> None:
    """Generate images with a GAN, from an ONNX file, without torch.

    \b
    animegen sample --n 64 --out grid.png
    animegen interpolate --seed-a 1 --seed-b 2 --steps 8 --out row.png

    The exit status is 0, or 1 for what failed, 2 for a wrong request, 74 if stdout takes no more, and 130 after Ctrl-C,
    SIGTERM or SIGHUP.
    """


COMMANDS = (
    *(sample, image, interpolate, walk, edit, sheet, search),  # make images
    *(fid, evaluate, stats),  # measure them
    *(info, models, doctor, bench),  # tell what is there, and how fast
    serve,  # answers others
    *(web, ray, export_triton),  # take models elsewhere
)
for command in COMMANDS:
    main.add_command(command)
