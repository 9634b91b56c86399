// Triangles of a posed mesh: where each points, how far it is stretched, and which Gaussians on them face the camera.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "memory.h"
#include "pool.h"
#include "tensors.h"

namespace nb = nanobind;

namespace gswap {
namespace {

constexpr int GRAIN = 1024; // triangles per task
constexpr double NO_LENGTH = 1e-9, NO_AREA = 1e-14; // metres; twice a triangle's area in square metres

using Doubles = nb::ndarray<const double, nb::shape<-1>, nb::c_contig, nb::device::cpu>;
using DoublePoints = nb::ndarray<const double, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using Triangles = nb::ndarray<const int64_t, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using Index = nb::ndarray<const int64_t, nb::shape<-1>, nb::c_contig, nb::device::cpu>;

struct V3 {
    double x, y, z;
};
V3 operator-(V3 a, V3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
V3 operator*(double s, V3 a) { return {s * a.x, s * a.y, s * a.z}; }
V3 cross(V3 a, V3 b) { return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x}; }
double dot(V3 a, V3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
double length(V3 a) { return std::sqrt(dot(a, a)); }

struct PosedFace {
    float quat[4]; // wxyz
    float stretch;
    bool drawn;
};

// The unit quaternion of the rotation with these columns, from its largest component.
void quaternion(V3 a, V3 b, V3 c, float *out) {
    const double square[4] = {1 + a.x + b.y + c.z, 1 + a.x - b.y - c.z, 1 - a.x + b.y - c.z, 1 - a.x - b.y + c.z};
    const int best = int(std::max_element(square, square + 4) - square);
    const double x = b.z - c.y, y = c.x - a.z, z = a.y - b.x; // of the antisymmetric part
    const double xy = a.y + b.x, xz = a.z + c.x, yz = b.z + c.y;
    const double rows[4][4] = {{square[0], x, y, z}, {x, square[1], xy, xz}, {y, xy, square[2], yz}, {z, xz, yz, square[3]}};
    const double *q = rows[best];
    const double inverse = 1 / std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);
    for (int k = 0; k < 4; ++k) out[k] = float(q[k] * inverse);
}

nb::tuple pose_faces(DoublePoints vertices, Triangles faces, Doubles rest_area, Index face_of,
                     std::pair<double, double> stretch_range, double cull_cosine) {
    const size_t face_count = faces.shape(0), n = face_of.shape(0), vertex_count = vertices.shape(0);
    if (rest_area.shape(0) != face_count) throw std::length_error("pose_faces: one area per face is expected.");
    const auto outside = [](const int64_t *p, size_t count, size_t size) {
        return std::any_of(p, p + count, [&](int64_t i) { return i < 0 || size_t(i) >= size; });
    };
    if (outside(faces.data(), 3 * face_count, vertex_count) || outside(face_of.data(), n, face_count))
        throw std::out_of_range("pose_faces: an index names a vertex or a face that is not there.");
    Buffer posed = Buffer::of<PosedFace>(face_count), visible = Buffer::of<int64_t>(n), corners, quats, stretch;
    size_t count = 0;
    {
        nb::gil_scoped_release release;
        PosedFace *out = posed.as<PosedFace>();
        const double *points = vertices.data(), *rest = rest_area.data();
        const int64_t *corner = faces.data();
        const auto vertex = [&](int64_t i) { return V3{points[3 * i], points[3 * i + 1], points[3 * i + 2]}; };
        parallel_for(int((face_count + GRAIN - 1) / GRAIN), thread_count(), [&](int task, int) {
            const size_t begin = size_t(task) * GRAIN, end = std::min(begin + GRAIN, face_count);
            for (size_t f = begin; f < end; ++f) {
                const V3 a = vertex(corner[3 * f]), b = vertex(corner[3 * f + 1]), c = vertex(corner[3 * f + 2]);
                V3 edge = b - a, normal = cross(edge, c - a);
                const double side = length(edge), twice_area = length(normal);
                const bool degenerate = side < NO_LENGTH || twice_area < NO_AREA;
                edge = degenerate ? V3{1, 0, 0} : (1 / side) * edge;
                normal = degenerate ? V3{0, 1, 0} : (1 / twice_area) * normal;
                quaternion(edge, normal, degenerate ? V3{0, 0, 1} : cross(edge, normal), out[f].quat);
                const double ratio = std::sqrt(0.5 * twice_area / std::max(rest[f], NO_AREA));
                out[f].stretch = float(std::min(std::max(ratio, stretch_range.first), stretch_range.second));
                const V3 centre = {(a.x + b.x + c.x) / 3, (a.y + b.y + c.y) / 3, (a.z + b.z + c.z) / 3};
                out[f].drawn = dot(normal, centre) / std::max(length(centre), NO_LENGTH) < cull_cosine;
            }
        });
        const int64_t *owner = face_of.data();
        int64_t *kept = visible.as<int64_t>();
        for (size_t i = 0; i < n; ++i) {
            kept[count] = int64_t(i);
            count += out[owner[i]].drawn;
        }
        corners = Buffer::of<int64_t>(3 * count);
        quats = Buffer::of<float>(4 * count);
        stretch = Buffer::of<float>(count);
        for (size_t k = 0; k < count; ++k) {
            const int64_t f = owner[kept[k]];
            std::memcpy(corners.as<int64_t>() + 3 * k, corner + 3 * f, 3 * sizeof(int64_t));
            std::memcpy(quats.as<float>() + 4 * k, out[f].quat, sizeof out[f].quat);
            stretch.as<float>()[k] = out[f].stretch;
        }
    }
    return nb::make_tuple(tensor<int64_t>(std::move(visible), {count}), tensor<int64_t>(std::move(corners), {3 * count}),
                          tensor(std::move(quats), {count, 4}), tensor(std::move(stretch), {count, 1}));
}

} // namespace
} // namespace gswap

void register_surface(nb::module_ &m) {
    m.def("pose_faces", &gswap::pose_faces, nb::arg("vertices"), nb::arg("faces"), nb::arg("rest_area"),
          nb::arg("face_of"), nb::arg("stretch_range"), nb::arg("cull_cosine"),
          "Triangles in the camera frame (float64, metres) -> indices of the Gaussians whose face does not look away by "
          "more than `cull_cosine`, the 3 vertices of each one's face, that face's quaternion wxyz and its stretch.");
}
