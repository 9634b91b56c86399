"""Body models behind ``foundation.protocols.BodyModel``: Anny (shipped) and SMPL-X (the user's own file)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

if TYPE_CHECKING:
    from gswap.body.models.anny import AnnyModel
    from gswap.body.models.smplx import SmplxModel


@overload
def load_body(name: Literal["anny"] = "anny") -> AnnyModel: ...
@overload
def load_body(name: Literal["smplx"], path: Path) -> SmplxModel: ...
@overload
def load_body(name: str, path: Path | None = None) -> AnnyModel | SmplxModel: ...
def load_body(name: str = "anny", path: Path | None = None) -> AnnyModel | SmplxModel:
    """The body model called ``name``; cached per process.

    Args:
        name: ``anny`` or ``smplx``.
        path: The model file; only for ``smplx``.

    Raises:
        UsageError: There is no such model, or ``smplx`` was asked for without a file.
        MissingInputError: The file is not there.
    """
    from gswap.foundation.errors import UsageError

    if name == "anny":
        from gswap.body.models.anny import load_anny

        return load_anny()
    if name == "smplx":
        from gswap.body.models.smplx import load_smplx

        if path is None:
            raise UsageError("The body model 'smplx' needs its file.", hint="Give SMPLX_NEUTRAL.npz.")
        return load_smplx(Path(path))
    raise UsageError(f"There is no body model {name!r}.", hint="Known: anny, smplx.")
