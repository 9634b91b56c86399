// Z-buffered triangle rasteriser. Pixel (i, j) is sampled at its centre (j + 0.5, i + 0.5).
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace nb = nanobind;
using Points = nb::ndarray<const float, nb::shape<-1, 2>, nb::c_contig, nb::device::cpu>;
using Depths = nb::ndarray<const float, nb::shape<-1>, nb::c_contig, nb::device::cpu>;
using Faces = nb::ndarray<const int32_t, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using FaceImage = nb::ndarray<int32_t, nb::shape<-1, -1>, nb::c_contig, nb::device::cpu>;
using BaryImage = nb::ndarray<float, nb::shape<-1, -1, 3>, nb::c_contig, nb::device::cpu>;
using DepthImage = nb::ndarray<float, nb::shape<-1, -1>, nb::c_contig, nb::device::cpu>;

static void rasterize(Points points, Depths depths, Faces faces, FaceImage face_out, BaryImage bary_out,
                      DepthImage depth_out) {
    const float *p = points.data();
    const float *z = depths.data();
    const int32_t *f = faces.data();
    const int64_t n_points = points.shape(0), n_faces = faces.shape(0);
    const int height = int(face_out.shape(0)), width = int(face_out.shape(1));
    int32_t *face_image = face_out.data();
    float *bary_image = bary_out.data();
    float *depth_image = depth_out.data();
    nb::gil_scoped_release release;
    for (int64_t k = 0; k < n_faces; ++k) {
        const int32_t a = f[3 * k], b = f[3 * k + 1], c = f[3 * k + 2];
        if (a < 0 || b < 0 || c < 0 || a >= n_points || b >= n_points || c >= n_points) continue;
        const double x0 = p[2 * a], y0 = p[2 * a + 1], x1 = p[2 * b], y1 = p[2 * b + 1], x2 = p[2 * c],
                     y2 = p[2 * c + 1];
        const double det = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0);
        if (!(std::fabs(det) > 1e-9) || !(z[a] > 0 && z[b] > 0 && z[c] > 0)) continue;
        const double inv = 1.0 / det;
        const double lox = std::min({x0, x1, x2}), hix = std::max({x0, x1, x2});
        const double loy = std::min({y0, y1, y2}), hiy = std::max({y0, y1, y2});
        if (hix < 0 || hiy < 0 || lox > width || loy > height) continue;
        const int xmin = std::max(0, int(std::ceil(std::max(lox, 0.0) - 0.5)));
        const int xmax = std::min(width - 1, int(std::floor(std::min(hix, double(width)) - 0.5)));
        const int ymin = std::max(0, int(std::ceil(std::max(loy, 0.0) - 0.5)));
        const int ymax = std::min(height - 1, int(std::floor(std::min(hiy, double(height)) - 0.5)));
        for (int y = ymin; y <= ymax; ++y) {
            const double py = y + 0.5 - y0;
            for (int x = xmin; x <= xmax; ++x) {
                const double px = x + 0.5 - x0;
                const double w1 = (px * (y2 - y0) - (x2 - x0) * py) * inv;
                const double w2 = ((x1 - x0) * py - px * (y1 - y0)) * inv;
                const double w0 = 1.0 - w1 - w2;
                if (w0 < -1e-6 || w1 < -1e-6 || w2 < -1e-6) continue;
                const float depth = float(w0 * z[a] + w1 * z[b] + w2 * z[c]);
                const int64_t i = int64_t(y) * width + x;
                if (depth < depth_image[i]) {
                    depth_image[i] = depth;
                    face_image[i] = int32_t(k);
                    bary_image[3 * i] = float(w0);
                    bary_image[3 * i + 1] = float(w1);
                    bary_image[3 * i + 2] = float(w2);
                }
            }
        }
    }
}

void register_raster(nb::module_ &m) {
    m.def("rasterize_triangles", &rasterize, nb::arg("points"), nb::arg("depths"), nb::arg("faces"),
          nb::arg("face_out"), nb::arg("bary_out"), nb::arg("depth_out"),
          "Fill face index (-1 preset), barycentrics and depth (preset to a large value) of the nearest triangle.");
}
