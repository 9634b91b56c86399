"""The polynomial of the kernels' exp2 is what its script fits, and keeps the bound written beside it."""

import importlib.util
import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


def _script():
    spec = importlib.util.spec_from_file_location("fit_exp2", ROOT / "scripts/fit_exp2.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_header_keeps_its_bound():
    script = _script()
    text = script.OUTPUT.read_text()
    coefficients = np.array([float.fromhex(c) for c in re.findall(r"EXP2_C\d (\S+)f\n", text)])
    bound = float(re.search(r"EXP2_ERROR (\S+)f", text)[1])
    assert len(coefficients) == script.DEGREE + 1
    assert script.float32_error(coefficients) <= bound < 5e-7


def test_header_is_what_the_script_writes():
    script = _script()
    found = re.findall(r"EXP2_C\d (\S+)f\n", script.render(*script.fit()))
    written = re.findall(r"EXP2_C\d (\S+)f\n", script.OUTPUT.read_text())
    np.testing.assert_allclose(
        [float.fromhex(c) for c in found], [float.fromhex(c) for c in written], rtol=2e-6, atol=2e-7
    )
