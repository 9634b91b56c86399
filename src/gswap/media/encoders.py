"""Which codec and pixel format an output gets, decided and checked before any work."""

from __future__ import annotations

import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from gswap.foundation.errors import InputError, OutputError, PermissionDeniedError, UsageError
from gswap.foundation.types import VideoInfo
from gswap.media.config import EncodeConfig
from gswap.media.layout import PlaneLayout, display_layout

CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""File name ending -> FFmpeg's muxer."""
PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow")
_FFV1_PLANAR = frozenset(
    "yuv420p yuv422p yuv444p yuv440p yuv411p yuv410p yuv420p9le yuv422p9le yuv444p9le yuv420p10le yuv422p10le"
    " yuv444p10le yuv440p10le yuv420p12le yuv422p12le yuv444p12le yuv440p12le gray gray9le gray10le gray12le"
    " gbrp9le gbrp10le gbrp12le".split()
)
_FULL_H264_CHROMA = ((0, 0), (1, 0), (1, 1))
_FULL_VP9_CHROMA = ((0, 0), (1, 0), (1, 1), (0, 1))
_HDR_TRANSFERS = (16, 18)
"""PQ and HLG (ITU-T H.273)."""
_MAX_CRF, _MAX_VP9_CRF = 51, 63


@dataclass(frozen=True)
class EncodePlan:
    """How a clip will be encoded.

    ``layout`` is that of the encoded planes; where it is 4:4:4 and the clip is not, the chroma samples are repeated.
    ``notes`` say what differs from the input, one sentence each.
    """

    muxer: str
    codec: str
    pixel_format: str
    layout: PlaneLayout
    notes: tuple[str, ...] = ()

    @property
    def lossless(self) -> bool:
        """Whether the samples survive bit for bit."""
        return self.codec == "ffv1"


def muxer_of(path: Path) -> str:
    """The muxer for a file name; part files (``.out.mp4.123.part``) count by the ending before theirs.

    Raises:
        OutputError: The ending is not one we write.
    """
    for suffix in reversed(path.suffixes):
        if suffix.lower() in CONTAINERS:
            return CONTAINERS[suffix.lower()]
    raise _other_ending(path)


def check_ending(path: Path) -> None:
    """Check that an output's name, not that of its part file, ends as one of the containers.

    Raises:
        OutputError: It does not.
    """
    if path.suffix.lower() not in CONTAINERS:
        raise _other_ending(path)


def _other_ending(path: Path) -> OutputError:
    found = repr(path.suffix) if path.suffix else "no ending"
    return OutputError(f"Expected an output named {', '.join(CONTAINERS)}; found {found}.", path=path)


def check_output(info: VideoInfo, path: Path, options: EncodeConfig | None = None) -> EncodePlan:
    """Check that ``info``'s clip can be written to ``path``, before any work.

    Raises:
        OutputError: The folder is missing, or the file's ending is unknown.
        PermissionDeniedError: The folder is not writable.
        UsageError: An encoding option is out of range.
        InputError: The container cannot hold the clip's samples or times.
    """
    options = options or EncodeConfig()
    folder = Path(os.path.abspath(path)).parent
    if not folder.is_dir():
        raise OutputError("The folder of the output does not exist.", hint="Create it first.", path=folder)
    if not os.access(folder, os.W_OK):
        raise PermissionDeniedError("No permission to write here.", hint="Choose another folder.", path=folder)
    check_ending(path)
    _check_options(options)
    return plan_output(info, muxer_of(path))


def plan_output(info: VideoInfo, muxer: str) -> EncodePlan:
    """Choose codec and pixel format for ``info``'s clip in a container.

    Raises:
        InputError: The container cannot hold the clip's samples or times.
    """
    layout = display_layout(info)
    if muxer == "matroska":
        plan = _plan_ffv1(layout)
    elif muxer == "webm":
        plan = _plan_vp9(layout)
    else:
        plan = _plan_h26x(layout, info.width, info.height, muxer)
    notes = plan.notes
    if muxer in ("matroska", "webm"):
        notes += _check_milliseconds(info)
        if info.sample_aspect_ratio != (1, 1):
            shape = "{}:{}".format(*info.sample_aspect_ratio)
            notes += (f"The pixel shape {shape} is not marked in mkv and webm: name the output .mp4 to keep it.",)
    if info.color.transfer in _HDR_TRANSFERS:
        notes += ("The clip is HDR: its colour tags are kept, its mastering-display metadata is not.",)
    return EncodePlan(plan.muxer, plan.codec, plan.pixel_format, plan.layout, notes)


