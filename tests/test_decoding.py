"""One picture: its modes, its greys of many bits, and what it takes of memory."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from animegen.images import decoding
from animegen.images.decoding import decode, fitted, flat, reason

RAMP = np.linspace(0, 255, 32).astype(np.uint8)[None].repeat(4, 0)
DEEP = RAMP.astype(np.uint16) * 257  # white is 65,535


def saved(picture: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, form, **options)
    return buffer.getvalue()


def levels(data: bytes) -> np.ndarray:
    """The one channel of a grey picture that went all the way to RGB."""
    rgb = np.asarray(flat(decode(data)))
    assert (rgb == rgb[..., :1]).all()
    return rgb[..., 0]


def deep_png(values: np.ndarray, transparent: tuple[int, ...] = ()) -> bytes:
    """A PNG of 16 bits [H, W] or [H, W, 3]: Pillow writes none in colours."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, *channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, 2 if channels else 0, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    hidden = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent)) if transparent else b""
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + hidden + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def tiff(values: np.ndarray, *, bits: int, samples: int = 1, photometric: int = 1, order: str = "<") -> bytes:
    """An uncompressed grey TIFF of these values, in the byte order and with the tags that are asked for."""
    height, width = values.shape
    data = values.tobytes()
    # ImageWidth, ImageLength, BitsPerSample, Compression, Photometric, StripOffsets, SamplesPerPixel, RowsPerStrip,
    # StripByteCounts, SampleFormat
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: height}
    tags |= {279: len(data), 339: samples}
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 8 + len(data))
    return head + data + struct.pack(f"{order}H", len(tags)) + entries + bytes(4)


# --- greys of more than 8 bits ---


@pytest.mark.parametrize("form", ["PNG", "TIFF", "PPM"])
def test_greys_of_16_bits(form: str) -> None:
    np.testing.assert_array_equal(levels(saved(Image.fromarray(DEEP), form)), RAMP)


