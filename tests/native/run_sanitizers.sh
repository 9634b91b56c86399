#!/usr/bin/env bash
# Build the native kernels with sanitizers and run their tests: tests/native/run_sanitizers.sh [address|thread]...
# Default: both. "address" brings the undefined-behaviour sanitizer along. Needs GCC, cmake, ninja and the dev extra.
# Covered: every instruction set that this processor has, and with each the splatting kernels for 4, 9 and 32 channels.
# Those are one of each layout and loop in the code; the ones for 8, 16 and 24 differ from them in constants only and are
# left out because every instance takes long to compile with a sanitizer. -O1, so not the machine code that is shipped.
set -euo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"
python="${PYTHON:-$root/.venv/bin/python}"
work="${WORK:-$root/build/sanitizers}"
cd "$root"
[ $# -gt 0 ] || set -- address thread
for kind in "$@"; do
  case "$kind" in
    address) flags=address,undefined; library=libasan.so ;;
    thread) flags=thread; library=libtsan.so ;;
    *) echo "unknown sanitizer: $kind (known: address, thread)" >&2; exit 2 ;;
  esac
  cmake -G Ninja -S . -B "$work/$kind" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DGSWAP_SANITIZE="$flags" \
    -DGSWAP_FEW_CHANNEL_KERNELS=ON \
    -Dnanobind_DIR="$("$python" -m nanobind --cmake_dir)" -DPython_EXECUTABLE="$python" >/dev/null
  cmake --build "$work/$kind" >/dev/null
  # The interpreter itself is not built with the sanitizer: its runtime is loaded first, and leaks are not looked for.
  LD_PRELOAD="$("${CXX:-g++}" -print-file-name=$library)" ASAN_OPTIONS=detect_leaks=0 \
    UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 TSAN_OPTIONS="halt_on_error=1" OMP_NUM_THREADS=1 \
    PYTHONPATH="$root/src" "$python" tests/native/sanitized.py "$work/$kind"
done
