"""The signing key of this user: made on first use, imported, or held elsewhere (PKCS#11, KMS).

On first use a private root signs one ES256 leaf and is thrown away; the leaf's key stays in the user's configuration
folder (mode 0600). That gives integrity and disclosure, not identity: other people's validators say "unrecognised
signer". An imported certificate from a recognised authority gives both. Certificate profile: C2PA 2.x, "Digital
signature" key usage (critical) and the e-mail protection extended key usage; ten years, because a manifest without
a trusted time stamp turns invalid when its leaf expires.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gswap.foundation.errors import ConfigError, InputError, MissingInputError
from gswap.foundation.store import storage_error, write_bytes

CONFIG_DIR_VARIABLE = "GSWAP_CONFIG_DIR"
LEAF_LIFETIME = dt.timedelta(days=3652)
"""Ten years."""
CLOCK_SKEW = dt.timedelta(minutes=5)
COORDINATE_BYTES = 32
"""Size of r and of s in an ES256 signature (P-256)."""
_IDENTITY_FILE = "identity.pem"
_TRUST_FOLDER = "trust"


@dataclass(frozen=True)
class SigningIdentity:
    """Who signs: a certificate chain (PEM, leaf first) and a function that signs bytes with the leaf's key.

    ``sign`` returns ``r || s``, 64 bytes (ES256: ECDSA P-256 with SHA-256 over the message). A key that lives in a
    PKCS#11 token or a KMS is used by giving a ``sign`` that calls it (``examples/06_sign_with_a_key_service.py``).
    """

    certificates: str
    sign: Callable[[bytes], bytes]
    timestamp_url: str | None = None
    """RFC 3161 authority, or ``None`` to work offline."""

    @property
    def name(self) -> str:
        """Common name of the leaf."""
        return _common_name(_chain(self.certificates)[0])


def config_dir() -> Path:
    """The user's configuration folder: ``$GSWAP_CONFIG_DIR``, or the platform's usual place."""
    if chosen := os.environ.get(CONFIG_DIR_VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        base = Path(os.environ.get("APPDATA") or Path.home() / "AppData" / "Roaming")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return base / "gswap"


# ---------------------------------------------------------------- the user's own key
def load_or_create(folder: Path | None = None, *, timestamp_url: str | None = None) -> SigningIdentity:
    """The user's signing identity; made on first use. Safe against two processes doing so at once.

    Args:
        folder: Where it lives; :func:`config_dir` by default.
        timestamp_url: RFC 3161 authority to ask for time stamps.

    Raises:
        ConfigError: The stored identity is damaged, or its certificate has expired.
        PermissionDeniedError: The folder is not writable.
    """
    folder = folder or config_dir()
    path = folder / _IDENTITY_FILE
    if not path.exists():
        _store(folder, *_generate(), replace=False)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise storage_error(error, path) from error
    try:
        key = _private_key(data)
        chain = _chain(data.decode())
    except (ValueError, TypeError, InputError) as error:
        raise ConfigError(
            "Expected a private key and a certificate chain, found a damaged identity.",
            hint="Restore it from a backup, or make a new one with `gswap keys rotate`.",
            path=path,
        ) from error
    if chain[0].not_valid_after_utc < dt.datetime.now(dt.UTC):
        raise ConfigError(
            f"The signing certificate expired on {chain[0].not_valid_after_utc:%Y-%m-%d}.",
            hint="Make a new one with `gswap keys rotate`.",
            path=path,
        )
    _trust(folder, chain[-1])
    return _identity(key, _pem(chain), timestamp_url)


def import_identity(certificates: Path, key: Path, folder: Path | None = None) -> SigningIdentity:
    """Make the user's own certificate chain and key the signing identity. Errors as in :func:`read_identity`."""
    private, chain = _read_identity(certificates, key)
    _store(folder or config_dir(), private, chain, replace=True)
    return load_or_create(folder)


def read_identity(certificates: Path, key: Path) -> SigningIdentity:
    """A certificate chain and its key (both PEM, unencrypted ES256) as a signing identity; nothing is stored.

    Raises:
        MissingInputError: A file cannot be read.
        InputError: They are not a chain and its P-256 key, or do not belong together.
    """
    private, chain = _read_identity(certificates, key)
    return _identity(private, _pem(chain), None)


