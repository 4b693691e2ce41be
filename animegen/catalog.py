"""Finding a model: by the name of a shipped one, or by a path."""

from __future__ import annotations

from pathlib import Path

from animegen.errors import ModelError

DEFAULT = "anime-face-64"
_PACKAGE = Path(__file__).parent
# A wheel carries the models inside the package; a checkout has them beside it.
_FOLDERS = (_PACKAGE / "models", _PACKAGE.parent / "models")


def shipped() -> dict[str, Path]:
    """The shipped models' files by name."""
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))} if folder else {}


def find(model: str | Path) -> Path:
    """The file of a model named by a shipped name or a path. A name wins over a file of the same name.

    Raises:
        ModelError: neither; the shipped names are listed.
    """
    names = shipped()
    if str(model) in names:
        return names[str(model)]
    path = Path(model)
    if path.is_file():
        return path
    known = f"the shipped models are {', '.join(names)}" if names else "no model is shipped with this installation"
    raise ModelError(f"no model {str(model)!r}: {known}, or give the path of an .onnx file")
