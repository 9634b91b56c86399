// Per-pixel loops of the synthetic people's renderer: attribute interpolation, value noise, soft shadows, lighting.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace nb = nanobind;
using Vec = nb::ndarray<const float, nb::shape<-1>, nb::c_contig, nb::device::cpu>;
using Vec3 = nb::ndarray<const float, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using Table = nb::ndarray<const float, nb::shape<-1, -1>, nb::c_contig, nb::device::cpu>;
using Index = nb::ndarray<const int32_t, nb::shape<-1>, nb::c_contig, nb::device::cpu>;
using Faces = nb::ndarray<const int32_t, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using OutVec = nb::ndarray<float, nb::shape<-1>, nb::c_contig, nb::device::cpu>;
using OutVec3 = nb::ndarray<float, nb::shape<-1, 3>, nb::c_contig, nb::device::cpu>;
using OutTable = nb::ndarray<float, nb::shape<-1, -1>, nb::c_contig, nb::device::cpu>;

static void interpolate_pixels(Index face, Vec3 bary, Faces faces, Table values, OutTable out) {
    const int32_t *f = face.data(), *corner = faces.data();
    const float *b = bary.data(), *v = values.data();
    float *o = out.data();
    const int64_t n = face.shape(0), c = values.shape(1);
    nb::gil_scoped_release release;
    for (int64_t i = 0; i < n; ++i) {
        const int32_t *t = corner + 3 * int64_t(f[i]);
        const float *v0 = v + c * t[0], *v1 = v + c * t[1], *v2 = v + c * t[2];
        const float w0 = b[3 * i], w1 = b[3 * i + 1], w2 = b[3 * i + 2];
        for (int64_t k = 0; k < c; ++k) o[c * i + k] = w0 * v0[k] + w1 * v1[k] + w2 * v2[k];
    }
}

static inline float lattice(int32_t x, int32_t y, int32_t z) {
    uint32_t h = uint32_t(x) * 374761393u + uint32_t(y) * 668265263u + uint32_t(z) * 2147483647u + 1274126177u;
    h = (h ^ (h >> 13)) * 1274126177u;
    h = (h ^ (h >> 16)) * 2246822519u;
    return float((h ^ (h >> 15)) & 0xFFFFFFu) * (1.0f / 16777216.0f);
}

static void value_noise(Vec3 points, float fx, float fy, float fz, float offset, OutVec out) {
    const float *p = points.data();
    float *o = out.data();
    const int64_t n = points.shape(0);
    nb::gil_scoped_release release;
    for (int64_t i = 0; i < n; ++i) {
        float x = p[3 * i] * fx + offset, y = p[3 * i + 1] * fy + offset, z = p[3 * i + 2] * fz + offset;
        const float gx = std::floor(x), gy = std::floor(y), gz = std::floor(z);
        const int32_t a = int32_t(gx), b = int32_t(gy), c = int32_t(gz);
        x -= gx, y -= gy, z -= gz;
        x *= x * (3 - 2 * x), y *= y * (3 - 2 * y), z *= z * (3 - 2 * z);
        const auto edge = [&](int32_t j, int32_t k) {
            const float l = lattice(a, j, k);
            return l + (lattice(a + 1, j, k) - l) * x;
        };
        const float near = edge(b, c) + (edge(b + 1, c) - edge(b, c)) * y;
        const float far = edge(b, c + 1) + (edge(b + 1, c + 1) - edge(b, c + 1)) * y;
        o[i] = near + (far - near) * z;
    }
}

// The light's depth map: orthographic, positions in light axes (u, v, depth), metres.
struct ShadowMap {
    const float *depth;
    int64_t size;
    float u0, v0, texels_per_metre;
    float softness;  // 1/m: how fast the shadow sets in behind the caster

    // Lit fraction over 13 taps in a checkerboard around the point.
    float lit(float u, float v, float d, float bias) const {
        const float x = (u - u0) * texels_per_metre, y = (v - v0) * texels_per_metre;
        float sum = 0;
        int taps = 0;
        for (int j = -2; j <= 2; ++j)
            for (int i = -2; i <= 2; ++i) {
                if ((i + j) & 1) continue;
                const float fx = x + i * 1.7f, fy = y + j * 1.7f;
                ++taps;
                if (!(fx >= 0 && fy >= 0 && fx < float(size) && fy < float(size))) {
                    sum += 1;
                    continue;
                }
                const float behind = d - depth[int64_t(fy) * size + int64_t(fx)] - bias;
                sum += std::clamp(1 - behind * softness, 0.0f, 1.0f);
            }
        return sum / float(taps);
    }
};