@pytest.mark.parametrize("mode", ["I;16", "I;16L", "I;16B", "I;16N"])
def test_every_order_of_16_bits(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order = {"I;16B": ">u2", "I;16N": "=u2"}.get(mode, "<u2")
    picture = Image.frombytes(mode, (32, 4), DEEP.astype(order).tobytes())
    assert picture.mode == mode
    monkeypatch.setattr(decoding, "_open", lambda _data: picture)
    np.testing.assert_array_equal(levels(b""), RAMP)


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("I;16, little-endian", tiff(DEEP.astype("<u2"), bits=16)),
        ("I;16B, big-endian", tiff(DEEP.astype(">u2"), bits=16, order=">")),
        ("white is zero", tiff((65535 - DEEP).astype("<u2"), bits=16, photometric=0)),
        ("I of a PGM", b"P5 32 4 65535 " + DEEP.astype(">u2").tobytes()),
        ("I of a PGM whose white is another", b"P5 32 4 1020 " + (RAMP.astype(np.uint16) * 4).astype(">u2").tobytes()),
        ("I, 16 bits of 32 with a sign", tiff(DEEP.astype("<i4"), bits=32, samples=2)),
        ("I, 16 bits of 32 without one", tiff(DEEP.astype("<u4"), bits=32)),
        ("I, 16 bits of 32, big-endian", tiff(DEEP.astype(">i4"), bits=32, samples=2, order=">")),
        ("I, 8 bits of 32", saved(Image.fromarray(RAMP.astype(np.int32)), "TIFF")),
        ("F, 0 to 1", saved(Image.fromarray((RAMP / 255).astype(np.float32)), "TIFF")),
        ("F, big-endian", tiff((RAMP / 255).astype(">f4"), bits=32, samples=3, order=">")),
        ("F, white is zero", tiff((1 - RAMP / 255).astype("<f4"), bits=32, samples=3, photometric=0)),
        ("F, 8 bits as Pillow converts them", saved(Image.fromarray(RAMP).convert("F"), "TIFF")),
        ("F, 16 bits", saved(Image.fromarray(DEEP.astype(np.float32)), "TIFF")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_deep_greys_of_every_kind(name: str, data: bytes) -> None:
    np.testing.assert_array_equal(levels(data), RAMP)


def test_greys_of_12_bits() -> None:
    values = (RAMP.astype(np.uint16) << 4).reshape(4, 16, 2)
    first, second = values[..., 0], values[..., 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8)
    data = tiff(packed.reshape(4, 48), bits=12)
    # The width is in pixels, of which two take three bytes.
    data = data.replace(struct.pack("<HHII", 256, 4, 1, 48), struct.pack("<HHII", 256, 4, 1, 32))
    np.testing.assert_array_equal(levels(data), RAMP)


def test_one_value_of_a_deep_png_is_transparent() -> None:
    hidden = int(DEEP[0, 5])
    wanted = np.where(hidden == DEEP, 255, RAMP)
    np.testing.assert_array_equal(levels(deep_png(DEEP, (hidden,))), wanted)
    colours = DEEP[..., None].repeat(3, -1)
    np.testing.assert_array_equal(levels(deep_png(colours)), RAMP)
    np.testing.assert_array_equal(levels(deep_png(colours, (hidden,) * 3)), wanted)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (tiff(np.array([[-5, 300]], "<i4"), bits=32, samples=2), "its greys go from -5 to 300, so what is white"),
        (tiff(np.array([[0, 70_000]], "<i4"), bits=32, samples=2), "from 0 to 70000"),
        (tiff(np.array([[0, 100]], "<i2"), bits=16, samples=2), "16-bit numbers with a sign"),
        (tiff(np.array([[0, 1.5]], "<f4"), bits=32, samples=3), "from 0 to 1.5, .* floats must lie between 0 and 1"),
        (tiff(np.array([[-0.1, 0.5]], "<f4"), bits=32, samples=3), "from -0.1 to 0.5"),
        (tiff(np.array([[0, np.nan]], "<f4"), bits=32, samples=3), "from nan to nan"),
        (tiff(np.array([[0, np.inf]], "<f4"), bits=32, samples=3), "from 0 to inf"),
    ],
)
def test_greys_whose_white_is_unknown_are_broken(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        decode(data)
    assert reason(caught.value).startswith("its greys ")


# --- 8 bits ---


def test_modes_transparency_and_rotation_become_upright_rgb() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: turned by 90°
    read = {
        "grey": decode(saved(Image.new("L", (4, 4), 77), "PNG")),
        "bits": decode(saved(Image.new("1", (4, 4), 1), "PNG")),
        "clear": decode(saved(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG")),
        "palette": decode(saved(Image.new("P", (4, 4), 3), "PNG")),
        "print": decode(saved(Image.new("CMYK", (4, 4), (255, 0, 0, 0)), "TIFF")),
        "turned": decode(saved(Image.new("RGB", (4, 2), "blue"), "JPEG", exif=exif)),
        "turned deep": decode(saved(Image.fromarray(DEEP), "TIFF", exif=exif)),
    }
    rgb = {name: flat(picture) for name, picture in read.items()}
    assert {picture.mode for picture in rgb.values()} == {"RGB"}
    colours = {name: picture.getpixel((0, 0)) for name, picture in rgb.items()}
    assert colours["grey"] == (77, 77, 77)
    assert colours["bits"] == colours["clear"] == (255, 255, 255)
    assert colours["print"] == (0, 255, 255)
    assert read["turned"].size == (2, 4)
    assert read["turned deep"].size == (4, 32)


# --- sizes ---


@st.composite
def pictures(draw: st.DrawFn) -> Image.Image:
    mode = draw(st.sampled_from(["1", "L", "LA", "P", "PA", "RGB", "RGBA"]))
    width, height = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    pixels = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, (height, width, 4), np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    if mode in {"L", "P", "RGB"} and draw(st.booleans()):
        picture.info["transparency"] = picture.getpixel((0, 0))
    return picture


@given(picture=pictures(), size=st.integers(1, 24), mode=st.sampled_from(["RGB", "L"]), strip=st.integers(1, 200))
def test_a_large_picture_becomes_the_very_same_square(picture: Image.Image, size: int, mode: str, strip: int) -> None:
    whole = picture
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        whole = Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer)
    whole = whole.convert("RGB").convert(mode)
    wanted = ImageOps.fit(whole, (size, size), Image.Resampling.LANCZOS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_STRIP", strip)
        np.testing.assert_array_equal(np.asarray(flat(picture, mode)), np.asarray(whole))
        np.testing.assert_array_equal(np.asarray(fitted(picture, size, mode)), np.asarray(wanted))


PEAK = """
import io, resource
from PIL import Image
from animegen.images.decoding import decode, fitted
buffer = io.BytesIO()
picture = Image.new({mode!r}, (64, 64))
picture.save(buffer, "PNG")
fitted(decode(buffer.getvalue()), 32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fitted(decode(open({path!r}, "rb").read()), 32)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux")
@pytest.mark.parametrize(("mode", "bytes_a_pixel"), [("1", 1), ("P", 1), ("RGBA", 4)])
def test_a_large_picture_takes_its_decoders_bytes_and_one(mode: str, bytes_a_pixel: int, tmp_path: Any) -> None:
    side = {1: 8000, 4: 4000}[bytes_a_pixel]
    path = tmp_path / "large.png"
    Image.new(mode, (side, side)).save(path, compress_level=1)
    done = subprocess.run(
        [sys.executable, "-c", PEAK.format(mode=mode, path=str(path))], capture_output=True, check=True, text=True
    )
    assert int(done.stdout) * 1024 < (bytes_a_pixel + 1) * side**2 + 48 * 2**20
