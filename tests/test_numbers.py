"""Numbers that no command can work with are refused before any work, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from conftest import Run, assert_error

from animegen.cli import main
from animegen.cli.options import Finite


def numbers(group: click.Group, kind: type[Any]) -> list[tuple[str, str]]:
    """Every option of a kind, with its command."""
    return [
        (name, parameter.opts[0])
        for name, command in group.commands.items()
        for parameter in command.params
        if isinstance(parameter.type, kind)
    ]


def forge() -> click.Group:
    pytest.importorskip("torch")
    from train.cli import main as group

    return group


REST = {  # what a command needs besides the option
    "edit": ["--direction", "0"],
    "interpolate": ["--seeds", "1,2"],
    "search": ["--hair", "blue"],
    "fit": ["--preset", "wgan-gp-64", "--data", "none", "--out", "none"],
}


@pytest.mark.parametrize(("command", "option"), numbers(main, click.types.FloatParamType))
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_no_option_takes_what_is_not_finite(animegen: Run, command: str, option: str, value: str) -> None:
    assert_error(animegen(command, *REST.get(command, ()), option, value), 2, option, "must be a finite number")


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999"])
def test_nor_does_one_of_the_forge(train: Run, value: str) -> None:
    options = numbers(forge(), click.types.FloatParamType)
    assert ("fit", "--minutes") in options
    for command, option in options:
        done = train(command, *REST.get(command, ()), option, value)
        assert_error(done, 2, option, "must be a finite number")


def test_there_is_one_type_of_such_numbers() -> None:
    for group in (main, forge()):
        assert not set(numbers(group, click.types.FloatParamType)) - set(numbers(group, Finite))


@pytest.mark.parametrize(("command", "option"), numbers(main, click.types.IntParamType))
def test_no_whole_number_is_too_large_to_be_refused(
    animegen: Run, tiny_model: Path, tmp_path: Path, command: str, option: str
) -> None:
    """Or it does no harm, as a batch that is larger than what is asked for."""
    if option == "--cuda-memory":
        pytest.skip("it holds on CUDA only")
    done = animegen(command, *REST.get(command, ()), option, 10**20)
    assert_error(done, 2)


def test_nor_one_of_the_forge(train: Run) -> None:
    for command, option in numbers(forge(), click.types.IntParamType):
        assert_error(train(command, *REST.get(command, ()), option, 10**20), 2, option)
