"""Reading C2PA manifests (Content Credentials), offline: what a file says about itself, and whether it still holds.

``Trusted`` means: intact, and signed under a root this user trusts. ``valid`` means: intact, signer unknown here.
A tampered *ingredient* leaves the file around it trusted, so every ingredient's own verdict is walked as well.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

import c2pa

from gswap.foundation.errors import MissingInputError
from gswap.output.keys import trust_anchors

ManifestState = Literal["trusted", "valid", "invalid", "absent", "unsupported", "unreadable"]
"""``unsupported``: the format cannot carry one; ``unreadable``: the file is not what its name says, or damaged, and
holds no trace of a manifest."""
PROVENANCE_ASSERTION = "org.gswap.provenance"
SOFT_BINDING_ASSERTION = "c2pa.soft-binding"
_MIME_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".avi": "video/x-msvideo",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".gif": "image/gif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".avif": "image/avif",
}
_FATAL = "Invalid"
_STORE_MARK = b"jumdc2pa"
"""How the description box of every C2PA manifest store begins (JUMBF)."""
UNTRUSTED = "signingCredential.untrusted"


@dataclass(frozen=True)
class IngredientReport:
    """One file that went into another, as the latter's manifest tells it."""

    title: str
    relationship: str
    state: ManifestState
    """Verdict on the ingredient's own manifest at the time it was used; ``absent`` when it had none."""
    failures: tuple[str, ...] = ()
    signer: str = ""
    ingredients: tuple[IngredientReport, ...] = ()


@dataclass(frozen=True)
class ManifestReport:
    """What a file's manifest says and whether it holds. ``failures`` are C2PA status codes or error texts."""

    state: ManifestState
    failures: tuple[str, ...] = ()
    signer: str = ""
    signed_at: str = ""
    """The RFC 3161 time in the signature, or empty. Which authority vouches for it is not judged here."""
    source_types: tuple[str, ...] = ()
    """IPTC digital source types of the actions."""
    watermark: str = ""
    """Value of the soft binding: the watermark's id in hexadecimal."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Our own assertion: recipe, hashes, options."""
    ingredients: tuple[IngredientReport, ...] = ()

    @property
    def intact(self) -> bool:
        """A manifest is there and nothing it covers was changed."""
        return self.state in ("trusted", "valid")

    def tampered_ingredients(self) -> tuple[IngredientReport, ...]:
        """Ingredients, at any depth, whose own manifest did not hold when they were used."""
        return tuple(i for i in walk(self.ingredients) if i.state == "invalid")


def walk(ingredients: Sequence[IngredientReport]) -> Iterator[IngredientReport]:
    """All ingredients, depth first."""
    for ingredient in ingredients:
        yield ingredient
        yield from walk(ingredient.ingredients)


def mime_type(path: Path) -> str | None:
    """MIME type by the extension if C2PA can embed a manifest in this format, else ``None``."""
    kind = _MIME_TYPES.get(path.suffix.lower())
    return kind if kind in _embeddable() else None


@cache
def _embeddable() -> frozenset[str]:
    return frozenset(c2pa.Builder.get_supported_mime_types())


def offline_context(config: Path | None = None) -> c2pa.Context:
    """A C2PA context that never uses the network, makes no thumbnails and trusts this user's roots."""
    settings: dict[str, Any] = {
        "verify": {"remote_manifest_fetch": False, "ocsp_fetch": False, "verify_after_sign": False},
        "builder": {"thumbnail": {"enabled": False}},
    }
    if anchors := trust_anchors(config):
        settings["trust"] = {"user_anchors": anchors}
    return c2pa.Context(c2pa.Settings.from_dict(settings))


def read_manifest(path: Path, *, mime: str | None = None) -> ManifestReport:
    """Read and validate the manifest embedded in ``path``. Damage is a verdict, not an exception.

    Args:
        path: Any media file, of anybody.
        mime: Its MIME type when the extension does not tell.

    Raises:
        MissingInputError: The file cannot be opened.
    """
    mime = mime or mime_type(path)
    try:
        handle = open(path, "rb")
    except OSError as error:
        raise MissingInputError(f"Cannot read the file ({error.strerror}).", path=path) from error
    with handle:
        if mime is None:
            return ManifestReport("unsupported")
        try:
            with c2pa.Reader(mime, handle, context=offline_context()) as reader:
                return _report(str(reader.get_validation_state()), json.loads(reader.json()))
        # The SDK attaches these subclasses at run time.
        except c2pa.C2paError.ManifestNotFound:  # pyright: ignore[reportAttributeAccessIssue]
            return ManifestReport("absent")
        except c2pa.C2paError as error:
            return ManifestReport("invalid" if _holds_store(handle) else "unreadable", (str(error),))


def _holds_store(handle: BinaryIO) -> bool:
    """Whether there is a manifest store in a file that cannot be parsed."""
    if os.fstat(handle.fileno()).st_size == 0:
        return False
    with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return data.find(_STORE_MARK) >= 0


def _report(state: str, store: Mapping[str, Any]) -> ManifestReport:
    manifests = store["manifests"]
    active = manifests[store["active_manifest"]]
    failures = _failures(store.get("validation_results", {}).get("activeManifest", {}))
    actions = [a for kind in ("c2pa.actions.v2", "c2pa.actions") for a in _assertion(active, kind).get("actions", [])]
    signature = active.get("signature_info", {})
    blocks = _assertion(active, SOFT_BINDING_ASSERTION).get("blocks", [])
    return ManifestReport(
        state="invalid" if state == _FATAL else "trusted" if state == "Trusted" else "valid",
        failures=failures,
        signer=signature.get("common_name", signature.get("issuer", "")),
        signed_at=signature.get("time", ""),
        source_types=tuple(a["digitalSourceType"] for a in actions if "digitalSourceType" in a),
        watermark=blocks[0]["value"] if blocks else "",
        provenance=_assertion(active, PROVENANCE_ASSERTION),
        ingredients=tuple(_ingredient(i, manifests) for i in active.get("ingredients", [])),
    )


def _ingredient(ingredient: Mapping[str, Any], manifests: Mapping[str, Any]) -> IngredientReport:
    """Verdict of one ingredient: its recorded validation, and recursively those of its own ingredients."""
    own = manifests.get(ingredient.get("active_manifest", ""))
    failures = _failures(ingredient.get("validation_results", {}).get("activeManifest", {}))
    state: ManifestState = "absent"
    if own is not None or failures:
        fatal = [code for code in failures if code != UNTRUSTED]
        state = "invalid" if fatal else "valid" if failures else "trusted"
    return IngredientReport(
        title=ingredient.get("title", ""),
        relationship=ingredient.get("relationship", ""),
        state=state,
        failures=failures,
        signer=(own or {}).get("signature_info", {}).get("common_name", ""),
        ingredients=tuple(_ingredient(i, manifests) for i in (own or {}).get("ingredients", [])),
    )


def _failures(results: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item["code"] for item in results.get("failure", [])))


def _assertion(manifest: Mapping[str, Any], label: str) -> Mapping[str, Any]:
    for assertion in manifest.get("assertions", []):
        if assertion["label"] == label:
            return assertion["data"]
    return {}
