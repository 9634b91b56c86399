// Posing of bound Gaussians between Python and its kernel.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <cstring>
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

constexpr int GRAIN = 2048; // Gaussians per task; sums over tasks are added in order, so threads do not change them

using Index = nb::ndarray<const int64_t, nb::shape<-1>, nb::c_contig, nb::device::cpu>;

// What the field learns: (bary, rotation, log_scale, offset, head_weight), and what a frame gives:
// (visible, corners, vertices, face_quats, stretch, pivot).
struct Inputs {
    BindJob job{};
    size_t field, vertices;
    std::optional<Vector> correction;
    Index visible, corners;
    Points vertex, bary, log_scale, offset;
    Quats face_quats, rotation;
    Vector stretch, head_weight, pivot;

    Inputs(nb::tuple posed, nb::tuple learned, std::optional<Vector> given, float row_metres) {
        visible = nb::cast<Index>(posed[0]);
        corners = nb::cast<Index>(posed[1]);
        vertex = nb::cast<Points>(posed[2]);
        face_quats = nb::cast<Quats>(posed[3]);
        stretch = nb::cast<Vector>(posed[4]);
        pivot = nb::cast<Vector>(posed[5]);
        bary = nb::cast<Points>(learned[0]);
        rotation = nb::cast<Quats>(learned[1]);
        log_scale = nb::cast<Points>(learned[2]);
        offset = nb::cast<Points>(learned[3]);
        head_weight = nb::cast<Vector>(learned[4]);
        correction = std::move(given);
        const size_t n = visible.shape(0);
        field = bary.shape(0);
        vertices = vertex.shape(0);
        if (corners.shape(0) != 3 * n || face_quats.shape(0) != n || stretch.shape(0) != n || pivot.shape(0) != 3 ||
            rotation.shape(0) != field || log_scale.shape(0) != field || offset.shape(0) != field ||
            head_weight.shape(0) != field || (correction && correction->shape(0) != 6))
            throw std::length_error("bind: the arrays differ in their number of Gaussians.");
        const auto outside = [](const Index &index, size_t size) {
            const int64_t *p = index.data();
            return std::any_of(p, p + index.shape(0), [&](int64_t i) { return i < 0 || size_t(i) >= size; });
        };
        if (outside(visible, field) || outside(corners, vertices))
            throw std::out_of_range("bind: an index names a Gaussian or a vertex that is not there.");
        job = {int(n),           visible.data(),   corners.data(), vertex.data(),      face_quats.data(),
               stretch.data(),   bary.data(),      rotation.data(), log_scale.data(),  offset.data(),
               head_weight.data(), pivot.data(),   correction ? correction->data() : nullptr, row_metres};
    }
};

nb::tuple forward(nb::tuple posed, nb::tuple learned, std::optional<Vector> correction, float row_metres) {
    const Inputs in(posed, learned, std::move(correction), row_metres);
    const size_t n = size_t(in.job.count);
    Buffer means = Buffer::of<float>(3 * n), quats = Buffer::of<float>(4 * n), scales = Buffer::of<float>(3 * n);
    {
        nb::gil_scoped_release release;
        const Kernels &k = kernels();
        parallel_for((in.job.count + GRAIN - 1) / GRAIN, thread_count(), [&](int task, int) {
            const int begin = task * GRAIN, end = std::min(begin + GRAIN, in.job.count);
            k.bind_forward(in.job, means.as<float>(), quats.as<float>(), scales.as<float>(), begin, end);
        });
    }
    return nb::make_tuple(tensor(std::move(means), {n, 3}), tensor(std::move(quats), {n, 4}),
                          tensor(std::move(scales), {n, 3}));
}

Buffer zeros(size_t floats) {
    Buffer buffer = Buffer::of<float>(floats);
    if (floats) std::memset(buffer.as<float>(), 0, sizeof(float) * floats);
    return buffer;
}

nb::tuple backward(nb::tuple posed, nb::tuple learned, std::optional<Vector> correction, float row_metres,
                   Points d_means, Quats d_quats, Points d_scales) {
    const Inputs in(posed, learned, std::move(correction), row_metres);
    const BindJob &job = in.job;
    const size_t n = size_t(job.count);
    if (d_means.shape(0) != n || d_quats.shape(0) != n || d_scales.shape(0) != n)
        throw std::length_error("bind: the gradients do not belong to these Gaussians.");
    Buffer d_vertices = zeros(3 * in.vertices), d_rotation = zeros(4 * in.field), d_log_scale = zeros(3 * in.field),
           d_offset = zeros(3 * in.field), d_correction = zeros(6);
    {
        nb::gil_scoped_release release;
        const Kernels &k = kernels();
        Buffer points = Buffer::of<float>(3 * n);
        const BindGradients g{d_means.data(),          d_quats.data(),       d_scales.data(),     d_rotation.as<float>(),
                              d_log_scale.as<float>(), d_offset.as<float>(), points.as<float>()};
        const int tasks = (job.count + GRAIN - 1) / GRAIN;
        std::vector<double> sums(size_t(tasks) * 6, 0.0);
        parallel_for(tasks, thread_count(), [&](int task, int) {
            const int begin = task * GRAIN, end = std::min(begin + GRAIN, job.count);
            k.bind_backward(job, g, begin, end, sums.data() + 6 * size_t(task));
        });
        for (int c = 0; c < 6; ++c) {
            double sum = 0;
            for (int task = 0; task < tasks; ++task) sum += sums[size_t(task) * 6 + c];
            d_correction.as<float>()[c] = float(sum);
        }
        float *out = d_vertices.as<float>();
        const float *point = points.as<float>();
        for (size_t i = 0; i < n; ++i) {
            const float *bary = job.bary + 3 * job.visible[i];
            for (int corner = 0; corner < 3; ++corner)
                for (int axis = 0; axis < 3; ++axis)
                    out[3 * job.corners[3 * i + corner] + axis] += bary[corner] * point[3 * i + axis];
        }
    }
    return nb::make_tuple(tensor(std::move(d_vertices), {in.vertices, 3}), tensor(std::move(d_rotation), {in.field, 4}),
                          tensor(std::move(d_log_scale), {in.field, 3}), tensor(std::move(d_offset), {in.field, 3}),
                          tensor(std::move(d_correction), {6}));
}

} // namespace
} // namespace gswap

void register_bind(nb::module_ &m) {
    m.def("bind_forward", &gswap::forward, nb::arg("posed"), nb::arg("learned"), nb::arg("correction").none(),
          nb::arg("row_metres"),
          "Pose bound Gaussians (eq. 7): posed = (visible, corners, vertices, face_quats, stretch, pivot), learned = "
          "(bary, rotation, log_scale, offset, head_weight) -> means, quats, scales of the visible ones.");
    m.def("bind_backward", &gswap::backward, nb::arg("posed"), nb::arg("learned"), nb::arg("correction").none(),
          nb::arg("row_metres"), nb::arg("d_means"), nb::arg("d_quats"), nb::arg("d_scales"),
          "Gradients of vertices, rotation, log_scale, offset and correction.");
}
