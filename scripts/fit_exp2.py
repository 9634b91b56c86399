"""Fit the polynomial of the kernels' ``exp2`` and write ``src/gswap/native/kernels/exp2_coefficients.h``.

Remez exchange for the smallest largest relative error of a quintic against 2^f on [-1/2, 1/2], then rounding to
float32 one coefficient at a time, highest power first, refitting those that are left. The bound written beside the
coefficients is measured in float32 arithmetic on a dense grid.

    python scripts/fit_exp2.py
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

DEGREE = 5
HALF_RANGE = 0.5
OUTPUT = Path(__file__).parent.parent / "src/gswap/native/kernels/exp2_coefficients.h"


def remez(fixed: dict[int, float], iterations: int = 30) -> np.ndarray:
    """Minimax coefficients (lowest power first) with those of ``fixed`` held."""
    free = [k for k in range(DEGREE + 1) if k not in fixed]
    count = len(free) + 1
    nodes = HALF_RANGE * np.cos(np.pi * (np.arange(count) + 0.5) / count)[::-1]
    grid = np.linspace(-HALF_RANGE, HALF_RANGE, 200_001)
    coefficients = np.zeros(DEGREE + 1)
    for _ in range(iterations):
        scale = np.exp2(-nodes)
        held = sum(c * nodes**k for k, c in fixed.items()) * scale
        columns = [nodes**k * scale for k in free] + [(-1.0) ** np.arange(count)]
        solution = np.linalg.solve(np.stack(columns, 1), 1 - held)
        for k, c in {**dict(zip(free, solution, strict=False)), **fixed}.items():
            coefficients[k] = c
        error = np.polyval(coefficients[::-1], grid) * np.exp2(-grid) - 1
        turns = np.flatnonzero(np.diff(np.sign(np.diff(error)))) + 1
        extremes = np.unique(np.concatenate([[0], turns, [len(grid) - 1]]))
        # Keep `count` alternating extremes: drop the weaker of neighbours with one sign, then the weaker end.
        kept: list[int] = []
        for i in extremes:
            if kept and np.sign(error[kept[-1]]) == np.sign(error[i]):
                kept[-1] = i if abs(error[i]) > abs(error[kept[-1]]) else kept[-1]
            else:
                kept.append(int(i))
        while len(kept) > count:
            kept.pop(0 if abs(error[kept[0]]) < abs(error[kept[-1]]) else -1)
        if len(kept) < count:
            break
        nodes = grid[kept]
    return coefficients


def float32_error(coefficients: np.ndarray) -> float:
    """Largest relative error when every product and sum is rounded to float32."""
    f = np.linspace(-HALF_RANGE, HALF_RANGE, 2_000_001).astype(np.float32)
    c = coefficients.astype(np.float32)
    p = np.full_like(f, c[DEGREE])
    for k in range(DEGREE - 1, -1, -1):
        p = p * f + c[k]
    return float(np.abs(p.astype(np.float64) / np.exp2(f.astype(np.float64)) - 1).max())


def fit() -> tuple[np.ndarray, float]:
    """Float32 coefficients, lowest power first, and a bound of the relative error (measured, rounded up)."""
    fixed: dict[int, float] = {}
    for k in range(DEGREE, 0, -1):
        fixed[k] = float(np.float32(remez(fixed)[k]))
    coefficients = np.array([0.0] + [fixed[k] for k in range(1, DEGREE + 1)])
    # The constant is chosen by trial among its neighbours: it decides the rounding of every result.
    one = np.float32(1.0)
    candidates = [np.float32(one + k * np.finfo(np.float32).eps / 2) for k in range(-2, 5)]
    errors = []
    for candidate in candidates:
        coefficients[0] = candidate
        errors.append(float32_error(coefficients))
    coefficients[0] = candidates[int(np.argmin(errors))]
    bound = float(f"{min(errors) * 1.05:.1e}")
    return coefficients, bound


def render(coefficients: np.ndarray, bound: float) -> str:
    """The header's text."""
    lines = [f"#define EXP2_C{k} {np.float32(c).item().hex()}f" for k, c in enumerate(coefficients)]
    return "\n".join(
        [
            "// Written by scripts/fit_exp2.py: a quintic for 2^f on [-1/2, 1/2].",
            "#pragma once",
            *lines,
            f"#define EXP2_ERROR {bound:.1e}f // largest relative error in float32 arithmetic",
            "",
        ]
    )


def main() -> None:
    coefficients, bound = fit()
    OUTPUT.write_text(render(coefficients, bound))
    print(f"{OUTPUT.name}: relative error below {bound:.1e}")


if __name__ == "__main__":
    main()
