"""Body models behind ``foundation.protocols.BodyModel``: Anny (shipped) and SMPL-X (the user's own file)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gswap.body.models.anny import AnnyModel


def load_body(name: str = "anny") -> AnnyModel:
    """The body model called ``name``; cached per process.

    Raises:
        UsageError: There is no such model.
    """
    from gswap.body.models.anny import load_anny
    from gswap.foundation.errors import UsageError

    if name != "anny":
        raise UsageError(f"There is no body model {name!r}.", hint="Known: anny.")
    return load_anny()
