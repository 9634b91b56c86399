// Capsule strands (hair, brows, spectacle frames) drawn into the depth buffer of the triangle rasteriser.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace nb = nanobind;
using Points = nb::ndarray<const float, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<const float, nb::shape<-1>, nb::c_contig, nb::device::cpu>;
using Segments = nb::ndarray<const int32_t, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using IntImage = nb::ndarray<int32_t, nb::shape<-1, -1>, nb::c_contig, nb::device::cpu>;
using FloatImage = nb::ndarray<float, nb::shape<-1, -1>, nb::c_contig, nb::device::cpu>;

// Thinner strands are drawn this wide (pixels) and thinned out along their length instead, so that they never alias away.
static constexpr float kMinRadius = 0.45f;
static constexpr int kDashes = 8;  // thinning pattern: pieces per segment

static float hash01(uint32_t a, uint32_t b) {
    uint32_t h = a * 0x9E3779B1u + b * 0x85EBCA77u;
    h ^= h >> 15;
    h *= 0x2C1B3C6Du;
    h ^= h >> 13;
    h *= 0x297A2D39u;
    h ^= h >> 16;
    return float(h >> 8) * (1.0f / 16777216.0f);
}

static void rasterize_strands(Points points, Floats depths, Segments segments, Floats radii, IntImage segment_out,
                              FloatImage across_out, FloatImage along_out, FloatImage depth_io) {
    const float *p = points.data(), *z = depths.data(), *radius = radii.data();
    const int32_t *seg = segments.data();
    const int64_t n_points = points.shape(0), n_segments = segments.shape(0);
    const int height = int(depth_io.shape(0)), width = int(depth_io.shape(1));
    int32_t *segment = segment_out.data();
    float *across = across_out.data(), *along = along_out.data(), *depth = depth_io.data();
    nb::gil_scoped_release release;
    for (int64_t s = 0; s < n_segments; ++s) {
        const int32_t a = seg[2 * s], b = seg[2 * s + 1];
        if (a < 0 || b < 0 || a >= n_points || b >= n_points || !(z[a] > 0 && z[b] > 0)) continue;
        // Pixel centres at integers from here on.
        const float x0 = p[2 * a] - 0.5f, y0 = p[2 * a + 1] - 0.5f, x1 = p[2 * b] - 0.5f, y1 = p[2 * b + 1] - 0.5f;
        const float r = std::max(radius[s], kMinRadius), coverage = std::min(radius[s] / kMinRadius, 1.0f);
        const float lox = std::min(x0, x1) - r, hix = std::max(x0, x1) + r;
        const float loy = std::min(y0, y1) - r, hiy = std::max(y0, y1) + r;
        if (!(hix >= 0 && hiy >= 0 && lox <= float(width - 1) && loy <= float(height - 1))) continue;
        const float dx = x1 - x0, dy = y1 - y0, len2 = dx * dx + dy * dy + 1e-9f;
        if (!std::isfinite(len2)) continue;
        // Limits are applied before numbers become integers: a strand that nearly meets the camera ends far outside.
        const int xmin = int(std::ceil(std::max(lox, 0.0f))), xmax = int(std::floor(std::min(hix, float(width - 1))));
        const int ymin = int(std::ceil(std::max(loy, 0.0f))), ymax = int(std::floor(std::min(hiy, float(height - 1))));
        const float inv_len = 1.0f / std::sqrt(len2);
        const bool steep = std::fabs(dy) > std::fabs(dx);
        const float run = steep ? dy : dx, rise = steep ? dx : dy;
        const float slope = std::fabs(run) > 1e-9f ? rise / run : 0.0f;
        const float half = r * std::sqrt(1 + slope * slope) + 0.01f;  // half width across the minor axis
        const int major_lo = steep ? ymin : xmin, major_hi = steep ? ymax : xmax;
        const int minor_lo = steep ? xmin : ymin, minor_hi = steep ? xmax : ymax;
        for (int m = major_lo; m <= major_hi; ++m) {
            const float centre = steep ? x0 + (m - y0) * slope : y0 + (m - x0) * slope;
            const float lowest = float(minor_lo), highest = float(minor_hi);
            const int k_lo = int(std::ceil(std::clamp(centre - half, lowest, highest + 1)));
            const int k_hi = int(std::floor(std::clamp(centre + half, lowest - 1, highest)));
            for (int k = k_lo; k <= k_hi; ++k) {
                const int x = steep ? k : m, y = steep ? m : k;
                const float t = std::clamp(((x - x0) * dx + (y - y0) * dy) / len2, 0.0f, 1.0f);
                const int64_t i = int64_t(y) * width + x;
                const float zz = z[a] + t * (z[b] - z[a]);
                if (zz >= depth[i]) continue;
                const float ex = x - x0 - t * dx, ey = y - y0 - t * dy;
                if (ex * ex + ey * ey > r * r) continue;
                if (coverage < 1 && hash01(uint32_t(s), uint32_t(t * kDashes)) > coverage) continue;
                depth[i] = zz;
                segment[i] = int32_t(s);
                across[i] = (ey * dx - ex * dy) * inv_len / r;
                along[i] = t;
            }
        }
    }
}

void register_strands(nb::module_ &m) {
    m.def("rasterize_strands", &rasterize_strands, nb::arg("points"), nb::arg("depths"), nb::arg("segments"),
          nb::arg("radii"), nb::arg("segment_out"), nb::arg("across_out"), nb::arg("along_out"), nb::arg("depth_io"),
          "Draw capsules of pixel radius `radii` in front of `depth_io`: segment index (-1 preset), signed position "
          "across [-1, 1] and along [0, 1].");
}
