"""Bring files in from elsewhere: PyTorch pickles become safetensors, everything else is copied; all is pinned."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from safetensors import SafetensorError, safe_open

from gswap.foundation.errors import InputError, MissingInputError, UsageError, WeightsError
from gswap.foundation.store import atomic_path
from gswap.foundation.weights import folder
from gswap.foundation.weights.catalogue import WeightFile, WeightSpec, spec
from gswap.foundation.weights.pickles import read_tensors
from gswap.foundation.weights.pull import keep, locked


def pickle_to_safetensors(source: Path, target: Path) -> None:
    """Write the tensors of a PyTorch file as safetensors. The source is read, never unpickled.

    Raises:
        InputError: See :func:`gswap.foundation.weights.pickles.read_tensors`.
    """
    import torch
    from safetensors.torch import save_file

    tensors = {
        name: torch.from_numpy(tensor.bits).view(getattr(torch, tensor.dtype))
        for name, tensor in read_tensors(source).items()
    }
    with atomic_path(target) as part:
        save_file(tensors, part, metadata={"format": "pt"})


def import_part(name: str, source: Path, *, sha256: str | None = None, commercial_only: bool = False) -> dict[str, str]:
    """Take a part's files from a file or a folder; returns the hash of every file that was taken.

    Args:
        name: The part.
        source: The file of a part that has one, or a folder with the files under their own or their published names;
            one of several files stands for its folder.
        sha256: What the file's hash has to be, where the catalogue does not know it.
        commercial_only: Refuse a part that may not be used commercially.

    Raises:
        UsageError: There is no part of this name, or one hash was given for several files.
        MissingInputError: The source, or a file in it, is not there.
        WeightsError: A file's hash is not the known one, or the licence forbids it.
        InputError: A file is not what its name says.
    """
    part = spec(name)
    folder.check_licence(part, commercial_only=commercial_only)
    if sha256 is not None and len(part.files) > 1:
        raise UsageError(f"The part {part.name} has several files: one hash is not enough.", hint="Leave --sha256 out.")
    found = {item.path: _find(part, item, source) for item in part.files}
    with locked():
        for item in part.files:
            _check(part, item, found[item.path], sha256)
        for item in part.files:
            here = found[item.path]
            if here.suffix == ".safetensors" and item.convert:
                keep(part, _as_it_is(item), here, str(here.name))
            else:
                keep(part, item, here, str(here.name))
    return {path: folder.sha256(here) for path, here in found.items()}


def _as_it_is(item: WeightFile) -> WeightFile:
    return WeightFile(item.path, item.source, None, None, item.revision)


def _find(part: WeightSpec, item: WeightFile, source: Path) -> Path:
    if source.is_file():
        if len(part.files) == 1:
            return source
        names = [i.path for i in part.files]
        if source.name not in names:
            listed = ", ".join(names)
            raise MissingInputError(
                f"The part {part.name} has several files: expected a folder with {listed}.", path=source
            )
        source = source.parent
    published = PurePosixPath(item.source.rpartition(":")[2] if ":" in item.source else PurePosixPath(item.source).name)
    own = PurePosixPath(item.path).name
    candidates = [source / item.path, source / published]
    if sum(PurePosixPath(other.path).name == own for other in part.files) == 1:  # else it might be another one's
        candidates += [source / own, source / published.name]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    names = f"{item.path} or {published}" if item.source else item.path
    raise MissingInputError(
        f"Expected the file {names} of {part.name}, found none.", hint=part.note or None, path=source
    )


def _check(part: WeightSpec, item: WeightFile, here: Path, given: str | None) -> None:
    found = folder.sha256(here)
    pin = folder.read_pins(part.name).get(item.path)
    converted = bool(item.convert) and here.suffix == ".safetensors"
    if converted:
        expected = given or (pin.sha256 if pin else None)
        _check_safetensors(here)
    else:
        expected = item.sha256 or given or (pin and (pin.source_sha256 or pin.sha256)) or None
    if expected and found != expected.lower():
        raise WeightsError(
            f"Expected the SHA-256 {expected} of {part.name} ({item.path}), found {found}.",
            hint="This is another file, or a damaged one; nothing was taken.",
            path=here,
        )


def _check_safetensors(here: Path) -> None:
    try:
        with safe_open(str(here), framework="numpy") as handle:
            handle.keys()
    except (SafetensorError, OSError) as error:
        raise InputError(f"Expected a safetensors file, found a damaged one ({error}).", path=here) from error
