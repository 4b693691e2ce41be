"""Does memory stay flat over many images? Runs `animegen sample` and watches its resident memory.

    python benchmarks/many_images.py --n 100000

It prints, for a folder, a zip and an npz, the speed and the memory after each tenth of the time. Linux only.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from animegen.checks.bench import machine

FORMS = {"folder": "faces/", "zip": "faces.zip", "npz": "faces.npz"}


def resident_megabytes(process: int) -> float | None:
    """The memory that a process holds now, or None when it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith("VmRSS:")), None)
    return int(line.split()[1]) / 1024 if line else None


def watch(n: int, out: str, folder: Path) -> tuple[dict[str, object], list[float]]:
    """Run one job to its end; its own report, and its memory twice a second."""
    command = [sys.executable, "-m", "animegen", "sample", "--n", str(n), "--out", out, "--json"]
    samples = []
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            if (resident := resident_megabytes(process.pid)) is not None:
                samples.append(resident)
            time.sleep(0.5)
        assert process.stdout is not None
        report: dict[str, object] = json.loads(process.stdout.read())
    return report, samples


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--n", type=int, default=100_000)
    parser.add_argument("--forms", default="folder,zip,npz")
    arguments = parser.parse_args()
    print(", ".join(f"{key} {value}" for key, value in machine().items()))
    print("form    images/s   resident MB after 10 %, 20 %, … 100 % of the time   peak")
    for form in arguments.forms.split(","):
        folder = Path(tempfile.mkdtemp())
        try:
            report, samples = watch(arguments.n, FORMS[form], folder)
        finally:
            shutil.rmtree(folder)
        tenths = [samples[min(len(samples) - 1, len(samples) * k // 10)] for k in range(1, 11)]
        speed = int(str(report["images"])) / float(str(report["seconds"]))
        print(
            f"{form:7} {speed:8.0f}   {' '.join(f'{value:.0f}' for value in tenths)}   {max(samples):.0f}", flush=True
        )


if __name__ == "__main__":
    main()
