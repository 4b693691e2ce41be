"""Measure how many single images a second the server sends, and how long each takes.

    python benchmarks/serve.py --model anime-pixels-64 --clients 1,8,64,256 --seconds 4

It starts `animegen serve` and lets `wrk` ask it on loopback, a new seed in each request, with so many clients for so
many seconds; the client runs on the same cores. Beside it stand `animegen bench` of the same minute, a server in whose
queue only 32 images may wait (full), which must refuse most of what 256 clients ask, an application that calls the
model once for each request (plain), and with `--with ray` the same application behind Ray Serve; `--without` leaves one
out. Any other server of the same addresses that runs already is measured by `--url NAME=http://127.0.0.1:8000`.

Memory is the server's resident set after each row, as its own /metrics tells it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from animegen import Generator
from animegen.checks.bench import machine
from animegen.checks.bench import measure as speed_of

MOST_CLIENTS, MOST_SECONDS = 1024, 60
FULL = 32  # images that may wait where too much is asked
BATCHES = ("animegen_batch_images_count", "animegen_batch_images_sum")
SCRIPT = """
local seed = 0
function init(args) seed = tonumber(args[1]) end
function request()
  seed = seed + 1
  return wrk.format("GET", "/v1/images/" .. seed .. ".png")
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('{"images": %d, "seconds": %f, "refused": %d, "broken": %d, ',
    summary.requests - errors.status, summary.duration / 1e6, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
  io.write(string.format('"p50": %f, "p95": %f, "p99": %f}\\n',
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3))
end
"""


@contextmanager
def running(*command: str) -> Iterator[str]:
    """The address of a server that says on stderr where it listens."""
    with subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            line = ""
            while not (found := re.search(r"http://[\d.]+:\d+", line)):
                line = process.stderr.readline()
                if not line:
                    raise SystemExit(f"{' '.join(command)} did not start")
            yield found[0]
        finally:
            process.terminate()


def ready(address: str) -> None:
    """Wait until it draws."""
    for _ in range(600):
        try:
            with urllib.request.urlopen(f"{address}/v1/images/0.png", timeout=30) as answer:  # noqa: S310
                answer.read()
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{address} draws nothing")


def ask(address: str, clients: int, seconds: float, script: Path) -> dict[str, float]:
    """What so many clients get in so many seconds."""
    first = random.randrange(2**32 - 10**8)  # noqa: S311
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "30s", "-s", str(script), address, "--"]
    done = subprocess.run([*command, str(first)], capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def told(address: str) -> dict[str, float]:
    """What /metrics says of batches, images in them, and memory; nothing where there is no such page."""
    try:
        with urllib.request.urlopen(f"{address}/metrics", timeout=30) as answer:  # noqa: S310
            text = answer.read().decode()
    except OSError:
        return {}
    wanted = r"^(animegen_batch_images_count|animegen_batch_images_sum|process_resident_memory_bytes)\S* (\S+)$"
    return {name: float(value) for name, value in re.findall(wanted, text, re.MULTILINE)}


def bench(generator: Generator, seconds: float) -> float:
    """What `animegen bench --engine onnxruntime` measures at batches of 32: images a second."""
    return speed_of(generator, 32, seconds).images_per_second


def plain(model: str) -> None:
    """Serve as a first web application would: each request calls the model by itself, and Pillow encodes."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    from animegen import encode
    from animegen.server.runner import bind

    generator = Generator.load(model, device="cpu")

    async def image(request: Request) -> Response:
        made = await asyncio.to_thread(generator.image, request.path_params["seed"])
        return Response(encode(made, "PNG"), media_type="image/png")

    listener = bind("127.0.0.1", 0)
    print(f"http://127.0.0.1:{listener.getsockname()[1]}", file=sys.stderr, flush=True)
    app = Starlette(routes=[Route("/v1/images/{seed:int}.png", image)])
    uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False)).run(sockets=[listener])


def measure(name: str, address: str, arguments: argparse.Namespace, script: Path, clients_of_row: list[int]) -> None:
    """Print a row for each number of clients."""
    ready(address)
    generator = Generator.load(arguments.model, device="cpu")
    for clients in clients_of_row:
        raw = bench(generator, 1.5)
        before = told(address)
        got = ask(address, min(clients, MOST_CLIENTS), min(arguments.seconds, MOST_SECONDS), script)
        after = told(address)
        count, images = (after.get(name, 0) - before.get(name, 0) for name in BATCHES)
        memory = after.get("process_resident_memory_bytes")
        speed = got["images"] / got["seconds"]
        share = f"{speed / raw:.0%} of {raw:.0f}"
        batch = f"{images / count:.1f}" if count else "-"
        times = "".join(f"{got[name]:9.1f}" for name in ("p50", "p95", "p99"))
        print(
            f"{name:8}{clients:8}{speed:10.0f}{share:>14}{times}{batch:>8}{f'{memory / 1e6:.0f}' if memory else '-':>6}"
            f"{got['refused']:9.0f}{got['broken']:8.0f}",
            flush=True,
        )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", default="anime-face-64")
    parser.add_argument("--clients", default="1,8,64,256")
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--without", choices=["full", "plain"], action="append", default=[])
    parser.add_argument("--with", choices=["ray"], action="append", default=[], dest="more")
    parser.add_argument(
        "--url", action="append", default=[], metavar="NAME=URL", help="another server that runs already"
    )
    parser.add_argument("--serve-plain", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve_plain:
        plain(arguments.model)
        return
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed: apt-get install wrk")
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print(f"{arguments.model}; a share of animegen bench just before; times in ms; refused are answers that are no 200")
    print("server   clients  images/s         bench      p50      p95      p99   batch    MB  refused  broken")
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "seeds.lua"
        script.write_text(SCRIPT, encoding="utf-8")
        clients = [*map(int, arguments.clients.split(","))]
        served = ("-m", "animegen", "serve", "--port", "0", "--model", arguments.model)
        with running(*served, "--queue", "4096") as address:
            measure("serve", address, arguments, script, clients)
        if "full" not in arguments.without:
            few = ("--queue", str(FULL), "--max-images", str(FULL), "--max-frames", str(FULL))
            with running(*served, *few) as address:
                measure("full", address, arguments, script, [256] * 3)
        if "plain" not in arguments.without:
            with running(__file__, "--serve-plain", "--model", arguments.model) as address:
                measure("plain", address, arguments, script, clients)
        if "ray" in arguments.more:
            with running("-m", "animegen", "ray", "serve", "--port", "8731", "--model", arguments.model) as address:
                measure("ray", address, arguments, script, clients)
        for text in arguments.url:
            name, _, address = text.partition("=")
            measure(name, address.rstrip("/"), arguments, script, clients)


if __name__ == "__main__":
    main()
