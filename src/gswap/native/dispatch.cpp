#include "dispatch.h"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <atomic>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

namespace nb = nanobind;

#define GSWAP_DECLARE(ISA)      \
    namespace gswap {           \
    namespace ISA {             \
    const Kernels *table();     \
    }                           \
    }
#if defined(GSWAP_HAVE_X86)
GSWAP_DECLARE(x86_64_v2)
GSWAP_DECLARE(x86_64_v3)
GSWAP_DECLARE(x86_64_v4)
#endif
#if defined(GSWAP_HAVE_BASELINE)
GSWAP_DECLARE(baseline)
#endif
GSWAP_DECLARE(portable)

namespace gswap {
namespace {

struct Level {
    const char *name;
    bool (*supported)();
    const Kernels *(*table)();
};

// Best first.
const Level LEVELS[] = {
#if defined(GSWAP_HAVE_X86)
    {"x86_64_v4",
     [] {
         return bool(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                     __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                     __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma"));
     },
     x86_64_v4::table},
    {"x86_64_v3",
     [] {
         return bool(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") &&
                     __builtin_cpu_supports("bmi2"));
     },
     x86_64_v3::table},
    {"x86_64_v2", [] { return bool(__builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt")); },
     x86_64_v2::table},
#endif
#if defined(GSWAP_HAVE_BASELINE)
    {"baseline", [] { return true; }, baseline::table},
#endif
    {"portable", [] { return true; }, portable::table},
};

std::vector<std::string> supported() {
    std::vector<std::string> names;
    for (const Level &level : LEVELS)
        if (level.supported()) names.push_back(level.name);
    return names;
}

const Kernels *find(const std::string &name) {
    std::string known;
    for (const Level &level : LEVELS) {
        if (!level.supported()) continue;
        if (name.empty() || name == level.name) return level.table();
        known += (known.empty() ? "" : ", ") + std::string(level.name);
    }
    throw std::invalid_argument("There are no kernels called '" + name + "' for this processor. Known: " + known + ".");
}

std::atomic<const Kernels *> chosen{nullptr};

} // namespace

const Kernels &kernels() {
    const Kernels *found = chosen.load(std::memory_order_acquire);
    if (!found) {
        const char *asked = std::getenv("GSWAP_ISA");
        found = find(asked ? asked : "");
        chosen.store(found, std::memory_order_release);
    }
    return *found;
}

} // namespace gswap

void register_dispatch(nb::module_ &m) {
    m.def("instruction_sets", &gswap::supported, "Names of the kernels that this processor can run, fastest first.");
    m.def("get_instruction_set", [] { return std::string(gswap::kernels().name); }, "Name of the kernels in use.");
    m.def(
        "set_instruction_set",
        [](const std::string &name) { gswap::chosen.store(gswap::find(name), std::memory_order_release); },
        nb::arg("name"), "Use the kernels called `name`, or the fastest for an empty name (also: GSWAP_ISA).");
}
