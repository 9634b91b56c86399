#!/usr/bin/env bash
# Build the kernels for 64-bit ARM (NEON) and compare them with the portable ones in an emulator.
# Needs a cross compiler and qemu (Debian: g++-aarch64-linux-gnu qemu-user). CXX and EMULATOR choose others.
set -euo pipefail
root="$(cd "$(dirname "$0")/../.." && pwd)"
cxx="${CXX:-aarch64-linux-gnu-g++}"
work="${WORK:-$root/build/cross}"
native="$root/src/gswap/native"
mkdir -p "$work"
flags=(-std=c++17 -O3 -fno-math-errno -fno-trapping-math -ffp-contract=fast -Wall -Wextra -Wno-psabi -Wno-maybe-uninitialized -I "$native")
objects=()
for isa in baseline portable; do
  extra=()
  [ "$isa" = portable ] && extra=(-DGSWAP_PORTABLE=1)
  for source in "$native"/kernels/*.cpp; do
    object="$work/$isa-$(basename "$source" .cpp).o"
    "$cxx" "${flags[@]}" -DGSWAP_ISA="$isa" "${extra[@]}" -c "$source" -o "$object"
    objects+=("$object")
  done
done
"$cxx" "${flags[@]}" -static "$root/tests/native/compare_kernels.cpp" "${objects[@]}" -o "$work/compare_kernels"
${EMULATOR-qemu-aarch64} "$work/compare_kernels"
