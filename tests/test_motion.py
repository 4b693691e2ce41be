"""Animations."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from animegen import MissingPackageError, UsageError
from animegen.images import animation as motion
from animegen.images.stills import Images


def frames(count: int, height: int = 16, width: int = 16) -> Iterator[Images]:
    """A bright bar that moves down, a few lines a frame."""
    for k in range(count):
        frame = np.full((height, width, 3), 40, np.uint8)
        top = k * (height - 4) // max(1, count - 1)
        frame[top : top + 4] = (240, 200, 60)
        yield frame


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_pillow_s_formats(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    motion.save(frames(5), path, fps=20, scale=3)
    with Image.open(path) as animation:
        assert (animation.n_frames, animation.size, animation.info["loop"]) == (5, (48, 48), 0)  # type: ignore[attr-defined]
        for found, expected in zip(ImageSequence.Iterator(animation), frames(5), strict=True):
            found.load()  # a WebP says a frame's duration only then
            assert found.info["duration"] == 50
            small = np.asarray(found.convert("RGB").resize((16, 16), Image.Resampling.BOX)).astype(int)
            assert np.abs(small - expected).mean() < 12
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("size", [(16, 16), (15, 17)])
def test_mp4(size: tuple[int, int], tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    motion.save(frames(12, *size), path, fps=12.5)
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == 12.5
    assert len(decoded) == 12
    assert decoded[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    for found, expected in zip(decoded, frames(12, *size), strict=True):
        assert np.abs(found[: size[0], : size[1]].astype(int) - expected).mean() < 15


def test_frames_are_drawn_lazily(tmp_path: Path) -> None:
    def breaks() -> Iterator[Images]:
        yield from frames(3)
        raise ValueError("the model failed")

    for suffix in (".gif", ".webp", ".mp4"):
        with pytest.raises(ValueError, match="the model failed"):
            motion.save(breaks(), tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "fps", "words"),
    [
        ("a.png", 24, "animation is one of"),
        ("a", 24, "animation"),
        ("a.gif", 60, "at most 50"),
        ("a.webp", 0, "more than 0"),
    ],
)
def test_animations_that_cannot_be(name: str, fps: float, words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        motion.save(frames(3), tmp_path / name, fps=fps)
    assert not list(tmp_path.iterdir())


def test_mp4_without_its_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'animegen\[mp4\]'"):
        motion.save(frames(3), tmp_path / "a.mp4")
