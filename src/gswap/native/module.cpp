// The extension module: every source file registers its functions here.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void register_raster(nb::module_ &m);
void register_shade(nb::module_ &m);
void register_strands(nb::module_ &m);

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of gswap.";
    register_raster(m);
    register_shade(m);
    register_strands(m);
}
