"""Pictures whose tags are plain to see, for the tests of what is trained on tags."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

HAIR = {"red": (230, 40, 40), "green": (40, 200, 60), "blue": (50, 60, 230)}
EYES = {"black": 10, "white": 245}


def face(rng: np.random.Generator, hair: str, eyes: str, length: str) -> np.ndarray:
    """A noisy square: the upper half, or all of it where hair is long, has the hair's colour, two dots the eyes'."""
    image = rng.integers(100, 156, (64, 64, 3))
    image[: 60 if length == "long" else 24] = HAIR[hair]
    for x in (16, 40):
        image[30:38, x : x + 8] = EYES[eyes]
    return np.clip(image + rng.normal(0, 12, image.shape), 0, 255).astype(np.uint8)


def write(folder: Path) -> tuple[Path, Path]:
    """A zip of 400 such faces and the table of their tags, in `folder`."""
    rng = np.random.default_rng(0)
    rows = ["file\ttags"]
    with zipfile.ZipFile(folder / "faces.zip", "w") as archive:
        for number in range(400):
            hair, eyes, length = rng.choice(list(HAIR)), rng.choice(list(EYES)), rng.choice(["long", "short"])
            buffer = io.BytesIO()
            Image.fromarray(face(rng, hair, eyes, length)).save(buffer, "PNG")
            archive.writestr(f"faces/{number}.png", buffer.getvalue())
            rows.append(f"{number}.png\t{length} {hair} hair and {eyes} eyes")
    (folder / "tags.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder / "faces.zip", folder / "tags.tsv"
