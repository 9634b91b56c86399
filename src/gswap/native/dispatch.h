// The kernels of the best instruction set that this processor has.
#pragma once
#include "kernels/table.h"

namespace gswap {

const Kernels &kernels();

} // namespace gswap
