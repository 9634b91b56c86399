// The table of one instruction set.
#include "table.h"

namespace gswap {
namespace GSWAP_ISA {

void register_bind(Kernels &k);
void register_cnn(Kernels &k);
void register_project(Kernels &k);
void register_forward(Kernels &k);
void register_backward(Kernels &k);

#define GSWAP_TEXT(x) #x
#define GSWAP_NAME(x) GSWAP_TEXT(x)
const Kernels *table() {
    static Kernels kernels = [] {
        Kernels k{};
        k.name = GSWAP_NAME(GSWAP_ISA);
        register_bind(k);
        register_cnn(k);
        register_project(k);
        register_forward(k);
        register_backward(k);
        return k;
    }();
    return &kernels;
}

} // namespace GSWAP_ISA
} // namespace gswap
