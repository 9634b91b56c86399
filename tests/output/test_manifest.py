"""Every tamper case of the design's matrix, on files made here."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import av
import c2pa
import pytest
from PIL import Image

from gswap.foundation.errors import MissingInputError, OutputError, UsageError
from gswap.output import credentials, keys, manifest
from gswap.output.credentials import read_manifest
from gswap.output.keys import SigningIdentity
from gswap.output.manifest import Provenance, SignedOutput
from gswap.output.marks import COMPOSITE_SOURCE_TYPE, CREATED_SOURCE_TYPE

Sign = Callable[..., SignedOutput]


@pytest.fixture
def sign(tmp_path: Path, video: Path, photo: Path, provenance: Provenance, identity: SigningIdentity) -> Sign:
    def run(name: str = "out.mp4", *, source: Path = video, parent: Path | None = video, **options: object):
        signer = options.pop("signer", identity)
        return manifest.sign_file(
            source,
            tmp_path / name,
            parent=parent,
            components=[photo],
            provenance=provenance,
            signer=signer,  # type: ignore[arg-type]
        )

    return run


def flip(path: Path, at: int, out: Path, bit: int = 1) -> Path:
    data = bytearray(path.read_bytes())
    data[at] ^= bit
    out.write_bytes(data)
    return out


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux() if packet.size]


def test_a_head_swap_is_opened_placed_and_edited(sign: Sign, video: Path) -> None:
    signed = sign()
    assert signed.manifest.state == "trusted"
    assert signed.manifest.source_types == (COMPOSITE_SOURCE_TYPE,)
    assert signed.manifest.watermark == "5ac3f1"
    assert signed.manifest.provenance["consent_sha256"] == "b" * 64
    assert [(i.title, i.relationship) for i in signed.manifest.ingredients] == [
        ("target clip", "parentOf"),
        ("source 1", "componentOf"),
    ]
    assert read_manifest(signed.path) == signed.manifest
    with open(signed.path, "rb") as handle:
        reader = c2pa.Reader("video/mp4", handle, context=credentials.offline_context())
        store = json.loads(reader.json())
    actions = store["manifests"][store["active_manifest"]]["assertions"][1]["data"]["actions"]
    assert [a["action"] for a in actions] == ["c2pa.opened", "c2pa.placed", "c2pa.edited"]
    assert packets(signed.path) == packets(video), "signing never touches the picture"


def test_no_names_paths_or_thumbnails(sign: Sign, tmp_path: Path, video: Path, photo: Path) -> None:
    named = video.rename(tmp_path / "Ada Lovelace.mp4")
    data = sign(source=named, parent=named).path.read_bytes()
    for leak in (b"Lovelace", str(tmp_path).encode(), photo.name.encode(), b"thumbnail"):
        assert leak not in data


def test_a_picture_made_from_nothing_is_created(
    tmp_path: Path, video: Path, provenance: Provenance, identity: SigningIdentity
) -> None:
    signed = manifest.sign_file(
        video, tmp_path / "out.mp4", parent=None, components=[], provenance=provenance, signer=identity
    )
    assert signed.manifest.state == "trusted" and signed.manifest.source_types == (CREATED_SOURCE_TYPE,)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_stills_are_signed(sign: Sign, tmp_path: Path, photo: Path, suffix: str) -> None:
    still = tmp_path / f"still.{suffix}"
    Image.open(photo).save(still)
    assert sign(f"out.{suffix}", source=still).manifest.state == "trusted"


def test_mov_is_signed(sign: Sign, write_video: Callable[..., Path]) -> None:
    assert sign("out.mov", source=write_video("clip.mov")).manifest.state == "trusted"


def test_second_generation_keeps_both_manifests(sign: Sign) -> None:
    second = sign("second.mp4", parent=sign("first.mp4").path)
    (parent, _) = second.manifest.ingredients
    assert parent.state == "trusted" and parent.signer == "gswap local signer"
    assert [i.title for i in parent.ingredients] == ["target clip", "source 1"]


def test_a_parent_that_c2pa_cannot_read_is_named_by_its_hash(
    sign: Sign, write_video: Callable[..., Path], tmp_path: Path
) -> None:
    assert sign(parent=write_video("clip.mkv")).opaque == ("target clip",)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"not a video at all" * 10)
    signed = sign("other.mp4", parent=broken)
    assert signed.opaque == ("target clip",) and signed.manifest.state == "trusted"
    assert len(signed.manifest.provenance["inputs_sha256"]["target clip"]) == 64


# ---------------------------------------------------------------- tampering
def test_one_bit_of_the_media_data(sign: Sign, tmp_path: Path) -> None:
    path = sign().path
    report = read_manifest(flip(path, path.read_bytes().index(b"mdat") + 500, tmp_path / "bad.mp4"))
    assert report.state == "invalid" and report.failures == ("assertion.bmffHash.mismatch",)


def test_truncation(sign: Sign, tmp_path: Path) -> None:
    data = sign().path.read_bytes()
    bad = tmp_path / "bad.mp4"
    bad.write_bytes(data[: len(data) * 3 // 4])
    assert read_manifest(bad).state == "invalid"


@pytest.mark.parametrize(
    ("marker", "failure"),
    [(b"embedded", "assertion.hashedURI.mismatch"), (b"gswap local signer", "claimSignature.mismatch")],
)
def test_one_bit_of_an_assertion_or_the_certificate(sign: Sign, tmp_path: Path, marker: bytes, failure: str) -> None:
    path = sign().path
    report = read_manifest(flip(path, path.read_bytes().index(marker), tmp_path / "bad.mp4", bit=2))
    assert report.state == "invalid" and failure in report.failures


def test_pixel_bytes_of_a_png(sign: Sign, tmp_path: Path, photo: Path) -> None:
    path = sign("out.png", source=photo).path
    report = read_manifest(flip(path, path.read_bytes().rindex(b"IDAT") + 50, tmp_path / "bad.png"))
    assert report.state == "invalid" and report.failures == ("assertion.dataHash.mismatch",)


def test_a_tampered_ingredient_is_seen_although_the_new_file_is_trusted(sign: Sign, tmp_path: Path) -> None:
    first = sign("first.mp4").path
    bad = flip(first, first.read_bytes().index(b"mdat") + 500, tmp_path / "bad.mp4")
    report = sign("second.mp4", parent=bad).manifest
    assert report.state == "trusted"
    assert [i.title for i in report.tampered_ingredients()] == ["target clip"]
    third = sign("third.mp4", parent=tmp_path / "second.mp4").manifest
    assert len(third.tampered_ingredients()) == 1, "also one generation later"


def test_garbage_appended(sign: Sign) -> None:
    path = sign().path
    with open(path, "ab") as handle:
        handle.write(b"garbage" * 9)
    assert read_manifest(path).state == "invalid"


def test_a_free_box_appended_is_harmless_and_stays_trusted(sign: Sign) -> None:
    path = sign().path
    with open(path, "ab") as handle:
        handle.write(b"\x00\x00\x00\x10free12345678")
    assert read_manifest(path).state == "trusted"


def test_remux_and_resave_lose_the_manifest(sign: Sign, tmp_path: Path, photo: Path) -> None:
    remuxed = tmp_path / "remuxed.mp4"
    with av.open(str(sign().path)) as source, av.open(str(remuxed), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    assert read_manifest(remuxed).state == "absent"
    resaved = tmp_path / "resaved.png"
    Image.open(sign("out.png", source=photo).path).save(resaved)
    assert read_manifest(resaved).state == "absent"


def test_somebody_elses_signature_is_valid_but_not_trusted(sign: Sign, tmp_path: Path) -> None:
    stranger = keys.load_or_create(tmp_path / "stranger")
    report = sign(signer=stranger).manifest
    assert report.state == "valid" and report.failures == ("signingCredential.untrusted",)


# ---------------------------------------------------------------- failures
def test_a_dead_time_stamp_authority_does_not_fail_the_job(sign: Sign, identity: SigningIdentity) -> None:
    signed = sign(signer=dataclasses.replace(identity, timestamp_url="http://127.0.0.1:9/"))
    assert not signed.timestamped and signed.manifest.provenance["timestamp"] == "none"
    assert signed.manifest.state == "trusted"


def test_a_failing_key_publishes_nothing_and_leaves_the_old_file(
    sign: Sign, identity: SigningIdentity, tmp_path: Path
) -> None:
    def refuse(message: bytes) -> bytes:
        raise RuntimeError("token unplugged")

    final = tmp_path / "out.mp4"
    final.write_bytes(b"old")
    with pytest.raises(OutputError, match="Nothing was published"):
        sign(signer=dataclasses.replace(identity, sign=refuse))
    assert final.read_bytes() == b"old"
    assert not list(tmp_path.glob(".*.part"))


def test_a_wrong_signature_is_caught_before_publishing(sign: Sign, identity: SigningIdentity, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        sign(signer=dataclasses.replace(identity, sign=lambda message: bytes(range(64))))
    assert not (tmp_path / "out.mp4").exists()


def test_formats_and_files_that_cannot_be_signed(sign: Sign, write_video: Callable[..., Path], tmp_path: Path) -> None:
    mkv = write_video("clip.mkv")
    assert not manifest.can_sign(mkv) and read_manifest(mkv).state == "unsupported"
    with pytest.raises(UsageError, match=r"cannot be embedded in \.mkv"):
        sign("out.mkv", source=mkv)
    with pytest.raises(MissingInputError):
        sign(parent=tmp_path / "nowhere.mp4")
    with pytest.raises(MissingInputError):
        read_manifest(tmp_path / "nowhere.mp4")
