// Gaussians on the faces of a posed mesh (eq. 7) and the way back for their gradients, LANES Gaussians at a time.
#include "simd.h"
#include "table.h"

namespace gswap {
namespace GSWAP_ISA {
namespace {

constexpr float TINY_NORM = 1e-12f;
constexpr float LOG2_E = 1.44269504089f;

struct V3 {
    vf x, y, z;
};
struct Q4 {
    vf w, x, y, z;
};
GSWAP_INLINE V3 operator+(V3 a, V3 b) { return {a.x + b.x, a.y + b.y, a.z + b.z}; }
GSWAP_INLINE V3 operator-(V3 a, V3 b) { return {a.x - b.x, a.y - b.y, a.z - b.z}; }
GSWAP_INLINE V3 operator*(vf s, V3 a) { return {s * a.x, s * a.y, s * a.z}; }
GSWAP_INLINE V3 cross(V3 a, V3 b) { return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x}; }
GSWAP_INLINE Q4 conjugate(Q4 q) { return {q.w, -q.x, -q.y, -q.z}; }
GSWAP_INLINE Q4 multiply(Q4 a, Q4 b) {
    return {a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z, a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
            a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x, a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w};
}
GSWAP_INLINE V3 rotate(Q4 q, V3 v) {
    const V3 u = {q.x, q.y, q.z}, twice = set1(2.0f) * cross(u, v);
    return v + q.w * twice + cross(u, twice);
}

// Rows of `base` (width floats each) that the lanes name.
template <int WIDTH> GSWAP_INLINE void pick(const float *base, const int64_t *rows, int step, int count, vf *out) {
    float lane[WIDTH][LANES] = {};
    for (int l = 0; l < count; ++l)
        for (int k = 0; k < WIDTH; ++k) lane[k][l] = base[rows[l * step] * WIDTH + k];
    for (int k = 0; k < WIDTH; ++k) out[k] = load(lane[k]);
}
template <int WIDTH> GSWAP_INLINE void put(float *base, const int64_t *rows, int count, const vf *in) {
    float lane[WIDTH][LANES];
    for (int k = 0; k < WIDTH; ++k) store(lane[k], in[k]);
    for (int l = 0; l < count; ++l)
        for (int k = 0; k < WIDTH; ++k) base[rows[l] * WIDTH + k] = lane[k][l];
}

struct Posed { // forward quantities of LANES Gaussians
    vf bary[3], stretch, weight, norm;
    Q4 face, unit, local;  // triangle's frame; normalised rotation; their product
    V3 turn, before, mean; // the correction's turn; mean before and after it
    Q4 quat;
    V3 scale;
};

GSWAP_INLINE Posed pose(const BindJob &job, int i, int count) {
    Posed p;
    const int64_t *rows = job.visible + i;
    V3 base = {set1(0.0f), set1(0.0f), set1(0.0f)};
    pick<3>(job.bary, rows, 1, count, p.bary);
    for (int corner = 0; corner < 3; ++corner) {
        vf v[3];
        pick<3>(job.vertices, job.corners + 3 * size_t(i) + corner, 3, count, v);
        base = base + p.bary[corner] * V3{v[0], v[1], v[2]};
    }
    const float *face = job.face_quats + 4 * size_t(i);
    p.face = {gather(face, 4, count), gather(face + 1, 4, count), gather(face + 2, 4, count), gather(face + 3, 4, count)};
    p.stretch = gather(job.stretch + i, 1, count);
    vf r[4], s[3], o[3];
    pick<4>(job.rotation, rows, 1, count, r);
    pick<3>(job.log_scale, rows, 1, count, s);
    pick<3>(job.offset, rows, 1, count, o);
    p.norm = max(root(r[0] * r[0] + r[1] * r[1] + r[2] * r[2] + r[3] * r[3]), set1(TINY_NORM));
    const vf inverse = 1.0f / p.norm;
    p.unit = {r[0] * inverse, r[1] * inverse, r[2] * inverse, r[3] * inverse};
    p.local = multiply(p.face, p.unit);
    p.before = base + rotate(p.face, {o[0], o[1], o[2]});
    p.scale = {exp2(s[0] * LOG2_E) * p.stretch, exp2(s[1] * LOG2_E) * p.stretch, exp2(s[2] * LOG2_E) * p.stretch};
    p.mean = p.before;
    p.quat = p.local;
    if (job.correction) {
        const float *c = job.correction;
        pick<1>(job.head_weight, rows, 1, count, &p.weight);
        p.turn = {p.weight * c[0], p.weight * c[1], p.weight * c[2]};
        const V3 arm = p.before - V3{set1(job.pivot[0]), set1(job.pivot[1]), set1(job.pivot[2])};
        const V3 shift = {p.weight * (c[3] * job.row_metres), p.weight * (c[4] * job.row_metres),
                          p.weight * (c[5] * job.row_metres)};
        p.mean = p.before + cross(p.turn, arm) + shift;
        p.quat = multiply({set1(1.0f), 0.5f * p.turn.x, 0.5f * p.turn.y, 0.5f * p.turn.z}, p.local);
    }
    return p;
}

void bind_forward(const BindJob &job, float *means, float *quats, float *scales, int begin, int end) {
    for (int i = begin; i < end; i += LANES) {
        const int count = least(LANES, end - i);
        const Posed p = pose(job, i, count);
        float *m = means + 3 * size_t(i), *q = quats + 4 * size_t(i), *s = scales + 3 * size_t(i);
        scatter(m, 3, count, p.mean.x);
        scatter(m + 1, 3, count, p.mean.y);
        scatter(m + 2, 3, count, p.mean.z);
        scatter(q, 4, count, p.quat.w);
        scatter(q + 1, 4, count, p.quat.x);
        scatter(q + 2, 4, count, p.quat.y);
        scatter(q + 3, 4, count, p.quat.z);
        scatter(s, 3, count, p.scale.x);
        scatter(s + 1, 3, count, p.scale.y);
        scatter(s + 2, 3, count, p.scale.z);
    }
}

void bind_backward(const BindJob &job, const BindGradients &g, int begin, int end, double *d_correction) {
    for (int i = begin; i < end; i += LANES) {
        const int count = least(LANES, end - i);
        const int64_t *rows = job.visible + i;
        const Posed p = pose(job, i, count);
        const float *m = g.d_means + 3 * size_t(i), *q = g.d_quats + 4 * size_t(i), *s = g.d_scales + 3 * size_t(i);
        const V3 d_mean = {gather(m, 3, count), gather(m + 1, 3, count), gather(m + 2, 3, count)};
        Q4 d_local = {gather(q, 4, count), gather(q + 1, 4, count), gather(q + 2, 4, count), gather(q + 3, 4, count)};
        V3 d_before = d_mean;
        if (job.correction) {
            const Q4 d_quat = d_local;
            const V3 arm = p.before - V3{set1(job.pivot[0]), set1(job.pivot[1]), set1(job.pivot[2])};
            const Q4 d_small = multiply(d_quat, conjugate(p.local));
            const V3 d_turn = cross(arm, d_mean) + set1(0.5f) * V3{d_small.x, d_small.y, d_small.z};
            d_before = d_mean + cross(d_mean, p.turn);
            d_local = multiply({set1(1.0f), -0.5f * p.turn.x, -0.5f * p.turn.y, -0.5f * p.turn.z}, d_quat);
            d_correction[0] += double(sum(p.weight * d_turn.x));
            d_correction[1] += double(sum(p.weight * d_turn.y));
            d_correction[2] += double(sum(p.weight * d_turn.z));
            d_correction[3] += double(sum(p.weight * d_mean.x)) * job.row_metres;
            d_correction[4] += double(sum(p.weight * d_mean.y)) * job.row_metres;
            d_correction[5] += double(sum(p.weight * d_mean.z)) * job.row_metres;
        }
        const vf d_log[3] = {gather(s, 3, count) * p.scale.x, gather(s + 1, 3, count) * p.scale.y,
                             gather(s + 2, 3, count) * p.scale.z};
        put<3>(g.d_log_scale, rows, count, d_log);
        const Q4 d_unit = multiply(conjugate(p.face), d_local);
        const vf radial = d_unit.w * p.unit.w + d_unit.x * p.unit.x + d_unit.y * p.unit.y + d_unit.z * p.unit.z;
        const vf inverse = 1.0f / p.norm;
        const vf d_rotation[4] = {(d_unit.w - radial * p.unit.w) * inverse, (d_unit.x - radial * p.unit.x) * inverse,
                                  (d_unit.y - radial * p.unit.y) * inverse, (d_unit.z - radial * p.unit.z) * inverse};
        put<4>(g.d_rotation, rows, count, d_rotation);
        const V3 d_offset = rotate(conjugate(p.face), d_before);
        const vf d_off[3] = {d_offset.x, d_offset.y, d_offset.z};
        put<3>(g.d_offset, rows, count, d_off);
        // The gradient of the base point; its corners are added up by the caller, in order.
        float *point = g.d_points + 3 * size_t(i);
        scatter(point, 3, count, d_before.x);
        scatter(point + 1, 3, count, d_before.y);
        scatter(point + 2, 3, count, d_before.z);
    }
}

} // namespace

void register_bind(Kernels &k) {
    k.bind_forward = bind_forward;
    k.bind_backward = bind_backward;
}

} // namespace GSWAP_ISA
} // namespace gswap
