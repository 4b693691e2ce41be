"""What `gpu_run.sh` carries to a lent GPU and back: faces, packages, a checkpoint, in the sizes that may travel.

python benchmarks/gpu_carry.py pack data/faces64 --zip faces.zip --table labels.tsv --limit 44000000
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import re
import statistics
import sys
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
# Of what training asks for, what serves only Inception and TensorBoard's events.
UNUSED = {"pooch", "pytorch-fid", "requests", "tensorboardx"}
QUALITIES = (95, 92, 90, 88, 86, 84, 82, 80, 77, 74, 70)  # of WebP, the best that fits is taken
SAMPLE = 500  # faces that tell how large a zip becomes


def pack(dataset: Path, target: Path, table: Path, limit: int) -> str:
    """A dataset that `prepare` made as one zip of WebP pictures, and a table of its labels.

    Raises:
        SystemExit: even the least quality is larger than `limit` bytes.
    """
    from train.data import Dataset

    data = Dataset.open(dataset)
    every = range(len(data.images))
    some = every[:: max(1, len(every) // SAMPLE)]
    for quality in QUALITIES:
        of_sample = sum(len(_webp(data.images[i], quality)) + _ENTRY for i in some)
        if of_sample / len(some) * len(every) > limit:
            continue
        with zipfile.ZipFile(target, "w") as archive:  # pictures don't get smaller
            for i in every:
                # A fixed date: the same dataset gives the same file.
                archive.writestr(zipfile.ZipInfo(f"{i:05d}.webp"), _webp(data.images[i], quality))
        if (size := target.stat().st_size) <= limit:
            break
    else:
        target.unlink(missing_ok=True)
        sys.exit(f"error: {len(every)} pictures take more than {limit} bytes: raise the limit")
    groups = data.labels.groups if data.labels is not None else ()
    with table.open("w", encoding="utf-8", newline="\n") as file:
        print("file", *(group.name for group in groups), sep="\t", file=file)
        for i in every if data.labels is not None else ():
            assert data.labels is not None
            chosen = zip(groups, data.labels.values[i].tolist(), strict=True)
            cells = (group.classes[value] if value >= 0 else "" for group, value in chosen)
            print(f"{i:05d}.webp", *cells, sep="\t", file=file)
    names = ", ".join(group.name for group in groups) or "none"
    return f"{target}: {len(every)} pictures as WebP of quality {quality}, {size / 1e6:.1f} MB; labels: {names}"


_ENTRY = 2 * len("00000.webp") + 30 + 46  # what a zip adds to each file


def _webp(pixels: Any, quality: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(buffer, "WEBP", quality=quality, method=6)
    return buffer.getvalue()


def requirements() -> dict[str, str]:
    """The packages that the run needs, as the project states them: name → requirement."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [*project["dependencies"], *project["optional-dependencies"]["cpu"]]
    lines += (ROOT / "train" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    stated = [line for line in map(str.strip, lines) if line and not line.startswith("#")]
    named = {re.split(r"[^\w.-]", line)[0].lower(): line for line in stated}
    return {name: line for name, line in named.items() if name not in UNUSED}


def missing() -> list[str]:
    """Those that this Python lacks, or has too old."""
    return [line for line in requirements().values() if not _installed(line)]


def _installed(line: str) -> bool:
    name, _, least = line.partition(">=")
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    has, needs = ([int(part) for part in re.findall(r"\d+", text)[:3]] for text in (version, least))
    return has >= needs


def groups(sizes: Iterable[tuple[str, int]], *, most: int, limit: int) -> list[list[str]]:
    """Files in their order, cut into groups of at most `most` files and `limit` bytes."""
    cut: list[list[str]] = []
    total = limit
    for name, size in sizes:
        if size > limit:
            sys.exit(f"error: {name} has {size} bytes, and {limit} travel at once")
        if total + size > limit or len(cut[-1]) == most:
            cut.append([])
            total = 0
        cut[-1].append(name)
        total += size
    return cut


def convert(source: Path, target: Path, *, half: bool) -> None:
    """A checkpoint with its large tensors in 16 bits, or such a one in 32 again.

    Weights become fp16; moments, which are often too small for it, bf16.
    """
    import torch
    from safetensors import safe_open
    from safetensors.torch import save_file

    def changed(name: str, tensor: torch.Tensor) -> torch.Tensor:
        if not half:
            return tensor.float() if tensor.dtype in {torch.float16, torch.bfloat16} else tensor
        if tensor.dtype != torch.float32 or tensor.numel() < 1024:  # counters and norms are kept
            return tensor
        fits = "optimiser" not in name and bool(tensor.abs().max() < torch.finfo(torch.float16).max)
        return tensor.to(torch.float16 if fits else torch.bfloat16)

    with safe_open(source, "pt") as file:
        tensors = {name: changed(name, file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (no dictionary)
        metadata = file.metadata()
    save_file(tensors, target, metadata)


def report(run: Path) -> str:
    """A run's images seen, speed in its last session, and FIDs."""
    from train.run import checkpoint

    card = checkpoint.read_card(checkpoint.of(run))
    rows, scores, sessions = (_rows(run / f"{name}.jsonl") for name in ("metrics", "fid", "sessions"))
    began = sessions[-1]["step"]
    speeds = [row["images_per_second"] for row in rows if row["step"] > began]
    speed = f"{statistics.median(speeds):,.0f} images a second" if speeds else "too few steps for a speed"
    fid = "FID not measured"
    if scores:
        last, best = scores[-1], min(scores, key=lambda row: float(row["fid"]))
        fid = f"FID {last['fid']:.2f} at {last['images_seen']:,} images, best {best['fid']:.2f}"
        fid += f" at {best['images_seen']:,}"
    return f"{card.images_seen:,} images seen by step {card.step:,} (began at {began:,}), {speed}, {fid}"


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def main() -> None:
    """One step of `gpu_run.sh`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    steps = parser.add_subparsers(dest="step", required=True)
    packing = steps.add_parser("pack", help="a dataset as one zip and a table of labels")
    packing.add_argument("dataset", type=Path)
    packing.add_argument("--zip", type=Path, required=True)
    packing.add_argument("--table", type=Path, required=True)
    packing.add_argument("--limit", type=int, required=True, help="bytes of the zip")
    steps.add_parser("missing", help="the packages that this Python lacks")
    grouping = steps.add_parser("groups", help="files, a line for each group that travels together")
    grouping.add_argument("files", nargs="+", type=Path)
    grouping.add_argument("--most", type=int, required=True, help="files of a group")
    grouping.add_argument("--limit", type=int, required=True, help="bytes of a group")
    converting = steps.add_parser("convert", help="a checkpoint in 16 bits, or again in 32")
    converting.add_argument("source", type=Path)
    converting.add_argument("target", type=Path)
    converting.add_argument("--half", action="store_true")
    reporting = steps.add_parser("report", help="what a run has reached, in a line")
    reporting.add_argument("run", type=Path)
    arguments = parser.parse_args()
    if arguments.step == "pack":
        print(pack(arguments.dataset, arguments.zip, arguments.table, arguments.limit))
    elif arguments.step == "missing":
        print("\n".join(missing()))
    elif arguments.step == "groups":
        sizes = [(str(path), path.stat().st_size) for path in arguments.files]
        for group in groups(sizes, most=arguments.most, limit=arguments.limit):
            print(*group)
    elif arguments.step == "convert":
        convert(arguments.source, arguments.target, half=arguments.half)
    else:
        print(report(arguments.run))


if __name__ == "__main__":
    # The checkout is what runs, whether it is installed or not.
    sys.path.insert(0, str(ROOT))
    main()
