"""The Dockerfile's steps without an engine: each target in a clean virtual environment, read from the file itself.

    python tests/container.py cpu

builds the target in a temporary folder, says what was installed and how large it is, and runs what a container would
run, with its health check beside it. `--borrow` takes what is installed where this runs for what the target would
fetch: seconds instead of minutes, and no network. What stays out is the base image and what needs root: useradd, USER
and modes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parent.parent
_PYTHON = "/usr/local/lib/python3.13"  # of the base image
_ROOT_ONLY = ("useradd ",)


def stages(text: str) -> dict[str, list[str]]:
    """The instructions of each stage by its name, FROM first, each on one line."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    found: dict[str, list[str]] = {}
    for line in filter(None, "\n".join(lines).replace("\\\n", "").splitlines()):
        if line.startswith("FROM "):
            found[line.split(" AS ")[1]] = current = []
        current.append(line)
    return found


@dataclass
class Stage:
    """A stage that is built: its own file system below `root`, and what a container of it would do."""

    root: Path
    environment: dict[str, str]
    folder: str = "/"
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    @property
    def python(self) -> Path:
        """The virtual environment that stands for /usr/local."""
        return self.root / "usr" / "local"

    @property
    def packages(self) -> Path:
        """Where that keeps its packages."""
        (folder,) = self.python.glob("lib/python3.*/site-packages")
        return folder

    def place(self, path: str) -> Path:
        """Where a path of the container is here."""
        if path.startswith(_PYTHON):
            return self.packages.parent / path.removeprefix(_PYTHON).lstrip("/")
        return self.root / (path if path.startswith("/") else f"{self.folder}/{path}").lstrip("/")

    def start(self, *, quiet: bool = False) -> subprocess.Popen[bytes]:
        """What a container does by itself."""
        return self._run([*self.entrypoint, *self.command], quiet=quiet)

    def is_healthy(self) -> bool:
        """What the container's own health check finds."""
        return self._run(self.health, quiet=True).wait() == 0

    def _run(self, words: list[str], *, quiet: bool) -> subprocess.Popen[bytes]:
        program = shutil.which(words[0], path=self.environment["PATH"])
        assert program is not None, f"no {words[0]} in the image"
        errors = subprocess.DEVNULL if quiet else None
        return subprocess.Popen([program, *words[1:]], cwd=self.place("."), env=self.environment, stderr=errors)


def build(target: str, folder: Path, *, borrow: bool = False) -> Stage:
    """Build a target, and before it each stage that it takes something from."""
    text = stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    built: dict[str, Stage] = {}

    def make(name: str) -> Stage:
        base = text[name][0].split()[1]
        chain = [*text.get(base, []), *text[name]]
        stage = _empty(folder / name, borrow=borrow)
        for line in chain:
            for needed in re.findall(r"from=([a-z]+)", line):
                built[needed] = built.get(needed) or make(needed)
            _follow(line, stage, built, borrow=borrow)
        return stage

    return make(target)


def _empty(root: Path, *, borrow: bool) -> Stage:
    """A stage of nothing but Python: a clean virtual environment."""
    root.mkdir(parents=True)
    python = root / "usr" / "local"
    subprocess.run([sys.executable, "-m", "venv", *(["--without-pip"] if borrow else []), python], check=True)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ANIMEGEN_"))}
    stage = Stage(root, {**kept, "PATH": f"{python / 'bin'}{os.pathsep}{os.environ['PATH']}"})
    if borrow:
        paths = [path for path in sys.path if path.endswith("site-packages")]
        # Behind the stage's own packages. An editable install's finder would come before: it is no path.
        (stage.packages / "borrowed.pth").write_text("\n".join(paths), encoding="utf-8")
    return stage


def _follow(line: str, stage: Stage, built: dict[str, Stage], *, borrow: bool) -> None:
    """Do one instruction."""
    kind, _, rest = line.partition(" ")
    if kind == "RUN" and not rest.startswith(_ROOT_ONLY):
        _run(rest, stage, built, borrow=borrow)
    elif kind == "COPY":
        *sources, target = [word for word in rest.split() if not word.startswith("--")]
        for source in sources:
            _copy(ROOT / source, stage.place(target), into=target.endswith("/"))
    elif kind == "WORKDIR":
        stage.folder = rest
        stage.place(".").mkdir(parents=True, exist_ok=True)
    elif kind == "ENV":
        stage.environment |= dict(word.split("=", 1) for word in shlex.split(rest))
    elif kind in {"ENTRYPOINT", "CMD"}:
        setattr(stage, "entrypoint" if kind == "ENTRYPOINT" else "command", json.loads(rest))
    elif kind == "HEALTHCHECK":
        stage.health = json.loads(rest.partition(" CMD ")[2])


def _copy(source: Path, target: Path, *, into: bool) -> None:
    target = target / source.name if into and source.is_file() else target
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
    else:
        shutil.copy(source, target)


def _run(command: str, stage: Stage, built: dict[str, Stage], *, borrow: bool) -> None:
    """Run a command of a shell. What it mounts it finds under the paths where it is here."""
    mounts: dict[str, Path] = {}
    while match := re.match(r"--mount=(\S+)\s+", command):
        options = dict(option.split("=", 1) for option in match[1].split(","))
        source = options["source"]
        mounts[options["target"]] = built[options["from"]].place(source) if "from" in options else ROOT / source
        command = command[match.end() :]
    for target, place in mounts.items():
        command = re.sub(rf"(?<=\s){re.escape(target)}(?=[\s/]|$)", str(place), command)
    command = re.sub(r"(?<=\s)/dist(?=\s)", str(stage.root / "dist"), command)
    if borrow:
        pip = f"{sys.executable} -m pip --python {stage.python / 'bin' / 'python'} --quiet "
        command = command.replace("pip ", pip, 1).replace(" wheel ", " wheel --no-build-isolation ", 1)
        if " --requirement " in command:
            command += " --no-deps --no-index --dry-run"  # each is there already, in a version that fits
    print("+", command, flush=True)
    subprocess.run(["sh", "-ec", command], cwd=stage.place("."), env=stage.environment, check=True)


def size(path: Path) -> int:
    """The bytes of a file, or of all files below a folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file() and not file.is_symlink())


def sizes(stage: Stage) -> list[tuple[int, str]]:
    """What is installed beside pip, largest first."""
    tools = ("pip", "setuptools", "_distutils_hack", "distutils-precedence", "pkg_resources")
    entries = (entry for entry in stage.packages.iterdir() if not entry.name.startswith(tools))
    return sorted(((size(entry), entry.name) for entry in entries), reverse=True)


def main() -> None:
    """Build a target, say how large it is, and run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("target", choices=["cpu", "gpu", "train"])
    parser.add_argument("--borrow", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stage = build(arguments.target, Path(folder), borrow=arguments.borrow)
        parts = sizes(stage)
        for count, name in parts[:12]:
            print(f"{count / 1e6:8.1f} MB  {name}")
        print(f"{sum(count for count, _ in parts) / 1e6:8.1f} MB  in all")
        with stage.start() as process:
            try:
                if stage.health:
                    ended = time.monotonic() + 60
                    while not (healthy := stage.is_healthy()) and time.monotonic() < ended and process.poll() is None:
                        pass
                    print("healthy" if healthy else "not healthy", flush=True)
                    process.terminate()
                print("exit status", process.wait(timeout=60))
            finally:
                process.kill()


if __name__ == "__main__":
    main()
