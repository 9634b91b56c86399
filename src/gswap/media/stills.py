"""Photos: found, checked and turned into upright sRGB arrays. Also photos taken from a video's frames."""

from __future__ import annotations

import io
import os
import re
import struct
import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError

from gswap.foundation.errors import InputError, MissingExtraError, MissingInputError, PermissionDeniedError
from gswap.foundation.types import RgbImage

PHOTO_SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".heic", ".heif"))
_HEIF_SUFFIXES = (".heic", ".heif")
_FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What brings a picture of an EXIF orientation upright."""
MIN_PHOTOS, MAX_PHOTOS = 1, 12
MAX_PHOTO_PIXELS = 100_000_000
"""Larger pictures are refused from their header: nobody's portrait, and 300 MB decoded."""
NEUTRAL_GREY = (128, 128, 128)
"""What shows through transparent pixels."""


def find_photos(paths: Sequence[Path]) -> list[Path]:
    """The photos among files and folders, folders in natural order (``2.jpg`` before ``10.jpg``).

    Raises:
        MissingInputError: A path does not exist.
        InputError: None, or more than 12 photos; or a named file is not a photo.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = [p for p in path.iterdir() if p.suffix.lower() in PHOTO_SUFFIXES and not p.name.startswith(".")]
            found += sorted((p for p in inside if not p.is_dir()), key=_natural)
        elif not path.exists():
            raise MissingInputError("Expected a photo or a folder of photos, found nothing.", path=path)
        elif path.suffix.lower() in PHOTO_SUFFIXES:
            found.append(path)
        else:
            kinds = ", ".join(sorted(PHOTO_SUFFIXES))
            raise InputError(f"Expected a photo ({kinds}), found {path.suffix or 'no ending'!r}.", path=path)
    unique = list(dict.fromkeys(found))
    if not MIN_PHOTOS <= len(unique) <= MAX_PHOTOS:
        raise InputError(
            f"Expected {MIN_PHOTOS} to {MAX_PHOTOS} photos, found {len(unique)}.",
            hint="Name sharp photos of one person: front, both sides, one with the mouth open.",
            path=paths[0] if len(paths) == 1 else None,
        )
    return unique


def load_photo(path: Path, max_side: int | None = None) -> RgbImage:
    """Decode a photo: upright by its EXIF rotation, sRGB by its profile, transparency over neutral grey.

    Args:
        path: JPEG, PNG, WebP, TIFF, BMP, or HEIC with the extra ``heif``.
        max_side: Scale down (area average) so that neither side is longer; ``None`` keeps the size.

    Raises:
        MissingInputError: There is no such file.
        InputError: It is empty, not a picture, cut off, or too large.
        MissingExtraError: It is HEIC and pi-heif is not installed.
    """
    data = _read(path)
    if path.suffix.lower() in _HEIF_SUFFIXES or data[4:8] == b"ftyp":
        _register_heif()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own, lower limit comes next
            image = Image.open(io.BytesIO(data), formats=(*_FORMATS, *_heif_formats()))
    except Image.DecompressionBombError as error:
        raise _too_large(path, "more than 179 million") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise InputError(
            "Expected a photo, found a file that is none, or a damaged one.", hint="Export it as JPEG.", path=path
        ) from error
    with image:
        if image.width * image.height > MAX_PHOTO_PIXELS:
            raise _too_large(path, f"{image.width}x{image.height}")
        try:
            if max_side is not None:
                image.draft(None, (max_side * 2, max_side * 2))
            image.load()
            rgb = np.ascontiguousarray(_to_srgb(_upright(image)))
        except (OSError, ValueError, SyntaxError, EOFError) as error:
            raise InputError("The photo is cut off or damaged.", hint="Copy or export it again.", path=path) from error
    longest = max(rgb.shape[:2])
    if max_side is not None and longest > max_side:
        scale = max_side / longest
        size = (max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale)))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return rgb


def _read(path: Path) -> bytes:
    try:
        data = Path(os.path.abspath(path)).read_bytes() if path.is_file() or not path.exists() else None
    except FileNotFoundError as error:
        raise MissingInputError("Expected a photo, found nothing.", hint="Check the path.", path=path) from error
    except PermissionError as error:
        raise PermissionDeniedError("No permission to read the photo.", path=path) from error
    if data is None:
        raise InputError("Expected a photo, found a folder or a device.", path=path)
    if not data:
        raise InputError("Expected a photo, found an empty file (0 bytes).", path=path)
    return data


def _upright(image: Image.Image) -> Image.Image:
    """Turned by its EXIF orientation; as it is where the EXIF data are damaged. Pillow's own would write them anew."""
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except (OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, struct.error):
        return image
    return image if turn is None else image.transpose(turn)


def _to_srgb(image: Image.Image) -> np.ndarray:
    """Any Pillow mode -> ``(h, w, 3)`` uint8 sRGB."""
    profile = image.info.get("icc_profile")
    if image.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        return np.repeat(_deep_grey(image)[:, :, None], 3, axis=2)
    if image.mode in ("P", "PA", "LA", "La", "RGBa") or (image.mode != "RGBA" and "transparency" in image.info):
        image = image.convert("RGBA")
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    if alpha is not None:
        image = image.convert("RGB")
    if image.mode == "1":
        image = image.convert("L")
    image = _apply_profile(image, profile)
    if image.mode != "RGB":
        image = image.convert("RGB")
    if alpha is not None:
        image = Image.composite(image, Image.new("RGB", image.size, NEUTRAL_GREY), alpha)
    return np.asarray(image)


def _deep_grey(image: Image.Image) -> np.ndarray:
    """16-bit (or float) grey -> 8-bit, rounded."""
    values = np.asarray(image).astype(np.float64)
    white = 65535.0 if image.mode.startswith("I") else max(1.0, float(values.max(initial=0.0)))
    return np.clip(np.rint(values * (255.0 / white)), 0, 255).astype(np.uint8)


def _apply_profile(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert by an embedded ICC profile to sRGB; a broken or unfitting profile is ignored, as viewers do."""
    if not profile or image.mode not in ("RGB", "L", "CMYK", "LAB"):
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        converted = ImageCms.profileToProfile(
            image,
            source,
            ImageCms.createProfile("sRGB"),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image
    return image if converted is None else converted


def _register_heif() -> None:
    try:
        import pi_heif  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError("Reading HEIC photos", "heif") from error
    pi_heif.register_heif_opener()


def _heif_formats() -> tuple[str, ...]:
    return ("HEIF",) if "HEIF" in Image.OPEN else ()


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Sort key that counts: digits compare as numbers."""
    parts = re.findall(r"\d+|\D+", path.name.lower())
    return [(0, int(p), "") if p.isdecimal() else (1, 0, p) for p in parts]


def _too_large(path: Path, found: str) -> InputError:
    return InputError(
        f"Expected a photo of at most {MAX_PHOTO_PIXELS // 1_000_000} million pixels, found {found} pixels.",
        hint="Scale it down first.",
        path=path,
    )
