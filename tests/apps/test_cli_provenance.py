"""Consent, keys and verify from the command line: the walk-through, and every refusal with its sentence and code."""

from __future__ import annotations

import datetime as dt
import json
import re

import numpy as np
import pytest
from PIL import Image

from gswap.apps.cli.main import run
from gswap.media.write import encode_rgb
from gswap.output import keys, manifest
from gswap.output.manifest import Provenance

CONSENT = ["--source-name", "Ada", "--source-contact", "ada@example.org", "--target-name", "Ben"]
CONSENT += ["--target-contact", "+1 555 0100", "--project", "a film", "--uses", "festival", "--territories", "EU"]


@pytest.fixture(autouse=True)
def own_config(tmp_path, monkeypatch):
    """Keys of the test, not of the user."""
    monkeypatch.setenv(keys.CONFIG_DIR_VARIABLE, str(tmp_path / "config"))
    return tmp_path / "config"


@pytest.fixture
def folder(tmp_path):
    """Photos, other photos and a clip, none of which holds a face: refusals come before anybody looks."""
    rng = np.random.default_rng(0)
    for name in ("photos", "others"):
        (tmp_path / name).mkdir()
        for i in range(2):
            pixels = rng.integers(0, 255, (32, 32, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    encode_rgb(tmp_path / "clip.mp4", (np.full((64, 96, 3), i, np.uint8) for i in range(5)), (25, 1))
    return tmp_path


@pytest.fixture
def swap(folder, capsys):
    """Run ``gswap swap``; returns its exit code and what it said."""

    def command(record="consent.toml", *options, source="photos"):
        arguments = ["--source", str(folder / source), "--target", str(folder / "clip.mp4")]
        arguments += ["-o", str(folder / "out.mp4"), "--consent", str(folder / record)]
        code = run(["swap", *arguments, *options])
        assert not (folder / "out.mp4").exists() and not (folder / "out.mp4.gswap").exists()
        return code, capsys.readouterr().err

    return command


def change(path, **values):
    """Edit top-level values of a record by hand."""
    text = path.read_text()
    for name, value in values.items():
        text = re.sub(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
    path.write_text(text)


def test_from_a_new_record_to_a_signed_one(folder, capsys):
    record = str(folder / "consent.toml")
    assert run(["consent", "new", "-o", record, *CONSENT]) == 0
    assert run(["consent", "check", record]) == 0
    assert "not bound to photos yet, not signed" in capsys.readouterr().out
    assert run(["consent", "sign", record]) == 78
    assert "signed with its photos" in capsys.readouterr().err
    assert run(["consent", "sign", record, "--source", str(folder / "photos")]) == 0
    assert run(["consent", "check", record, "--source", str(folder / "photos")]) == 0
    assert "bound to 2 photos, signed" in capsys.readouterr().out
    assert run(["consent", "check", record, "--source", str(folder / "others"), "--json"]) == 78
    found = json.loads(capsys.readouterr().out)
    assert len(found["problems"]) == 2 and "other photos" in found["problems"][0]
    change(folder / "consent.toml", valid_until="2099-12-31")
    assert run(["consent", "check", record]) == 78
    assert "changed after it was signed" in capsys.readouterr().out


@pytest.mark.parametrize("left_out", ["--source-name", "--target-contact", "--project", "--uses", "--territories"])
def test_a_record_that_lacks_something_is_not_written(folder, left_out, capsys):
    at = CONSENT.index(left_out)
    options = CONSENT[:at] + CONSENT[at + 2 :]
    assert run(["consent", "new", "-o", str(folder / "c.toml"), *options]) == 78
    assert "The consent record" in capsys.readouterr().err
    assert not (folder / "c.toml").exists()


def test_a_swap_is_refused_before_any_work_with_the_sentence_that_is_missing(folder, swap, capsys):
    assert swap() == (78, "gswap: " + str(folder / "consent.toml") + ": There is no consent record here. "
                      "Make one with `gswap consent new`.\n")  # fmt: skip
    record = folder / "consent.toml"
    assert run(["consent", "new", "-o", str(record), *CONSENT]) == 0
    assert "does not allow the label to be turned off" in refusal(swap("consent.toml", "--label", "off"))
    assert "does not allow the watermark to be turned off" in refusal(swap("consent.toml", "--no-watermark"))
    today = dt.date.today()
    change(record, valid_until=today - dt.timedelta(days=1), valid_from=today - dt.timedelta(days=9))
    assert f"expired on {today - dt.timedelta(days=1)}; today is {today}" in refusal(swap())
    change(record, valid_until=today + dt.timedelta(days=9), valid_from=today + dt.timedelta(days=1))
    assert "not valid before" in refusal(swap())
    change(record, valid_from=today)
    assert run(["consent", "sign", str(record), "--source", str(folder / "photos")]) == 0
    assert "bound to other photos" in refusal(swap(source="others"))
    change(record, project='"another film"')
    assert "changed after it was signed" in refusal(swap())


def refusal(result):
    code, said = result
    assert code == 78
    return said


def test_made_up_people_and_test_material_keep_their_marks(folder, swap):
    assert run(["consent", "new", "-o", str(folder / "c.toml"), "--kind", "synthetic", "--allow-label-off"]) == 78
    assert run(["consent", "new", "-o", str(folder / "c.toml"), "--kind", "evaluation"]) == 0
    assert "always keeps the label on" in refusal(swap("c.toml", "--label", "off"))
    assert "always keeps the watermark on" in refusal(swap("c.toml", "--no-watermark"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--label-size", "0.01"], "expected 0.03 to 0.2"),
        (["--timestamp-url", "ftp://example.org"], "begin with http"),
    ],
)
def test_marks_that_cannot_be_made_are_usage_errors(folder, swap, options, said):
    assert run(["consent", "new", "-o", str(folder / "c.toml"), "--kind", "evaluation"]) == 0
    code, message = swap("c.toml", *options)
    assert code == 2 and said in message


def test_keys_are_shown_rotated_imported_and_exported(tmp_path, own_config, capsys):
    assert run(["keys", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["signer"] == "gswap local signer"
    before = keys.load_or_create()
    assert run(["keys", "rotate"]) == 0
    assert keys.load_or_create().certificates != before.certificates
    elsewhere = tmp_path / "elsewhere"
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_text(keys.load_or_create(elsewhere).certificates)
    key.write_text((elsewhere / "identity.pem").read_text().split("-----BEGIN CERTIFICATE")[0])
    assert run(["keys", "import"]) == 2
    assert run(["keys", "import", "--certificates", str(chain), "--key", str(chain)]) == 65
    assert run(["keys", "import", "--certificates", str(chain), "--key", str(key)]) == 0
    assert keys.load_or_create().certificates == chain.read_text()
    assert run(["keys", "export-root", "-o", str(tmp_path / "root.pem")]) == 0
    assert (tmp_path / "root.pem").read_text() in chain.read_text()


def test_a_certificate_that_cannot_sign_is_not_imported(tmp_path, monkeypatch, capsys):
    mine = keys.load_or_create().certificates
    with monkeypatch.context() as patched:
        patched.setattr(keys.ExtendedKeyUsageOID, "EMAIL_PROTECTION", keys.ExtendedKeyUsageOID.SERVER_AUTH)
        keys.load_or_create(tmp_path / "server")
    both = tmp_path / "server" / "identity.pem"
    (tmp_path / "key.pem").write_text(both.read_text().split("-----BEGIN CERTIFICATE")[0])
    (tmp_path / "chain.pem").write_text(
        "-----BEGIN CERTIFICATE" + both.read_text().split("-----BEGIN CERTIFICATE", 1)[1]
    )
    files = ["--certificates", str(tmp_path / "chain.pem"), "--key", str(tmp_path / "key.pem")]
    assert run(["keys", "import", *files]) == 78
    assert "do not work" in capsys.readouterr().err
    assert keys.load_or_create().certificates == mine


def test_verify_goes_through_all_files_and_returns_the_highest_code(folder, capsys):
    signed, bad = folder / "signed.mp4", folder / "bad.mp4"
    facts = Provenance("embedded", "a" * 64, "b" * 64)
    manifest.sign_file(
        folder / "clip.mp4",
        signed,
        parent=folder / "clip.mp4",
        components=[],
        provenance=facts,
        signer=keys.load_or_create(),
    )
    bad.write_bytes(signed.read_bytes()[:-20])
    assert run(["verify", str(signed)]) == 0
    assert run(["verify", str(folder / "clip.mp4"), str(signed)]) == 1
    capsys.readouterr()
    assert run(["verify", "--json", str(bad), str(folder / "clip.mp4"), str(signed)]) == 65
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["exit_code"] for e in events] == [65, 1, 0]
    assert run(["verify", str(folder / "nothing.mp4"), str(signed)]) == 66
    captured = capsys.readouterr()
    assert "found nothing" in captured.err and "unchanged since it was signed" in captured.out
