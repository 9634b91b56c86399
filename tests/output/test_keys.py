from __future__ import annotations

import datetime as dt
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from gswap.foundation.errors import ConfigError, InputError
from gswap.output import keys


def test_first_use_makes_a_private_ten_year_leaf_under_a_root(config_folder: Path) -> None:
    identity = keys.load_or_create()
    leaf, root = x509.load_pem_x509_certificates(identity.certificates.encode())
    leaf.verify_directly_issued_by(root)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.digital_signature and not usage.value.key_cert_sign
    extended = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert list(extended.value) == [ExtendedKeyUsageOID.EMAIL_PROTECTION]
    assert leaf.not_valid_after_utc > dt.datetime.now(dt.UTC) + dt.timedelta(days=3650)
    assert isinstance(key := leaf.public_key(), ec.EllipticCurvePublicKey) and key.curve.name == "secp256r1"
    assert stat.S_IMODE((config_folder / "identity.pem").stat().st_mode) == 0o600
    assert (config_folder / "identity.pem").read_text().count("PRIVATE KEY") == 2, "the root's key is not kept"
    assert keys.load_or_create().certificates == identity.certificates


def test_two_first_uses_at_once_agree() -> None:
    with ThreadPoolExecutor(4) as pool:
        chains = list(pool.map(lambda _: keys.load_or_create().certificates, range(4)))
    assert len(set(chains)) == 1


def test_signatures_verify_and_forgeries_do_not() -> None:
    identity = keys.load_or_create()
    signature = identity.sign(b"message")
    assert len(signature) == 64
    assert keys.verify_signature(identity.certificates, signature, b"message")
    assert not keys.verify_signature(identity.certificates, signature, b"massage")
    assert not keys.verify_signature(identity.certificates, signature[:-1], b"message")
    assert not keys.verify_signature("nonsense", signature, b"message")
    assert keys.is_trusted(identity.certificates)


def test_rotation_keeps_earlier_roots_trusted() -> None:
    old = keys.load_or_create()
    new = keys.rotate()
    assert new.certificates != old.certificates
    assert keys.is_trusted(old.certificates) and keys.is_trusted(new.certificates)


def test_import_and_export(tmp_path: Path, config_folder: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    other = keys.load_or_create(elsewhere)
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_text(other.certificates)
    key.write_text((elsewhere / "identity.pem").read_text().split("-----BEGIN CERTIFICATE")[0])
    mine = keys.load_or_create()
    assert not keys.is_trusted(other.certificates)
    assert keys.import_identity(chain, key).certificates == other.certificates != mine.certificates
    keys.export_root(tmp_path / "root.pem")
    assert (tmp_path / "root.pem").read_text() in other.certificates


def test_a_key_that_does_not_fit_its_certificate_is_refused(tmp_path: Path) -> None:
    keys.load_or_create(tmp_path / "a")
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_text(keys.load_or_create(tmp_path / "b").certificates)
    key.write_text((tmp_path / "a" / "identity.pem").read_text())
    with pytest.raises(InputError, match="does not belong to the key"):
        keys.import_identity(chain, key)
    key.write_text("nothing")
    with pytest.raises(InputError, match="P-256 private key"):
        keys.import_identity(chain, key)


def test_damaged_and_expired_identities_say_so(config_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys.load_or_create()
    path = config_folder / "identity.pem"
    text = path.read_text()
    path.write_text(text[:100])
    with pytest.raises(ConfigError, match="damaged"):
        keys.load_or_create()
    monkeypatch.setattr(keys, "LEAF_LIFETIME", dt.timedelta(minutes=1))
    with pytest.raises(ConfigError, match="expired"):
        keys.rotate()


@pytest.mark.parametrize(("platform", "expected"), [("win32", "AppData"), ("darwin", "Library"), ("linux", ".config")])
def test_configuration_folder_by_platform(monkeypatch: pytest.MonkeyPatch, platform: str, expected: str) -> None:
    for name in (keys.CONFIG_DIR_VARIABLE, "XDG_CONFIG_HOME", "APPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(keys.sys, "platform", platform)
    assert expected in keys.config_dir().parts and keys.config_dir().name == "gswap"
