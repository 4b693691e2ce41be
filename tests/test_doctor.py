"""`animegen doctor`: what is tried, and what counts as a fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import Run, tiny_card, write_model

from animegen.checks import doctor
from animegen.checks.doctor import Finding, examine
from animegen.model import catalog
from animegen.runtime import wheels


@pytest.fixture
def _models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny default model in place of the shipped one."""
    path = write_model(tmp_path / f"{catalog.DEFAULT}.onnx", tiny_card())
    monkeypatch.setattr(catalog, "shipped_models", lambda: {path.stem: path})


def findings(device: str = "auto") -> dict[str, Finding]:
    return {finding.name: finding for finding in examine(device)}  # type: ignore[arg-type]


@pytest.mark.usefixtures("_models")
def test_a_sound_installation_has_no_faults() -> None:
    found = findings()
    if wheels.has_cuda_build():
        pytest.skip("with a CUDA build the findings depend on the GPU")
    assert [finding for finding in found.values() if finding.state == "fault"] == []
    assert found["session on cpu"].state == "ok"
    assert "then 16 in" in found["session on cpu"].text
    assert found["session on cuda"].state == "absent"
    assert "CPU build" in found["session on cuda"].text
    assert "CPUExecutionProvider" in found["providers"].text
    assert "sha256 " in found["model anime-face-64"].text


@pytest.mark.usefixtures("_models")
def test_cuda_asked_for_and_absent_is_a_fault() -> None:
    cuda = findings("cuda")["session on cuda"]
    assert cuda.state in {"ok", "fault"}
    if cuda.state == "fault":
        assert "cuda was asked for, and " in cuda.text


@pytest.mark.usefixtures("_models")
def test_both_wheels_are_named_as_the_fault_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "installed_wheels", lambda: {"onnxruntime": "1.31.1", "onnxruntime-gpu": "1.31.1"})
    found = findings()["onnx runtime"]
    assert found.state == "fault"
    assert "overwrite each other" in found.text
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in found.text


def test_no_wheel_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wheels, "installed_wheels", dict)
    found = findings()
    assert found["onnx runtime"].state == "fault"
    assert "animegen[cpu]" in found["onnx runtime"].text
    assert "session on cpu" not in found


INSTALL = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
INSTALL_DRIVER = "install the NVIDIA driver (in a container: run it with --gpus all)"


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        (["libcudnn.so.9"], f"not found: libcudnn.so.9; {INSTALL}"),
        (["libcuda.so.1"], f"not found: libcuda.so.1; {INSTALL_DRIVER}"),  # the driver's: no wheel brings it
        (
            ["libcuda.so.1", "libcudart.so.13"],
            f"not found: libcuda.so.1, libcudart.so.13; {INSTALL_DRIVER}, and {INSTALL}",
        ),
    ],
)
@pytest.mark.usefixtures("_models")
def test_missing_cuda_libraries_bring_what_installs_them(
    missing: list[str], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wheels, "has_cuda_build", lambda: True)
    monkeypatch.setattr(wheels, "missing_cuda_libraries", lambda: missing)
    assert findings()["cuda libraries"] == Finding("cuda libraries", "fault", text)


def test_a_damaged_model_is_a_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"{catalog.DEFAULT}.onnx"
    path.write_bytes(b"cut off")
    monkeypatch.setattr(catalog, "shipped_models", lambda: {path.stem: path})
    found = findings()
    assert found["model anime-face-64"].state == found["session on cpu"].state == "fault"
    monkeypatch.setattr(catalog, "shipped_models", dict)
    assert findings()["models"].state == "fault"


def test_libraries_that_are_not_there_do_not_load() -> None:
    assert not wheels.loads("libno-such-library.so.1")


@pytest.mark.usefixtures("_models")
def test_optional_packages_say_what_they_are_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OPTIONAL", {"no-such-package": "nothing"})
    assert findings()["no-such-package"] == Finding("no-such-package", "absent", "not installed; for nothing")


def test_the_command_as_a_process(animegen_process: Run) -> None:
    done = animegen_process("doctor", "--device", "cpu", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == (1 if report["faults"] else 0)
    assert report["findings"]["animegen"]["state"] == report["findings"]["session on cpu"]["state"] == "ok"


@pytest.mark.usefixtures("_models")
def test_the_exit_status_says_whether_there_is_a_fault(animegen: Run) -> None:
    for device in ("cpu", "cuda", "coreml"):
        done = animegen("doctor", "--device", device)
        lines = done.stdout.decode().splitlines()
        assert any(line.startswith("ok      session on cpu: loaded in") for line in lines)
        assert done.returncode == (1 if any(line.startswith("FAULT") for line in lines) else 0)
