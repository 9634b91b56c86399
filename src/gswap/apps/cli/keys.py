"""``gswap keys``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gswap.foundation.errors import UsageError
from gswap.output import keys
from gswap.output.manifest import rehearse

if TYPE_CHECKING:
    from gswap.apps.cli import provenance
    from gswap.apps.cli.console import Terminal


def act(options: provenance.Keys, terminal: Terminal) -> int:
    """Do what ``options.action`` says."""
    if options.action == "export-root":
        keys.load_or_create()
        keys.export_root(options.out)
        terminal.say(str(options.out))
        return 0
    if options.action == "import":
        if options.certificates is None or options.key is None:
            raise UsageError("Expected --certificates and --key for `gswap keys import`.")
        rehearse(keys.read_identity(options.certificates, options.key))
        identity = keys.import_identity(options.certificates, options.key)
    elif options.action == "rotate":
        identity = keys.rotate()
    else:
        identity = keys.load_or_create()
    terminal.emit("key", signer=identity.name, folder=str(keys.config_dir()))
    terminal.say(f"{identity.name}\n{keys.config_dir()}")
    return 0
