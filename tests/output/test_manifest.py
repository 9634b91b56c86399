"""Every tamper case of the design's matrix, on files made here."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import c2pa
import numpy as np
import pytest
from PIL import Image

from gswap.foundation.errors import ConfigError, MissingInputError, OutputError, UsageError
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


def test_no_names_paths_or_thumbnails(
    tmp_path: Path, video: Path, photo: Path, provenance: Provenance, identity: SigningIdentity
) -> None:
    named = video.rename(tmp_path / "Ada Lovelace.mp4")
    photo.rename(tmp_path / "Grace Hopper.png")
    signed = manifest.sign_file(
        named,
        tmp_path / "out.mp4",
        parent=named,
        components=[tmp_path / "Grace Hopper.png"],
        provenance=provenance,
        signer=identity,
    )
    data = signed.path.read_bytes()
    for leak in (b"Lovelace", b"Hopper", str(tmp_path).encode(), Path.home().name.encode() + b"/", b"thumbnail"):
        assert leak not in data


def test_a_picture_made_from_nothing_is_created(
    tmp_path: Path, video: Path, provenance: Provenance, identity: SigningIdentity
) -> None:
    signed = manifest.sign_file(
        video, tmp_path / "out.mp4", parent=None, components=[], provenance=provenance, signer=identity
    )
    assert signed.manifest.state == "trusted" and signed.manifest.source_types == (CREATED_SOURCE_TYPE,)


@pytest.mark.parametrize("suffix", ["png", "jpg", "jpeg", "webp", "tif", "tiff"])
def test_stills_are_signed(sign: Sign, tmp_path: Path, photo: Path, suffix: str) -> None:
    still = tmp_path / f"still.{suffix}"
    Image.open(photo).save(still)
    signed = sign(f"out.{suffix}", source=still)
    assert signed.manifest.state == read_manifest(signed.path).state == "trusted"
    assert (np.asarray(Image.open(signed.path)) == np.asarray(Image.open(still))).all()


@pytest.mark.parametrize("suffix", ["mp4", "mov", "m4v"])
def test_videos_are_signed(sign: Sign, write_video: Callable[..., Path], suffix: str) -> None:
    unsigned = write_video(f"clip.{suffix}")
    signed = sign(f"out.{suffix}", source=unsigned)
    assert signed.manifest.state == read_manifest(signed.path).state == "trusted"
    assert packets(signed.path) == packets(unsigned)


def test_second_generation_keeps_both_manifests(sign: Sign) -> None:
    second = sign("second.mp4", parent=sign("first.mp4").path)
    (parent, _) = second.manifest.ingredients
    assert parent.state == "trusted" and parent.signer == "gswap local signer"
    assert [i.title for i in parent.ingredients] == ["target clip", "source 1"]


def test_a_signed_photo_keeps_its_manifest(sign: Sign, tmp_path: Path, photo: Path) -> None:
    sign("camera.png", source=photo).path.rename(photo)
    (_, component) = sign().manifest.ingredients
    assert component.state == "trusted" and component.signer == "gswap local signer"


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
    [
        (b"embedded", "assertion.hashedURI.mismatch"),
        (b"head swap", "claimSignature.mismatch"),
        (b"gswap local signer", "claimSignature.mismatch"),
    ],
)
def test_one_bit_of_an_assertion_the_claim_or_the_certificate(
    sign: Sign, tmp_path: Path, marker: bytes, failure: str
) -> None:
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


# ---------------------------------------------------------------- certificates
def test_a_manifest_without_time_stamp_ends_with_its_certificate(
    sign: Sign, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "LEAF_LIFETIME", keys.CLOCK_SKEW + dt.timedelta(seconds=3))
    path = sign(signer=keys.load_or_create(tmp_path / "short")).path
    assert read_manifest(path).state == "valid"
    deadline = time.monotonic() + 10
    while (report := read_manifest(path)).state == "valid" and time.monotonic() < deadline:
        time.sleep(0.2)
    assert report.state == "invalid" and "signingCredential.expired" in report.failures


def test_a_rehearsal_finds_keys_that_do_not_work(identity: SigningIdentity, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest.rehearse(identity)
    with pytest.raises(ConfigError, match="do not work"):
        manifest.rehearse(dataclasses.replace(identity, sign=lambda message: bytes(range(64))))
    monkeypatch.setattr(keys.ExtendedKeyUsageOID, "EMAIL_PROTECTION", keys.ExtendedKeyUsageOID.SERVER_AUTH)
    with pytest.raises(ConfigError, match="do not work"):
        manifest.rehearse(keys.rotate())


# ---------------------------------------------------------------- failures
Answer = Callable[[BaseHTTPRequestHandler], None]


@contextmanager
def authority(answer: Answer) -> Iterator[str]:
    """A time-stamp authority on this machine that answers every request in its own way; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            answer(self)

        def log_message(self, format: str, *args: object) -> None:
            """Be silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def reply(body: bytes) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "application/timestamp-reply")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        lambda handler: handler.send_error(500),
        lambda handler: handler.send_error(404),
        lambda handler: handler.connection.close(),
        reply(b""),
        reply(b"not a time stamp"),
    ],
    ids=["500", "404", "hang-up", "empty", "nonsense"],
)
def test_a_faulty_time_stamp_authority_does_not_fail_the_job(
    sign: Sign, identity: SigningIdentity, answer: Answer
) -> None:
    with authority(answer) as url:
        signed = sign(signer=dataclasses.replace(identity, timestamp_url=url))
    assert not signed.timestamped and signed.manifest.provenance["timestamp"] == "none"
    assert signed.manifest.state == "trusted" and not signed.manifest.signed_at


def test_an_authority_that_never_answers_is_not_waited_for(
    sign: Sign, identity: SigningIdentity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(manifest, "TIMESTAMP_SECONDS", 0.3)
    over = threading.Event()
    with authority(lambda handler: (over.wait(), None)[1]) as url:
        signed = sign(signer=dataclasses.replace(identity, timestamp_url=url))
        over.set()
    assert not signed.timestamped and read_manifest(signed.path).state == "trusted"
    assert not list(tmp_path.glob(".*.part"))


def test_nobody_listens_at_the_authority(sign: Sign, identity: SigningIdentity) -> None:
    assert not sign(signer=dataclasses.replace(identity, timestamp_url="http://127.0.0.1:9/")).timestamped


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
