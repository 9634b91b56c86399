"""Signing with a key that never leaves its token or key service (PKCS#11, KMS): only a function is handed in."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import numpy as np
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from PIL import Image

from gswap.output import keys
from gswap.output.manifest import Provenance, rehearse, sign_file
from gswap.output.verify import VerifyReport, sentences, verify_file


class KeyService:
    """Stands for a token or a key service: it knows its certificates, signs digests, and keeps the key to itself."""

    def __init__(self, folder: Path) -> None:
        self.certificates = keys.load_or_create(folder).certificates
        data = (folder / "identity.pem").read_bytes()
        self._key = serialization.load_pem_private_key(data, password=None)

    def sign_digest(self, digest: bytes) -> bytes:
        """ECDSA P-256 over a SHA-256 digest, in the DER encoding that services return."""
        assert isinstance(self._key, ec.EllipticCurvePrivateKey)
        return self._key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256())))


def identity_of(service: KeyService) -> keys.SigningIdentity:
    """What gswap signs with. A whole job takes it as ``gswap.run_job(job, signer=identity_of(service))``."""

    def sign(message: bytes) -> bytes:
        return keys.raw_signature(service.sign_digest(hashlib.sha256(message).digest()))

    return keys.SigningIdentity(service.certificates, sign)


def main(folder: Path) -> VerifyReport:
    """Sign a picture with the service's key and read the result back."""
    folder.mkdir(parents=True, exist_ok=True)
    identity = identity_of(KeyService(folder / "service"))
    rehearse(identity)
    unsigned, signed = folder / "unsigned.png", folder / "signed.png"
    Image.fromarray(np.full((64, 64, 3), 128, np.uint8)).save(unsigned)
    facts = Provenance(recipe="example", config_hash="0" * 64, consent_hash="0" * 64)
    sign_file(unsigned, signed, parent=None, components=[], provenance=facts, signer=identity)
    report = verify_file(signed)
    print(*sentences(report), sep="\n")
    return report


if __name__ == "__main__":
    main(Path(sys.argv[1]))
