"""2-D pictures are read as people see them, and what is no such picture is refused before it is unpacked."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs.errors import InvalidRequestError, MismatchError
from tasks.images.geometry import Geometry
from tasks.images.picture import MOST_PIXELS, convert_picture, picture_geometry, picture_values
from tasks.labels.forms.read import ending_in, read_label

RED, BLUE = (255, 0, 0), (0, 0, 255)


def converted(source: Path) -> Image.Image:
    target = source.with_name("converted.png")
    convert_picture(source, target)
    return Image.open(target)


def saved(picture: Image.Image, path: Path, **how: Any) -> Path:
    picture.save(path, **how)
    return path


@pytest.mark.parametrize("ending", ["png", "jpg", "tiff"])
def test_a_picture_keeps_its_columns_rows_and_colours(tmp_path: Path, ending: str) -> None:
    found = converted(saved(Image.new("RGB", (30, 20), RED), tmp_path / f"a.{ending}"))
    assert (found.mode, found.size) == ("RGB", (30, 20))
    assert np.abs(np.asarray(found).astype(int) - RED).max() <= 2
    assert picture_geometry(tmp_path / "converted.png").shape == (30, 20, 1)


def test_it_is_turned_as_the_camera_says(tmp_path: Path) -> None:
    picture = Image.new("RGB", (30, 20), RED)
    picture.putpixel((0, 0), BLUE)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright
    found = converted(saved(picture, tmp_path / "a.png", exif=exif))
    assert found.size == (20, 30)
    assert found.getpixel((19, 0)) == BLUE


def test_grey_stays_grey_and_of_sixteen_bits_the_upper_eight_are_kept(tmp_path: Path) -> None:
    assert converted(saved(Image.new("L", (3, 2), 77), tmp_path / "a.png")).getpixel((0, 0)) == 77
    deep = Image.fromarray(np.full((2, 3), 0x12FF, np.uint16))
    found = converted(saved(deep, tmp_path / "b.png"))
    assert (found.mode, found.getpixel((0, 0))) == ("L", 0x12)


def test_what_is_transparent_lies_on_black(tmp_path: Path) -> None:
    found = converted(saved(Image.new("RGBA", (3, 2), (200, 100, 50, 0)), tmp_path / "a.png"))
    assert (found.mode, found.getpixel((0, 0))) == ("RGB", (0, 0, 0))
    grey = converted(saved(Image.new("LA", (3, 2), (200, 255)), tmp_path / "b.png"))
    assert (grey.mode, grey.getpixel((0, 0))) == ("L", 200)


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    found = converted(saved(Image.new("RGB", (3, 2), RED).convert("P"), tmp_path / "a.png"))
    assert (found.mode, found.getpixel((1, 1))) == ("RGB", RED)


@pytest.mark.parametrize("side", [8193, 20_000])
def test_a_few_bytes_that_unpack_to_a_gigabyte_are_refused_by_their_header(tmp_path: Path, side: int) -> None:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "a.png").write_bytes(bomb)
    with pytest.raises(InvalidRequestError, match=rf"pixels, and at most {MOST_PIXELS} are read"):
        convert_picture(tmp_path / "a.png", tmp_path / "b.png")


def test_bytes_that_are_cut_or_changed_are_refused(tmp_path: Path) -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8))
    for name in ("a.png", "a.jpg", "a.tiff"):
        whole = saved(noise, tmp_path / name).read_bytes()
        for damaged in (whole[: len(whole) // 2], whole[:20], b"", b"\x00" + whole[1:]):
            (tmp_path / name).write_bytes(damaged)
            with pytest.raises(InvalidRequestError, match="cannot be read"):
                convert_picture(tmp_path / name, tmp_path / "b.png")
            assert not (tmp_path / "b.png").exists()


def test_several_pages_and_fractions_are_no_picture(tmp_path: Path) -> None:
    page = Image.new("L", (3, 2))
    with pytest.raises(InvalidRequestError, match="holds 2 pictures"):
        converted(saved(page, tmp_path / "a.tiff", save_all=True, append_images=[page]))
    with pytest.raises(InvalidRequestError, match="fractions"):
        converted(saved(Image.new("F", (3, 2)), tmp_path / "b.tiff"))
    with pytest.raises(InvalidRequestError, match="32 bits"):
        converted(saved(Image.fromarray(np.full((2, 3), 70_000, np.int32)), tmp_path / "c.tiff"))


def _mask(mode: str, path: Path) -> Path:
    """Write a mask of 3 x 2 pixels whose values are 0 and 1, in their order of columns 0 1 0 and 1 0 1."""
    values = np.array([[0, 1, 0], [1, 0, 1]], np.uint16 if mode == "I;16" else np.uint8)
    picture = Image.fromarray(values.astype(bool) if mode == "1" else values)
    if mode == "P":
        picture.putpalette([255, 0, 0, 0, 255, 0])
    return saved(picture, path)


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16"])
def test_a_mask_s_values_are_its_greys_or_the_numbers_of_its_colours(tmp_path: Path, mode: str, ending: str) -> None:
    path = _mask(mode, tmp_path / f"mask{ending}")
    assert ending_in(path) == ending
    assert Image.open(path).mode in {mode, "I"}
    label = read_label(path, Geometry((3, 2, 1), np.eye(4)))
    assert label.array.dtype == np.uint8
    assert label.array[..., 0].T.tolist() == [[0, 1, 0], [1, 0, 1]]


def test_a_mask_in_colours_or_of_another_size_is_no_label_of_its_picture(tmp_path: Path) -> None:
    path = saved(Image.new("RGB", (3, 2), RED), tmp_path / "mask.png")
    with pytest.raises(MismatchError, match="save grey, or a palette"):
        picture_values(path, (3, 2, 1))
    for shape in ((2, 3, 1), (3, 2, 2)):
        with pytest.raises(MismatchError, match="3 x 2 pixels, its image has"):
            picture_values(path, shape)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InvalidRequestError):
        picture_values(path, (3, 2, 1))
