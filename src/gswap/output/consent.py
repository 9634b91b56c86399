"""Consent records: who is shown, who allows what, for which photos, until when.

A record is a small TOML file that people can read and sign. A job is refused before any work when its record does not
cover it, and the refusal is the very sentence that is missing. Only :func:`record_hash` goes into an output.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import hashlib
import json
import tomllib
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from gswap.foundation.errors import ConsentError, InputError, MissingInputError
from gswap.foundation.store import write_bytes
from gswap.output.keys import SigningIdentity, verify_signature

FORMAT_VERSION = 1
Kind = Literal["consent", "synthetic", "evaluation"]
Role = Literal["source", "target"]
_HINT_NEW = "Make one with `gswap consent new`."


@dataclass(frozen=True)
class Person:
    """Somebody who is shown. ``source`` gives the head, ``target`` is the person in the clip."""

    name: str
    role: Role
    contact: str = ""


@dataclass(frozen=True)
class Scope:
    """What the consent is for."""

    project: str
    uses: tuple[str, ...] = ()
    territories: tuple[str, ...] = ()


@dataclass(frozen=True)
class Allowances:
    """What the people allow beyond the default (label and watermark on)."""

    label_off: bool = False
    watermark_off: bool = False


@dataclass(frozen=True)
class RecordSignature:
    """A detached ES256 signature over everything else in the record, with the signer's certificate chain (PEM)."""

    certificates: str
    value: str


@dataclass(frozen=True)
class ConsentRecord:
    """One consent record. ``photos`` and ``target`` are lower-case hex SHA-256; no photos = not yet bound."""

    kind: Kind
    people: tuple[Person, ...]
    scope: Scope
    valid_from: dt.date
    valid_until: dt.date
    record_id: str
    """Random; it keeps the published hash from being guessed from the names."""
    allow: Allowances = field(default_factory=Allowances)
    photos: tuple[str, ...] = ()
    target: str = ""
    signature: RecordSignature | None = None


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
        raise ConsentError(missing[0])
    return record


