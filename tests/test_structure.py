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

# The order of each package's wings: data flows one way, so a wing imports only itself and those before it.
WINGS = {
    "animegen": (
        *("errors", "files", "progress", "seeds", "latents", "labels", "points", "runtime", "images", "model"),
        *("generator", "quality", "checks", "server", "deploy", "cli"),
    ),
    "train": (
        *("errors", "rules", "config", "data", "networks", "objective", "step", "run", "export", "extractors"),
        *("report", "cli"),
    ),
}
ENTRANCES = {"__init__", "__main__"}


@pytest.mark.parametrize("package", WINGS)
def test_every_room_is_in_a_wing(package: str) -> None:
    rooms = {path.relative_to(ROOT / package).parts[0].removesuffix(".py") for path in (ROOT / package).rglob("*.py")}
    assert rooms - ENTRANCES == set(WINGS[package])


@pytest.mark.parametrize("package", WINGS)
def test_no_wing_imports_one_above_it(package: str) -> None:
    order = WINGS[package]
    upwards = []
    for path in sorted((ROOT / package).rglob("*.py")):
        own = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        if own in ENTRANCES:
            continue
        wanted = {name.split(".")[1] for name in imports_of(path) if name.startswith(f"{package}.")}
        upwards += [(str(path.relative_to(ROOT)), wing) for wing in wanted & set(order[order.index(own) + 1 :])]
    assert not upwards


@pytest.mark.parametrize("path", PRODUCT, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_product_never_imports_the_forge(path: Path) -> None:
    allowed = {"onnx"} if path.name == "rewrite.py" else set()  # rewrites a graph, on request only
    assert not tops(path) & {"torch", "torchvision", "train", "onnx", "safetensors"} - allowed


def test_only_runtime_imports_onnxruntime() -> None:
    importers = {path.relative_to(ROOT / "animegen").parts[0] for path in PRODUCT if "onnxruntime" in tops(path)}
    assert importers == {"runtime"}


def test_the_library_does_not_know_its_command_line() -> None:
    importers = {path.relative_to(ROOT / "animegen").parts[0] for path in PRODUCT if tops(path) & {"click", "rich"}}
    assert importers == {"cli"}


def test_only_the_server_imports_what_serves() -> None:
    serving = {"fastapi", "fastapi_offline", "fpng", "prometheus_client", "starlette", "uvicorn"}
    importers = {path.relative_to(ROOT / "animegen").parts[0] for path in PRODUCT if tops(path) & serving}
    assert importers == {"server"}


@pytest.mark.parametrize("command", ["--help", "--version", "sample --help", "serve --help", "import"])
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
    assert not loaded & {"numpy", "onnxruntime", "torch", "PIL", "rich", "onnx", "fastapi", "uvicorn"}


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
