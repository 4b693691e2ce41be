"""An evaluation as files: a page, a table for programs, and the sheet of neighbours."""

from __future__ import annotations

import json
from pathlib import Path

from animegen.errors import OutputError
from animegen.files import check_parent, is_folder, replacing, status
from animegen.images.stills import save_image
from animegen.quality.evaluation import Evaluation


def check_folder(folder: Path) -> None:
    """Refuse, before any work, a report that can't be written.

    Raises:
        OutputError: a file of that name, or no folder to make it in.
    """
    check_parent(folder)
    if status(folder, OutputError) and not is_folder(folder, OutputError):
        raise OutputError(f"{folder} is a file: name a folder for the report")


def write(folder: Path, evaluation: Evaluation) -> list[str]:
    """Put `report.md`, `report.json` and, with training images, `neighbours.png` into a folder, over earlier ones.

    Returns the files' names.

    Raises:
        OutputError: they can't be written.
    """
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder} can't be made: {error.strerror}") from error
    with replacing(folder / "report.md") as temporary:
        temporary.write_text(evaluation.to_markdown(), encoding="utf-8")
    with replacing(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(evaluation.to_json(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if evaluation.neighbours is None:
        (folder / "neighbours.png").unlink(missing_ok=True)  # an earlier report's
        return ["report.md", "report.json"]
    save_image(evaluation.neighbours, folder / "neighbours.png")
    return ["report.md", "report.json", "neighbours.png"]