def hash_file(path: Path) -> str:
    """SHA-256 (hex) of a photo or clip, as records hold it.

    Raises:
        MissingInputError: The file cannot be read.
    """
    try:
        with open(path, "rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()
    except OSError as error:
        raise MissingInputError(f"Cannot read the file ({error.strerror}).", path=path) from error


# ---------------------------------------------------------------- what is missing
def problems(
    record: ConsentRecord,
    *,
    photos: Iterable[str],
    today: dt.date,
    label: bool = True,
    watermark: bool = True,
    target: str = "",
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
        missing += [f"The consent record is bound to other photos: it does not list SHA-256 {h}." for h in unknown]
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

    Raises:
        ConsentError: With the sentence that is missing.
    """
    missing = problems(record, photos=photos, today=today, label=label, watermark=watermark, target=target)
    if missing:
        raise ConsentError(missing[0], hint="The record must be changed by those who gave it.")


def _content_problems(record: ConsentRecord) -> list[str]:
    """What the record itself lacks, whatever the job."""
    missing = []
    roles = {person.role for person in record.people}
    if record.kind == "consent":
        missing += [f"The consent record names no {role} person." for role in get_args(Role) if role not in roles]
        missing += [
            f"The consent record gives no contact for {p.name}." for p in record.people if not p.contact.strip()
        ]
        if not record.scope.uses:
            missing.append("The consent record lists no uses (scope.uses).")
        if not record.scope.territories:
            missing.append("The consent record lists no territories (scope.territories).")
    elif record.allow != Allowances():
        missing.append(f'A record of kind "{record.kind}" cannot allow label or watermark to be turned off.')
    missing += ["The consent record has a person without a name." for p in record.people if not p.name.strip()]
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
    value = base64.b64encode(identity.sign(_canonical(record, signature=False))).decode()
    return dataclasses.replace(record, signature=RecordSignature(identity.certificates, value))


def signature_holds(record: ConsentRecord) -> bool:
    """Whether the record's signature fits its content and its own certificate (integrity, not identity)."""
    if record.signature is None:
        return False
    try:
        value = base64.b64decode(record.signature.value, validate=True)
    except ValueError:
        return False
    return verify_signature(record.signature.certificates, value, _canonical(record, signature=False))


def record_hash(record: ConsentRecord) -> str:
    """SHA-256 (hex) of the record's content, signature excluded: what outputs carry."""
    return hashlib.sha256(_canonical(record, signature=False)).hexdigest()


def _canonical(record: ConsentRecord, *, signature: bool) -> bytes:
    value = dataclasses.asdict(record)
    if not signature:
        value.pop("signature")
    value["format"] = FORMAT_VERSION
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str).encode()


# ---------------------------------------------------------------- TOML
def save(record: ConsentRecord, path: Path) -> None:
    """Write the record as TOML, atomically."""
    write_bytes(path, to_toml(record).encode())


def load(path: Path) -> ConsentRecord:
    """Read a record.

    Raises:
        ConsentError: There is no such file.
        InputError: It is not a consent record; the message names the field.
    """
    try:
        text = path.read_bytes().decode()
        return from_mapping(tomllib.loads(text))
    except FileNotFoundError as error:
        raise ConsentError("There is no consent record here.", hint=_HINT_NEW, path=path) from error
    except OSError as error:
        raise ConsentError(f"Cannot read the consent record ({error.strerror}).", path=path) from error
    except (ValueError, TypeError, KeyError) as error:
        detail = f"missing field {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(f"Expected a consent record in TOML: {detail}.", hint=_HINT_NEW, path=path) from error


def from_mapping(data: Mapping[str, Any]) -> ConsentRecord:
    """Parsed TOML -> record. Unknown keys, wrong types and unknown kinds or roles are errors.

    Raises:
        ValueError: With the field at fault.
        KeyError: A field is missing.
        TypeError: A field is of the wrong type or unknown.
    """
    if data.get("format") != FORMAT_VERSION:
        raise ValueError(f"format is {data.get('format')!r}, expected {FORMAT_VERSION}")
    known = {"format", "kind", "id", "valid_from", "valid_until", "photos", "target"}
    if unknown := sorted(set(data) - known - {"people", "scope", "allow", "signature"}):
        raise ValueError(f"unknown field {unknown[0]!r}")
    kind = _one_of("kind", data["kind"], get_args(Kind))
    people = [Person(**p) for p in data.get("people", [])]
    for person in people:
        _one_of("people.role", person.role, get_args(Role))
    scope = data["scope"]
    allow = Allowances(**data.get("allow", {}))
    if not all(isinstance(v, bool) for v in dataclasses.astuple(allow)):
        raise TypeError("allow.label_off and allow.watermark_off must be true or false")
    return ConsentRecord(
        kind=kind,  # type: ignore[arg-type]
        people=tuple(people),
        scope=Scope(str(scope["project"]), _strings("uses", scope), _strings("territories", scope)),
        valid_from=_date("valid_from", data),
        valid_until=_date("valid_until", data),
        record_id=str(data["id"]),
        allow=allow,
        photos=tuple(sorted(_sha256(h) for h in _strings("photos", data))),
        target=_sha256(data["target"]) if data.get("target") else "",
        signature=RecordSignature(**data["signature"]) if "signature" in data else None,
    )


def to_toml(record: ConsentRecord) -> str:
    """Record -> TOML with a comment on every part."""
    lines = [
        "# Consent record of gswap. Only its hash goes into outputs; keep this file.",
        f"format = {FORMAT_VERSION}",
        f"id = {_quote(record.record_id)}",
        f"kind = {_quote(record.kind)}  # consent | synthetic | evaluation",
        f"valid_from = {record.valid_from.isoformat()}",
        f"valid_until = {record.valid_until.isoformat()}",
        "# SHA-256 of the photos this record is bound to (empty until its first use), and of the clip if bound to one.",
        f"photos = {_quote_list(record.photos, multiline=True)}",
        f"target = {_quote(record.target)}",
        "",
        "[scope]",
        f"project = {_quote(record.scope.project)}",
        f"uses = {_quote_list(record.scope.uses)}",
        f"territories = {_quote_list(record.scope.territories)}",
        "",
        "[allow]",
        f"label_off = {str(record.allow.label_off).lower()}",
        f"watermark_off = {str(record.allow.watermark_off).lower()}",
    ]
    for person in record.people:
        lines += ["", "[[people]]"]
        lines += [f"{key} = {_quote(value)}" for key, value in dataclasses.asdict(person).items()]
    if record.signature is not None:
        lines += ["", "[signature]  # ES256 over everything above"]
        lines += [f"{key} = {_quote(value)}" for key, value in dataclasses.asdict(record.signature).items()]
    return "\n".join(lines) + "\n"


def _quote(text: str) -> str:
    """A TOML basic string: JSON's escapes are a subset of TOML's once DEL is escaped too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _quote_list(items: Iterable[str], *, multiline: bool = False) -> str:
    quoted = [_quote(item) for item in items]
    if multiline and quoted:
        return "[\n" + "".join(f"    {item},\n" for item in quoted) + "]"
    return "[" + ", ".join(quoted) + "]"


def _one_of(name: str, value: object, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(allowed)}")
    return str(value)


def _strings(name: str, table: Mapping[str, Any]) -> tuple[str, ...]:
    value = table.get(name, [])
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise TypeError(f"{name} must be a list of strings")
    return tuple(value)


def _date(name: str, data: Mapping[str, Any]) -> dt.date:
    value = data[name]
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise TypeError(f"{name} must be a date such as 2030-12-31, without quotes")
    return value


def _sha256(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"{text!r} is not a lower-case hexadecimal SHA-256")
    return text
