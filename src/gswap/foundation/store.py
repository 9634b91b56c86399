"""Everything that is written goes through here: part file -> fsync -> rename, and types <-> safetensors + JSON.

A reader never sees half a file; a killed writer leaves at most a ``*.part`` that the next run removes.
"""

from __future__ import annotations

import dataclasses
import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from gswap.foundation.errors import (
    GswapError,
    InputError,
    MissingInputError,
    OutputError,
    PermissionDeniedError,
    StorageError,
)
from gswap.foundation.types import BodyShape, BodyTrack, FaceTrack, Shot, Window

FORMAT_VERSION = 1


def storage_error(error: OSError, path: Path | str) -> GswapError:
    """The :class:`GswapError` that says what an ``OSError`` means for ``path``."""
    if error.errno == errno.ENOSPC or error.errno == errno.EDQUOT:
        return StorageError("The disk is full.", hint="Free some space and run the same command again.", path=path)
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return PermissionDeniedError("No permission to write here.", hint="Choose another folder.", path=path)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG):
        return OutputError(f"Cannot create the file ({error.strerror}).", path=path)
    return StorageError(f"Writing failed ({error.strerror or error}).", path=path)


def make_folder(path: Path) -> None:
    """Create a folder, and those above it, where it is missing.

    Raises:
        StorageError: The disk is full or the device failed.
        PermissionDeniedError: It may not be created here.
        OutputError: A file is in the way.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a part file beside ``path``; on success fsync it and rename it over ``path``, on failure remove it.

    Raises:
        StorageError: The disk is full or the device failed.
        PermissionDeniedError: The folder is not writable.
        OutputError: The folder does not exist.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            yield part
            with open(part, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(part, path)
        except OSError as error:
            raise storage_error(error, path) from error
    finally:
        part.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically."""
    with atomic_path(path) as part:
        part.write_bytes(data)


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented, key-sorted UTF-8 JSON; texts that UTF-8 cannot hold (file names) are escaped."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = json.dumps(value, indent=2, sort_keys=True).encode()
    write_bytes(path, data + b"\n")


def read_json(path: Path) -> Any:
    """Read a JSON file written by us.

    Raises:
        InputError: The file is not JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise InputError(f"Expected JSON, found something else ({error}).", path=path) from error


def hash_file(path: Path) -> str:
    """SHA-256 (lower-case hexadecimal) of a file, streamed.

    Raises:
        MissingInputError: The file cannot be read.
    """
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise MissingInputError(f"Cannot read the file ({error.strerror}).", path=path) from error


def remove_parts(folder: Path) -> None:
    """Remove the part files that a killed run left under ``folder``."""
    for part in folder.rglob(".*.part"):
        part.unlink(missing_ok=True)


# ---------------------------------------------------------------- images
class PngStore:
    """One PNG per index in a folder: an :class:`~gswap.foundation.types.ImageStore` that survives a kill.

    ``uint8`` and ``uint16`` images of 1, 3 (RGB) or 4 (RGBA) channels.
    """

    def __init__(self, folder: Path, length: int) -> None:
        self.folder = folder
        self._length = length
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, index: int) -> Path:
        """File of image ``index``."""
        return self.folder / f"{index:06d}.png"

    def __len__(self) -> int:
        return self._length

    def __contains__(self, index: int) -> bool:
        return self.path(index).exists()

    def __getitem__(self, index: int, /) -> np.ndarray:
        return read_png(self.path(index))

    def write(self, index: int, image: np.ndarray) -> None:
        """Store ``image`` atomically."""
        write_bytes(self.path(index), encode_png(image))


def encode_png(image: np.ndarray, level: int = 1) -> bytes:
    """Image -> PNG bytes (deterministic).

    Raises:
        StorageError: The encoder refuses it.
    """
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR if image.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    ok, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, level])
    if not ok:
        raise StorageError("Encoding a PNG failed.")
    return data.tobytes()


def read_png(path: Path) -> np.ndarray:
    """PNG written by :func:`encode_png` -> image.

    Raises:
        InputError: The file is missing or damaged.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"Cannot read a stored image ({error.strerror}).", path=path) from error
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise InputError("Expected a PNG, found a damaged file.", hint="Delete it and run again.", path=path)
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB if image.shape[2] == 3 else cv2.COLOR_BGRA2RGBA)
    return image


# ---------------------------------------------------------------- arrays
def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any] | None = None) -> None:
    """Write named arrays (and JSON-able ``meta``) as one safetensors file."""
    header = {"gswap": json.dumps({"version": FORMAT_VERSION, **(meta or {})}, sort_keys=True)}
    write_bytes(path, save_safetensors({k: np.ascontiguousarray(v) for k, v in arrays.items()}, metadata=header))


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what :func:`write_arrays` wrote: arrays and meta.

    Raises:
        InputError: Missing, damaged, or written by a newer version.
    """
    try:
        data = path.read_bytes()
        arrays = load_safetensors(data)
        size = int.from_bytes(data[:8], "little")
        meta = json.loads(json.loads(data[8 : 8 + size]).get("__metadata__", {}).get("gswap", "{}"))
    except OSError as error:
        raise InputError(f"Cannot read the file ({error.strerror}).", path=path) from error
    except (SafetensorError, ValueError) as error:
        raise InputError(f"Expected a safetensors file of gswap, found a damaged one ({error}).", path=path) from error
    if meta.pop("version", 0) > FORMAT_VERSION:
        raise InputError("The file was written by a newer gswap.", hint="Update gswap.", path=path)
    return arrays, meta


def write_face_track(path: Path, track: FaceTrack) -> None:
    """Store a :class:`FaceTrack`."""
    arrays = {
        f.name: getattr(track, f.name)
        for f in dataclasses.fields(track)
        if isinstance(getattr(track, f.name), np.ndarray)
    }
    meta = {"size": track.size, "sizes": track.sizes, "shots": [(s.start, s.stop) for s in track.shots]}
    write_arrays(path, arrays, meta)


def read_face_track(path: Path) -> FaceTrack:
    """Load a :class:`FaceTrack`."""
    arrays, meta = read_arrays(path)
    return FaceTrack(
        **arrays,  # type: ignore[arg-type]
        size=(meta["size"][0], meta["size"][1]),
        sizes=tuple((w, h) for w, h in meta["sizes"]),
        shots=tuple(Shot(a, b) for a, b in meta["shots"]),
    )


def write_body_track(path: Path, track: BodyTrack) -> None:
    """Store a :class:`BodyTrack`."""
    arrays = {
        f.name: getattr(track, f.name)
        for f in dataclasses.fields(track)
        if isinstance(getattr(track, f.name), np.ndarray)
    }
    arrays |= {"shape.coefficients": track.shape.coefficients, "shape.offsets": track.shape.offsets}
    write_arrays(path, arrays, {"model": track.shape.model})


def read_body_track(path: Path) -> BodyTrack:
    """Load a :class:`BodyTrack`."""
    arrays, meta = read_arrays(path)
    shape = BodyShape(meta["model"], arrays.pop("shape.coefficients"), arrays.pop("shape.offsets"))
    return BodyTrack(shape=shape, **arrays)  # type: ignore[arg-type]


def write_window(path: Path, window: Window) -> None:
    """Store a :class:`Window`."""
    meta = {"width": window.width, "height": window.height, "scale": window.scale}
    write_arrays(path, {"x": window.x, "y": window.y}, meta)


def read_window(path: Path) -> Window:
    """Load a :class:`Window`."""
    arrays, meta = read_arrays(path)
    return Window(arrays["x"], arrays["y"], meta["width"], meta["height"], meta["scale"])
