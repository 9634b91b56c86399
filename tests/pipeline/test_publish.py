"""Publishing without the work before it: every container, the layers, and a time-stamp authority that is not there."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from gswap.media.write import encode_rgb
from gswap.output import consent, keys
from gswap.output.layers import LayerWriter, untouched_layers
from gswap.output.sidecar import sidecar_path, write_sidecar
from gswap.output.verify import EXIT_INTACT, EXIT_TAMPERED, verify_file
from gswap.pipeline.config import Job
from gswap.pipeline.publish import Published, is_published, provenance_of, publish

FRAMES = [np.full((64, 64, 3), 20 * i, np.uint8) for i in range(5)]
KEY = "0123456789abcdef"
RECORD = consent.new_record(
    "consent",
    people=(consent.Person("Ada", "source", "ada@example.org"), consent.Person("Ben", "target", "ben@example.org")),
    scope=consent.Scope("a film", ("festival",), ("EU",)),
    validity=consent.Validity.one_year(dt.date(2026, 1, 1)),
)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Inputs whose names say who is shown."""
    photos = tmp_path / "photos of Ada"
    photos.mkdir()
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(photos / "Ada.png")
    encode_rgb(tmp_path / "Ben.mp4", FRAMES, (25, 1))
    paths = {"out": tmp_path / "out.mp4", "consent": tmp_path / "c.toml", "work": tmp_path / "work"}
    return Job(sources=(photos,), target=tmp_path / "Ben.mp4", **paths)


def deliver_and_publish(job: Job, timestamp_url: str | None = None) -> tuple[Path, Published]:
    """What the deliver step leaves behind, published; the step's folder and what was written."""
    folder = job.work / "deliver"
    folder.mkdir(parents=True)
    encode_rgb(folder / f"video{job.out.suffix}", FRAMES, (25, 1))
    if job.layers is not None:
        writer = LayerWriter(job.layers, 1, (64, 64), KEY)
        writer.write(0, untouched_layers(FRAMES[1]))
    return folder, publish(job, RECORD, folder, KEY, keys.load_or_create(timestamp_url=timestamp_url))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".m4v", ".mkv", ".webm"])
def test_every_container_is_signed_inside_or_beside(job: Job, suffix: str) -> None:
    job = dataclasses.replace(job, out=job.out.with_suffix(suffix))
    folder, published = deliver_and_publish(job)
    beside = {sidecar_path(job.out)} if suffix in (".mkv", ".webm") else set()
    assert set(published.written) == {job.out} | beside and not published.warnings
    report = verify_file(job.out)
    assert report.exit_code == EXIT_INTACT and report.ai_modified
    facts = report.manifest.provenance or (report.sidecar.provenance if report.sidecar else {})
    assert facts["consent_sha256"] == consent.record_hash(RECORD)
    assert {"gswap/anny_slice.npz", "face_recognition_models/dlib_face_recognition_resnet_model_v1.dat"} < set(
        facts["weights_sha256"]
    )
    for path in published.written:
        assert not any(
            name in path.read_bytes() for name in (b"Ada", b"Ben", b"a film", str(job.target.parent).encode())
        )
    assert is_published(job, folder)
    with open(job.out, "ab") as handle:
        handle.write(b"more")
    assert verify_file(job.out).exit_code == EXIT_TAMPERED and not is_published(job, folder)


def test_layers_are_signed_as_a_sequence(job: Job, tmp_path: Path) -> None:
    layers = tmp_path / "layers"
    _, published = deliver_and_publish(dataclasses.replace(job, layers=layers))
    assert sidecar_path(layers) in published.written
    assert verify_file(layers).exit_code == verify_file(layers / "head" / "000000.png").exit_code == EXIT_INTACT
    (layers / "plate" / "000000.png").write_bytes(b"another picture")
    assert verify_file(layers).exit_code == EXIT_TAMPERED
    assert verify_file(layers / "head" / "000000.png").exit_code == EXIT_INTACT


def test_an_exr_sequence_is_signed_beside(job: Job, tmp_path: Path) -> None:
    folder = tmp_path / "exr"
    folder.mkdir()
    for i in range(2):
        picture = av.VideoFrame.from_ndarray(np.full((16, 16, 3), i / 2, np.float32), format="gbrpf32le")
        with av.open(str(folder / f"{i:04d}.exr"), "w", format="image2") as container:
            stream = container.add_stream("exr", rate=25)
            stream.width, stream.height, stream.pix_fmt = 16, 16, "gbrpf32le"
            container.mux([*stream.encode(picture), *stream.encode()])
    facts = provenance_of(job, RECORD, KEY)
    write_sidecar(folder, provenance=facts, inputs=[job.target], signer=keys.load_or_create())
    assert verify_file(folder).exit_code == verify_file(folder / "0001.exr").exit_code == EXIT_INTACT
    (folder / "0000.exr").unlink()
    assert verify_file(folder).exit_code == EXIT_TAMPERED


def test_without_an_answer_there_is_a_warning_and_no_time_stamp(job: Job) -> None:
    job = dataclasses.replace(job, timestamp_url="http://127.0.0.1:9/")
    folder, published = deliver_and_publish(job, job.timestamp_url)
    assert published.warnings == ("out.mp4 has no time stamp: http://127.0.0.1:9/ gave none.",)
    assert verify_file(job.out).exit_code == EXIT_INTACT
    assert is_published(job, folder) and not is_published(dataclasses.replace(job, timestamp_url=None), folder)
