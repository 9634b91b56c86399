"""Fixtures of the output stage: an isolated key folder, and tiny media files made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gswap.output import keys
from gswap.output.keys import SigningIdentity
from gswap.output.manifest import Provenance

WriteVideo = Callable[..., Path]


@pytest.fixture(autouse=True)
def config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh configuration folder, so that no test sees the user's keys or another test's."""
    folder = tmp_path / "config"
    monkeypatch.setenv(keys.CONFIG_DIR_VARIABLE, str(folder))
    return folder


@pytest.fixture
def identity(config_folder: Path) -> SigningIdentity:
    return keys.load_or_create()


@pytest.fixture
def provenance() -> Provenance:
    return Provenance("embedded", "a" * 64, "b" * 64, {"anny": "c" * 64}, 0x5AC3F1)


@pytest.fixture
def write_video(tmp_path: Path) -> WriteVideo:
    def write(name: str, frames: Sequence[np.ndarray] | None = None, **metadata: str) -> Path:
        """Gray frames (or ten of noise) as H.264 at 25 frames per second."""
        rng = np.random.default_rng(0)
        frames = frames or [rng.integers(0, 255, (64, 64), np.uint8) for _ in range(10)]
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            container.metadata.update(metadata)
            stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast"})
            stream.height, stream.width = frames[0].shape
            stream.pix_fmt = "yuv420p"
            for gray in frames:
                rgb = np.repeat(gray[..., None], 3, 2)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture
def video(write_video: WriteVideo) -> Path:
    return write_video("clip.mp4")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(1).integers(0, 255, (40, 40, 3), np.uint8)).save(path)
    return path
