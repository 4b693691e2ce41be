"""What runs the server elsewhere: the container's steps, the compose file, Prometheus's and Kubernetes's files."""

from __future__ import annotations

import socket
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT

yaml = pytest.importorskip("yaml")

import container

FILES = ROOT / "docs" / "deploy"
SERVER = "animegen:8720"


def read(name: str) -> list[Any]:
    return list(yaml.safe_load_all((FILES / name).read_text(encoding="utf-8")))


@pytest.mark.slow
def test_the_container_s_steps_make_a_server_that_its_own_check_finds_healthy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fastapi")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stage = container.build("cpu", tmp_path, borrow=True)
    assert (stage.packages / "animegen" / "models" / "anime-face-64.onnx").is_file()
    stage.environment |= {"ANIMEGEN_SERVE_PORT": str(port), "ANIMEGEN_SERVE_GRACE": "0"}
    with stage.start(quiet=True) as process:
        try:
            while not stage.is_healthy():
                assert process.poll() is None
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/images/42.png") as answer:
                assert answer.read(4) == b"\x89PNG"
            process.terminate()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("target", ["cpu", "gpu", "train"])
def test_stages_are_read_as_they_stand(target: str) -> None:
    text = container.stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))
    kinds = [line.partition(" ")[0] for line in text[target]]
    assert kinds[0] == "FROM"
    assert ("HEALTHCHECK" in kinds) is (target != "train")
    assert list(text)[-1] == "cpu"  # what is built without --target


def test_the_compose_file() -> None:
    compose_spec = pytest.importorskip("compose_spec")
    text = (FILES / "compose.yaml").read_text(encoding="utf-8")
    compose_spec.PyCompose.from_yaml(text).validate()
    with pytest.raises(ValueError, match="stop_grace"):  # a checker that takes anything would be none
        compose_spec.PyCompose.from_yaml(text.replace("stop_grace_period", "stop_grace"))
    (compose,) = read("compose.yaml")
    server = compose["services"]["animegen"]
    assert (FILES / server["build"]["context"]).resolve() == ROOT.resolve()
    assert server["build"]["target"] == "cpu"
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            assert source in compose["volumes"] or (FILES / source).is_file()


def test_prometheus_reads_the_server_that_compose_names() -> None:
    (config,) = read("prometheus.yml")
    (job,) = config["scrape_configs"]
    assert set(config) == {"global", "scrape_configs"}
    assert job == {
        "job_name": "animegen",
        "metrics_path": "/metrics",
        "static_configs": [{"targets": [SERVER]}],
    }
    (compose,) = read("compose.yaml")
    assert SERVER.partition(":")[0] in compose["services"]
    assert compose["services"]["animegen"]["ports"] == ["127.0.0.1:8720:8720"]


def test_kubernetes_takes_its_file() -> None:
    kubernetes = pytest.importorskip("kubernetes_validate")
    newest = kubernetes.latest_version()
    documents = read("kubernetes.yaml")
    for document in documents:
        kubernetes.validate(document, newest, strict=True)
    deployment, service, scaler, budget = documents
    with pytest.raises(kubernetes.ValidationError):
        kubernetes.validate({**service, "specs": {}}, newest, strict=True)
    pod = deployment["spec"]["template"]
    (server,) = pod["spec"]["containers"]
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    labels = pod["metadata"]["labels"].items()
    for chosen in (deployment["spec"]["selector"]["matchLabels"], service["spec"]["selector"]):
        assert chosen.items() <= labels
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels
    assert service["spec"]["ports"][0]["targetPort"] == server["ports"][0]["name"]


def test_a_pod_has_the_time_to_drain() -> None:
    from animegen.server import Limits

    pod = read("kubernetes.yaml")[0]["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    values = {entry["name"]: entry.get("value") for entry in server["env"]}
    grace, ready = float(values["ANIMEGEN_SERVE_GRACE"]), server["readinessProbe"]
    assert grace > ready["periodSeconds"] * ready["failureThreshold"] + ready["timeoutSeconds"]
    assert pod["terminationGracePeriodSeconds"] > grace + Limits().seconds + 5
    assert {probe: server[probe]["httpGet"]["path"] for probe in server if probe.endswith("Probe")} == {
        "startupProbe": "/readyz",
        "readinessProbe": "/readyz",
        "livenessProbe": "/healthz",
    }
    assert server["resources"]["limits"]["cpu"] == server["resources"]["requests"]["cpu"]


@pytest.mark.parametrize(
    "words",
    [
        read("kubernetes.yaml")[0]["spec"]["template"]["spec"]["containers"][0]["args"],
        *[service["command"] for service in read("compose.yaml")[0]["services"].values() if "command" in service],
    ],
)
def test_the_commands_are_ours(words: list[str]) -> None:
    from animegen.cli import main

    command = main.commands[words[0]]
    context = command.make_context(words[0], words[1:])
    assert context.params["host"] == "0.0.0.0"  # noqa: S104 (a container's own network)
