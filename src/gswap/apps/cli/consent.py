"""``gswap consent``."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

from gswap.foundation.errors import OutputError, UsageError
from gswap.foundation.store import hash_file
from gswap.media.probe import is_video
from gswap.media.stills import find_photos
from gswap.output import consent, keys

if TYPE_CHECKING:
    from gswap.apps.cli import provenance
    from gswap.apps.cli.console import Terminal

MOST_DAYS = 36525
"""A century."""


def new(options: provenance.ConsentNew) -> Path:
    """Write a new record.

    Raises:
        OutputError: The file exists.
        ConsentError: Something that the kind requires is missing.
        UsageError: The record would never be valid.
    """
    if options.out.exists() and not options.overwrite:
        raise OutputError("The record already exists.", hint="Give --overwrite to replace it.", path=options.out)
    if not 1 <= options.days <= MOST_DAYS:
        raise UsageError(f"Expected --days between 1 and {MOST_DAYS}, found {options.days}.")
    defaults = {"consent": ("", ""), "synthetic": ("Synthetic person A", "Synthetic person B")}
    names = defaults.get(options.kind, ("Person of the photos", "Person of the clip"))
    today = dt.date.today()
    record = consent.new_record(
        options.kind,
        people=(
            consent.Person(options.source_name or names[0], "source", options.source_contact),
            consent.Person(options.target_name or names[1], "target", options.target_contact),
        ),
        scope=consent.Scope(
            options.project or ("" if options.kind == "consent" else options.kind), options.uses, options.territories
        ),
        validity=consent.Validity(today, today + dt.timedelta(days=options.days - 1)),
        allow=consent.Allowances(options.allow_label_off, options.allow_watermark_off),
    )
    consent.save(record, options.out)
    return options.out


def _hashes(paths: tuple[Path, ...]) -> dict[str, str]:
    """SHA-256 of every photo -> its name."""
    if len(paths) == 1 and paths[0].is_file() and is_video(paths[0]):
        return {hash_file(paths[0]): paths[0].name}
    return {hash_file(p): p.name for p in find_photos(paths)} if paths else {}


def check(options: provenance.ConsentCheck, terminal: Terminal) -> int:
    """Say what a record covers; returns the exit code."""
    record = consent.load(options.record)
    target = hash_file(options.target) if options.target else ""
    photos = _hashes(options.source)
    missing = consent.problems(record, photos=photos, today=dt.date.today(), target=target, names=photos)
    terminal.emit("consent", record_kind=record.kind, hash=consent.record_hash(record), problems=missing)
    for sentence in missing:
        terminal.say(sentence)
    if not missing:
        bound = f"bound to {len(record.photos)} photos" if record.photos else "not bound to photos yet"
        signed = "signed" if record.signature is not None else "not signed"
        terminal.say(f"Valid until {record.valid_until}, {bound}, {signed}.")
    return 78 if missing else 0


def sign(options: provenance.ConsentSign) -> None:
    """Bind and sign a record in place."""
    record = consent.load(options.record)
    if options.source:
        record = consent.bind_photos(record, _hashes(options.source))
    consent.save(consent.sign(record, keys.load_or_create()), options.record)
