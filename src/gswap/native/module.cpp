// The extension module: every source file registers its functions here.
#include <nanobind/nanobind.h>

namespace nb = nanobind;

void register_bind(nb::module_ &m);
void register_cnn(nb::module_ &m);
void register_dispatch(nb::module_ &m);
void register_memory(nb::module_ &m);
void register_pool(nb::module_ &m);
void register_raster(nb::module_ &m);
void register_shade(nb::module_ &m);
void register_splat(nb::module_ &m);
void register_strands(nb::module_ &m);
void register_surface(nb::module_ &m);

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of gswap.";
    nb::set_leak_warnings(false); // a graph that is alive when the interpreter ends is no leak of ours
    register_bind(m);
    register_cnn(m);
    register_dispatch(m);
    register_memory(m);
    register_pool(m);
    register_raster(m);
    register_shade(m);
    register_splat(m);
    register_strands(m);
    register_surface(m);
}
