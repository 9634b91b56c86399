"""The thread pool, the choice of kernels and the memory that they share."""

import os
import subprocess
import sys
import threading

import pytest
import torch

native = pytest.importorskip("gswap.native._native", reason="the native kernels are not built")


def _scene(n=4000):
    g = torch.Generator().manual_seed(0)
    means = torch.randn(n, 3, generator=g) * 0.3
    means[:, 2] += 3
    quats, scales = torch.randn(n, 4, generator=g), torch.rand(n, 3, generator=g) * 0.02 + 0.005
    return means, quats, scales, torch.rand(n, generator=g), torch.rand(n, 8, generator=g)


VIEW = (200.0, 64.0, 60.0, 128, 120)


def _image():
    return native.splat_forward(*_scene(), VIEW, 0.01, False)[0]


@pytest.fixture(autouse=True)
def automatic_threads():
    yield
    native.set_num_threads(0)


def test_number_of_threads_is_kept_and_checked():
    native.set_num_threads(3)
    assert native.get_num_threads() == 3
    native.set_num_threads(0)
    assert native.get_num_threads() >= 1
    with pytest.raises(ValueError, match="found -1"):
        native.set_num_threads(-1)


def test_unknown_kernels_are_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="portable"):
        native.set_instruction_set("z80")


def test_calls_from_many_threads_agree():
    native.set_num_threads(4)
    expected = _image()
    found: list[torch.Tensor] = []
    threads = [threading.Thread(target=lambda: found.extend(_image() for _ in range(5))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert all(torch.equal(expected, image) for image in found)


FORK = """
import os
import warnings

import torch
from gswap.native import _native as native

g = torch.Generator().manual_seed(0)
means = torch.randn(4000, 3, generator=g) * 0.3 + torch.tensor([0.0, 0.0, 3.0])
quats, scales = torch.randn(4000, 4, generator=g), torch.rand(4000, 3, generator=g) * 0.02 + 0.005
arguments = (means, quats, scales, torch.rand(4000, generator=g), torch.rand(4000, 8, generator=g))
image = lambda: native.splat_forward(*arguments, (200.0, 64.0, 60.0, 128, 120), 0.01, False)[0].numpy().tobytes()
native.set_num_threads(3)
expected = image()
warnings.simplefilter("ignore")
child = os.fork()
if child == 0:
    os._exit(0 if image() == expected else 1)
raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_starts_its_own_threads():
    # In a process of its own: the test process has torch's OpenMP threads, which do not survive a fork.
    assert subprocess.run([sys.executable, "-c", FORK], timeout=120, check=False).returncode == 0


def test_memory_is_used_again():
    for _ in range(4):
        _image()
    native.reset_peak_memory()
    used, _, cached = native.memory_use()
    for _ in range(5):
        _image()
    after, peak, still_cached = native.memory_use()
    assert after == used
    assert peak > used
    assert still_cached == cached
