"""What is checked before any work: options, files, consent, device, container, disk."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from pathlib import Path

from gswap.foundation import weights
from gswap.foundation.errors import (
    DeviceError,
    InputError,
    MissingInputError,
    OutputError,
    StorageError,
    UsageError,
)
from gswap.foundation.store import hash_file
from gswap.foundation.types import VideoInfo
from gswap.media.encoders import check_output
from gswap.media.probe import probe
from gswap.output import consent
from gswap.pipeline.config import Job
from gswap.pipeline.parts import check_libraries, check_parts, required_weights
from gswap.pipeline.steps.deliver import make_label
from gswap.pipeline.steps.ingest import source_files, trim

BYTES_PER_PIXEL = 16.0
"""Workspace bytes per window pixel and frame, all PNG stores together (measured: 9 to 14)."""
HEADROOM = 1.2
_MIB = 1 << 20


def preflight(job: Job) -> consent.ConsentRecord:
    """Refuse what cannot work, before hours are spent; returns the consent record. Nothing is written.

    Raises:
        GswapError: The first thing that is not right, in one sentence.
    """
    check_options(job)
    if job.device == "cuda":
        check_cuda()
    check_parts(job.parts)
    weights.require(required_weights(job), commercial_only=job.commercial_only)
    check_libraries(job)
    if not job.target.exists():
        raise MissingInputError("The target video does not exist.", path=job.target)
    for folder, option in ((job.masks, "--masks"), (job.generated, "--generated")):
        if folder is not None and not folder.is_dir():
            raise MissingInputError(f"Expected a folder of images for {option}, found none.", path=folder)
    if job.portrait is not None and not job.portrait.is_file():
        raise MissingInputError("The portrait does not exist.", path=job.portrait)
    if job.refine and job.portrait is None:
        raise UsageError("Expected a portrait to refine, found none.", hint="Give --portrait FILE with --refine.")
    if job.out.suffix.lower() == "" or job.out.is_dir():
        raise OutputError("Expected the output to be a file such as out.mp4, found a folder.", path=job.out)
    if job.timestamp_url is not None and not job.timestamp_url.startswith(("http://", "https://")):
        raise UsageError(f"Expected --timestamp-url to begin with http:// or https://, found {job.timestamp_url!r}.")
    files = source_files(job)
    info = probe(job.target, job.settings.limits)
    first, stop = trim(info, job.start, job.end)
    check_output(info, job.out, job.settings.encode)
    if job.compare is not None:
        check_output(info, job.compare, job.settings.encode)
    for path in (job.out, job.compare):
        if path is not None and path.exists():
            if path.resolve() in {p.resolve() for p in (job.target, *files)}:
                raise UsageError("The output would overwrite an input.", hint="Choose another name.", path=path)
            if not job.overwrite:
                raise OutputError("The output already exists.", hint="Give --overwrite to replace it.", path=path)
    if job.label != "off":
        make_label(job, info)
    record = consent.load(job.consent)
    photos = {hash_file(p): p.name for p in files}
    consent.check(
        record,
        photos=photos,
        names=photos,
        today=dt.date.today(),
        label=job.label != "off",
        watermark=job.watermark,
        target=hash_file(job.target),
    )
    check_disk(job.work, disk_need(info, stop - first))
    return record


def check_options(job: Job) -> None:
    """Refuse settings of stages that a job sets by itself: they would be ignored.

    Raises:
        UsageError: There is one.
    """
    fit, swap = job.settings.fit, job.settings.swap
    for name, given, usual, option in (
        ("fit.seed", fit.seed, type(fit).seed, "--seed"),
        ("swap.mouth", swap.mouth, type(swap).mouth, "--mouth"),
    ):
        if given != usual:
            raise UsageError(f"Expected {option} {given}, found --{name} {given}.", hint=f"Give {option} instead.")


def disk_need(info: VideoInfo, frames: int) -> int:
    """Bytes that a workspace takes for a clip; an upper estimate, since the window is not known yet."""
    window = min(info.width * info.height, 1024 * 1024)
    return int(frames * window * BYTES_PER_PIXEL + 300 * _MIB)


def check_disk(folder: Path, need: int) -> None:
    """Refuse a job that would fill the disk.

    Raises:
        StorageError: Less space is free than ``need`` with some headroom.
    """
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < need * HEADROOM:
        raise StorageError(
            f"Expected about {need * HEADROOM / _MIB:.0f} MB of free disk space for the workspace, found "
            f"{free / _MIB:.0f} MB.",
            hint="Free some space, choose another disk with --work, or trim the clip with --start and --end.",
            path=existing,
        )


def check_cuda() -> None:
    """Refuse ``--device cuda`` where it cannot run; never a silent fall-back.

    Raises:
        DeviceError: There is no CUDA device.
    """
    import torch

    if not torch.cuda.is_available():
        raise DeviceError(
            "Expected a CUDA device for --device cuda, found none.",
            hint="Leave the option out to run on the CPU (`gswap doctor` shows what works here).",
        )


def bind_consent(job: Job) -> consent.ConsentRecord:
    """Bind the photos to an unbound record at its first use, store it, and return it.

    Raises:
        ConsentError: The record is bound to other photos.
        InputError: The record cannot be written.
    """
    stored = consent.load(job.consent)
    record = consent.bind_photos(stored, [hash_file(p) for p in source_files(job)])
    if record != stored:
        if not os.access(job.consent, os.W_OK):
            raise InputError(
                "The photos must be bound to the consent record at its first use, but it cannot be written.",
                hint="Make it writable.",
                path=job.consent,
            )
        consent.save(record, job.consent)
    return record
