"""ONNX Runtime Web for a site: the few files that a browser needs, by npm and the lock file's hash, or a folder's."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from animegen.errors import DataError, MissingPackageError
from animegen.files import is_file, is_folder

NAME = "onnxruntime-web"
# A module and the WebAssembly that it loads, for each place where models may run.
BUILDS = {
    "wasm": ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"),
    "webgpu": ("ort.jspi.bundle.min.mjs", "ort-wasm-simd-threaded.jspi.wasm"),
}
_LOCK = Path(__file__).parent / "browser" / "package-lock.json"
_FOLDERS = (".", "dist", f"{NAME}/dist", f"node_modules/{NAME}/dist")  # where a folder that is named may have them
_PATIENCE = 900  # seconds for 33 MB
_INSTEAD = f"or name a folder that has the files of {NAME} with --runtime"


@dataclass(frozen=True)
class Package:
    """What the lock file says of the package: its version, and the hash of its archive, `sha512-…` in base64."""

    version: str
    integrity: str

    @property
    def archive(self) -> str:
        """The name that npm gives its archive."""
        return f"{NAME}-{self.version}.tgz"


def locked() -> Package:
    """The package that this version of animegen was tried with."""
    entry = json.loads(_LOCK.read_text(encoding="utf-8"))["packages"][f"node_modules/{NAME}"]
    return Package(entry["version"], entry["integrity"])


def runtime_files(folder: Path | None = None, *, webgpu: bool = True) -> dict[str, bytes]:
    """The files of the runtime by their names in the package; with `webgpu` those of its other build too.

    Without a folder, npm's client fetches the package's archive, which must have the hash in the lock file. A folder
    holds that archive, or the files, as they are or where npm installs them; files are taken as they are.

    Raises:
        MissingPackageError: npm isn't installed.
        DataError: npm can't fetch it, the archive is another one, or a file isn't in the folder.
    """
    names = [name for kind, build in BUILDS.items() if webgpu or kind == "wasm" for name in build]
    if folder is not None:
        return _from_folder(folder, names)
    with tempfile.TemporaryDirectory(prefix="animegen-") as temporary:
        return _unpacked(_packed(Path(temporary)), names)


def licences() -> dict[str, str]:
    """The runtime's licence and notices by file name, from the Python package: npm's has none.

    Raises:
        DataError: the installed ONNX Runtime has none either.
    """
    spec = find_spec("onnxruntime")
    folders = [Path(folder) for folder in spec.submodule_search_locations or ()] if spec else []
    texts = {}
    for name, kept in (("LICENSE", "ONNX-Runtime.txt"), ("ThirdPartyNotices.txt", "ONNX-Runtime-notices.txt")):
        path = next((folder / name for folder in folders if is_file(folder / name)), None)
        if path is None:
            raise DataError(f"the installed onnxruntime has no {name}, which a site must show: install it from PyPI")
        texts[kept] = path.read_text(encoding="utf-8", errors="replace")
    return texts


def _packed(folder: Path) -> Path:
    """The package's archive, fetched into a folder by npm. Nothing is installed, so no script of a package is run."""
    npm, package = shutil.which("npm"), locked()
    if npm is None:
        raise MissingPackageError(f"{NAME} comes by npm, which isn't installed: install Node.js, {_INSTEAD}")
    words = [npm, "pack", f"{NAME}@{package.version}", "--ignore-scripts", "--prefer-offline", "--loglevel=error"]
    try:
        done = subprocess.run(
            [*words, "--fetch-retries=1"], cwd=folder, capture_output=True, timeout=_PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = f"no end after {_PATIENCE} seconds" if isinstance(error, subprocess.TimeoutExpired) else str(error)
        raise DataError(f"npm failed to fetch {NAME} {package.version} ({reason}): try again, {_INSTEAD}") from error
    if done.returncode or not is_file(folder / package.archive):
        reason = _reason(done.stderr.decode(errors="replace").splitlines())
        raise DataError(f"npm failed to fetch {NAME} {package.version} ({reason}): try again online, {_INSTEAD}")
    return folder / package.archive


def _reason(lines: Iterable[str]) -> str:
    """The line of npm's complaint that says why."""
    words = [re.sub(r"^npm (ERR!|error)\s*", "", line).strip() for line in lines]
    told = [line for line in words if line and not line.startswith(("code ", "errno ", "syscall ", "A complete log"))]
    return told[0][:200] if told else "it says nothing"


def _from_folder(folder: Path, names: list[str]) -> dict[str, bytes]:
    if not is_folder(folder):
        raise DataError(f"{folder} is not a folder: --runtime names one that has the files of {NAME}")
    if is_file(folder / locked().archive):
        return _unpacked(folder / locked().archive, names)
    place = next((folder / part for part in _FOLDERS if is_file(folder / part / names[0])), folder)
    if missing := [name for name in names if not is_file(place / name)]:
        hint = ", or leave WebGPU out with --no-webgpu" if missing[0] in BUILDS["webgpu"] else ""
        raise DataError(f"{place} has no {missing[0]}: --runtime names a folder that has the files of {NAME}{hint}")
    return {name: (place / name).read_bytes() for name in names}


def _unpacked(archive: Path, names: list[str]) -> dict[str, bytes]:
    """Files out of the package's archive, once it is known to be the one in the lock file."""
    package = locked()
    with archive.open("rb") as file:
        digest = hashlib.file_digest(file, "sha512").digest()
    if package.integrity != f"sha512-{base64.b64encode(digest).decode()}":
        raise DataError(
            f"{archive.name} is not the file whose hash the lock file has: it was damaged or changed on its way; "
            f"remove it from npm's cache with npm cache clean --force, {_INSTEAD}"
        )
    files = {}
    with tarfile.open(archive, "r:gz") as tar:
        for name in names:
            content = tar.extractfile(f"package/dist/{name}")
            assert content is not None  # the hash was right
            files[name] = content.read()
    return files
