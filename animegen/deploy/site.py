"""The page without a server: a static folder with the page, the models, and the runtime that draws in the browser."""

from __future__ import annotations

import json
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from animegen import __version__
from animegen.deploy.browser_runtime import BUILDS, licences, locked, runtime_files
from animegen.deploy.site_config import LIMITS, entry, facts, model_files
from animegen.errors import DataError, OutputError, UsageError
from animegen.files import check_parent, is_file, is_folder, replacing_folder
from animegen.generator import Generator

_PACKAGE = Path(__file__).parent.parent
_PAGE = _PACKAGE / "server" / "page"
_CONFIG = "config.json"
_OWN = ("index.html", _CONFIG, "_headers", "licences", "models", "page", "runtime")  # a site's entries
_SERVER_ONLY = {"engine-server.js"}

# Netlify, Cloudflare Pages and others read them here. The first two isolate the page, without which WebAssembly has no
# threads; what has its hash in its path never changes.
_HEADERS = """/*
  Cross-Origin-Opener-Policy: same-origin
  Cross-Origin-Embedder-Policy: require-corp
/models/*
  Cache-Control: public, max-age=31536000, immutable
/runtime/*
  Cache-Control: public, max-age=31536000, immutable
"""
# The page asks nobody but its own address, whatever a host sends along with it.
_POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; "
    "img-src 'self' blob: data:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'self'"
)


@dataclass(frozen=True)
class Site:
    """What was written.

    Attributes:
        path: the folder.
        models: their names.
        files: how many the folder has.
        bytes: of them together.
        first_visit: bytes that a browser loads before the first picture, without a graphics card.
    """

    path: Path
    models: list[str]
    files: int
    bytes: int
    first_visit: int


def write_site(
    path: Path,
    models: Mapping[Path, Generator],
    *,
    runtime: Path | None = None,
    webgpu: bool = True,
    force: bool = False,
) -> Site:
    """Write the page as a static folder that draws with `models`, by their files; the first is the page's default.

    The folder is made beside and then renamed: on an error nothing is left, and a site that was there stays. What else
    lies in a folder is kept. `runtime` is as in `runtime_files`; `force` writes into a folder that holds no site yet.

    Raises:
        UsageError: no models, or two of one name.
        OutputError: the path is a file, a folder of other things, or can't be written.
        ModelError: a model that a browser can't run.
        DataError, MissingPackageError: as `runtime_files`.
    """
    check_site(path, force=force)
    names = [generator.card.name for generator in models.values()]
    if not names:
        raise UsageError("a site has no models and must have at least one")
    if twice := [name for name in names if names.count(name) > 1]:
        raise UsageError(f"two models are named {twice[0]} and must have names of their own: leave one of them out")
    files = _page_files()
    described = []
    for file, generator in models.items():
        parts = model_files(file)
        # By its hash in its name a browser's cache can't take an older one for it.
        folder = f"models/{_plain(generator.card.name)}-{generator.sha256[:12]}"
        listed = [entry(f"{folder}/{_plain(name)}", data, name=name) for name, data in parts.items()]
        files |= {part["path"]: data for part, data in zip(listed, parts.values(), strict=True)}
        described.append(facts(generator, listed))
    builds, parts = _runtime(runtime, webgpu=webgpu)
    texts = _licences(described)
    config = {
        "engine": "local",
        "version": __version__,
        "limits": LIMITS,
        "formats": ["png", "webp", "jpg", "gif", "mp4"],  # the most; the page asks the browser what it can
        "licences": sorted(texts),
        "runtime": builds,
        "models": described,
    }
    files |= parts | texts | {_CONFIG: json.dumps(config, ensure_ascii=False).encode()}
    with _replacing_site(path) as folder_of_site:
        for name, data in files.items():
            target = folder_of_site / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
    asked = [builds["wasm"]["module"], builds["wasm"]["binary"], *described[0]["files"]]
    page = sum(len(data) for name, data in files.items() if name.startswith(("page/", "index", _CONFIG)))
    whole = sum(map(len, files.values()))
    return Site(path, names, len(files), whole, page + sum(part["bytes"] for part in asked))


