"""Animations."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from animegen import MissingPackageError, UsageError, report_progress, save_animation
from animegen.images import animation
from animegen.images.animation import check_animation, encode_animation
from animegen.images.formats import ANIMATIONS
from animegen.images.stills import Images
from animegen.progress import Progress


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
    save_animation(frames(5), path, fps=20, scale=3)
    with Image.open(path) as made:
        assert (made.n_frames, made.size, made.info["loop"]) == (5, (48, 48), 0)  # type: ignore[attr-defined]
        for found, expected in zip(ImageSequence.Iterator(made), frames(5), strict=True):
            found.load()  # a WebP says a frame's duration only then
            assert found.info["duration"] == 50
            small = np.asarray(found.convert("RGB").resize((16, 16), Image.Resampling.BOX)).astype(int)
            assert np.abs(small - expected).mean() < 12
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(("suffix", "fps"), [(".gif", 34), (".gif", 48), (".gif", 24), (".gif", 0.01), (".webp", 30)])
def test_a_clock_of_whole_parts_keeps_the_rate_of_the_whole(suffix: str, fps: float, tmp_path: Path) -> None:
    count = 3 if fps < 1 else 2 * int(fps)
    save_animation(frames(count), tmp_path / f"a{suffix}", fps=fps)
    with Image.open(tmp_path / f"a{suffix}") as made:
        shown = []
        for frame in ImageSequence.Iterator(made):
            frame.load()
            shown.append(frame.info["duration"])
    assert sum(shown) == pytest.approx(1000 * count / fps)
    if len(shown) == count:  # Pillow joins frames that are alike
        assert max(shown) - min(shown) <= (10 if suffix == ".gif" else 1)


def test_the_rate_that_is_played_is_told() -> None:
    gif, webp, mp4 = (ANIMATIONS[suffix] for suffix in (".gif", ".webp", ".mp4"))
    assert (gif.played_fps(34, 34), gif.played_fps(50, 7), webp.played_fps(24, 6)) == (34, 50, 24)
    assert gif.played_fps(34, 10) == pytest.approx(1000 / 29)
    assert mp4.played_fps(23.976, 9) == 23.976


def test_frames_that_stay_alike_for_longer_than_a_gif_can_say(tmp_path: Path) -> None:
    still = [np.zeros((4, 4, 3), np.uint8)] * 8
    with pytest.raises(UsageError, match="alike for longer than 655 seconds"):
        save_animation(still, tmp_path / "a.gif", fps=0.01)
    assert not list(tmp_path.iterdir())
    save_animation(still, tmp_path / "a.webp", fps=0.01)


@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_numbers_of_any_kind_are_taken_at_their_value(suffix: str) -> None:
    """Sums and products of numpy's bounded ones wrap around."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    scale, fps = np.uint8(8), np.uint8(24)
    given = encode_animation(frames, suffix[1:], scale=scale, fps=fps)  # type: ignore[arg-type]
    assert given == encode_animation(frames, suffix[1:], scale=8, fps=24)
    with pytest.raises(UsageError, match=r"scale is 1\.5 and must be a whole number"):
        encode_animation(frames, suffix[1:], scale=1.5)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_an_animation_in_memory_is_that_of_a_file(suffix: str, tmp_path: Path) -> None:
    if suffix == ".mp4":
        pytest.importorskip("av")
    save_animation(frames(5), tmp_path / f"a{suffix}", fps=10)
    assert encode_animation(frames(5), suffix[1:], fps=10) == (tmp_path / f"a{suffix}").read_bytes()


def test_an_mp4_is_the_same_each_time() -> None:
    pytest.importorskip("av")
    coarse = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    stops = [np.asarray(Image.fromarray(one).resize((64, 64)), np.float32) for one in coarse]
    moving = [((1 - t) * a + t * b).astype(np.uint8) for a, b in itertools.pairwise(stops) for t in (0, 0.3, 0.6)]
    found, held = set(), []
    for turn in range(12):
        held.append(bytearray(30_000 * turn))  # so that memory lies elsewhere
        found.add(encode_animation(moving, "mp4"))
    assert len(found) == 1


