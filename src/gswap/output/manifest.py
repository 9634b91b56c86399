"""Writing C2PA manifests: what was opened, what was placed into it, how it was edited. In process and offline.

A head swap is, in C2PA's actions, ``opened`` (the clip, parentOf), ``placed`` (the photos, componentOf) and
``edited`` with the source type *composite with trained algorithmic media*. Ingredients keep the manifests they have.
Signing comes last: any later change to the file breaks the manifest.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import c2pa
from PIL import Image

from gswap.foundation.errors import ConfigError, OutputError, UsageError
from gswap.foundation.store import atomic_path, hash_file
from gswap.output.credentials import (
    PROVENANCE_ASSERTION,
    SOFT_BINDING_ASSERTION,
    ManifestReport,
    mime_type,
    offline_context,
    read_manifest,
)
from gswap.output.keys import SigningIdentity
from gswap.output.marks import COMPOSITE_SOURCE_TYPE, CREATED_SOURCE_TYPE

WATERMARK_ALGORITHM = "org.gswap.temporal-spread-spectrum.1"
"""Name of the watermark in the soft-binding assertion."""


TIMESTAMP_SECONDS = 30.0
"""How long a time-stamp authority may take; without an answer the file is signed without a time stamp."""
SIGNED_BYTES_PER_SECOND = 10e6
"""Slowest signing that is expected; it takes part in the waiting time above."""


@dataclass(frozen=True)
class Provenance:
    """What the manifest says about how the output was made. No names, no paths: hashes and identifiers only."""

    recipe: str
    config_hash: str
    consent_hash: str
    weights: Mapping[str, str] = field(default_factory=dict)
    """Model name -> SHA-256."""
    watermark_id: int | None = None
    """24-bit id, or ``None`` when the watermark is off."""
    label: bool = True
    """Whether the visible label was burnt in."""
    notes: tuple[str, ...] = ()
    """Further facts, for example ``partial: frames 0-99 of 216``."""


@dataclass(frozen=True)
class SignedOutput:
    """What :func:`sign_file` did."""

    path: Path
    manifest: ManifestReport
    timestamped: bool
    """Whether a trusted time stamp is in the signature."""
    opaque: tuple[str, ...] = ()
    """Titles of the ingredients that C2PA cannot read; the manifest holds only their hashes."""


@dataclass(frozen=True)
class _Ingredient:
    """One input: its file, its neutral title (never a name or a path), its role and its hash."""

    path: Path
    title: str
    label: str
    relationship: str
    sha256: str
    opaque: bool = False


def can_sign(path: Path) -> bool:
    """Whether a manifest can be embedded in this format; else use :mod:`gswap.output.sidecar`."""
    return mime_type(path) is not None


def sign_file(
    part_path: Path,
    final_path: Path,
    *,
    parent: Path | None,
    components: Sequence[Path],
    provenance: Provenance,
    signer: SigningIdentity,
) -> SignedOutput:
    """Sign ``part_path`` into a part file, verify that, and rename it to ``final_path``.

    ``part_path`` is left as it is: the caller owns it. On any failure ``final_path`` is not touched.

    Args:
        part_path: The finished, unsigned media file (its own extension does not matter).
        final_path: Where the signed file goes; its extension names the format.
        parent: The target clip, or ``None`` for something made from nothing.
        components: The source photos.
        provenance: What to say about the making.
        signer: Whose signature; with ``timestamp_url`` a time stamp is tried, and its failure does not fail the job.

    Raises:
        UsageError: The format cannot carry a manifest.
        MissingInputError: An input cannot be read.
        OutputError: Signing failed, or what was signed does not verify; nothing was published.
        StorageError: The disk is full.
    """
    mime = mime_type(final_path)
    if mime is None:
        raise UsageError(
            f"A C2PA manifest cannot be embedded in {final_path.suffix or 'a file without an extension'}.",
            hint="Write mp4, mov, m4v, png, jpg, webp or tiff, or use a signed sidecar.",
            path=final_path,
        )
    ingredients = [_describe(p, f"source {i}", f"source{i}", "componentOf") for i, p in enumerate(components, 1)]
    if parent is not None:
        ingredients.insert(0, _describe(parent, "target clip", "target", "parentOf"))
    attempt = partial(_sign_and_verify, part_path, final_path, mime, ingredients, provenance, signer)
    if signer.timestamp_url:
        with contextlib.suppress(OutputError):
            return attempt(signer.timestamp_url)
    return attempt(None)


def rehearse(signer: SigningIdentity) -> None:
    """Sign and verify one pixel, so that a key or certificate that does not work is known before hours of work.

    Raises:
        ConfigError: It does not.
    """
    encoded = io.BytesIO()
    Image.new("L", (1, 1)).save(encoded, "PNG")
    nothing = Provenance("rehearsal", "", "")
    with TemporaryDirectory() as folder:
        pixel = Path(folder) / "pixel.png"
        pixel.write_bytes(encoded.getvalue())
        try:
            _sign_and_verify(pixel, Path(folder) / "signed.png", "image/png", [], nothing, signer, None)
        except OutputError as error:
            raise ConfigError(
                f"The signing key and its certificate do not work: {error.message}",
                hint="Import others with `gswap keys import`, or make new ones with `gswap keys rotate`.",
            ) from error


def _sign_and_verify(
    unsigned: Path,
    final: Path,
    mime: str,
    ingredients: Sequence[_Ingredient],
    provenance: Provenance,
    signer: SigningIdentity,
    timestamp_url: str | None,
) -> SignedOutput:
    with atomic_path(final) as signed:
        sign = partial(_sign, unsigned, signed, mime, ingredients, provenance, signer, timestamp_url)
        try:
            if timestamp_url is None:
                used = sign()
            else:
                used = _within(TIMESTAMP_SECONDS + unsigned.stat().st_size / SIGNED_BYTES_PER_SECOND, sign)
        except c2pa.C2paError as error:
            raise OutputError(
                f"Signing failed ({error}).", hint="Nothing was published. Check the signing key.", path=final
            ) from error
        report = read_manifest(signed, mime=mime)
        if not report.intact:
            raise OutputError(
                f"The signed file does not verify ({', '.join(report.failures) or report.state}).",
                hint="Nothing was published. Check the certificate with `gswap keys show`.",
                path=final,
            )
    stamped = timestamp_url is not None
    return SignedOutput(final, report, stamped, tuple(i.title for i in used if i.opaque))


def _within(seconds: float, sign: Callable[[], list[_Ingredient]]) -> list[_Ingredient]:
    """Sign, but give up after so long: the SDK waits for ever for an authority that does not answer.

    Raises:
        OutputError: It took longer. It may go on in the background, on a part file that nobody publishes.
    """
    done: Future[list[_Ingredient]] = Future()

    def run() -> None:
        try:
            done.set_result(sign())
        except BaseException as error:
            done.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    try:
        return done.result(timeout=seconds)
    except TimeoutError as error:
        raise OutputError(f"The time-stamp authority did not answer within {seconds:.0f} s.") from error


def _describe(path: Path, title: str, label: str, relationship: str) -> _Ingredient:
    return _Ingredient(path, title, label, relationship, hash_file(path), opaque=mime_type(path) is None)


def _sign(
    unsigned: Path,
    signed: Path,
    mime: str,
    ingredients: Sequence[_Ingredient],
    provenance: Provenance,
    identity: SigningIdentity,
    timestamp_url: str | None,
) -> list[_Ingredient]:
    """Sign once; ingredients that C2PA turns out not to be able to parse come back as opaque."""
    ingredients = list(ingredients)
    context = offline_context()
    while True:
        definition = manifest_definition(ingredients, provenance, timestamped=timestamp_url is not None)
        with c2pa.Builder(definition, context=context) as builder:
            failed = _add_ingredients(builder, ingredients)
            if failed is not None:
                ingredients[failed] = dataclasses.replace(ingredients[failed], opaque=True)
                continue
            signer = c2pa.Signer.from_callback(
                identity.sign, c2pa.C2paSigningAlg.ES256, identity.certificates, timestamp_url
            )
            with signer, open(unsigned, "rb") as source, open(signed, "w+b") as destination:
                builder.sign(signer, mime, source, destination)
                destination.flush()
                os.fsync(destination.fileno())
            return ingredients


def _add_ingredients(builder: c2pa.Builder, ingredients: Sequence[_Ingredient]) -> int | None:
    """Add the readable ingredients with their own manifests; the index of the first that cannot be parsed."""
    for index, item in enumerate(ingredients):
        if item.opaque:
            continue
        description = {"title": item.title, "relationship": item.relationship, "label": item.label}
        with open(item.path, "rb") as handle:
            try:
                builder.add_ingredient(description, str(mime_type(item.path)), handle)
            except c2pa.C2paError:
                return index
    return None


def manifest_definition(
    ingredients: Sequence[_Ingredient], provenance: Provenance, *, timestamped: bool
) -> dict[str, Any]:
    """The manifest in the SDK's JSON form. Opaque ingredients are listed here; the others are added as streams."""
    generator = {"name": "gswap", "version": version("gswap")}
    parent = next((i for i in ingredients if i.relationship == "parentOf"), None)
    placed = [i.label for i in ingredients if i.relationship == "componentOf"]
    made: dict[str, Any] = {"softwareAgent": generator}
    actions: list[dict[str, Any]] = []
    if parent is not None:
        actions.append({"action": "c2pa.opened", "parameters": {"ingredientIds": [parent.label]}})
        made |= {"action": "c2pa.edited", "digitalSourceType": COMPOSITE_SOURCE_TYPE}
    else:
        made |= {"action": "c2pa.created", "digitalSourceType": CREATED_SOURCE_TYPE}
        actions.append(made)
    if placed:
        actions.append({"action": "c2pa.placed", "parameters": {"ingredientIds": placed}})
    if parent is not None:
        actions.append(made)
    facts = {
        "recipe": provenance.recipe,
        "config_sha256": provenance.config_hash,
        "consent_sha256": provenance.consent_hash,
        "weights_sha256": dict(provenance.weights),
        "inputs_sha256": {i.title: i.sha256 for i in ingredients},
        "label": provenance.label,
        "watermark": provenance.watermark_id is not None,
        "timestamp": "rfc3161" if timestamped else "none",
        "notes": list(provenance.notes),
    }
    assertions: list[dict[str, Any]] = [
        {"label": "c2pa.actions.v2", "data": {"actions": actions}},
        {"label": PROVENANCE_ASSERTION, "data": facts},
    ]
    if provenance.watermark_id is not None:
        binding = {"alg": WATERMARK_ALGORITHM, "blocks": [{"scope": {}, "value": f"{provenance.watermark_id:06x}"}]}
        assertions.append({"label": SOFT_BINDING_ASSERTION, "data": binding})
    return {
        "claim_generator_info": [generator],
        "title": "head swap" if parent is not None else "synthetic media",
        "assertions": assertions,
        "ingredients": [
            {"title": i.title, "relationship": i.relationship, "label": i.label, "format": "application/octet-stream"}
            for i in ingredients
            if i.opaque
        ],
    }