def check_site(path: Path, *, force: bool = False) -> None:
    """Refuse, before any work, a path where no site can be written.

    Raises:
        OutputError: it is a file, the current folder, or with other things in it and without `force`.
    """
    target = path.resolve()
    check_parent(target)
    if is_file(path, OutputError):
        raise OutputError(f"{path} is a file and must be a folder: name another")
    if Path.cwd().resolve().is_relative_to(target):
        raise OutputError(f"{path} holds the current folder, and a site takes its folder's place: name one inside it")
    if force or not is_folder(path, OutputError) or _is_site(path):
        return
    if held := sorted(entry.name for entry in path.iterdir()):
        raise OutputError(
            f"{path} holds {held[0]} and is no site of animegen: name a new folder, or write into it with --force, "
            f"which replaces {', '.join(_OWN)} and keeps the rest"
        )


def _is_site(path: Path) -> bool:
    try:
        config = json.loads((path / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and config.get("engine") == "local"


@contextmanager
def _replacing_site(path: Path) -> Iterator[Path]:
    """A new folder that on a clean exit takes the place of that at `path`; what is not of a site there comes along."""
    target = path.resolve()
    if not is_folder(target, OutputError) or not any(target.iterdir()):
        with replacing_folder(target) as folder:
            yield folder
        return
    new = target.with_name(f".{target.name}.new-{secrets.token_hex(4)}")
    # Not named as a part: if the process is killed between the two renames, nothing may remove it.
    old = target.with_name(f".{target.name}.old-{secrets.token_hex(4)}")
    try:
        with replacing_folder(new) as folder:
            yield folder
            _keep(target, folder)
        target.replace(old)
        try:
            new.replace(target)
        except OSError:
            old.replace(target)
            raise
    except OSError as error:
        raise OutputError(f"{path} can't be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(new, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)


def _keep(source: Path, folder: Path) -> None:
    """Copy what is not of a site."""
    for found in source.iterdir():
        if found.name in _OWN:
            continue
        if found.is_dir() and not found.is_symlink():
            shutil.copytree(found, folder / found.name, symlinks=True)
        else:
            shutil.copy2(found, folder / found.name, follow_symlinks=False)


def _page_files() -> dict[str, bytes]:
    """The page as it is served: index.html at the root, the rest under page/."""
    index = (_PAGE / "index.html").read_text(encoding="utf-8")
    policy = f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    index = index.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{policy}', 1)
    files = {"index.html": index.encode(), "_headers": _HEADERS.encode()}
    for file in sorted(_PAGE.rglob("*")):
        name = file.relative_to(_PAGE).as_posix()
        if file.is_file() and name != "index.html" and name not in _SERVER_ONLY:
            files[f"page/{name}"] = file.read_bytes()
    return files


def _runtime(folder: Path | None, *, webgpu: bool) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What config.json says of the runtime, and its files by their paths in the site.

    Modules end in .js, which every host knows the type of, as not every one does of .mjs.
    """
    parts = runtime_files(folder, webgpu=webgpu)
    builds: dict[str, Any] = {}
    files: dict[str, bytes] = {}
    for kind, names in BUILDS.items():
        if names[0] not in parts:
            continue
        module, binary = (parts[name] for name in names)
        where = f"runtime/{entry('', module + binary)['sha256'][:12]}"
        paths = [f"{where}/{re.sub('mjs$', 'js', name)}" for name in names]
        listed = [entry(path, data) for path, data in zip(paths, (module, binary), strict=True)]
        builds[kind] = {"module": listed[0], "binary": listed[1]}
        files |= {listed[0]["path"]: module, listed[1]["path"]: binary}
    if folder is None:
        builds["version"] = locked().version
    return builds, files


def _licences(models: Iterable[dict[str, Any]]) -> dict[str, bytes]:
    """Who may use what is in the site: texts by path."""
    lines = [f"{model['name']}\nsha256 {model['sha256']}\n{model['licence']}\n" for model in models]
    texts = {"animegen.txt": _own("LICENSE"), "models.txt": "\n".join([*lines, _own("models/LICENSE")]), **licences()}
    return {f"licences/{name}": text.encode() for name, text in texts.items()}


def _own(name: str) -> str:
    """A licence of this package: from a checkout, or from what pip keeps of the package."""
    checkout = _PACKAGE.parent
    if is_file(checkout / "pyproject.toml"):
        return (checkout / name).read_text(encoding="utf-8")
    try:
        text = distribution("animegen").read_text(f"licenses/{name}")
    except PackageNotFoundError:
        text = None
    if text is None:
        raise DataError(f"animegen's {name} isn't installed with it, and a site must show it: install animegen again")
    return text


def _plain(name: str) -> str:
    """A name that no address has to escape."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)
