"""Numbers that no command can work with are refused before any work, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from conftest import Run, assert_error

from animegen import UsageError
from animegen.cli import main
from animegen.cli.options import Finite
from animegen.runtime import Session
from animegen.runtime.machine import most_threads


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


def test_threads_have_one_bound(animegen: Run, train: Run, tiny_model: Path) -> None:
    most = most_threads()
    for command, option in numbers(main, click.types.IntParamType):
        if option == "--threads":
            done = animegen(command, *REST.get(command, ()), option, most + 1)
            assert_error(done, 2, option, f"1<=x<={most}")
    assert_error(train("fit", *REST["fit"], "--threads", most + 1), 2, f"1<=x<={most}")
    with pytest.raises(UsageError, match=f"threads is {most + 1} and must be from 1 to {most}"):
        Session(tiny_model, device="cpu", threads=most + 1)
