from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gswap.foundation.errors import InputError, MissingInputError, UsageError
from gswap.output import marks
from gswap.output.marks import COMPOSITE_SOURCE_TYPE, Marks


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_container_tags_are_found_in_any_container(write_video: Callable[..., Path], suffix: str) -> None:
    path = write_video(f"clip{suffix}", **marks.container_tags())
    assert marks.read_marks(path) == Marks(tags=(COMPOSITE_SOURCE_TYPE,))


def test_tags_survive_a_remux(write_video: Callable[..., Path], tmp_path: Path) -> None:
    with av.open(str(write_video("a.mp4", **marks.container_tags()))) as source:
        with av.open(str(tmp_path / "b.mkv"), "w") as target:
            target.metadata.update(source.metadata)
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
    assert marks.read_marks(tmp_path / "b.mkv").tags == (COMPOSITE_SOURCE_TYPE,)


def test_xmp_in_video_leaves_the_frames_alone(video: Path) -> None:
    def frames() -> list[np.ndarray]:
        with av.open(str(video)) as container:
            return [frame.to_ndarray() for frame in container.decode(video=0)]

    before = frames()
    part = video.rename(video.with_suffix(".part"))
    marks.add_xmp(part, suffix=".mp4")
    part.rename(video)
    assert marks.read_marks(video).xmp == (COMPOSITE_SOURCE_TYPE,)
    assert all((a == b).all() for a, b in zip(before, frames(), strict=True))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_xmp_in_stills_is_read_by_others(tmp_path: Path, photo: Path, suffix: str) -> None:
    path = tmp_path / f"still{suffix}"
    Image.open(photo).save(path)
    before = np.asarray(Image.open(path))
    marks.add_xmp(path)
    assert marks.read_marks(path).xmp == (COMPOSITE_SOURCE_TYPE,)
    with Image.open(path) as image:
        xmp = image.info["xmp"]
        assert COMPOSITE_SOURCE_TYPE in (xmp if isinstance(xmp, str) else xmp.decode())
        assert (np.asarray(image) == before).all()


def test_xmp_through_pillow(tmp_path: Path, photo: Path) -> None:
    path = tmp_path / "still.webp"
    Image.open(photo).save(path, xmp=marks.xmp_packet())
    assert marks.read_marks(path).xmp == (COMPOSITE_SOURCE_TYPE,)


def test_the_attribute_form_of_other_tools_is_understood(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    uri = marks.IPTC_SOURCE_TYPES + "trainedAlgorithmicMedia"
    path.write_bytes(b'junk <rdf:Description Iptc4xmpExt:DigitalSourceType="' + uri.encode() + b'"/>')
    assert marks.read_marks(path).xmp == (uri,)


def test_unmarked_empty_missing_and_mislabelled(tmp_path: Path, photo: Path) -> None:
    assert not marks.read_marks(photo)
    (tmp_path / "empty").touch()
    assert not marks.read_marks(tmp_path / "empty")
    with pytest.raises(MissingInputError):
        marks.read_marks(tmp_path / "nowhere")
    with pytest.raises(UsageError):
        marks.add_xmp(tmp_path / "a.mkv")
    (tmp_path / "a.png").write_bytes(b"jpeg?")
    with pytest.raises(InputError, match="Expected a PNG"):
        marks.add_xmp(tmp_path / "a.png")
