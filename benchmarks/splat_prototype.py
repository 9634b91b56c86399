"""Forward and forward+backward of the native splatter against another build with the prototype's C interface.

    python benchmarks/splat_prototype.py LIBRARY [--size 512] [--gaussians 65536] [--repeats 11]

One thread each, same scene, in turns; median CPU milliseconds. LIBRARY exports ``ctx_new``, ``splat_fwd`` and
``splat_bwd`` for 8 channels.
"""

from __future__ import annotations

import argparse
import ctypes

import torch

from gswap.apps.bench.splat import SplatBenchConfig, measure, scene
from gswap.native import _native
from gswap.splat import cpu


def _address(tensor: torch.Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(tensor.data_ptr())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("library")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--gaussians", type=int, default=65536)
    parser.add_argument("--repeats", type=int, default=11)
    args = parser.parse_args()
    torch.set_num_threads(1)
    _native.set_num_threads(1)
    tensors, camera = scene(SplatBenchConfig(size=args.size, gaussians=args.gaussians))
    n, channels, size = args.gaussians, 8, args.size
    library = ctypes.CDLL(args.library)
    library.ctx_new.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.ctx_new())
    pose, lens = torch.eye(4), torch.tensor([camera.focal, camera.focal, camera.cx, camera.cy])
    image, transmittance = torch.zeros(channels, size, size), torch.zeros(size, size)
    d_image, d_alpha = torch.randn_like(image), torch.randn_like(transmittance)
    gradients, seconds = [torch.zeros_like(t) for t in tensors], (ctypes.c_double * 2)()
    given = [_address(t) for t in (*tensors, pose, lens)]
    leaves = [t.clone().requires_grad_() for t in tensors]

    def other_forward() -> None:
        out = (_address(image), _address(transmittance))
        library.splat_fwd(context, n, channels, size, size, ctypes.c_float(0.3), *given, *out, 1)

    def other_step() -> None:
        other_forward()
        inward = [_address(t) for t in (image, transmittance, d_image, d_alpha, *gradients)]
        library.splat_bwd(context, channels, *given, *inward, seconds, 1)

    def step() -> None:
        torch.autograd.backward(cpu.rasterize(*leaves, camera), [d_image, d_alpha])
        for leaf in leaves:
            leaf.grad = None

    times = measure(
        {
            "forward": lambda: cpu.rasterize(*tensors, camera),
            "other forward": other_forward,
            "step": step,
            "other step": other_step,
        },
        args.repeats,
    )
    for what in ("forward", "step"):
        mine, other = times[what]["cpu"], times[f"other {what}"]["cpu"]
        print(f"{what}: {mine:.2f} ms, other {other:.2f} ms, ratio {mine / other:.3f}")


if __name__ == "__main__":
    main()
