"""Machine-readable marks beside the C2PA manifest: XMP (IPTC digital source type) and container tags.

They are easily stripped, but many remuxes that drop the manifest keep the tags. Write them *before* signing.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from gswap.foundation.errors import InputError, MissingInputError, UsageError
from gswap.foundation.store import write_bytes
from gswap.output.config import NOTICE

IPTC_SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
COMPOSITE_SOURCE_TYPE = IPTC_SOURCE_TYPES + "compositeWithTrainedAlgorithmicMedia"
"""A recorded clip, parts of which a model made: a head swap."""
CREATED_SOURCE_TYPE = IPTC_SOURCE_TYPES + "trainedAlgorithmicMedia"
"""Made wholly by a model that was fitted to pictures: a portrait seen from where nobody filmed it."""
_XMP_BOX_TYPE = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
"""UUID of the box that holds XMP in ISO media files (XMP specification part 3)."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_JPEG_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_PNG_XMP_HEADER = b"XML:com.adobe.xmp\0\0\0\0\0"
_XMP_PATTERN = re.compile(
    rb"DigitalSourceType(?:\s*=\s*[\"']|\s+rdf:resource\s*=\s*[\"']|\s*>\s*)(https?://cv\.iptc\.org/[\w./-]{1,120})"
)
_TAG_PATTERN = re.compile(rb"AI MODIFIED[^\0]{0,80}(https?://cv\.iptc\.org/newscodes/[\w./-]{1,120})")


@dataclass(frozen=True)
class Marks:
    """Source types that a file states in its XMP and in its container tags."""

    xmp: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.xmp or self.tags)


def container_tags(source_type: str = COMPOSITE_SOURCE_TYPE) -> dict[str, str]:
    """Container metadata for the video writer (mp4, mov, mkv ...): ``comment`` and ``encoder``."""
    return {"comment": f"{NOTICE} [digital source type: {source_type}]", "encoder": f"gswap {version('gswap')}"}


def xmp_packet(source_type: str = COMPOSITE_SOURCE_TYPE) -> bytes:
    """XMP packet that states the IPTC digital source type. Pillow takes it as ``save(..., xmp=...)`` for WebP."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        'xmlns:xmp="http://ns.adobe.com/xap/1.0/">'
        f"<Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>"
        f"<Iptc4xmpExt:AISystemUsed>gswap</Iptc4xmpExt:AISystemUsed>"
        f"<Iptc4xmpExt:AISystemVersionUsed>{version('gswap')}</Iptc4xmpExt:AISystemVersionUsed>"
        f"<xmp:CreatorTool>gswap {version('gswap')}</xmp:CreatorTool>"
        "</rdf:Description></rdf:RDF></x:xmpmeta>\n"
        '<?xpacket end="r"?>'
    ).encode()


def add_xmp(path: Path, source_type: str = COMPOSITE_SOURCE_TYPE, *, suffix: str | None = None) -> None:
    """Put the XMP packet into an unsigned mp4, mov, m4v, png or jpg; the picture's bytes stay as they are.

    Args:
        path: The finished file.
        source_type: What it is, as an IPTC digital source type.
        suffix: The format's extension, where that of ``path`` does not tell (a part file).

    Raises:
        UsageError: Another format.
        InputError: The file is not what its extension says.
    """
    packet = xmp_packet(source_type)
    suffix = (suffix or path.suffix).lower()
    if suffix in (".mp4", ".mov", ".m4v"):
        with open(path, "ab") as handle:
            handle.write(struct.pack(">I4s", 24 + len(packet), b"uuid") + _XMP_BOX_TYPE + packet)
    elif suffix == ".png":
        write_bytes(path, _insert_in_png(path, packet))
    elif suffix in (".jpg", ".jpeg"):
        write_bytes(path, _insert_in_jpeg(path, packet))
    else:
        raise UsageError(
            f"XMP cannot be added to {suffix or 'a file without an extension'}.",
            hint="Use mp4, mov, m4v, png or jpg.",
            path=path,
        )


def read_marks(path: Path) -> Marks:
    """Find the marks in any file, of anybody, by scanning its bytes (independent of container and reader).

    Raises:
        MissingInputError: The file cannot be read.
    """
    try:
        with open(path, "rb") as handle:
            if path.stat().st_size == 0:
                return Marks()
            with mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return Marks(_all(_XMP_PATTERN, data), _all(_TAG_PATTERN, data))
    except OSError as error:
        raise MissingInputError(f"Cannot read the file ({error.strerror}).", path=path) from error


def _all(pattern: re.Pattern[bytes], data: mmap.mmap) -> tuple[str, ...]:
    return tuple(dict.fromkeys(found.group(1).decode("ascii", "replace") for found in pattern.finditer(data)))


def _insert_in_png(path: Path, packet: bytes) -> bytes:
    """An iTXt chunk right after IHDR."""
    data = path.read_bytes()
    end = len(_PNG_SIGNATURE) + 25
    if not data.startswith(_PNG_SIGNATURE) or data[12:16] != b"IHDR":
        raise InputError("Expected a PNG, found something else.", path=path)
    body = b"iTXt" + _PNG_XMP_HEADER + packet
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    return data[:end] + chunk + data[end:]


def _insert_in_jpeg(path: Path, packet: bytes) -> bytes:
    """An APP1 segment behind the leading APP0/APP1 segments."""
    data = path.read_bytes()
    if not data.startswith(b"\xff\xd8"):
        raise InputError("Expected a JPEG, found something else.", path=path)
    at = 2
    while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] in (b"\xe0", b"\xe1"):
        at += 2 + int.from_bytes(data[at + 2 : at + 4])
    body = _JPEG_XMP_HEADER + packet
    return data[:at] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[at:]
