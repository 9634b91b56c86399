"""Publish: sign what was delivered and put it where the user wants it. The last act of a job."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from gswap.foundation.store import atomic_path, hash_file, read_json, write_json
from gswap.output import consent, keys
from gswap.output.manifest import Provenance, can_sign, sign_file
from gswap.output.sidecar import write_sidecar
from gswap.pipeline.config import Job
from gswap.pipeline.fingerprint import fingerprint
from gswap.pipeline.parts import digests, named, required_weights
from gswap.pipeline.steps import deliver
from gswap.pipeline.steps.ingest import source_files

RECORD = "published.json"
BUNDLED_MODELS = (
    ("gswap", "body/data/*.npz"),
    ("mediapipe", "modules/face_*/*.tflite"),
    ("mediapipe", "modules/iris_*/*.tflite"),
    ("mediapipe", "modules/selfie_*/*.tflite"),
    ("face_recognition_models", "models/dlib_face_recognition_resnet_model_v1.dat"),
)
"""Package and pattern of the models that every job may use and no download brings."""


def provenance_of(job: Job, record: consent.ConsentRecord, key: str) -> Provenance:
    """What the manifest says about a job."""
    return Provenance(
        recipe=job.recipe,
        config_hash=fingerprint(job.settings, job.parts, job.mouth, job.detail, job.seed),
        weights={**bundled_models(), **digests(required_weights(job))},
        consent_hash=consent.record_hash(record),
        watermark_id=deliver.watermark_id(key) if job.watermark else None,
        label=job.label != "off",
        notes=tuple(f"part {part}: {choice}" for part, choice in named(job.parts).items()),
    )


@cache
def bundled_models() -> Mapping[str, str]:
    """The models that lie inside the installed packages -> SHA-256."""
    found = {}
    for package, pattern in BUNDLED_MODELS:
        spec = importlib.util.find_spec(package)
        for root in (spec and spec.submodule_search_locations) or ():
            found |= {f"{package}/{path.name}": hash_file(path) for path in sorted(Path(root).glob(pattern))}
    return MappingProxyType(found)


@dataclass(frozen=True)
class Published:
    """What :func:`publish` did."""

    written: tuple[Path, ...]
    warnings: tuple[str, ...] = ()


def publish(
    job: Job, record: consent.ConsentRecord, folder: Path, key: str, identity: keys.SigningIdentity
) -> Published:
    """Sign the delivered files to their final names.

    Args:
        job: The job.
        record: Its consent record, bound to the photos.
        folder: The folder of the finished deliver step.
        key: That step's fingerprint.
        identity: Who signs.

    Raises:
        OutputError: Signing failed; the output is not published.
    """
    provenance = provenance_of(job, record, key)
    pairs = [(deliver.video_path(folder, job.out), job.out)]
    if job.compare is not None:
        pairs.append((deliver.compare_path(folder, job.compare), job.compare))
    written: list[Path] = []
    warnings: list[str] = []
    for source, final in pairs:
        if can_sign(final):
            signed = sign_file(
                source,
                final,
                parent=job.target,
                components=source_files(job),
                provenance=provenance,
                signer=identity,
            )
            written.append(final)
            if job.timestamp_url is not None and not signed.timestamped:
                warnings.append(f"{final.name} has no time stamp: {job.timestamp_url} gave none.")
        else:
            with atomic_path(final) as part:
                shutil.copyfile(source, part)
            written += [
                final,
                write_sidecar(final, provenance=provenance, inputs=[job.target, *source_files(job)], signer=identity),
            ]
    if job.layers is not None:
        written.append(
            write_sidecar(job.layers, provenance=provenance, inputs=[job.target, *source_files(job)], signer=identity)
        )
    write_json(
        folder / RECORD,
        {
            "timestamp_url": job.timestamp_url,
            "out": str(job.out.resolve()),
            "sha256": {str(p.resolve()): hash_file(p) for p in written},
        },
    )
    return Published(tuple(written), tuple(warnings))


def is_published(job: Job, folder: Path) -> bool:
    """Whether the files where the job would write are the very ones that this workspace published."""
    path = folder / RECORD
    if not path.exists():
        return False
    record = read_json(path)
    if record.get("timestamp_url") != job.timestamp_url:
        return False
    hashes: dict[str, str] = record["sha256"]
    wanted = {job.out.resolve()} | ({job.compare.resolve()} if job.compare is not None else set())
    return wanted <= {Path(p) for p in hashes} and all(
        Path(p).exists() and hash_file(Path(p)) == digest for p, digest in hashes.items()
    )