def _plan_ffv1(layout: PlaneLayout) -> EncodePlan:
    if layout.family == "rgb" and layout.bits == 8:
        return EncodePlan("matroska", "ffv1", "bgr0", layout)
    if layout.pixel_format not in _FFV1_PLANAR:
        raise _no_room(layout, "FFV1 in mkv", "Convert the clip to yuv420p or yuv422p10 first.")
    return EncodePlan("matroska", "ffv1", layout.pixel_format, layout)


def _plan_vp9(layout: PlaneLayout) -> EncodePlan:
    if layout.bits > 8:
        raise _no_room(layout, "VP9 in webm as built here", "Name the output .mkv or .mp4.")
    if layout.family == "rgb":
        return EncodePlan("webm", "libvpx-vp9", "gbrp", layout)
    if layout.family == "gray":
        coloured = PlaneLayout("yuv", 8, 1, 1, layout.full_range)
        return EncodePlan("webm", "libvpx-vp9", "yuv420p", coloured, ("VP9 has no grey: neutral chroma was added.",))
    out, notes = _with_chroma(layout, (layout.log2_x, layout.log2_y) in _FULL_VP9_CHROMA, "VP9")
    return EncodePlan("webm", "libvpx-vp9", out.pixel_format, out, notes)


def _plan_h26x(layout: PlaneLayout, width: int, height: int, muxer: str) -> EncodePlan:
    if layout.bits not in (8, 10, 12):
        raise _no_room(layout, "H.264 or H.265", "Name the output .mkv.")
    if layout.family == "rgb":
        codec = "libx264rgb" if layout.bits == 8 else "libx265"
        return EncodePlan(muxer, codec, "rgb24" if layout.bits == 8 else layout.pixel_format, layout)
    codec = "libx265" if layout.bits == 12 else "libx264"
    if layout.family == "gray":
        return EncodePlan(muxer, codec, layout.pixel_format, layout)
    even = width % (1 << layout.log2_x) == 0 and height % (1 << layout.log2_y) == 0
    fits = even and (layout.log2_x, layout.log2_y) in _FULL_H264_CHROMA
    reason = codec.removeprefix("lib") if even else f"{width}x{height} pixels (odd)"
    out, notes = _with_chroma(layout, fits, reason)
    return EncodePlan(muxer, codec, out.pixel_format, out, notes)


def _with_chroma(layout: PlaneLayout, fits: bool, reason: str) -> tuple[PlaneLayout, tuple[str, ...]]:
    """The layout itself, or 4:4:4 with a note why."""
    if fits:
        return layout, ()
    full = PlaneLayout("yuv", layout.bits, 0, 0, layout.full_range)
    note = f"Written as 4:4:4 ({full.pixel_format}): {reason} cannot be written as {layout.pixel_format}."
    return full, (note,)


def _check_milliseconds(info: VideoInfo) -> tuple[str, ...]:
    """Matroska counts whole milliseconds: refuse clips whose frames would fall together, note rounded ones."""
    tick = 1000 * Fraction(*info.time_base)
    stamps = [round(p * tick) for p in info.pts]
    if len(set(stamps)) < len(stamps):
        raise InputError(
            "Two frames are less than a millisecond apart, which mkv and webm cannot store.",
            hint="Name the output .mp4 or .mov.",
            path=info.path,
        )
    if any((p * tick).denominator != 1 for p in info.pts):
        return ("Matroska stores whole milliseconds: frame times were rounded by at most 0.5 ms.",)
    return ()


def _check_options(options: EncodeConfig) -> None:
    if not 0 <= options.crf <= _MAX_CRF or not 0 <= options.vp9_crf <= _MAX_VP9_CRF:
        raise UsageError(
            f"Expected crf in 0-{_MAX_CRF} and vp9-crf in 0-{_MAX_VP9_CRF}, found {options.crf} and {options.vp9_crf}."
        )
    if options.preset not in PRESETS:
        raise UsageError(f"Expected a preset among {', '.join(PRESETS)}; found {options.preset!r}.")
    if options.threads < 1 or options.audio_bitrate < 1:
        raise UsageError("Expected at least one encoder thread and a positive audio bit rate.")


def _no_room(layout: PlaneLayout, where: str, hint: str) -> InputError:
    return InputError(f"The clip is {layout.pixel_format}, which {where} cannot hold.", hint=hint)