@pytest.mark.parametrize("size", [(16, 16), (15, 17)])
def test_mp4(size: tuple[int, int], tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "a.mp4"
    save_animation(frames(12, *size), path, fps=12.5)
    with av.open(str(path)) as container:
        (stream,) = container.streams.video
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert float(stream.average_rate) == 12.5
    assert len(decoded) == 12
    assert decoded[0].shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
    for found, expected in zip(decoded, frames(12, *size), strict=True):
        assert np.abs(found[: size[0], : size[1]].astype(int) - expected).mean() < 15


@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_a_grey_animation(suffix: str, tmp_path: Path) -> None:
    if suffix == ".mp4":
        pytest.importorskip("av")
    save_animation((frame[..., :1] for frame in frames(3)), tmp_path / f"a{suffix}")
    assert (tmp_path / f"a{suffix}").stat().st_size > 0


@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_an_error_of_the_frames_leaves_nothing(suffix: str, tmp_path: Path) -> None:
    if suffix == ".mp4":
        pytest.importorskip("av")

    def breaks() -> Iterator[Images]:
        yield from frames(3)
        raise ValueError("the model failed")

    with pytest.raises(ValueError, match="the model failed"):
        save_animation(breaks(), tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ANIMATIONS)
def test_the_longest_side_of_a_format_is_what_its_encoder_takes(suffix: str, tmp_path: Path) -> None:
    if suffix == ".mp4":
        pytest.importorskip("av")
    longest = ANIMATIONS[suffix].side
    save_animation(frames(2, 16, longest), tmp_path / f"a{suffix}")
    with pytest.raises(UsageError, match=f"a frame is {longest + 1:,}×16 pixels and must have at most {longest:,} on"):
        save_animation(frames(2, 16, longest + 1), tmp_path / f"b{suffix}")
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("a.png", {}, r"the extension '\.png', and an animation must be one of \.gif"),
        ("a", {}, "without an extension"),
        ("a.gif", {"fps": 60}, "fps is 60 and must be from 0.01 to 50 for a GIF"),
        ("a.webp", {"fps": 0}, "fps is 0 and must be from 0.01"),
        ("a.mp4", {"fps": 0.001}, "fps is 0.001 and must be from 0.01"),
        ("a.gif", {"fps": float("nan")}, "fps is nan and must be"),
        ("a.gif", {"fps": float("inf")}, "fps is inf and must be"),
        ("a.webp", {"scale": 0}, "scale is 0 and must be at least 1"),
        ("a.webp", {"scale": 2000}, "32,000×32,000 pixels and must have at most"),
        ("a.gif", {"scale": 2000}, "32,000×32,000 pixels and must take at most 256 MiB"),
        ("a.gif", {"scale": 500}, r"takes .* GiB to encode as GIF and must take at most 2: .* or write an \.mp4"),
    ],
)
def test_an_animation_states_its_rules(name: str, options: dict[str, float], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        save_animation([*frames(20)], tmp_path / name, **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sequence", "words"),
    [
        ([], "0 frames and must have at least one"),
        ([*frames(2), *frames(1, 8)], r"frame 3 is \[8, 16, 3\] and must be \[16, 16, 3\]"),
        ([np.zeros((4, 4, 3))], r"float64 \[4, 4, 3\] and must be uint8"),
    ],
)
@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_frames_that_make_no_animation(suffix: str, sequence: list[Images], words: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=words):
        save_animation(iter(sequence), tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "frames_", "shape", "words"),
    [
        ("a.webp", 1000, (1024, 1024, 3), r"4\.9 GiB to encode as WEBP"),
        ("a.gif", 2000, (1024, 1024, 3), r"3\.9 GiB to encode as GIF"),
        ("a.gif", 100_001, (8, 8, 3), "100,001 frames and must have from 1 to 100,000"),
        ("a.webp", 100_000, (1, 1, 3), "100,000 frames at 1 a second lasts 27.8 hours and must last at most 24"),
        ("a.mp4", 2, (8192, 8192, 3), r"13\.8 GiB to encode as MP4 and must take at most 2: ask for fewer"),
    ],
)
def test_an_animation_is_refused_before_its_frames_are_made(
    name: str, frames_: int, shape: tuple[int, int, int], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        check_animation(Path(name), frames=frames_, shape=shape, fps=1)
    check_animation(Path(name), frames=100, shape=(256, 256, 3))


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_endless_frames_end_in_an_error(suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(animation, "MOST_FRAMES", 20)
    endless = itertools.cycle(frames(5))
    with pytest.raises(UsageError, match="an animation has 21 frames and must have from 1 to 20"):
        save_animation(endless, tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())


def test_progress_is_told_by_name_and_number(tmp_path: Path) -> None:
    told: list[Progress] = []
    with report_progress(told.append):
        save_animation(list(frames(3)), tmp_path / "a.gif")
    assert [(one.job, one.done, one.total) for one in told] == [("a.gif", k, 3) for k in range(4)]


def test_mp4_without_its_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'animegen\[mp4\]'"):
        save_animation(frames(3), tmp_path / "a.mp4")


@pytest.mark.parametrize("suffix", [".gif", ".webp"])
def test_what_is_transparent_is_shown_on_white(suffix: str, tmp_path: Path) -> None:
    frames = [np.full((16, 16, 4), [255, 0, 0, alpha], np.uint8) for alpha in (0, 255)]
    save_animation(frames, tmp_path / f"a{suffix}")
    with Image.open(tmp_path / f"a{suffix}") as animation:
        first = np.asarray(animation.convert("RGBA"))
        animation.seek(1)
        second = np.asarray(animation.convert("RGBA"))
    assert first.min() >= 250
    assert (second[..., 0] > 240).all()
    assert (second[..., 1] < 15).all()
