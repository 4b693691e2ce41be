"""The forge's commands, one a file. Each only reads its options and calls the room that does the work.

What is heavy is imported where it is used, so help and wrong options answer before torch is there.
"""

from __future__ import annotations

from importlib.util import find_spec

import click

from animegen.cli.console import CONTEXT, ErrorLineGroup
from animegen.errors import MissingPackageError
from train.cli.compare import compare
from train.cli.export import export
from train.cli.fit import fit
from train.cli.imagenet import imagenet
from train.cli.inception import inception
from train.cli.plot import plot
from train.cli.prepare import prepare
from train.cli.presets import presets
from train.cli.tagger import tagger

_NEEDED = ("matplotlib", "msgspec", "onnx", "onnxscript", "safetensors", "torch")


@click.group(cls=ErrorLineGroup, context_settings=CONTEXT)
def main() -> None:
    """Train GAN image generators and export them for animegen.

    \b
    python -m train prepare faces.zip --size 64 --out data/faces64
    python -m train fit --preset anime-pixels-64 --data data/faces64 --out runs/faces
    python -m train export runs/faces --out models/my-faces.onnx
    """
    missing = [name for name in _NEEDED if not find_spec(name)]  # looked for and not imported: torch takes seconds
    if missing:
        raise MissingPackageError(
            f"training needs {', '.join(missing)}: pip install -e '.[cpu]' -r train/requirements.txt"
        )


for _command in (prepare, presets, fit, plot, compare, export, tagger, imagenet, inception):
    main.add_command(_command)
