// Background encoder, fusion and rerenderer between Python and their kernel.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/vector.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <vector>

#include "dispatch.h"
#include "memory.h"
#include "pool.h"
#include "tensors.h"

namespace nb = nanobind;

namespace gswap {
namespace {

using Kernel = Array<nb::shape<-1, -1, 3, 3>>;

uint64_t nanoseconds() {
    return uint64_t(std::chrono::duration_cast<std::chrono::nanoseconds>(
                        std::chrono::steady_clock::now().time_since_epoch()).count());
}

nb::object fuse_and_rerender(Volume plate, Volume features, Matrix alpha, Matrix head, std::vector<Kernel> weights,
                             std::vector<Vector> biases, bool last_relu, std::optional<nb::dict> shares) {
    static const int sizes[5][2] = {{3, 8}, {8, 5}, {8, 8}, {8, 8}, {8, 3}};
    const size_t height = alpha.shape(0), width = alpha.shape(1);
    if (plate.shape(0) != 3 || features.shape(0) != 8 || plate.shape(1) != height || plate.shape(2) != width ||
        features.shape(1) != height || features.shape(2) != width || head.shape(0) != height || head.shape(1) != width)
        throw std::length_error("fuse_and_rerender takes a plate of 3, features of 8, alpha and head of one size.");
    if (weights.size() != 5 || biases.size() != 5) throw std::length_error("fuse_and_rerender takes five layers.");
    CnnJob job{};
    for (int k = 0; k < 5; ++k) {
        const int in = sizes[k][0], out = sizes[k][1];
        if (int(weights[k].shape(0)) != out || int(weights[k].shape(1)) != in || int(biases[k].shape(0)) != out)
            throw std::length_error("fuse_and_rerender takes layers 3-8-5 and 8-8-8-3.");
        job.layers[k] = {in, out, weights[k].data(), biases[k].data()};
    }
    Buffer image = Buffer::of<float>(3 * height * width);
    job.width = int(width);
    job.height = int(height);
    job.plate = plate.data();
    job.features = features.data();
    job.alpha = alpha.data();
    job.head = head.data();
    job.last_relu = last_relu;
    job.out = image.as<float>();
    const int strips = cnn_strips(job.width), bands = (job.height + CNN_BAND - 1) / CNN_BAND;
    std::vector<uint64_t> spent(shares ? size_t(strips) * bands * 3 : 0);
    if (shares) {
        job.clock = nanoseconds;
        job.spent = spent.data();
    }
    {
        nb::gil_scoped_release release;
        const Kernels &k = kernels();
        const int workers = thread_count();
        Scratch scratch(k.cnn_scratch, workers);
        parallel_for(strips * bands, workers,
                     [&](int task, int worker) { k.cnn(job, scratch.of(worker), task % strips, task / strips); });
    }
    static const char *const parts[3] = {"encoder", "fusion", "rerenderer"};
    for (int part = 0; shares && part < 3; ++part) {
        uint64_t sum = 0;
        for (size_t task = 0; task < spent.size() / 3; ++task) sum += spent[3 * task + size_t(part)];
        (*shares)[parts[part]] = 1e-9 * double(sum);
    }
    return nb::cast(tensor(std::move(image), {3, height, width}));
}

} // namespace
} // namespace gswap

void register_cnn(nb::module_ &m) {
    m.def("fuse_and_rerender", &gswap::fuse_and_rerender, nb::arg("plate"), nb::arg("features"), nb::arg("alpha"),
          nb::arg("head"), nb::arg("weights"), nb::arg("biases"), nb::arg("last_relu"),
          nb::arg("shares") = nb::none(),
          "I_out of eq. 10-12 in one pass: background encoder, fusion, rerenderer. Layers in the order of use. A dict "
          "given as `shares` receives the seconds that all threads together spent in each of the three.");
}
