"""Consent records: who is shown, who allows what, for which photos, until when.

A record is a small TOML file that people can read and sign. A job is refused before any work when its record does not
cover it, and the refusal is the very sentence that is missing. Only :func:`record_hash` goes into an output.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import get_args

from gswap.foundation.errors import ConsentError
from gswap.output.consent_record import (
    Allowances,
    ConsentRecord,
    Kind,
    Person,
    RecordSignature,
    Role,
    Scope,
    canonical,
    load,
    record_hash,
    save,
)
from gswap.output.keys import SigningIdentity, verify_signature

__all__ = [
    "Allowances",
    "ConsentRecord",
    "Kind",
    "Person",
    "RecordSignature",
    "Role",
    "Scope",
    "Validity",
    "bind_photos",
    "check",
    "load",
    "new_record",
    "problems",
    "record_hash",
    "save",
    "sign",
    "signature_holds",
]


@dataclass(frozen=True)
class Validity:
    """First and last day (inclusive) on which a record holds."""

    start: dt.date
    end: dt.date

    @staticmethod
    def one_year(start: dt.date) -> Validity:
        """``start`` and the 364 days after it."""
        return Validity(start, start + dt.timedelta(days=364))


def new_record(
    kind: Kind,
    *,
    people: Sequence[Person],
    scope: Scope,
    validity: Validity,
    allow: Allowances | None = None,
    photos: Iterable[str] = (),
    target: str = "",
    record_id: str | None = None,
) -> ConsentRecord:
    """A new, unsigned record.

    Args:
        kind: ``consent``: of real people; ``synthetic``: people who do not exist; ``evaluation``: published test
            material. The last two force label and watermark on.
        people: Who is shown.
        scope: Project, uses and territories.
        validity: First and last day.
        allow: What is allowed beyond the default.
        photos: SHA-256 of the source photos, when they are known already.
        target: SHA-256 of the clip, when the consent is for this clip only.
        record_id: Fixed identifier; random by default.

    Raises:
        ConsentError: The record contradicts itself.
    """
    record = ConsentRecord(
        kind=kind,
        people=tuple(people),
        scope=scope,
        valid_from=validity.start,
        valid_until=validity.end,
        record_id=record_id or str(uuid.uuid4()),
        allow=allow or Allowances(),
        photos=tuple(sorted(set(photos))),
        target=target,
    )
    if missing := _content_problems(record):
        raise ConsentError(missing[0], hint="`gswap consent new --help` lists what a record holds.")
    return record


# ---------------------------------------------------------------- what is missing
def problems(
    record: ConsentRecord,
    *,
    photos: Iterable[str],
    today: dt.date,
    label: bool = True,
    watermark: bool = True,
    target: str = "",
    names: Mapping[str, str] = MappingProxyType({}),
) -> tuple[str, ...]:
    """Every sentence that keeps ``record`` from covering a job; empty when it does. Arguments: see :func:`check`."""
    missing = _content_problems(record)
    if record.signature is not None and not signature_holds(record):
        missing.append("The signature does not fit the record: it was changed after it was signed.")
    if today < record.valid_from:
        missing.append(f"The consent record is not valid before {record.valid_from}; today is {today}.")
    if today > record.valid_until:
        missing.append(f"The consent record expired on {record.valid_until}; today is {today}.")
    if record.photos:
        unknown = sorted(set(photos) - set(record.photos))
        missing += [
            f"The consent record is bound to other photos: it does not list {names.get(h, 'the photo')} (SHA-256 {h})."
            for h in unknown
        ]
    elif record.signature is not None:
        missing.append("The consent record was signed before photos were bound to it: bind them, then sign again.")
    if record.target and target and target != record.target:
        missing.append(f"The consent record is bound to another clip: it does not list SHA-256 {target}.")
    for off, name, allowed in (
        (not label, "label", record.allow.label_off),
        (not watermark, "watermark", record.allow.watermark_off),
    ):
        if off and record.kind != "consent":
            missing.append(f'A record of kind "{record.kind}" always keeps the {name} on; the job turns it off.')
        elif off and not allowed:
            missing.append(f"The consent record does not allow the {name} to be turned off (allow.{name}_off = true).")
    return tuple(missing)


def check(
    record: ConsentRecord,
    *,
    photos: Iterable[str],
    today: dt.date,
    label: bool = True,
    watermark: bool = True,
    target: str = "",
    names: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Refuse a job that ``record`` does not cover.

    Args:
        record: The consent record.
        photos: SHA-256 (hex) of the job's photos; a subset of the bound ones is fine, and before the first use
            (nothing bound) any are.
        today: Day of the job.
        label: Whether the job burns the label in.
        watermark: Whether the job embeds the watermark.
        target: SHA-256 of the clip, compared when the record is bound to one.
        names: SHA-256 -> file, so that the sentence names the photo.

    Raises:
        ConsentError: With the sentence that is missing.
    """
    missing = problems(record, photos=photos, today=today, label=label, watermark=watermark, target=target, names=names)
    if missing:
        raise ConsentError(missing[0], hint="The record must be changed by those who gave it.")


