"""gswap: head swapping for video with a dynamic neural Gaussian field."""

from importlib.metadata import version as _version

__version__ = _version("gswap")
