"""Weights of the pretrained parts: a catalogue with licences, pinned hashes, and the folder they lie in.

Nothing is fetched unless somebody asks (``gswap weights pull NAME``); what is used was verified first; nothing is ever
unpickled. A part is a folder of one or several files::

    weights.path("arc2face")                    folder of the part, every file of it verified
    weights.file("lama")                        the one file of a part that has one
    weights.file("smirk", "encoder.onnx")       a certain file of a part
    weights.require(["farl", "lama"])           all there, intact, and allowed? one sentence if not
    weights.digest("lama")                      what a fingerprint depends on
    weights.pull("lama")                        fetch it (resumes, verifies)
"""

from gswap.foundation.weights.catalogue import CATALOGUE, WeightFile, WeightSpec, spec
from gswap.foundation.weights.folder import (
    FileState,
    PartState,
    check_licence,
    digest,
    file,
    path,
    require,
    root,
    states,
)
from gswap.foundation.weights.pull import Network, pull

__all__ = [
    "CATALOGUE",
    "FileState",
    "Network",
    "PartState",
    "WeightFile",
    "WeightSpec",
    "check_licence",
    "digest",
    "file",
    "path",
    "pull",
    "require",
    "root",
    "spec",
    "states",
]
