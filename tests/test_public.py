"""The public interface: what `animegen` offers, and that it costs nothing until it is used."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest

import animegen


def names_for_type_checkers() -> set[str]:
    """What the package imports under TYPE_CHECKING."""
    (block,) = (
        node
        for node in ast.parse(Path(animegen.__file__).read_text(encoding="utf-8")).body
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    )
    return {alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}


def test_exported_members() -> None:
    assert animegen.__all__ == sorted(animegen.__all__, key=str.casefold)
    assert set(animegen.__all__) == names_for_type_checkers() | {"__version__"}
    assert set(animegen.__all__) <= set(dir(animegen))


@pytest.mark.parametrize("name", [name for name in animegen.__all__ if name != "__version__"])
def test_every_name_says_what_it_is(name: str) -> None:
    public = getattr(animegen, name)
    assert public.__name__.rpartition(".")[2] == name
    # A dataclass without a docstring has its signature as one.
    assert inspect.getdoc(public)
    assert not inspect.getdoc(public).startswith(f"{name}(")  # type: ignore[union-attr]


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'animegen' has no attribute 'generate'"):
        animegen.generate  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        from animegen import generate  # type: ignore[attr-defined]  # noqa: F401


def modules_after(program: str) -> set[str]:
    """The modules that a fresh interpreter holds at the end of a program."""
    script = f"import json, sys\n{program}\nprint(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def test_a_name_is_imported_when_it_is_first_used() -> None:
    heavy = {"numpy", "onnxruntime", "PIL", "animegen.generator"}
    light = "import animegen; dir(animegen); animegen.Seeds; animegen.UsageError; animegen.report_progress"
    assert not modules_after(light) & heavy
    assert modules_after("from animegen import Generator") & heavy == heavy - {"onnxruntime"}
