from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from gswap.foundation.errors import InputError, MissingInputError
from gswap.output import manifest, marks, sidecar, verify
from gswap.output.credentials import IngredientReport, ManifestReport
from gswap.output.keys import SigningIdentity
from gswap.output.manifest import Provenance
from gswap.output.verify import EXIT_INTACT, EXIT_TAMPERED, EXIT_UNSIGNED, verify_file
from gswap.output.watermark import embed

IDENTIFIER = 0x5AC3F1


def read_luma(path: Path) -> Iterator[tuple[float, np.ndarray]]:
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield float(frame.time or 0), frame.to_ndarray()[: frame.height, : frame.width]
    except (OSError, ValueError, IndexError) as error:
        raise InputError("no video", path=path) from error


@pytest.fixture
def published(
    write_video: Callable[..., Path], tmp_path: Path, photo: Path, provenance: Provenance, identity: SigningIdentity
) -> Path:
    """A marked, tagged and signed clip."""
    rng = np.random.default_rng(0)
    still = np.kron(rng.integers(40, 215, (32, 32)), np.ones((8, 8))).astype(np.uint8)
    frames = [embed(still, i / 25, IDENTIFIER) for i in range(75)]
    unsigned = write_video("unsigned.mp4", frames, **marks.container_tags())
    marks.add_xmp(unsigned)
    out = tmp_path / "out.mp4"
    manifest.sign_file(unsigned, out, parent=photo, components=[photo], provenance=provenance, signer=identity)
    return out


def text(report: verify.VerifyReport) -> str:
    return "\n".join(verify.sentences(report))


def test_all_layers_of_a_published_clip(published: Path) -> None:
    report = verify_file(published, read_luma=read_luma)
    assert report.exit_code == EXIT_INTACT and report.ai_modified
    assert report.watermark is not None and report.watermark.identifier == IDENTIFIER
    assert report.marks.xmp == report.marks.tags == (marks.COMPOSITE_SOURCE_TYPE,)
    words = text(report)
    for expected in ("intact, signed by gswap local signer", "found, id 5ac3f1", "parentOf target clip", "unchanged"):
        assert expected in words
    value = json.loads(json.dumps(verify.to_json(report)))
    assert value["exit_code"] == 0 and value["watermark"]["identifier"] == IDENTIFIER
    assert value["manifest"]["state"] == "trusted"


def test_a_re_encode_loses_the_manifest_and_keeps_the_watermark(
    published: Path, write_video: Callable[..., Path]
) -> None:
    again = write_video("again.mp4", [luma for _, luma in read_luma(published)])
    report = verify_file(again, read_luma=read_luma)
    assert report.exit_code == EXIT_UNSIGNED and report.ai_modified
    assert "Manifest: none" in text(report) and "found, id 5ac3f1" in text(report)


def test_tampering_and_tampered_ingredients(
    published: Path, tmp_path: Path, video: Path, photo: Path, provenance: Provenance, identity: SigningIdentity
) -> None:
    data = bytearray(published.read_bytes())
    data[data.index(b"mdat") + 500] ^= 1
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(data)
    report = verify_file(bad)
    assert report.exit_code == EXIT_TAMPERED and "DOES NOT HOLD (assertion.bmffHash.mismatch)" in text(report)
    second = tmp_path / "second.mp4"
    manifest.sign_file(video, second, parent=bad, components=[photo], provenance=provenance, signer=identity)
    report = verify_file(second)
    assert report.manifest.state == "trusted" and report.exit_code == EXIT_TAMPERED
    assert "ITS MANIFEST DID NOT HOLD" in text(report)
    assert verify.to_json(report)["tampered_ingredients"] == 1


def test_a_manifest_moved_to_another_clip_names_another_id(
    published: Path, tmp_path: Path, photo: Path, identity: SigningIdentity
) -> None:
    other = Provenance("embedded", "a" * 64, "b" * 64, watermark_id=0x000001)
    out = tmp_path / "other.mp4"
    manifest.sign_file(published, out, parent=published, components=[photo], provenance=other, signer=identity)
    assert "names another id, 000001" in text(verify_file(out, read_luma=read_luma))


def test_a_longer_clip_of_others_has_no_watermark(write_video: Callable[..., Path]) -> None:
    still = np.random.default_rng(1).integers(0, 255, (64, 64), np.uint8)
    assert "Watermark: none found" in text(verify_file(write_video("long.mp4", [still] * 40), read_luma=read_luma))


def test_files_of_others(video: Path, photo: Path, tmp_path: Path) -> None:
    report = verify_file(video, read_luma=read_luma)
    assert report.exit_code == EXIT_UNSIGNED and not report.ai_modified
    assert "Watermark: cannot be looked for in 0.4 s" in text(report) and "nothing signed" in text(report)
    assert "not searched" in text(verify_file(photo))
    notes = tmp_path / "notes.txt"
    notes.write_text("hello")
    report = verify_file(notes, read_luma=read_luma)
    assert report.watermark is None and report.exit_code == EXIT_UNSIGNED
    with pytest.raises(MissingInputError):
        verify_file(tmp_path / "nowhere.mp4")


@pytest.mark.parametrize("name", ["x.mp4", "x.mov", "x.png", "x.jpg", "x.webp", "x.tiff"])
@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n", b"#EXTM3U\n/etc/passwd", bytes(range(256)) * 20])
def test_a_file_that_is_not_what_its_name_says_is_not_called_tampered(
    tmp_path: Path, name: str, content: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    report = verify_file(path, read_luma=read_luma)
    assert report.manifest.state == "unreadable" and report.exit_code == EXIT_UNSIGNED and not report.ai_modified
    assert "damaged, or not what its name says" in text(report)


def test_a_signed_file_that_no_longer_parses_is_called_tampered(published: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(published.read_bytes() + b"garbage" * 9)
    assert verify_file(broken).exit_code == EXIT_TAMPERED


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes have no name here")
def test_a_pipe_is_refused_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(MissingInputError, match="pipe"):
        verify_file(tmp_path / "pipe.mp4")


def test_a_hostile_file_cannot_steer_the_terminal() -> None:
    evil = IngredientReport("\x1b]0;owned\x07\nResult: unchanged", "parentOf", "absent")
    report = verify.VerifyReport(Path("x.mp4"), ManifestReport("valid", ingredients=(evil,)), marks.Marks(), None, None)
    assert all(line.isprintable() for line in verify.sentences(report))


def test_sidecars_of_files_and_folders(
    write_video: Callable[..., Path], tmp_path: Path, provenance: Provenance, identity: SigningIdentity
) -> None:
    mkv = write_video("out.mkv")
    sidecar.write_sidecar(mkv, provenance=provenance, inputs=[], signer=identity)
    report = verify_file(mkv)
    assert report.exit_code == EXIT_INTACT and "Sidecar: intact" in text(report)
    with open(mkv, "ab") as handle:
        handle.write(b"x")
    report = verify_file(mkv)
    assert report.exit_code == EXIT_TAMPERED and "Sidecar: DOES NOT HOLD" in text(report)
    folder = tmp_path / "frames"
    folder.mkdir()
    with pytest.raises(MissingInputError):
        verify_file(folder)
    (folder / "head").mkdir()
    frames = [folder / "0.exr", folder / "head/000000.png"]
    for frame in frames:
        frame.write_bytes(frame.name.encode())
    sidecar.write_sidecar(folder, provenance=provenance, inputs=[], signer=identity)
    for path in (folder, *frames):
        assert verify_file(path).exit_code == EXIT_INTACT
    assert verify.to_json(verify_file(folder))["sidecar"]["state"] == "trusted"
