"""A critic beside its model file: written at export, and given to a run that starts from the file."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import TINY, Run, assert_error

torch = pytest.importorskip("torch")

from safetensors.torch import load_file

from train import checkpoint, critics
from train.errors import CheckpointError, ConfigError

LIMITS = ("--steps", "1", "--threads", "1", "--device", "cpu")


@pytest.fixture
def exported(tiny_run: Path, tmp_path: Path, train: Run) -> tuple[Path, Path]:
    """A model file and its critic."""
    model, critic = tmp_path / "tiny.onnx", tmp_path / "tiny-critic.safetensors"
    done = train("export", tiny_run, "--out", model, "--critic", critic)
    assert done.returncode == 0, done.stderr.decode()
    assert b"tiny-critic.safetensors: 0.0 MB, the critic" in done.stderr
    return model, critic


def critic_of(run: Path) -> dict[str, torch.Tensor]:
    """The critic's weights in a run's checkpoint."""
    saved = load_file(run / checkpoint.NAME)
    return {name.removeprefix("critic."): value for name, value in saved.items() if name.startswith("critic.")}


def test_a_run_from_a_model_file_goes_on_with_its_critic(
    exported: tuple[Path, Path], tiny_run: Path, tiny_data: Path, tmp_path: Path, train: Run
) -> None:
    model, critic = exported
    for name, given in (("with", ("--critic", critic)), ("without", ())):
        # So small a rate that one step leaves the weights where they were.
        still = ("--set", "critic_optimiser.lr=1e-9", "--set", "seed=7")
        start = ("fit", "--from", model, *given, *TINY, *still)
        done = train(*start, *LIMITS, "--data", tiny_data, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr.decode()
    trained, found, other = (critic_of(run) for run in (tiny_run, tmp_path / "with", tmp_path / "without"))
    assert trained.keys() == found.keys()
    for name, value in trained.items():
        torch.testing.assert_close(found[name], value, rtol=2**-10, atol=1e-6)  # fp16 keeps 11 bits
    assert any((other[name] - value).abs().max() > 0.01 for name, value in trained.items())


def test_the_card_says_where_it_comes_from(exported: tuple[Path, Path], tiny_run: Path) -> None:
    card = critics.read_card(exported[1])
    saved = checkpoint.read_card(tiny_run / checkpoint.NAME)
    assert (card.step, card.images_seen, card.config) == (saved.step, saved.images_seen, saved.config)


def test_another_critic_is_refused(exported: tuple[Path, Path], tiny_data: Path, tmp_path: Path, train: Run) -> None:
    model, critic = exported
    start = ("fit", "--from", model, "--critic", critic, *TINY, "--set", "critic.width=6", "--set", "critic.slope=0.1")
    done = train(*start, *LIMITS, "--data", tiny_data, "--out", tmp_path / "run")
    assert_error(done, 1, "another critic", "critic.width: 4 → 6", "critic.slope: 0.2 → 0.1", "--set")
    assert not (tmp_path / "run").exists()


def test_what_is_no_critic_s_file_is_refused(
    exported: tuple[Path, Path], tiny_run: Path, tiny_data: Path, tmp_path: Path, train: Run
) -> None:
    model, critic = exported
    start = ("fit", *TINY, *LIMITS, "--data", tiny_data, "--out", tmp_path / "run")
    assert_error(train(*start, "--critic", critic), 2, "--critic goes with --from")
    assert_error(train(*start, "--from", tiny_run, "--critic", critic), 2, "--critic goes with --from")
    for wrong in (model, tiny_run / checkpoint.NAME, tmp_path / "missing.safetensors"):
        assert_error(train(*start, "--from", model, "--critic", wrong), 1, "holds no critic", "export --critic")
    with pytest.raises(ConfigError, match=r"ends in \.safetensors"):
        critics.write(tiny_run, tmp_path / "critic.onnx")
    with pytest.raises(CheckpointError):
        critics.write(tmp_path, tmp_path / "critic.safetensors")
    assert not (tmp_path / "critic.safetensors").exists()
