"""OpenVINO beside ONNX Runtime: the same file, the same seeds, and `auto` between them."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Run, assert_error

from animegen import Generator, ModelError, UsageError, latents
from animegen.labels import Label
from animegen.runtime import Session, engines

pytest.importorskip("openvino", reason="the openvino extra is not installed")

SHIPPED = ("anime-face-64", "anime-pixels-64", "cifar-32", "mnist-28")


@pytest.fixture(params=SHIPPED)
def both(request: pytest.FixtureRequest) -> tuple[Generator, Generator]:
    """A shipped model by ONNX Runtime and by OpenVINO."""
    return Generator.load(request.param, device="cpu"), Generator.load(request.param, engine="openvino")


def test_a_seed_s_image_is_the_same_by_both_but_for_a_grey_level(both: tuple[Generator, Generator]) -> None:
    expected, found = (generator.sample(48).astype(int) for generator in both)
    assert (both[1].engine, both[1].device) == ("openvino", "cpu")
    assert both[1].device_reason == "where the engine openvino runs"
    apart = np.abs(expected - found)
    assert apart.max() <= 1
    assert (apart == 0).mean() >= 0.999


def test_within_openvino_a_batch_changes_no_byte(both: tuple[Generator, Generator]) -> None:
    generator = both[1]
    expected = generator.sample(21)
    for size in (1, 4, 7):
        np.testing.assert_array_equal(generator.sample(21, batch_size=size), expected)
    generator.warm_up()  # a call that comes alone has a graph of all threads from now on
    np.testing.assert_array_equal([generator.image(seed) for seed in range(5)], expected[:5])


def test_labels_reach_it(conditional_model: Path) -> None:
    wanted: dict[str, Label] = {"hair": "red", "eyes": {"green": 0.5, "grey": 0.5}}
    with Generator.load(conditional_model, engine="openvino") as found, Generator.load(conditional_model) as expected:
        apart = found.sample(9, labels=wanted).astype(int) - expected.sample(9, labels=wanted)
    assert np.abs(apart).max() <= 1


def test_a_copy_keeps_the_engine(tiny_model: Path) -> None:
    with Generator.load(tiny_model, engine="openvino") as generator:
        assert pickle.loads(pickle.dumps(generator)).engine == "openvino"  # noqa: S301 (our own bytes)


def test_what_it_cannot_load_or_run_is_said_in_one_line(tiny_model: Path) -> None:
    with pytest.raises(UsageError, match="device is cuda and must be cpu for the engine openvino"):
        Session(tiny_model, device="cuda", engine="openvino")
    with pytest.raises(UsageError, match="engine is 'tvm' and must be one of auto, onnxruntime, openvino"):
        Session(tiny_model, engine="tvm")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="failed to run"):
        Session(tiny_model, engine="openvino").run({"z": np.zeros((1, 3), np.float32)})


@pytest.mark.parametrize(("times", "engine"), [((2.0, 1.0), "openvino"), ((1.0, 2.0), "onnxruntime")])
def test_auto_takes_the_faster_one_for_a_long_job(
    times: tuple[float, float], engine: str, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = list(times)
    monkeypatch.setattr(engines.Graphs, "seconds", lambda *_: left.pop(0))
    session = Session(tiny_model, device="cpu", engine="auto", images=1_000_000)
    assert session.engine == engine
    assert session.engine_why == f"openvino is {times[0] / times[1]:.2f} times as fast on the first batches"
    z = {"z": latents.from_seeds([5], 8)}
    np.testing.assert_allclose(session.run(z)[0].astype(int), Session(tiny_model).run(z)[0], atol=1)


def test_auto_tries_nothing_for_a_short_job(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("something was tried")

    monkeypatch.setattr(engines, "OpenVinoGraph", refused)
    monkeypatch.setattr(engines.Graphs, "seconds", refused)
    for images in (0, 64):
        session = Session(tiny_model, device="cpu", engine="auto", images=images)
        assert (session.engine, session.engine_why) == ("onnxruntime", "")


def test_auto_goes_on_where_openvino_fails(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("Check 'false' failed at src/core.cpp:1\nno such operator")

    monkeypatch.setattr(engines, "OpenVinoGraph", broken)
    session = Session(tiny_model, device="cpu", engine="auto", images=10**12)
    assert session.engine == "onnxruntime"
    assert session.engine_why == "openvino was tried, and fails on this model (RuntimeError)"
    with pytest.raises(ModelError, match=r"can't be loaded by OpenVINO: .*; take --engine onnxruntime"):
        Session(tiny_model, engine="openvino")


def test_without_it_the_error_says_what_to_install(
    animegen: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "openvino_installed", lambda: False)
    done = animegen("sample", "--model", tiny_model, "--engine", "openvino")
    assert_error(done, 1, "openvino is not installed", "pip install 'animegen[openvino]'")


def test_a_picture_says_which_engine_made_it(animegen: Run, conditional_model: Path) -> None:
    done = animegen("image", "--model", conditional_model, "--engine", "openvino", "--seed", "3", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["seeds"] == [3]
    assert "--engine openvino" in animegen("info", "image.png").stdout.decode().split("again")[1]
    assert animegen("image", "--model", conditional_model, "--seed", "3").returncode == 0
    assert "--engine" not in animegen("info", "image.png").stdout.decode()


def test_the_rest_of_a_folder_may_come_from_another_engine(animegen: Run, tiny_model: Path) -> None:
    made = ("sample", "--model", tiny_model, "--out", "faces/", "--json")
    assert animegen(*made, "--n", "3", "--engine", "openvino").returncode == 0
    done = animegen(*made, "--n", "5", "--engine", "onnxruntime", "--skip-existing")
    assert json.loads(done.stdout)["images"] == 2
