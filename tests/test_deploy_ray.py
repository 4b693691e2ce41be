"""Ray: the same pictures and the same server as without it, on a cluster of this machine alone.

The clusters are processes of their own: Ray's warnings are its own, and here a warning is an error.
"""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import COMMAND, ROOT, Run, assert_error, run
from PIL import Image

from animegen import DeviceError, Generator, OutputError, UsageError
from animegen.deploy import ray as deploy
from animegen.deploy.ray.cluster import room
from animegen.deploy.ray.many import _error, _worker
from animegen.deploy.ray.serving import _read
from animegen.seeds import Seeds

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray isn't installed: the extra ray")
needs_fastapi = pytest.mark.skipif(importlib.util.find_spec("fastapi") is None, reason="the extra serve isn't there")


@pytest.fixture
def alone(tmp_path: Path) -> dict[str, str]:
    """An environment with a home and a folder for temporary files that nobody else uses."""
    home, temporary = tmp_path / "home", tmp_path / "t"
    home.mkdir()
    temporary.mkdir()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return {**clean, "HOME": str(home), "OMP_NUM_THREADS": "1"}


def pictures(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@needs_ray
@pytest.mark.slow
def test_many_images_are_the_files_of_sample(
    animegen: Run, conditional_model: Path, alone: dict[str, str], tmp_path: Path
) -> None:
    """Two workers on two CPUs, of a model that they are sent; what is there already is kept."""
    said = ("--model", conditional_model, "--label", "hair=blue", "--truncation", "0.8")
    assert animegen("sample", "--n", "40", *said, "--out", "expected/").returncode == 0
    assert animegen("sample", "--n", "3", *said, "--out", "faces/").returncode == 0
    command = (COMMAND, "ray", "sample", "--n", "40", *said, "--out", "faces/", "--skip-existing", "--json")
    done = run(*command, "--cpus", "2", "--workers", "2", cwd=tmp_path, env=alone)
    assert done.returncode == 0, done.stderr.decode()
    facts = json.loads(done.stdout)
    assert (facts["images"], facts["asked"], facts["model"], facts["stopped"]) == (37, 40, "faces", False)
    assert pictures(tmp_path / "faces") == pictures(tmp_path / "expected")
    assert list((tmp_path / "home").iterdir()) == []  # Ray's own default is to leave a token there


@needs_ray
@needs_fastapi
@pytest.mark.slow
def test_the_same_server_in_a_replica(conditional_model: Path, alone: dict[str, str], tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [COMMAND, "ray", "serve", "--model", f"mine={conditional_model}", "--port", port, "--v2", "--cpus", "2"]
    with subprocess.Popen(
        [str(word) for word in command], stderr=subprocess.PIPE, cwd=tmp_path, env=alone, text=True
    ) as process:
        assert process.stderr is not None
        patience = threading.Timer(120, process.kill)
        patience.start()
        said = []
        try:
            for line in process.stderr:
                said.append(line)
                if line.startswith("serving at "):
                    break
            assert process.poll() is None, "".join(said)
            with urllib.request.urlopen(
                f"http://127.0.0.1:{port}/v1/images/7.png?label=hair%3Dblue", timeout=60
            ) as answer:
                headers, picture = answer.headers, np.asarray(Image.open(BytesIO(answer.read())))
            assert headers["etag"]
            assert headers["cross-origin-opener-policy"] == "same-origin"
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/models/mine", timeout=60) as answer:
                assert [tensor["name"] for tensor in json.load(answer)["inputs"]] == ["z", "labels"]
        finally:
            process.send_signal(signal.SIGTERM)
            _, rest = process.communicate()
            patience.cancel()
    assert process.returncode == 0, "".join(said) + rest
    assert rest.splitlines()[-1] == "stopped"
    assert list((tmp_path / "home").iterdir()) == []
    with Generator.load(conditional_model, device="cpu") as generator:
        np.testing.assert_array_equal(picture, generator.image(7, labels={"hair": "blue"}))


def recipe(model: Path, folder: Path, **changes: Any) -> deploy.Recipe:
    return deploy.Recipe(model=model, seeds=Seeds.starting(5, 9), folder=folder, **changes)


def rows(start: int, stop: int) -> dict[str, Any]:
    """A batch as Ray Data gives it."""
    return {"start": np.array([start]), "stop": np.array([stop])}


def test_a_worker_draws_its_part(tiny_model: Path, tmp_path: Path) -> None:
    there = recipe(tiny_model, tmp_path / "faces")
    there.check()
    worker = _worker(there, tmp_path, str(tiny_model))()
    assert worker(rows(2, 4)) == {"seeds": [2], "made": [2], "kind": [""], "error": [""]}
    assert sorted(pictures(tmp_path / "faces")) == ["seed00000007.png", "seed00000008.png"]
    with pytest.raises(OutputError, match=r"seed00000007\.png is there already"):
        there.check()


def test_a_worker_s_errors_come_back_in_one_line(tiny_model: Path, tmp_path: Path) -> None:
    gone = _worker(recipe(tiny_model, tmp_path / "faces"), tmp_path / "mark", str(tiny_model))()(rows(0, 1))
    assert (gone["made"], gone["kind"]) == ([0], ["OutputError"])
    assert "is another folder than here and must be the same on all machines" in gone["error"][0]
    described = recipe(tiny_model, tmp_path / "faces", existing="skip", metadata=lambda seed: {"seed": seed})
    assert _worker(described, tmp_path, str(tiny_model))()(rows(0, 2))["made"] == [2]
    other = recipe(tiny_model, tmp_path / "faces", existing="skip", metadata=lambda _: {"seed": -1})
    row = _worker(other, tmp_path, str(tiny_model))()(rows(0, 2))
    error = _error(row["kind"][0], row["error"][0])
    assert isinstance(error, OutputError)
    assert "was made otherwise (seed is 5 and would be -1)" in str(error)


def test_what_is_refused_before_a_cluster_starts(animegen: Run, conditional_model: Path, tmp_path: Path) -> None:
    def refused(*options: str) -> Any:
        return animegen("ray", "sample", "--model", conditional_model, "--n", "2", *options)

    assert_error(refused("--out", "faces.zip"), 2, "faces.zip is written by one process and must be a folder")
    assert_error(refused("--out", "-"), 2, "must be a folder")
    assert_error(refused("--out", "faces/", "--force", "--skip-existing"), 2, "take one of them")
    assert_error(refused("--out", "faces/", "--label", "hair=green"), 2, "green")
    assert_error(refused("--out", "no/faces/"), 1, "is not a folder")
    animegen("sample", "--model", conditional_model, "--n", "1", "--out", "faces/")
    assert_error(refused("--out", "faces/"), 1, "seed00000000.png is there already")
    assert_error(animegen("ray", "serve", "--model", "mine=no.onnx"), 1, "no model 'no.onnx'")
    assert_error(animegen("ray", "serve", "--least", "3", "--most", "2"), 2, "3 replicas at least and 2 at most")


def test_room_is_counted_machine_by_machine() -> None:
    machines = [{"Alive": True, "Resources": {"CPU": 3.0, "GPU": 1.0}}, {"Alive": True, "Resources": {"CPU": 2.0}}]
    dead = {"Alive": False, "Resources": {"CPU": 64.0}}
    ray = SimpleNamespace(nodes=lambda: [*machines, dead])
    assert [room(ray, cpus=cpus, gpus=0) for cpus in (1, 2, 3)] == [5, 2, 1]
    assert room(ray, cpus=1, gpus=1) == 1
    with pytest.raises(DeviceError, match="has room for 0 processes of 4 CPUs each and must have it for 1"):
        room(ray, cpus=4, gpus=0)
    with pytest.raises(DeviceError, match="room for 1 processes of 1 CPUs and 1 GPU each and must have it for 2"):
        room(ray, cpus=1, gpus=1, least=2)


def test_without_ray_it_says_what_to_install(animegen: Run, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_USAGE_STATS_ENABLED", "RAY_BACKEND_LOG_LEVEL"):
        monkeypatch.setenv(name, "")  # so that what the command sets is undone
        monkeypatch.delenv(name)
    done = animegen("ray", "sample", "--model", tiny_model, "--out", "faces/")
    assert_error(done, 1, "Ray isn't installed: pip install 'animegen[ray]'")
    assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
    assert len(os.environ["RAY_AUTH_TOKEN"]) == 64


@needs_ray
def test_ray_serve_takes_its_file(alone: dict[str, str]) -> None:
    script = (
        "import sys, yaml\n"
        "from ray.serve.schema import ServeDeploySchema\n"
        "from animegen.deploy.ray import application\n"
        "(app,) = ServeDeploySchema.model_validate(yaml.safe_load(open(sys.argv[1]))).applications\n"
        "assert app.import_path == 'animegen.deploy.ray:application'\n"
        "deployment = application(app.args)._bound_deployment\n"
        "assert deployment.ray_actor_options == {'num_cpus': 2, 'num_gpus': 0}, deployment.ray_actor_options\n"
        "assert deployment.max_ongoing_requests == 128\n"
    )
    done = run(sys.executable, "-c", script, ROOT / "docs" / "deploy" / "ray-serve.yaml", env=alone)
    assert done.returncode == 0, done.stderr.decode()


@needs_ray
def test_a_cluster_that_is_not_there(tiny_model: Path, alone: dict[str, str], tmp_path: Path) -> None:
    command = (COMMAND, "ray", "sample", "--model", tiny_model, "--out", "faces/", "--address", "127.0.0.1:1")
    done = run(*command, cwd=tmp_path, env=alone)
    assert_error(done, 1, "127.0.0.1:1 is no Ray cluster in reach: [Errno")


def test_a_service_from_the_texts_of_a_file() -> None:
    service = _read({"models": "anime-face-64,mine=/shared/mine.onnx", "most": "3", "v2": "true", "device": "cuda"})
    assert service == deploy.Service(
        models={"anime-face-64": "anime-face-64", "mine": "/shared/mine.onnx"}, most=3, v2=True, device="cuda"
    )
    with pytest.raises(UsageError, match="has no argument model and has models, device"):
        _read({"model": "x"})
    with pytest.raises(UsageError, match="most is 'many' and must be a whole number"):
        _read({"most": "many"})
