"""What the forge's commands have in common: help, examples that can be typed, and a quick answer without torch."""

from __future__ import annotations

import shlex
import subprocess
import sys

import click
import pytest
from conftest import ROOT, Run

pytest.importorskip("msgspec")

from train.cli import main

START = "python -m train "


def examples(command: click.Command) -> list[list[str]]:
    """The command lines that its help shows after "Example:", as words, without the program."""
    assert command.help
    _, _, shown = command.help.replace("\\\n", " ").partition("Example:")
    lines = [line.strip() for line in shown.splitlines()]
    return [shlex.split(line.removeprefix(START)) for line in lines if line.startswith(START)]


@pytest.mark.parametrize("name", main.commands)
def test_every_command_s_help_has_an_example_that_it_takes(train: Run, name: str) -> None:
    command = main.commands[name]
    shown = examples(command)
    assert shown
    for first, *arguments in shown:
        assert first == name
        command.make_context(name, arguments)  # a wrong option, or one that is missing, is a UsageError
    done = train(name, "--help")
    assert done.returncode == 0
    assert f"Example: {START}{name}" in done.stdout.decode()


def test_help_presets_and_wrong_input_need_no_torch() -> None:
    script = """
import sys
from train.cli import main

def call(*arguments):
    try:
        main(arguments, prog_name="python -m train", standalone_mode=False)
    except SystemExit:
        pass

call("--help")
call("presets")
for name in main.commands:
    call(name, "--help")
new = ("--data", "d", "--out", "o")
call("fit", "--preset", "no-such", *new)
call("fit", "--preset", "wgan-gp-64", "--set", "lambda_gp=x", *new)
call("compare", "--presets", "wgan-gp-64,no-such", *new)
print(sorted({"torch", "onnx", "matplotlib", "onnxruntime"} & sys.modules.keys()), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=True
    )
    errors, loaded = done.stderr.splitlines()[:-1], done.stderr.splitlines()[-1]
    assert loaded == "[]"
    assert [line.startswith("error: ") for line in errors] == [True] * 3
    assert "no-such" in errors[0]
    assert "lambda_gp" in errors[1]
    assert "wgan-gp-64 " in done.stdout


def test_the_help_of_the_tagger_says_how_its_table_begins(train: Run) -> None:
    said = " ".join(train("tagger", "--help").stdout.decode().split())
    assert "The table begins with the line file, a tab, tags." in said
