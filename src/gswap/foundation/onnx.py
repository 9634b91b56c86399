"""Sessions of onnxruntime: one way to open a network that comes as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from gswap.foundation.errors import DeviceError, MissingExtraError, WeightsError

if TYPE_CHECKING:
    import onnxruntime


def open_network(path: Path, *, device: str = "cpu", threads: int = 1) -> onnxruntime.InferenceSession:
    """Open an ONNX file.

    Args:
        path: The file, verified before (``gswap.foundation.weights.file``).
        device: ``cpu`` or ``cuda``.
        threads: Threads on the processor; sums depend on their number in their last bits.

    Raises:
        MissingExtraError: onnxruntime is not installed.
        DeviceError: ``cuda`` was asked for and this onnxruntime has none.
        WeightsError: The file is no network.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError("This part", "onnx") from error
    providers = ["CPUExecutionProvider"]
    if device == "cuda":
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            raise DeviceError(
                "Expected an onnxruntime with CUDA, found one without.", hint="Run: pip install onnxruntime-gpu"
            )
        providers = ["CUDAExecutionProvider"]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # onnxruntime's own classes share no base but Exception
        raise WeightsError(f"Expected an ONNX network, found none ({error}).", path=path) from error
