"""Finding a model: by the name of a shipped one, by a path, or by an address."""

from __future__ import annotations

from pathlib import Path

from animegen.errors import ModelError
from animegen.files import is_file, sha256
from animegen.model import fetch

DEFAULT = "anime-face-64"
_PACKAGE = Path(__file__).parent.parent
# A wheel carries the models inside the package; a checkout has them beside it.
_FOLDERS = (_PACKAGE / "models", _PACKAGE.parent / "models")


def shipped_models() -> dict[str, Path]:
    """The shipped models' files by name."""
    return _shipped("*.onnx")


def is_shipped(name: str, digest: str) -> bool:
    """Whether the model of this name is the very file, by its sha256, in each installation of this version."""
    path = shipped_models().get(name)
    return path is not None and sha256(path) == digest


def extractors() -> dict[str, Path]:
    """The shipped feature extractors' files by name. They lie in a folder of their own, as they generate nothing."""
    return _shipped("extractors/*.onnx")


def references() -> dict[str, Path]:
    """The shipped reference statistics' files by name."""
    return _shipped("references/*.npz")


def _shipped(pattern: str) -> dict[str, Path]:
    folder = next((folder for folder in _FOLDERS if folder.is_dir()), None)
    return {path.stem: path for path in sorted(folder.glob(pattern))} if folder else {}


def names_model(source: str | Path) -> bool:
    """Whether a source of images is a model: a shipped name, an address, or an .onnx file."""
    text = str(source)
    return text in shipped_models() or fetch.is_address(text) or text.lower().endswith(".onnx")


def find_model(model: str | Path) -> Path:
    """The file of a model named by a shipped name, a path, or an https or hf:// address, which is fetched once.

    A name wins over a file of the same name. A download is logged before it begins.

    Raises:
        ModelError: none of them, or a failed download; the shipped names are listed.
        UsageError: an address of another form.
    """
    if isinstance(model, str) and fetch.is_address(model):
        return fetch.fetch(fetch.parse(model))
    names = shipped_models()
    if str(model) in names:
        return names[str(model)]
    path = Path(model)
    if is_file(path, ModelError):
        return path
    known = f"the shipped models are {', '.join(names)}" if names else "no model is shipped with this installation"
    raise ModelError(f"no model {str(model)!r}: {known}, or give the path or address of an .onnx file")