static void shadow_fraction(Vec3 light_points, Table map, float u0, float v0, float texels_per_metre, float bias,
                            OutVec out) {
    const float *p = light_points.data();
    float *o = out.data();
    const ShadowMap shadow{map.data(), int64_t(map.shape(0)), u0, v0, texels_per_metre, 400.0f};
    const int64_t n = light_points.shape(0);
    nb::gil_scoped_release release;
    for (int64_t i = 0; i < n; ++i) o[i] = shadow.lit(p[3 * i], p[3 * i + 1], p[3 * i + 2], bias);
}

static inline float smooth(float lo, float hi, float x) {
    const float t = std::clamp((x - lo) / (hi - lo), 0.0f, 1.0f);
    return t * t * (3 - 2 * t);
}

// Columns of `surface`: ambient visibility, specular strength, gloss exponent, wrap of red, green, blue.
// Rows of `light`: direction to the key light, key colour, ambient colour, fill colour (camera axes).
static void light_surface(Vec3 position, Vec3 normal, Vec3 albedo, Table surface, Vec lit, Table light, OutVec3 out) {
    const float *p = position.data(), *nn = normal.data(), *al = albedo.data(), *su = surface.data();
    const float *sh = lit.data(), *li = light.data();
    float *o = out.data();
    const int64_t n = position.shape(0);
    const float *to_light = li, *key = li + 3, *ambient = li + 6, *fill = li + 9;
    nb::gil_scoped_release release;
    for (int64_t i = 0; i < n; ++i) {
        const float *q = p + 3 * i, *s = su + 6 * i;
        float nx = nn[3 * i], ny = nn[3 * i + 1], nz = nn[3 * i + 2];
        const float inv_n = 1 / std::sqrt(nx * nx + ny * ny + nz * nz + 1e-12f);
        nx *= inv_n, ny *= inv_n, nz *= inv_n;
        const float inv_v = -1 / std::sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + 1e-12f);
        const float vx = q[0] * inv_v, vy = q[1] * inv_v, vz = q[2] * inv_v;  // towards the camera
        const float nl = nx * to_light[0] + ny * to_light[1] + nz * to_light[2];
        const float hx = to_light[0] + vx, hy = to_light[1] + vy, hz = to_light[2] + vz;
        const float nh = std::max((nx * hx + ny * hy + nz * hz) / std::sqrt(hx * hx + hy * hy + hz * hz + 1e-12f), 0.0f);
        const float occlusion = s[0], gloss = s[2];
        const float rim = 1 - std::max(nx * vx + ny * vy + nz * vz, 0.0f);
        const float fresnel = 0.10f * rim * rim * rim * rim * occlusion;
        const float lobe = 0.55f * std::pow(nh, gloss) + 0.45f * std::pow(nh, 4 * gloss);
        const float specular = 0.5f * s[1] * lobe * sh[i] * smooth(0.0f, 0.3f, nl);
        const float sky = occlusion * (0.65f - 0.35f * ny);
        const float back = occlusion * std::max(-0.8f * to_light[0] * nx - 0.6f * nz, 0.0f);
        const float direct = sh[i] * (0.5f + 0.5f * occlusion);
        for (int k = 0; k < 3; ++k) {
            const float wrap = s[3 + k];
            // Red light travels furthest in skin: the shadow's edge is softened by the channel's own wrap.
            const float soft = wrap > 0.3f ? std::pow(direct, 0.75f) : direct;
            const float diffuse = std::max((nl + wrap) / (1 + wrap), 0.0f) * soft;
            o[3 * i + k] = al[3 * i + k] * (key[k] * diffuse + ambient[k] * sky + fill[k] * back) +
                           specular * key[k] + fresnel * ambient[k];
        }
    }
}

void register_shade(nb::module_ &m) {
    m.def("interpolate_pixels", &interpolate_pixels, nb::arg("face"), nb::arg("bary"), nb::arg("faces"),
          nb::arg("values"), nb::arg("out"), "Barycentric interpolation of vertex rows at pixels.");
    m.def("value_noise", &value_noise, nb::arg("points"), nb::arg("fx"), nb::arg("fy"), nb::arg("fz"),
          nb::arg("offset"), nb::arg("out"), "Smooth lattice noise in [0, 1) at points scaled by (fx, fy, fz).");
    m.def("shadow_fraction", &shadow_fraction, nb::arg("light_points"), nb::arg("map"), nb::arg("u0"), nb::arg("v0"),
          nb::arg("texels_per_metre"), nb::arg("bias"), nb::arg("out"),
          "Lit fraction [0, 1] of points in light axes against an orthographic depth map.");
    m.def("light_surface", &light_surface, nb::arg("position"), nb::arg("normal"), nb::arg("albedo"),
          nb::arg("surface"), nb::arg("lit"), nb::arg("light"), nb::arg("out"),
          "Linear RGB of surface points under one key light, a sky and a fill light.");
}
