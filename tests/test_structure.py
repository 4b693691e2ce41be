"""The house rules that imports can break."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT


def imports_of(path: Path) -> set[str]:
    """The dotted names that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports_of(path)}


PRODUCT = sorted((ROOT / "animegen").rglob("*.py"))


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_product_never_imports_the_forge(path: Path) -> None:
    allowed = {"onnx"} if path.name == "half.py" else set()  # rewrites a graph, on request only
    assert not tops(path) & {"torch", "torchvision", "train", "onnx", "safetensors"} - allowed


def test_only_runtime_imports_onnxruntime() -> None:
    importers = {path.relative_to(ROOT / "animegen").parts[0] for path in PRODUCT if "onnxruntime" in tops(path)}
    assert importers == {"runtime"}


@pytest.mark.parametrize("room", ["latents", "images", "sources", "pictures", "files", "errors"])
def test_rooms_of_arrays_do_not_know_the_generator(room: str) -> None:
    wanted = imports_of(ROOT / "animegen" / f"{room}.py")
    assert not any(name.startswith(("animegen.generator", "animegen.runtime", "animegen.cli")) for name in wanted)


@pytest.mark.parametrize("path", sorted((ROOT / "animegen" / "quality").glob("*.py")), ids=lambda path: path.name)
def test_measures_do_not_know_the_generator(path: Path) -> None:
    above = ("animegen.generator", "animegen.referee", "animegen.evaluation", "animegen.search", "animegen.cli")
    assert not any(name.startswith(above) for name in imports_of(path))


def test_the_library_does_not_know_its_command_line() -> None:
    rooms = [path for path in (ROOT / "animegen").glob("*.py") if path.name not in {"__main__.py", "console.py"}]
    assert not any(name.startswith(("click", "animegen.cli")) for path in rooms for name in imports_of(path))


@pytest.mark.parametrize("command", ["--help", "--version", "sample --help", "import"])
def test_starting_is_light(command: str) -> None:
    start = (
        "import animegen" if command == "import" else f"sys.argv[1:] = {command.split()}; from animegen.cli import main"
    )
    call = "" if command == "import" else "main(prog_name='animegen', standalone_mode=False)"
    script = (
        f"import sys, json; {start}\ntry:\n  {call or 'pass'}\nexcept SystemExit: pass\n"
        "print(json.dumps(list(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout.splitlines()[-1]))
    assert "animegen" in loaded
    assert not loaded & {"numpy", "onnxruntime", "torch", "PIL", "rich", "onnx"}


def test_the_command_starts_with_the_oldest_click() -> None:
    """Up to click 8.3 `click.ParamType[…]` is a TypeError; what can't be subscripted there must not be here."""
    script = (
        "import click\n"
        "def refuse(cls, item): raise TypeError(f'type {cls.__name__!r} is not subscriptable')\n"
        "click.ParamType.__class_getitem__ = classmethod(refuse)\n"
        "from animegen.cli import main\n"
        "main(['--version'], prog_name='animegen')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
