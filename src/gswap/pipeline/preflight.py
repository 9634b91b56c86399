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
    PermissionDeniedError,
    StorageError,
    UsageError,
)
from gswap.foundation.store import hash_file
from gswap.foundation.types import VideoInfo
from gswap.media.encoders import check_ending, check_output
from gswap.media.probe import probe
from gswap.media.sequences import read_mask_sequence
from gswap.output import consent, layers
from gswap.output.sidecar import FOLDER_NAME
from gswap.pipeline.config import Job
from gswap.pipeline.parts import body_model, check_libraries, check_parts, required_weights
from gswap.pipeline.steps.deliver import make_label
from gswap.pipeline.steps.ingest import source_files, trim
from gswap.portrait.io import load_portrait
from gswap.swap.generated import no_images, numbered_images

BYTES_PER_PIXEL = 16.0
"""Workspace bytes per window pixel and frame, all PNG stores together (measured: 9 to 14)."""
HEADROOM = 1.2
LONGEST_NAME = 220
"""Bytes of an output's name: file systems allow 255, of which a report's part file needs 26 for itself."""
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
    for path in (job.out, job.compare):
        if path is not None and path.is_dir():
            raise OutputError("Expected the output to be a file such as out.mp4, found a folder.", path=path)
        if path is not None:
            check_ending(path)
    if job.compare is not None and job.compare.resolve() == job.out.resolve():
        raise UsageError("Expected another file for --compare than for --out, found the same.", path=job.compare)
    if job.timestamp_url is not None and not job.timestamp_url.startswith(("http://", "https://")):
        raise UsageError(f"Expected --timestamp-url to begin with http:// or https://, found {job.timestamp_url!r}.")
    files = source_files(job)
    info = probe(job.target, job.settings.limits)
    first, stop = trim(info, job.start, job.end)
    check_given(job, info, first, stop)
    check_output(info, job.out, job.settings.encode)
    if job.compare is not None:
        check_output(info, job.compare, job.settings.encode)
    for path in (job.out, job.compare):
        if path is not None and path.exists():
            if path.resolve() in {p.resolve() for p in (job.target, *files)}:
                raise UsageError("The output would overwrite an input.", hint="Choose another name.", path=path)
            if not job.overwrite:
                raise OutputError("The output already exists.", hint="Give --overwrite to replace it.", path=path)
    check_layers(job)
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


def check_given(job: Job, info: VideoInfo, first: int, stop: int) -> None:
    """Refuse masks, frames or a portrait of the user's that do not fit the job, rather than where they are used.

    Args:
        job: The job.
        info: The clip.
        first: First frame of the part in use.
        stop: One past its last.

    Raises:
        InputError: Something does not fit; a picture cannot be read.
        MissingInputError: A folder holds no pictures.
    """
    if job.masks is not None:
        read_mask_sequence(job.masks, stop - first, (info.width, info.height))
    if job.generated is not None:
        numbers = numbered_images(job.generated)
        if not numbers:
            raise no_images(job.generated)
        # Numbers count from the start of the part, from 0. Where they reach further, they were counted otherwise.
        limit = stop - first if first else info.frame_count
        if max(numbers) >= limit:
            raise InputError(
                f"Expected generated images numbered 0 to {limit - 1}, as the frames from --start on, found number "
                f"{max(numbers)}.",
                hint="Number the images of the part in use from 0.",
                path=numbers[max(numbers)],
            )
    if job.portrait is not None:
        load_portrait(job.portrait, body_model(job.parts.body))


def check_layers(job: Job) -> None:
    """Refuse a folder for the layers that cannot be made, or that holds anything else: all in it is signed as layers.

    Raises:
        OutputError: It is a file, or holds other files.
        PermissionDeniedError: It cannot be written.
        UsageError: Something that the job reads or writes is to lie in it.
    """
    if job.layers is None:
        return
    folder = job.layers.resolve()
    for path in (job.work, job.out, job.compare, job.masks, job.generated, job.target, *source_files(job)):
        if path is not None and path.resolve().is_relative_to(folder):
            raise UsageError(
                f"Expected --layers to name a folder of its own, found one with {path} in it.", path=job.layers
            )
    existing = _existing(folder)
    if not existing.is_dir():
        raise OutputError("Expected --layers to name a folder, found a file.", path=existing)
    if not os.access(existing, os.W_OK):
        raise PermissionDeniedError("No permission to write here.", hint="Choose another --layers.", path=existing)
    if existing == folder:
        known = (*layers.NAMES, layers.README_NAME, FOLDER_NAME)
        others = sorted(p.name for p in folder.iterdir() if p.name not in known and not p.name.startswith("."))
        if others:
            raise OutputError(
                f"Expected an empty folder or one with layers for --layers, found other files ({others[0]}).",
                hint="Choose another folder.",
                path=job.layers,
            )


def check_layers_are_ours(job: Job, key: str, *, replace: bool) -> None:
    """Refuse to replace another job's layers unasked.

    Args:
        job: The job.
        key: Fingerprint of its delivery.
        replace: Whether the user asked for it.

    Raises:
        OutputError: The folder holds another job's.
    """
    if job.layers is not None and not replace and layers.job_of(job.layers) not in (None, key):
        raise OutputError(
            "The folder holds the layers of another job.", hint="Give --overwrite to replace them.", path=job.layers
        )


def _existing(path: Path) -> Path:
    """The path, or the innermost folder on the way to it that is there."""
    while not path.exists():
        path = path.parent
    return path


def check_options(job: Job) -> None:
    """Refuse options that cannot be, and settings of stages that a job sets by itself: they would be ignored.

    Raises:
        UsageError: There is one.
        OutputError: The output's name leaves no room for the names beside it.
    """
    if job.threads < 1 or job.seed < 0:
        raise UsageError(f"Expected --threads of at least 1 and --seed of at least 0, found {job.threads}, {job.seed}.")
    if job.person is not None and not job.person.isdecimal() and not os.path.isfile(job.person):
        raise UsageError(f"Expected --person to be a number or a photo, found {job.person!r}.")
    for path in (job.out, job.compare):
        if path is not None and len(os.fsencode(path.name)) > LONGEST_NAME:
            raise OutputError(
                f"Expected an output's name of at most {LONGEST_NAME} bytes, found {len(os.fsencode(path.name))}: "
                "report and part files have longer names.",
                path=path,
            )
    fit, swap = job.settings.fit, job.settings.swap
    for name, given, usual, option in (
        ("fit.seed", fit.seed, type(fit).seed, "--seed"),
        ("swap.mouth", swap.mouth, type(swap).mouth, "--mouth"),
    ):
        if given != usual:
            raise UsageError(f"Expected {option} {given}, found --{name} {given}.", hint=f"Give {option} instead.")
    for name, steps in (
        ("fit.checkpoint-every", fit.checkpoint_every),
        ("fit.preview-every", fit.preview_every),
        ("diffusion.adapt.checkpoint-every", job.settings.diffusion.adapt.checkpoint_every),
    ):
        if steps < 1:
            raise UsageError(f"Expected --{name} of at least 1, found {steps}.", hint="A large number means never.")


def disk_need(info: VideoInfo, frames: int) -> int:
    """Bytes that a workspace takes for a clip; an upper estimate, since the window is not known yet."""
    window = min(info.width * info.height, 1024 * 1024)
    return int(frames * window * BYTES_PER_PIXEL + 300 * _MIB)


def check_disk(folder: Path, need: int) -> None:
    """Refuse a job that would fill the disk.

    Raises:
        StorageError: Less space is free than ``need`` with some headroom.
    """
    existing = _existing(folder)
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
