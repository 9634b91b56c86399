from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gswap.foundation.errors import MissingInputError
from gswap.output import keys, sidecar
from gswap.output.keys import SigningIdentity
from gswap.output.manifest import Provenance


@pytest.fixture
def sequence(tmp_path: Path) -> Path:
    folder = tmp_path / "frames"
    (folder / "head").mkdir(parents=True)
    for i in range(3):
        Image.fromarray(np.full((4, 4), i, np.uint8)).save(folder / "head" / f"{i:06d}.png")
    return folder


@pytest.fixture
def signed(sequence: Path, photo: Path, provenance: Provenance, identity: SigningIdentity) -> Path:
    return sidecar.write_sidecar(sequence, provenance=provenance, inputs=[photo], signer=identity)


def test_a_signed_sequence_is_trusted(signed: Path, sequence: Path) -> None:
    report = sidecar.read_sidecar(signed)
    assert report.state == "trusted" and report.signer == "gswap local signer"
    assert report.provenance["watermark_id"] == "5ac3f1"
    assert sidecar.find_sidecar(sequence) == signed


def test_changed_missing_added_and_renamed_frames_are_named(signed: Path, sequence: Path) -> None:
    (sequence / "head/000000.png").write_bytes(b"other")
    (sequence / "head/000001.png").unlink()
    (sequence / "extra.txt").write_text("new")
    assert sidecar.read_sidecar(signed).failures == (
        "head/000000.png: not what was signed",
        "head/000001.png: missing",
        "extra.txt: added later",
    )


def test_hidden_files_are_neither_signed_nor_missed(
    sequence: Path, photo: Path, provenance: Provenance, identity: SigningIdentity
) -> None:
    (sequence / ".DS_Store").write_text("one")
    signed = sidecar.write_sidecar(sequence, provenance=provenance, inputs=[photo], signer=identity)
    (sequence / ".DS_Store").unlink()
    (sequence / "head/.directory").write_text("two")
    assert sidecar.read_sidecar(signed).state == "trusted"


@pytest.mark.parametrize("field", ["provenance", "files", "digital_source_type"])
def test_every_field_is_covered_by_the_signature(signed: Path, field: str) -> None:
    content = json.loads(signed.read_text())
    content[field] = [{"name": "a", "sha256": "b"}] if field == "files" else "changed"
    signed.write_text(json.dumps(content))
    report = sidecar.read_sidecar(signed)
    assert report.state == "invalid" and "signature mismatch" in report.failures


def test_a_replaced_certificate_is_not_trusted(signed: Path, tmp_path: Path) -> None:
    content = json.loads(signed.read_text())
    content["certificates"] = keys.load_or_create(tmp_path / "stranger").certificates
    signed.write_text(json.dumps(content))
    assert sidecar.read_sidecar(signed).state == "invalid"


def test_a_listed_path_outside_the_folder_is_not_read(
    sequence: Path, provenance: Provenance, identity: SigningIdentity
) -> None:
    path = sidecar.write_sidecar(sequence, provenance=provenance, inputs=[], signer=identity)
    content = json.loads(path.read_text())
    content["files"].append({"name": "../../etc/passwd", "sha256": "0"})
    path.write_text(json.dumps(content))
    assert "../../etc/passwd: outside the folder" in sidecar.read_sidecar(path).failures


def test_one_file_by_a_stranger(tmp_path: Path, provenance: Provenance) -> None:
    output = tmp_path / "out.mkv"
    output.write_bytes(b"video")
    stranger = keys.load_or_create(tmp_path / "stranger")
    path = sidecar.write_sidecar(output, provenance=provenance, inputs=[], signer=stranger)
    assert path.name == "out.mkv.gswap.json" and sidecar.find_sidecar(output) == path
    assert sidecar.read_sidecar(path, only=output).state == "valid"
    output.write_bytes(b"other")
    assert sidecar.read_sidecar(path, only=output).failures == ("out.mkv: not what was signed",)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"signature": 1}', '{"signature": "AA==", "certificates": "x"}'])
def test_nonsense_is_invalid_not_an_exception(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.gswap.json"
    path.write_text(text)
    assert sidecar.read_sidecar(path).state == "invalid"


def test_nothing_to_sign(tmp_path: Path, provenance: Provenance, identity: SigningIdentity) -> None:
    (tmp_path / "empty").mkdir()
    for path in (tmp_path / "empty", tmp_path / "nowhere.mkv"):
        with pytest.raises(MissingInputError):
            sidecar.write_sidecar(path, provenance=provenance, inputs=[], signer=identity)
