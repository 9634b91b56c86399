from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gswap.foundation.errors import ConsentError, InputError
from gswap.output import consent, consent_record
from gswap.output.consent import Allowances, ConsentRecord, Person, Scope, Validity
from gswap.output.keys import SigningIdentity

TODAY = dt.date(2026, 6, 1)
PHOTOS = ["1" * 64, "2" * 64]


def record(**changes: object) -> ConsentRecord:
    made = consent.new_record(
        "consent",
        people=[Person("Ada L.", "source", "ada@example.org"), Person("Ben", "target", "+1 555 0100")],
        scope=Scope("a short film", ("festival",), ("EU",)),
        validity=Validity(dt.date(2026, 1, 1), dt.date(2026, 12, 31)),
        photos=PHOTOS,
        record_id="fixed",
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def refusal(made: ConsentRecord, **job: object) -> str:
    options = {"photos": PHOTOS, "today": TODAY} | job
    with pytest.raises(ConsentError) as caught:
        consent.check(made, **options)  # type: ignore[arg-type]
    assert caught.value.exit_code == 78
    return caught.value.message


def test_a_valid_record_covers_a_job_with_some_of_its_photos() -> None:
    consent.check(record(), photos=PHOTOS[:1], today=TODAY)


@pytest.mark.parametrize(
    ("changes", "job", "expected"),
    [
        ({}, {"today": dt.date(2027, 1, 1)}, "expired on 2026-12-31; today is 2027-01-01"),
        ({}, {"today": dt.date(2025, 12, 31)}, "not valid before 2026-01-01"),
        ({}, {"photos": ["3" * 64]}, "bound to other photos: it does not list the photo (SHA-256 3333"),
        ({}, {"photos": ["3" * 64], "names": {"3" * 64: "me.jpg"}}, "it does not list me.jpg (SHA-256 3333"),
        ({}, {"label": False}, "does not allow the label to be turned off (allow.label_off = true)"),
        ({}, {"watermark": False}, "does not allow the watermark to be turned off"),
        ({"target": "4" * 64}, {"target": "5" * 64}, "bound to another clip"),
        ({"people": (Person("Ada", "source", "x"),)}, {}, "names no target person"),
        ({"people": (Person("A", "source", ""), Person("B", "target", "x"))}, {}, "no contact for the source person"),
        ({"people": (Person(" ", "source", "x"), Person("B", "target", "x"))}, {}, "no name for the source person"),
        ({"scope": Scope("", ("film",), ("EU",))}, {}, "names no project"),
        ({"scope": Scope("film", (), ("EU",))}, {}, "lists no uses"),
        ({"scope": Scope("film", ("film",))}, {}, "lists no territories"),
        ({"valid_until": dt.date(2025, 1, 1)}, {}, "ends (2025-01-01) before it begins"),
    ],
)
def test_the_refusal_is_the_sentence_that_is_missing(
    changes: dict[str, object], job: dict[str, object], expected: str
) -> None:
    assert expected in refusal(record(**changes), **job)


def test_allowances_turn_label_and_watermark_off() -> None:
    consent.check(record(allow=Allowances(True, True)), photos=PHOTOS, today=TODAY, label=False, watermark=False)


@pytest.mark.parametrize("kind", ["synthetic", "evaluation"])
def test_synthetic_and_evaluation_force_the_marks_on(kind: consent.Kind) -> None:
    validity = Validity.one_year(TODAY)
    made = consent.new_record(kind, people=[], scope=Scope("demo"), validity=validity)
    consent.check(made, photos=PHOTOS, today=TODAY)
    assert f'kind "{kind}" always keeps the label on' in refusal(made, label=False)
    with pytest.raises(ConsentError, match="cannot allow"):
        consent.new_record(kind, people=[], scope=Scope("demo"), validity=validity, allow=Allowances(label_off=True))


def test_photos_are_bound_at_first_use_and_others_are_refused_afterwards() -> None:
    unbound = record(photos=())
    consent.check(unbound, photos=PHOTOS, today=TODAY)
    bound = consent.bind_photos(unbound, reversed(PHOTOS))
    assert bound.photos == tuple(PHOTOS)
    assert consent.bind_photos(bound, PHOTOS[1:]) is bound
    with pytest.raises(ConsentError, match="other photos"):
        consent.bind_photos(bound, ["9" * 64])
    assert "other photos" in refusal(bound, photos=["9" * 64])


def test_signature_covers_everything(identity: SigningIdentity) -> None:
    signed = consent.sign(record(), identity)
    assert consent.signature_holds(signed)
    consent.check(signed, photos=PHOTOS, today=TODAY)
    forged = dataclasses.replace(signed, valid_until=dt.date(2030, 1, 1))
    assert not consent.signature_holds(forged)
    assert "changed after it was signed" in refusal(forged)
    with pytest.raises(ConsentError, match="signed with its photos"):
        consent.sign(record(photos=()), identity)


def test_toml_round_trip(tmp_path: Path, identity: SigningIdentity) -> None:
    path = tmp_path / "consent.toml"
    for made in (record(), record(photos=(), target="6" * 64), consent.sign(record(), identity)):
        consent.save(made, path)
        assert consent.load(path) == made
    assert consent.signature_holds(consent.load(path))


@given(name=st.text(min_size=1), project=st.text())
def test_any_text_survives_toml(name: str, project: str) -> None:
    import tomllib

    made = record(people=(Person(name, "source", "x"),), scope=Scope(project, (name,)))
    assert consent_record.from_mapping(tomllib.loads(consent_record.to_toml(made))) == made


def test_the_hash_tells_records_apart_and_ignores_the_signature(identity: SigningIdentity) -> None:
    assert consent.record_hash(record()) == consent.record_hash(consent.sign(record(), identity))
    assert consent.record_hash(record()) != consent.record_hash(record(record_id="other"))


@pytest.mark.parametrize(
    "text",
    [
        "format = 2",
        "not toml",
        "format = 1\nkind = 'nonsense'",
        "format = 1\nsurprise = 1",
        "format = 1\nkind = 'consent'\nvalid_from = '2026-01-01'\nid = 'x'\n[scope]\nproject = 'p'",
        "format = 1\nkind = 'consent'\nid = 'x'\nphotos = ['zz']\n[scope]\nproject = 'p'",
    ],
)
def test_anything_else_is_refused_with_the_field(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.toml"
    path.write_text(text)
    with pytest.raises(InputError, match="Expected a consent record"):
        consent.load(path)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('contact = "ada@example.org"', "contact = 491711234567", r"people\.contact is 491711234567, expected text"),
        ('name = "Ada"', "name = true", r"people\.name is True"),
        ("territories = ", "territory = ", r"unknown field 'scope\.territory'"),
        ('\nvalue = "', '\nvalue = 5  # "', r"signature\.value is 5"),
    ],
)
def test_fields_of_another_type_are_named(
    tmp_path: Path, identity: SigningIdentity, old: str, new: str, named: str
) -> None:
    """A telephone number without quotes is a number."""
    people = (Person("Ada", "source", "ada@example.org"), Person("Ben", "target", "ben@example.org"))
    text = consent_record.to_toml(consent.sign(record(people=people, photos=("0" * 64,)), identity))
    assert old in text
    (tmp_path / "x.toml").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=named):
        consent.load(tmp_path / "x.toml")


def test_the_mark_that_windows_editors_write_is_read_over(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_bytes(b"\xef\xbb\xbf" + consent_record.to_toml(record()).encode())
    assert consent.load(tmp_path / "x.toml") == record()


def test_a_missing_record_is_a_consent_error(tmp_path: Path) -> None:
    with pytest.raises(ConsentError, match="no consent record"):
        consent.load(tmp_path / "none.toml")
