"""Exercise the extension in the folder given, without pytest or torch's threads: run by run_sanitizers.sh."""

import importlib.util
import sys
import threading
from pathlib import Path

import torch

VIEW = (45.0, 31.0, 24.0, 70, 53)


def load(folder: Path):
    (path,) = folder.glob("_native*.so")
    spec = importlib.util.spec_from_file_location("gswap.native._native", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def scene(n: int, channels: int, size: float):
    g = torch.Generator().manual_seed(n + channels)
    means = (torch.rand(n, 3, generator=g) - 0.5) * 1.6
    means[:, 2] += 1.2
    scales = size * torch.rand(n, 3, generator=g)
    return (means, torch.randn(n, 4, generator=g), scales, torch.rand(n, generator=g), torch.rand(n, channels))


def splat(native, n: int, channels: int, size: float) -> None:
    tensors = scene(n, channels, size)
    image, alpha, frame = native.splat_forward(*tensors, VIEW, 0.01, True)
    native.splat_backward(frame, *tensors, torch.randn(image.shape), torch.randn(alpha.shape))
    native.splat_forward(*tensors, VIEW, 0.01, False)


def faces(native) -> None:
    vertices, owners = torch.randn(50, 3).double(), torch.randint(0, 90, (4000,))
    triangles = torch.randint(0, 50, (90, 3))
    native.pose_faces(vertices, triangles, torch.rand(90).double(), owners, (0.5, 2.0), 0.3)


def networks(native) -> None:
    sizes = ((3, 8), (8, 5), (8, 8), (8, 8), (8, 3))
    weights = [torch.randn(o, i, 3, 3) * 0.1 for i, o in sizes]
    biases = [torch.randn(o) for _, o in sizes]
    for height, width in ((1, 1), (70, 37), (33, 481)):
        alpha = torch.rand(height, width)
        native.fuse_and_rerender(
            torch.rand(3, height, width), torch.rand(8, height, width), alpha, alpha, weights, biases, False
        )


def drawing(native) -> None:
    height, width, points = 40, 31, 300
    at = torch.randn(points, 2) * 30 + 15
    at[:4] = torch.tensor([[1e12, 3.0], [-1e12, 1e9], [3e38, -3e38], [float("nan"), 5.0]])
    depths = torch.rand(points) * 3 - 0.3
    face = torch.full((height, width), -1, dtype=torch.int32)
    depth, bary = torch.full((height, width), 1e9), torch.zeros(height, width, 3)
    triangles = torch.randint(-1, points + 1, (400, 3), dtype=torch.int32)  # some name points that are not there
    native.rasterize_triangles(at, depths, triangles, face, bary, depth)
    strand, across, along = face.clone(), torch.zeros(height, width), torch.zeros(height, width)
    segments = torch.randint(-1, points + 1, (400, 2), dtype=torch.int32)
    native.rasterize_strands(at, depths, segments, torch.rand(400) * 3, strand, across, along, depth)


def shading(native, n: int) -> None:
    position, normal, albedo = torch.randn(3, n, 3)
    out, lit = torch.zeros(n, 3), torch.zeros(n)
    corners = torch.randint(0, 50, (90, 3), dtype=torch.int32)
    owners = torch.randint(0, 90, (n,), dtype=torch.int32)
    native.interpolate_pixels(owners, torch.rand(n, 3), corners, torch.rand(50, 3), out)
    native.value_noise(position, 3.0, -5.0, 1e3, 0.5, lit)
    native.shadow_fraction(position, torch.rand(16, 16), -1.0, -1.0, 8.0, 0.01, lit)
    native.light_surface(position, normal, albedo, torch.rand(n, 6), lit, torch.rand(4, 3), out)


def posing(native, n: int) -> None:
    field = n + 10
    posed = (torch.arange(n) + 5, torch.randint(0, 40, (3 * n,)), torch.randn(40, 3), torch.randn(n, 4))
    posed = (*posed, torch.rand(n), torch.zeros(3))
    learned = (torch.rand(field, 3), torch.randn(field, 4), torch.randn(field, 3), torch.randn(field, 3))
    learned = (*learned, torch.rand(field))
    for correction in (None, torch.randn(6)):
        out = native.bind_forward(posed, learned, correction, 0.1)
        native.bind_backward(posed, learned, correction, 0.1, *(torch.randn(x.shape) for x in out))


def main() -> None:
    torch.set_num_threads(1)
    native = load(Path(sys.argv[1]))
    native.set_num_threads(3)

    def everything() -> None:
        for n, channels, size in ((0, 3, 0.1), (1, 1, 0.1), (200, 8, 0.6), (9000, 9, 0.02), (500, 20, 0.05)):
            splat(native, n, channels, size)
        networks(native)
        faces(native)
        drawing(native)
        shading(native, 1000)
        posing(native, 5000)

    for name in native.instruction_sets():
        native.set_instruction_set(name)
        everything()
    threads = [threading.Thread(target=everything) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(f"{sys.argv[1]}: clean")


if __name__ == "__main__":
    main()
