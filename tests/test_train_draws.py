"""What a step draws: pure functions of the configuration and the step's number."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from train.config import Config, load_config
from train.objective.losses import OBJECTIVES
from train.step import draws
from train.step.pixels import to_uint8
from train.step.real_images import RealImages

Step = Callable[[Config, int, int], draws.Arrays]

IMAGES = 50
SMALL = ["size=16", "batch_size=8", "generator.z_dim=6", "flip=false"]


def config(*settings: str, preset: str = "wgan-gp-64") -> Config:
    return load_config(preset, [*SMALL, *settings])


def rows(config: Config, steps: range) -> list[int]:
    return [int(row) for k in steps for row in draws.real_images(config, k, IMAGES)["rows"]]


def test_the_arrays_are_those_of_the_table() -> None:
    full = config("augment=['color', 'translation', 'cutout']", "label_noise=0.5", preset="dcgan-anime64")
    shapes = {
        "rows": ("int64", (8,)),
        "mirrored": ("bool", (8,)),
        "z": ("float32", (8, 6)),
        "epsilon": ("float32", (8,)),
        "sign.real": ("float32", (8,)),
        "sign.fake": ("float32", (8,)),
    }
    for side in ("real", "fake"):
        shapes |= {f"{side}.color": ("float32", (8, 3))}
        shapes |= {f"{side}.{name}": ("int64", (8, 2)) for name in ("translation", "cutout")}
    arrays = draws.critic_step(full, 3, IMAGES)
    assert {name: (str(values.dtype), values.shape) for name, values in arrays.items()} == shapes
    assert draws.critic_step(config(), 0, IMAGES).keys() == {"rows", "mirrored", "z", "epsilon"}


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_relativistic_generator_sees_the_round_s_last_real_images(objective: str) -> None:
    tested = config(f"objective='{objective}'", "n_critic=3", "n_generator=2", "flip=true")
    for k in range(6):
        arrays = draws.generator_step(tested, k, IMAGES)
        if not OBJECTIVES[tested.objective].relativistic:
            assert arrays.keys() == {"z"}
            continue
        last = draws.critic_step(tested, 3 * (k // 2) + 2, IMAGES)
        for name in ("rows", "mirrored"):
            np.testing.assert_array_equal(arrays[name], last[name])


@pytest.mark.parametrize("step", [draws.critic_step, draws.generator_step])
def test_a_step_draws_the_same_in_any_order_and_like_no_other(step: Step) -> None:
    tested = config("augment=['color', 'cutout']", "label_noise=0.5", "flip=true", preset="dcgan-anime64")
    forwards = [step(tested, k, IMAGES) for k in range(20)]
    for k in reversed(range(20)):
        again = step(tested, k, IMAGES)
        assert again.keys() == forwards[k].keys()
        for name, values in again.items():
            np.testing.assert_array_equal(values, forwards[k][name])
    latents = {arrays["z"].tobytes() for arrays in forwards}
    latents |= {step(config("seed=1"), k, IMAGES)["z"].tobytes() for k in range(20)}
    assert len(latents) == 40


def test_no_two_draws_share_their_numbers() -> None:
    # A stream that served twice would tie what has to be independent.
    tested = config("augment=['color']")
    critic, generator = (step(tested, 4, IMAGES) for step in (draws.critic_step, draws.generator_step))
    assert not np.array_equal(critic["z"], generator["z"])
    colours = [critic["real.color"], critic["fake.color"], generator["fake.color"]]
    assert len({values.tobytes() for values in colours}) == 3


def test_an_epoch_shows_every_image_once() -> None:
    order = rows(config(), range(25))  # 200 images: 4 epochs
    epochs = [order[start : start + IMAGES] for start in range(0, 200, IMAGES)]
    assert [sorted(epoch) for epoch in epochs] == 4 * [list(range(IMAGES))]
    assert epochs[0] != epochs[1]
    assert order != rows(config("seed=1"), range(25))


def test_a_batch_as_large_as_several_epochs() -> None:
    order = draws.real_images(config("batch_size=8"), 0, 3)["rows"]
    assert sorted(order[:3]) == sorted(order[3:6]) == [0, 1, 2]


def test_a_batch_can_be_repeated() -> None:
    tested = config("batch_repeats=3")
    batches = [rows(tested, range(k, k + 1)) for k in range(7)]
    assert batches[0] == batches[1] == batches[2] != batches[3]
    assert batches[3] == batches[5] != batches[6]


def test_half_of_the_images_are_mirrored() -> None:
    mirrored, plain = (
        np.stack([draws.real_images(config(f"flip={flip}"), k, IMAGES)["mirrored"] for k in range(125)])
        for flip in ("true", "false")
    )
    assert mirrored.mean() == pytest.approx(0.5, abs=0.1)
    assert not plain.any()


def test_the_real_images_are_those_of_the_rows_some_mirrored() -> None:
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 4, 5, 3), np.uint8)
    real_images = RealImages(images, 8, torch.device("cpu"), resident=False)
    arrays = draws.critic_step(config("flip=true"), 0, IMAGES)
    inputs = {name: torch.from_numpy(values) for name, values in real_images.load(arrays).items()}
    shown = to_uint8(real_images.images(inputs))
    for row, mirrored, image in zip(arrays["rows"], arrays["mirrored"], shown, strict=True):
        np.testing.assert_array_equal(image, images[row, :, ::-1] if mirrored else images[row])
    assert inputs.keys() == {"real", "z", "epsilon"}
    latents = {"z": arrays["z"]}
    assert real_images.load(latents) is latents


def test_images_that_lie_on_the_gpu_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, 4, 5, 3), np.uint8)
    arrays = draws.real_images(config("flip=true"), 0, IMAGES)
    batches = []
    for room in (None, 4 * images.nbytes, 4 * images.nbytes - 1):  # read for each batch; just small enough; too large
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device, room=room: (room, room))
        real_images = RealImages(images, 8, torch.device("cpu"), resident=room is not None)
        loaded = real_images.load(arrays)
        assert ("rows" in loaded) == (room == 4 * images.nbytes)
        batches.append(real_images.images({name: torch.from_numpy(values) for name, values in loaded.items()}))
    assert torch.equal(batches[0], batches[1])
    assert torch.equal(batches[0], batches[2])


def test_labels_are_flipped_in_their_share() -> None:
    tested = config("label_noise=0.25", "batch_size=50", preset="dcgan-anime64")
    steps = [draws.critic_step(tested, k, IMAGES) for k in range(40)]
    signs = np.stack([arrays[f"sign.{side}"] for arrays in steps for side in ("real", "fake")])
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert (signs < 0).mean() == pytest.approx(0.25, abs=0.03)


def test_a_run_of_an_earlier_version_draws_what_it_drew() -> None:
    # As drawn at commit 86d8b6a: a run that was started then resumes with the same numbers.
    settings = ("flip=true", "label_noise=0.5", "augment=['color']")
    tested = config(*settings, preset="dcgan-anime64")
    critic, generator = (step(tested, 7, IMAGES) for step in (draws.critic_step, draws.generator_step))
    assert list(critic["rows"]) == [19, 6, 30, 26, 4, 36, 2, 40]
    assert list(np.flatnonzero(critic["mirrored"])) == [4, 5, 6]
    assert list(critic["z"][0, :3]) == pytest.approx([-1.75269556, -0.86436540, 1.06138134])
    assert list(critic["epsilon"][:3]) == pytest.approx([0.95337141, 0.69654208, 0.50360078])
    assert list(critic["sign.real"]) == [1, -1] * 4
    assert list(critic["fake.color"][0]) == pytest.approx([0.25307623, 1.49260616, 0.94868076])
    assert list(generator["z"][0, :3]) == pytest.approx([-0.07356513, 0.27742976, -1.89877784])
    assert list(generator["fake.color"][0]) == pytest.approx([0.17121308, 1.39482403, 0.92560452])