def _content_problems(record: ConsentRecord) -> list[str]:
    """What the record itself lacks, whatever the job."""
    missing = []
    roles = {person.role for person in record.people}
    missing += [
        f"The consent record gives no name for the {p.role} person." for p in record.people if not p.name.strip()
    ]
    if record.kind == "consent":
        missing += [f"The consent record names no {role} person." for role in get_args(Role) if role not in roles]
        missing += [
            f"The consent record gives no contact for the {p.role} person."
            for p in record.people
            if not p.contact.strip()
        ]
        if not record.scope.uses:
            missing.append("The consent record lists no uses (scope.uses).")
        if not record.scope.territories:
            missing.append("The consent record lists no territories (scope.territories).")
    elif record.allow != Allowances():
        missing.append(f'A record of kind "{record.kind}" cannot allow label or watermark to be turned off.')
    if not record.scope.project.strip():
        missing.append("The consent record names no project (scope.project).")
    if record.valid_until < record.valid_from:
        missing.append(f"The consent record ends ({record.valid_until}) before it begins ({record.valid_from}).")
    return missing


# ---------------------------------------------------------------- binding and signing
def bind_photos(record: ConsentRecord, photos: Iterable[str], target: str = "") -> ConsentRecord:
    """The record with the job's photos (and clip) bound to it; itself when they are bound already.

    Raises:
        ConsentError: It is bound to other photos, or signed without them.
    """
    wanted = set(photos)
    if record.photos:
        if unknown := sorted(wanted - set(record.photos)):
            raise ConsentError(f"The consent record is bound to other photos: it does not list SHA-256 {unknown[0]}.")
        return record
    if record.signature is not None:
        raise ConsentError(
            "The consent record was signed before photos were bound to it.", hint="Bind them, then sign again."
        )
    if not wanted:
        raise ConsentError("There are no photos to bind to the consent record.")
    return dataclasses.replace(record, photos=tuple(sorted(wanted)), target=record.target or target)


def sign(record: ConsentRecord, identity: SigningIdentity) -> ConsentRecord:
    """The record with an ES256 signature over all of its content.

    Raises:
        ConsentError: No photos are bound yet, so the signature would not say which head it is about.
    """
    if not record.photos:
        raise ConsentError("A consent record is signed with its photos.", hint="Bind the photos first.")
    value = base64.b64encode(identity.sign(canonical(record))).decode()
    return dataclasses.replace(record, signature=RecordSignature(identity.certificates, value))


def signature_holds(record: ConsentRecord) -> bool:
    """Whether the record's signature fits its content and its own certificate (integrity, not identity)."""
    if record.signature is None:
        return False
    try:
        value = base64.b64decode(record.signature.value, validate=True)
    except ValueError:
        return False
    return verify_signature(record.signature.certificates, value, canonical(record))