def _read_identity(certificates: Path, key: Path) -> tuple[ec.EllipticCurvePrivateKey, list[x509.Certificate]]:
    chain_text, key_data = _read(certificates).decode(errors="replace"), _read(key)
    chain = _chain(chain_text, certificates)
    try:
        private = _private_key(key_data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise InputError("Expected an unencrypted P-256 private key in PEM.", path=key) from error
    if chain[0].public_key() != private.public_key():
        raise InputError(
            "The first certificate does not belong to the key.", hint="Put the leaf first.", path=certificates
        )
    return private, chain


def rotate(folder: Path | None = None) -> SigningIdentity:
    """Replace the user's identity by a new one. Roots of earlier ones stay trusted by ``gswap verify``."""
    folder = folder or config_dir()
    _store(folder, *_generate(), replace=True)
    return load_or_create(folder)


def export_root(destination: Path, folder: Path | None = None) -> None:
    """Write the last certificate of the user's chain: what others add to their validator to trust this user."""
    chain = _chain(load_or_create(folder).certificates)
    write_bytes(destination, chain[-1].public_bytes(serialization.Encoding.PEM))


def trust_anchors(folder: Path | None = None) -> str:
    """PEM of every root that this user trusts: the own ones, and those put into ``<config>/trust`` by hand."""
    trusted = (folder or config_dir()) / _TRUST_FOLDER
    return "".join(path.read_text() for path in sorted(trusted.glob("*.pem")))


# ---------------------------------------------------------------- signatures
def verify_signature(certificates: str, signature: bytes, message: bytes) -> bool:
    """Whether ``signature`` (``r || s``) over ``message`` was made by the leaf of the chain. Says nothing about who."""
    try:
        public = _chain(certificates)[0].public_key()
    except InputError:
        return False
    if not isinstance(public, ec.EllipticCurvePublicKey) or len(signature) != 2 * COORDINATE_BYTES:
        return False
    r, s = (int.from_bytes(part) for part in (signature[:COORDINATE_BYTES], signature[COORDINATE_BYTES:]))
    try:
        public.verify(encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def raw_signature(der: bytes) -> bytes:
    """An ECDSA P-256 signature in DER, as libraries, tokens and key services return it, as ``r || s``."""
    r, s = decode_dss_signature(der)
    return r.to_bytes(COORDINATE_BYTES) + s.to_bytes(COORDINATE_BYTES)


def is_trusted(certificates: str, folder: Path | None = None) -> bool:
    """Whether the chain's leaf is within its dates and was issued by one of :func:`trust_anchors`."""
    try:
        leaf = _chain(certificates)[0]
    except InputError:
        return False
    if not leaf.not_valid_before_utc <= dt.datetime.now(dt.UTC) <= leaf.not_valid_after_utc:
        return False
    anchors = trust_anchors(folder)
    for root in x509.load_pem_x509_certificates(anchors.encode()) if anchors else []:
        with contextlib.suppress(InvalidSignature, ValueError, TypeError):
            leaf.verify_directly_issued_by(root)
            return True
    return False


def signer_name(certificates: str) -> str:
    """Common name of the leaf of a chain (PEM)."""
    return _common_name(_chain(certificates)[0])


def _identity(key: ec.EllipticCurvePrivateKey, certificates: str, timestamp_url: str | None) -> SigningIdentity:
    def sign(message: bytes) -> bytes:
        return raw_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))

    return SigningIdentity(certificates, sign, timestamp_url)


# ---------------------------------------------------------------- certificates
def _generate() -> tuple[ec.EllipticCurvePrivateKey, list[x509.Certificate]]:
    """A leaf key and the chain [leaf, root]; the root's key is not kept."""
    root_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name, leaf_name = _x509_name("gswap local root"), _x509_name("gswap local signer")
    root = (
        _certificate(root_name, root_name, root_key.public_key(), authority=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _certificate(leaf_name, root_name, leaf_key.public_key(), authority=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(leaf_key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    return leaf_key, [leaf, root]


def _x509_name(common_name: str) -> x509.Name:
    attributes = [(NameOID.ORGANIZATION_NAME, "gswap"), (NameOID.COMMON_NAME, common_name)]
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool
) -> x509.CertificateBuilder:
    start = dt.datetime.now(dt.UTC) - CLOCK_SKEW
    usage = x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        crl_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + LEAF_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )


def _chain(text: str, path: Path | None = None) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise InputError("Expected a certificate chain in PEM.", path=path) from error


def _pem(chain: list[x509.Certificate]) -> str:
    return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in chain).decode()


def _private_key(data: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(data, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise ValueError("not a P-256 key")
    return key


def _common_name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string()


# ---------------------------------------------------------------- files
def _store(folder: Path, key: ec.EllipticCurvePrivateKey, chain: list[x509.Certificate], *, replace: bool) -> None:
    """Write key and chain as one private file. Without ``replace`` the first one wins."""
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write_private(folder / _IDENTITY_FILE, secret + b"".join(c.public_bytes(pem) for c in chain), replace=replace)


def _write_private(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file of mode 0600 atomically, also against other threads of this process."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                os.replace(part, path)
            else:
                with contextlib.suppress(FileExistsError):
                    os.link(part, path)
        finally:
            Path(part).unlink(missing_ok=True)
    except OSError as error:
        raise storage_error(error, path) from error


def _trust(folder: Path, root: x509.Certificate) -> None:
    path = folder / _TRUST_FOLDER / f"{root.fingerprint(hashes.SHA256()).hex()[:16]}.pem"
    if not path.exists():
        _write_private(path, root.public_bytes(serialization.Encoding.PEM), replace=True)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MissingInputError(f"Cannot read the file ({error.strerror}).", path=path) from error
