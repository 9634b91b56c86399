"""Nothing half-written, and what is read is what was written."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest

from gswap.foundation import store
from gswap.foundation.errors import InputError, OutputError, PermissionDeniedError, StorageError
from gswap.foundation.types import BodyShape, BodyTrack, FaceTrack, Shot, Window

RNG = np.random.default_rng(0)


def face_track(count: int = 3) -> FaceTrack:
    return FaceTrack(
        landmarks=RNG.normal(size=(count, 478, 3)).astype(np.float32),
        valid=np.array([True, False, True]),
        confidence=np.ones(count, np.float32),
        bridged=np.zeros(count, bool),
        duplicate=np.zeros(count, bool),
        shoulders=np.zeros((count, 2, 3), np.float32),
        embedding=np.full((count, 128), np.nan, np.float32),
        sharpness=np.ones(count, np.float32),
        size=(64, 48),
        shots=(Shot(0, 2), Shot(2, 3)),
        sizes=((1, 2), (3, 4), (5, 6)),
        head_points=RNG.normal(size=(count, 7, 2)).astype(np.float32),
        ears_seen=RNG.random((count, 2)).astype(np.float32),
    )


def same(a, b) -> bool:
    for name, value in vars(a).items():
        other = getattr(b, name)
        if isinstance(value, np.ndarray):
            if not np.array_equal(value, other, equal_nan=value.dtype.kind == "f"):
                return False
        elif isinstance(value, BodyShape):
            if not same(value, other):
                return False
        elif value != other:
            return False
    return True


def test_tracks_and_windows_round_trip(tmp_path):
    faces = face_track()
    store.write_face_track(tmp_path / "faces", faces)
    assert same(faces, store.read_face_track(tmp_path / "faces"))
    body = BodyTrack(
        shape=BodyShape("anny", RNG.normal(size=4), RNG.normal(size=(5, 3))),
        focal=np.ones(2),
        rotation=RNG.normal(size=(2, 3)),
        translation=RNG.normal(size=(2, 3)),
        neck=np.zeros((2, 3)),
        eyes=np.zeros((2, 2, 3)),
        actions=np.zeros((2, 6)),
        valid=np.ones(2, bool),
        confidence=np.ones(2),
        residual=np.zeros(2),
        sizes=np.array([[4, 3], [4, 3]]),
    )
    store.write_body_track(tmp_path / "body", body)
    assert same(body, store.read_body_track(tmp_path / "body"))
    window = Window(np.array([2, 4]), np.array([0, 2]), 32, 24, 0.5)
    store.write_window(tmp_path / "window", window)
    assert same(window, store.read_window(tmp_path / "window"))


def test_the_same_content_gives_the_same_bytes(tmp_path):
    faces = face_track()
    for name in "ab":
        store.write_face_track(tmp_path / name, faces)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (5, 7, 4)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_png_store_is_lossless(tmp_path, shape, dtype):
    image = RNG.integers(0, np.iinfo(dtype).max, shape, dtype)
    images = store.PngStore(tmp_path / "images", 4)
    assert 2 not in images
    images.write(2, image)
    assert 2 in images and len(images) == 4
    assert np.array_equal(images[2], image)


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "file"
    store.write_bytes(path, b"old")

    with pytest.raises(StorageError, match="disk is full"), store.atomic_path(path) as part:
        part.write_bytes(b"new")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_of_the_file_system_are_named(tmp_path):
    with pytest.raises(OutputError):
        store.write_bytes(tmp_path / "missing" / "file", b"")
    assert isinstance(store.storage_error(PermissionError(errno.EACCES, "no"), "x"), PermissionDeniedError)


def test_damaged_files_are_refused(tmp_path):
    path = tmp_path / "damaged"
    path.write_bytes(b"\xff" * 20)
    with pytest.raises(InputError):
        store.read_arrays(path)
    with pytest.raises(InputError):
        store.read_png(path)
    with pytest.raises(InputError):
        store.read_json(path)


def test_part_files_are_removed(tmp_path):
    part = tmp_path / "sub" / ".file.png.123.part"
    part.parent.mkdir()
    part.touch()
    store.remove_parts(tmp_path)
    assert not part.exists()


def test_names_that_utf8_cannot_hold_are_stored(tmp_path):
    """Names of files may be any bytes."""
    name = os.fsdecode(b"caf\xe9.mp4")
    store.write_json(tmp_path / "a.json", {"out": name, "ü": 1})
    assert store.read_json(tmp_path / "a.json") == {"out": name, "ü": 1}
