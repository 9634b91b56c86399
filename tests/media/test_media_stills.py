"""Photos: found, upright, sRGB, and refused when they are not whole."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageCms

from gswap.foundation.errors import InputError, MissingExtraError, MissingInputError
from gswap.foundation.types import ImageStore
from gswap.media.compare import contact_sheet, side_by_side
from gswap.media.sequences import read_mask_sequence
from gswap.media.stills import find_photos, load_photo


def gradient(width: int = 60, height: int = 40) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.dstack([x * 4, y * 6, (x + y) * 2]).astype(np.uint8)


def png_bomb(path: Path, width: int, height: int) -> None:
    """A PNG whose header promises a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b""))


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.bmp"])
def test_lossless_photos_are_exact(tmp_path: Path, name: str) -> None:
    Image.fromarray(gradient()).save(tmp_path / name, lossless=True)
    np.testing.assert_array_equal(load_photo(tmp_path / name), gradient())


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation(tmp_path: Path, orientation: int) -> None:
    stored = {
        1: gradient(),
        2: gradient()[:, ::-1],
        3: np.rot90(gradient(), 2),
        4: gradient()[::-1],
        5: gradient().transpose(1, 0, 2),
        6: np.rot90(gradient(), 1),
        7: np.rot90(gradient(), 2).transpose(1, 0, 2),
        8: np.rot90(gradient(), -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(load_photo(tmp_path / "a.png"), gradient())


def test_exif_data_of_wrong_types_do_not_matter(tmp_path: Path) -> None:
    """Cameras write them; only the orientation is of interest, and nothing is written back."""
    exif = Image.Exif()
    exif[0x0112], exif[0x011A] = 6, 72.0
    resolution, text = b"\x01\x1a\x00\x05", b"\x01\x1a\x00\x07"
    data = exif.tobytes()
    data = data.replace(resolution, text) if resolution in data else data.replace(b"\x1a\x01\x05\0", b"\x1a\x01\x07\0")
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=data, quality=100)
    upright = load_photo(tmp_path / "a.jpg")
    assert upright.shape == (16, 8, 3) and upright[:7].min() > 240 and upright[9:].max() < 15


def test_profile_is_converted_to_srgb(tmp_path: Path) -> None:
    """L*a*b* by its profile: a mid grey of L* = 50 is 119 in sRGB, a naive reading would differ."""
    lab = Image.new("LAB", (8, 8), (round(50 * 2.55), 128, 128))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    lab.save(tmp_path / "a.tif", icc_profile=profile)
    assert np.abs(load_photo(tmp_path / "a.tif").astype(int) - 119).max() <= 2


def test_srgb_profile_changes_nothing_and_a_broken_one_is_ignored(tmp_path: Path) -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(gradient()).save(tmp_path / "a.png", icc_profile=srgb)
    Image.fromarray(gradient()).save(tmp_path / "b.png", icc_profile=b"nonsense" * 40)
    assert np.abs(load_photo(tmp_path / "a.png").astype(int) - gradient()).max() <= 1
    np.testing.assert_array_equal(load_photo(tmp_path / "b.png"), gradient())


def test_transparency_lies_on_grey(tmp_path: Path) -> None:
    rgba = np.dstack([gradient(), np.where(np.arange(60) < 30, 255, 0)[None].repeat(40, 0)]).astype(np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    rgb = load_photo(tmp_path / "a.png")
    np.testing.assert_array_equal(rgb[:, :30], gradient()[:, :30])
    assert (rgb[:, 30:] == 128).all()


def test_palette_grey_bilevel_and_16_bit(tmp_path: Path) -> None:
    palette = Image.fromarray(gradient()).quantize(16)
    palette.save(tmp_path / "p.png")
    np.testing.assert_array_equal(load_photo(tmp_path / "p.png"), np.asarray(palette.convert("RGB")))
    deep = (np.arange(2400).reshape(40, 60) * 27).astype(np.uint16)
    cv2.imwrite(str(tmp_path / "d.png"), deep)
    expected = np.rint(deep / 257.0).astype(np.uint8)
    np.testing.assert_array_equal(load_photo(tmp_path / "d.png"), np.dstack([expected] * 3))
    cv2.imwrite(str(tmp_path / "e.png"), gradient()[:, :, ::-1].astype(np.uint16) * 257)
    np.testing.assert_array_equal(load_photo(tmp_path / "e.png"), gradient())
    Image.fromarray(gradient()).convert("1").save(tmp_path / "b.png")
    assert set(np.unique(load_photo(tmp_path / "b.png"))) == {0, 255}


def test_max_side(tmp_path: Path) -> None:
    Image.fromarray(gradient(300, 200)).save(tmp_path / "a.jpg", quality=95)
    assert load_photo(tmp_path / "a.jpg", max_side=60).shape == (40, 60, 3)
    assert load_photo(tmp_path / "a.jpg", max_side=1000).shape == (200, 300, 3)


def test_truncated_photo_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("a.jpg", "a.png", "a.webp"):
        buffer = io.BytesIO()
        format_name = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[name[2:]]
        Image.fromarray(rng.integers(0, 256, (200, 200, 3)).astype(np.uint8)).save(buffer, format_name)
        (tmp_path / name).write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
        with pytest.raises(InputError, match=r"cut off|damaged"):
            load_photo(tmp_path / name)


def test_what_is_no_photo_is_refused(tmp_path: Path) -> None:
    for content, message in [(b"", "empty"), (b"some words" * 20, "is none"), (b"\xff\xd8\xff" + bytes(50), "photo")]:
        (tmp_path / "a.jpg").write_bytes(content)
        with pytest.raises(InputError, match=message):
            load_photo(tmp_path / "a.jpg")
    with pytest.raises(MissingInputError):
        load_photo(tmp_path / "nowhere.jpg")
    with pytest.raises(InputError, match="folder"):
        load_photo(tmp_path)


@pytest.mark.parametrize("size", [(12_000, 12_000), (40_000, 40_000), (1_000_000, 101)])
def test_bombs_are_refused_from_the_header(tmp_path: Path, size: tuple[int, int]) -> None:
    png_bomb(tmp_path / "a.png", *size)
    with pytest.raises(InputError, match="million pixels"):
        load_photo(tmp_path / "a.png")


def test_heic_without_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    (tmp_path / "a.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(50))
    with pytest.raises(MissingExtraError, match=r"gswap\[heif\]"):
        load_photo(tmp_path / "a.heic")


def test_photos_are_found_in_natural_order(tmp_path: Path) -> None:
    for name in ["photo10.jpg", "photo2.JPG", "photo1.png", "notes.txt", ".hidden.jpg"]:
        (tmp_path / name).write_bytes(b"x")
    assert [p.name for p in find_photos([tmp_path])] == ["photo1.png", "photo2.JPG", "photo10.jpg"]
    assert find_photos([tmp_path / "photo10.jpg", tmp_path])[0].name == "photo10.jpg"
    with pytest.raises(InputError, match=r"'\.txt'"):
        find_photos([tmp_path / "notes.txt"])
    with pytest.raises(MissingInputError):
        find_photos([tmp_path / "nowhere"])


def test_folders_among_photos_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "raw.png").mkdir()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    assert find_photos([tmp_path]) == [tmp_path / "a.png"]


def test_number_of_photos_is_checked(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found 0"):
        find_photos([tmp_path])
    for i in range(13):
        (tmp_path / f"{i}.png").write_bytes(b"x")
    with pytest.raises(InputError, match="1 to 12 photos, found 13"):
        find_photos([tmp_path])


def test_masks_of_any_kind(tmp_path: Path) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:20, 20:50] = 255
    mask[20, 20:50] = 100
    Image.fromarray(mask).save(tmp_path / "m.8.png")
    cv2.imwrite(str(tmp_path / "m.9.png"), mask.astype(np.uint16) * 257)
    Image.fromarray(np.dstack([gradient(), mask])).save(tmp_path / "m.10.png")
    Image.fromarray(np.dstack([mask] * 3)).save(tmp_path / "m.11.png")
    masks = read_mask_sequence(tmp_path, 4, (60, 40))
    assert isinstance(masks, ImageStore) and len(masks) == 4
    for i in range(4):
        np.testing.assert_array_equal(masks[i], mask)


def test_wrong_sequences_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingInputError):
        read_mask_sequence(tmp_path / "nowhere", 1, (60, 40))
    Image.fromarray(gradient()).save(tmp_path / "0.png")
    with pytest.raises(InputError, match="Expected 2 pictures, one per frame, found 1"):
        read_mask_sequence(tmp_path, 2, (60, 40))
    with pytest.raises(InputError, match=r"80x40 pixels or of that shape, found 60x40"):
        read_mask_sequence(tmp_path, 1, (80, 40))
    png_bomb(tmp_path / "0.png", 40_000, 40_000)
    with pytest.raises(InputError, match="damaged"):
        read_mask_sequence(tmp_path, 1, (60, 40))
    (tmp_path / "0.png").write_bytes(b"broken")
    with pytest.raises(InputError, match="damaged"):
        read_mask_sequence(tmp_path, 1, (60, 40))


def test_masks_of_the_same_shape_are_scaled(tmp_path: Path) -> None:
    half = np.zeros((20, 30), np.uint8)
    half[5:15, 10:20] = 255
    Image.fromarray(half).save(tmp_path / "0.png")
    mask = next(iter(read_mask_sequence(tmp_path, 1, (60, 40))))
    assert mask.shape == (40, 60) and abs(int(mask.sum()) - 4 * int(half.sum())) < 0.02 * 4 * half.sum()


def test_contact_sheet() -> None:
    rows = [[gradient(), gradient(30, 40)], [gradient(80, 20)]]
    sheet = contact_sheet(rows, ["frame 1", "frame 2"], ["target", "photo"])
    assert sheet.shape == (22 + 4 + 22 + 40 + 4 + 22 + 20 + 4, 4 + 80 + 4 + 30 + 4, 3) and sheet.dtype == np.uint8
    np.testing.assert_array_equal(sheet[48:88, 14:74], gradient())
    np.testing.assert_array_equal(sheet[48:88, 88:118], gradient(30, 40))
    np.testing.assert_array_equal(sheet[114:134, 4:84], gradient(80, 20))
    assert (sheet[:22] > 200).any() and (sheet[26:48] > 200).any()  # something is written
    assert contact_sheet([[gradient()]]).shape == (48, 68, 3)


def test_side_by_side() -> None:
    row = side_by_side([gradient(), gradient(31, 20)])
    assert row.shape == (40, 91, 3)
    np.testing.assert_array_equal(row[:, :60], gradient())
    np.testing.assert_array_equal(row[10:30, 60:], gradient(31, 20))
