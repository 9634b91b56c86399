"""A folder of many pairs: the paper's protocol has 30 of them.

::

PAIRS/
  NAME/                 one pair; any name
    source/             photos of the source person (or source.mp4)
    target.mp4          the clip
    results/            what the methods made of it; the stem is the method's name
      ours.mp4          a workspace ours.mp4.gswap/ beside it is used
      other-tool.mp4
    truth.mp4           optional: the true answer
    truth_masks/        optional: its head mattes, one image per frame
    consent.toml        needed by --baseline and --ablations only
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from gswap.foundation.errors import InputError, MissingInputError
from gswap.media.probe import is_video

RESULTS, TRUTH_MASKS, CONSENT = "results", "truth_masks", "consent.toml"


@dataclass(frozen=True)
class Pair:
    """One source person, one clip, and what was made of them."""

    name: str
    sources: tuple[Path, ...]
    target: Path
    methods: dict[str, Path] = field(default_factory=dict)
    truth: Path | None = None
    truth_masks: Path | None = None
    consent: Path | None = None
    work: Path | None = None
    start: float | None = None
    end: float | None = None
    person: str | None = None


def read_pairs(folder: Path) -> list[Pair]:
    """The pairs of a folder, by name.

    Raises:
        MissingInputError: The folder does not exist.
        InputError: It holds no pair, or a pair is incomplete.
    """
    if not folder.is_dir():
        raise MissingInputError("The folder of pairs does not exist.", path=folder)
    pairs = [_read_pair(p) for p in sorted(folder.iterdir()) if p.is_dir() and not p.name.startswith(".")]
    if not pairs:
        raise InputError(
            "Expected a folder per pair, each with source/ and target.mp4, found none.",
            hint="docs/evaluation.md shows the layout.",
            path=folder,
        )
    return pairs


def _read_pair(folder: Path) -> Pair:
    source = folder / "source"
    if not source.is_dir():
        source = _video(folder, "source") or source
    target = _video(folder, "target")
    if target is None or not source.exists():
        missing = "target.mp4" if target is None else "source/"
        raise InputError(f"Expected {missing} in the pair {folder.name!r}, found none.", path=folder)
    results = folder / RESULTS
    found = sorted(results.iterdir()) if results.is_dir() else []
    videos = [p for p in found if p.is_file() and is_video(p) and not p.name.startswith(".")]
    methods: dict[str, Path] = {}
    for video in videos:
        if methods.setdefault(video.stem, video) != video:
            raise InputError(
                f"Expected one video of the method {video.stem!r}, found {methods[video.stem].name} and {video.name}.",
                hint="Rename one of them: the name without its ending is the method's.",
                path=results,
            )
    masks, consent = folder / TRUTH_MASKS, folder / CONSENT
    return Pair(
        folder.name,
        (source,),
        target,
        methods,
        truth=_video(folder, "truth"),
        truth_masks=masks if masks.is_dir() else None,
        consent=consent if consent.is_file() else None,
    )


def _video(folder: Path, stem: str) -> Path | None:
    found = [p for p in sorted(folder.glob(f"{stem}.*")) if p.is_file() and is_video(p)]
    return found[0] if found else None
