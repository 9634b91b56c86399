"""What a consent record is, and how it is written: TOML that people can read, and canonical bytes to hash and sign."""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import json
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from gswap.foundation.errors import ConsentError, InputError
from gswap.foundation.store import write_bytes

FORMAT_VERSION = 1
_HINT_NEW = "Make one with `gswap consent new`."
Kind = Literal["consent", "synthetic", "evaluation"]
Role = Literal["source", "target"]


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


def record_hash(record: ConsentRecord) -> str:
    """SHA-256 (hex) of the record's content, signature excluded: what outputs carry."""
    return hashlib.sha256(canonical(record)).hexdigest()


def canonical(record: ConsentRecord) -> bytes:
    """Everything in the record but its signature, as bytes that do not depend on how the file is laid out."""
    value = dataclasses.asdict(record)
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
        text = path.read_bytes().decode("utf-8-sig")  # Windows editors begin with a mark
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
    people = [Person(**_texts("people", p)) for p in data.get("people", [])]
    for person in people:
        _one_of("people.role", person.role, get_args(Role))
    scope = data["scope"]
    if unknown := sorted(set(scope) - {"project", "uses", "territories"}):
        raise ValueError(f"unknown field {'scope.' + unknown[0]!r}")
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
        signature=RecordSignature(**_texts("signature", data["signature"])) if "signature" in data else None,
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


def _texts(name: str, table: object) -> dict[str, Any]:
    """A table whose values are all strings: a telephone number without quotes is a number."""
    if not isinstance(table, dict):
        raise TypeError(f"{name} must be a table")
    for key, value in table.items():
        if not isinstance(value, str):
            raise TypeError(f"{name}.{key} is {value!r}, expected text in quotes")
    return table


def _date(name: str, data: Mapping[str, Any]) -> dt.date:
    value = data[name]
    if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
        raise TypeError(f"{name} must be a date such as 2030-12-31, without quotes")
    return value


def _sha256(text: str) -> str:
    if len(text) != 64 or set(text) - set("0123456789abcdef"):
        raise ValueError(f"{text!r} is not a lower-case hexadecimal SHA-256")
    return text
