// Gradients of a tile's Gaussians, back to front, then of the projection.
#include "tile.h"

namespace gswap {
namespace GSWAP_ISA {
namespace {

constexpr int GRADIENTS = 16; // floats of a record before the channels beyond the eighth
// A record: eight channel gradients and eight geometry values alternate (feature 0, moment 0, feature 1, ...), then
// the channels beyond the eighth. Without AVX-512 the eight channels come first. Moments of G = dL/d(ln alpha) about the
// mean: 1, dx, dy, dx^2, dx dy, dy^2; the seventh value is the ninth channel where there are nine.
constexpr int MOMENTS = 6;
#if defined(GSWAP_AVX512)
constexpr int FEATURE_STRIDE = 2, MOMENT_OFFSET = 1, MOMENT_STRIDE = 2;
#else
constexpr int FEATURE_STRIDE = 1, MOMENT_OFFSET = 8, MOMENT_STRIDE = 1;
#endif
constexpr int NINTH = MOMENT_OFFSET + MOMENT_STRIDE * MOMENTS;

template <int C> struct Layout {
    static constexpr int main = C < 8 ? C : 8;
    static constexpr int extra = C > 9 ? C - 8 : 0;
    static constexpr bool ninth = C == 9;
    static constexpr int record = GRADIENTS + extra;
};

template <int C> struct alignas(64) BackwardScratch {
    Chunk<C> chunk;
    vf d_image[BLOCKS][C];
    vf behind[BLOCKS]; // derivative of the loss by the light behind the Gaussian at hand
    alignas(64) float basis[BLOCKS][LANES][GRADIENTS];
    alignas(64) float more_basis[BLOCKS][LANES][Layout<C>::extra ? Layout<C>::extra : 1];
    alignas(64) float gradient[CHUNK][Layout<C>::record];
    vf alpha[CHUNK], weight[CHUNK];
    vm open[CHUNK];
    alignas(64) float pair[CHUNK][2 * LANES]; // weight and G of each pixel
    uint8_t which[CHUNK];
};

// Pixel of the block whose (weight, G) are the p-th pair in memory.
GSWAP_INLINE int pixel_of_pair(int p) {
#if defined(GSWAP_AVX512)
    return p < 8 ? 4 * (p / 2) + p % 2 : 4 * ((p - 8) / 2) + 2 + p % 2;
#else
    return p;
#endif
}

template <int C> void prepare_basis(BackwardScratch<C> &s) {
    for (int block = 0; block < BLOCKS; ++block) {
        for (int p = 0; p < LANES; ++p) {
            const int l = pixel_of_pair(p);
            float *row = s.basis[block][p];
            const float x = float(4 * (block & 3) + (l & 3)) + 0.5f - TILE / 2;
            const float y = float(BLOCK_HEIGHT * (block >> 2) + (l >> 2)) + 0.5f - TILE / 2;
            const float moment[8] = {1.0f, x, y, x * x, x * y, y * y, 0.0f, 0.0f};
            const float *d = reinterpret_cast<const float *>(&s.d_image[block][0]) + l;
            for (int q = 0; q < 8; ++q) {
                row[FEATURE_STRIDE * q] = q < C ? d[q * LANES] : 0.0f;
                row[MOMENT_OFFSET + MOMENT_STRIDE * q] = moment[q];
            }
            for (int q = 0; q < Layout<C>::extra; ++q) s.more_basis[block][p][q] = d[(8 + q) * LANES];
        }
    }
}

template <int C> GSWAP_INLINE void backward_block(BackwardScratch<C> &s, int block, uint64_t listed, vf transmittance) {
    vf px, py;
    pixel_centres(block, px, py);
    Pixels pixels = {transmittance, transmittance};
    int n = 0;
    Hit hit;
    while (listed) {
        const int k = lowest_bit(listed);
        listed &= listed - 1;
        blend<true>(s.chunk.member[k], px, py, pixels, hit);
        s.alpha[n] = hit.alpha;
        s.weight[n] = hit.weight;
        s.open[n] = hit.open;
        s.which[n] = uint8_t(k);
        ++n;
    }
    // Farthest first. With d_i = <dL/dimage, f_i> and B the same for what lies behind (dL/dT for the empty rest):
    // dL/dalpha_i = T_i (d_i - B), and B becomes alpha_i d_i + (1 - alpha_i) B. No division, no cancelling sums.
    vf behind = s.behind[block];
    const vf *d_image = s.d_image[block];
    for (int j = n - 1; j >= 0; --j) {
        const float *feature = s.chunk.member[s.which[j]].feature;
        vf d0 = d_image[0] * feature[0], d1 = d_image[1] * feature[1];
        for (int q = 2; q + 1 < C; q += 2) {
            d0 += d_image[q] * feature[q];
            d1 += d_image[q + 1] * feature[q + 1];
        }
        if (C % 2) d0 += d_image[C - 1] * feature[C - 1];
        const vf step = d0 + d1 - behind;
        const vf g = keep(s.open[j], s.weight[j] * step);
        behind += s.alpha[j] * step;
#if defined(GSWAP_AVX512)
        _mm512_store_ps(s.pair[j], _mm512_unpacklo_ps(s.weight[j], g));
        _mm512_store_ps(s.pair[j] + 16, _mm512_unpackhi_ps(s.weight[j], g));
#else
        store(s.pair[j], s.weight[j]);
        store(s.pair[j] + LANES, g);
#endif
        if (Layout<C>::ninth) s.gradient[s.which[j]][NINTH] += sum(s.weight[j] * d_image[C - 1]);
    }
    s.behind[block] = behind;
    // Sums over the block's pixels as products with constant vectors: no horizontal additions.
#if defined(GSWAP_AVX512)
    __m512 basis[LANES];
    for (int p = 0; p < LANES; ++p) basis[p] = _mm512_load_ps(s.basis[block][p]);
    for (int j = 0; j < n; ++j) {
        float *gradient = s.gradient[s.which[j]];
        __m512 sum0 = _mm512_loadu_ps(gradient), sum1 = _mm512_setzero_ps();
        for (int p = 0; p < LANES; p += 2) {
            double two0, two1; // weight and G travel as one 64-bit word
            memcpy(&two0, s.pair[j] + 2 * p, 8);
            memcpy(&two1, s.pair[j] + 2 * p + 2, 8);
            sum0 = _mm512_fmadd_ps(_mm512_castpd_ps(_mm512_set1_pd(two0)), basis[p], sum0);
            sum1 = _mm512_fmadd_ps(_mm512_castpd_ps(_mm512_set1_pd(two1)), basis[p + 1], sum1);
        }
        _mm512_storeu_ps(gradient, _mm512_add_ps(sum0, sum1));
    }
    constexpr int W_STRIDE = 2;
#else
    constexpr int W_STRIDE = 1;
    {
        v8 features[LANES], moments[LANES];
        for (int p = 0; p < LANES; ++p) {
            features[p] = load8(s.basis[block][p]);
            moments[p] = load8(s.basis[block][p] + 8);
        }
        for (int j = 0; j < n; ++j) {
            float *gradient = s.gradient[s.which[j]];
            const float *weight = s.pair[j], *g = s.pair[j] + LANES;
            v8 sum0 = load8(gradient), sum1 = load8(gradient + 8);
            for (int p = 0; p < LANES; ++p) {
                sum0 += features[p] * weight[p];
                sum1 += moments[p] * g[p];
            }
            store8(gradient, sum0);
            store8(gradient + 8, sum1);
        }
    }
#endif
    for (int first = 0; first < Layout<C>::extra; first += 8) {
        v8 basis8[LANES];
        for (int p = 0; p < LANES; ++p) basis8[p] = load8(s.more_basis[block][p] + first);
        for (int j = 0; j < n; ++j) {
            float *gradient = s.gradient[s.which[j]] + GRADIENTS + first;
            v8 sum = load8(gradient);
            for (int p = 0; p < LANES; ++p) sum += basis8[p] * s.pair[j][W_STRIDE * p];
            store8(gradient, sum);
        }
    }
}

template <int C> void backward_tile(const BackwardJob &job, void *scratch, int tile) {
    BackwardScratch<C> &s = *static_cast<BackwardScratch<C> *>(scratch);
    constexpr int RECORD = Layout<C>::record;
    const TileFrame frame(job.view, tile);
    const TileLists &lists = job.lists;
    const int row = job.view.width, channels = job.in.channels;
    const uint32_t first = lists.first[tile], last = lists.first[tile + 1];
    const int tx = frame.x / TILE, ty = frame.y / TILE;
    const auto record_of = [&](uint32_t g) {
        const TileBox box = lists.boxes[g];
        return job.records + size_t(job.first_record[g] + uint32_t(ty - box.y0) * uint32_t(box.x1 - box.x0) +
                                    uint32_t(tx - box.x0)) * RECORD;
    };
    const uint32_t used = lists.used_chunks[tile];
    for (uint32_t place = first + used * CHUNK; place < last; ++place)
        memset(record_of(lists.ids[place]), 0, sizeof(float) * RECORD);
    if (used == 0) return;
    for (int q = 0; q < C; ++q) {
        float *blocks = reinterpret_cast<float *>(&s.d_image[0][q]);
        if (q < channels)
            load_channel(job.d_image + q * frame.plane + frame.corner, row, frame.width, frame.height, blocks,
                         size_t(C) * LANES);
        else
            for (int block = 0; block < BLOCKS; ++block) s.d_image[block][q] = set1(0.0f);
    }
    load_channel(job.d_alpha + frame.corner, row, frame.width, frame.height, reinterpret_cast<float *>(&s.behind[0]),
                 LANES);
    for (int block = 0; block < BLOCKS; ++block) s.behind[block] = -s.behind[block]; // alpha = 1 - T
    prepare_basis(s);
    for (uint32_t number = used; number-- > 0;) {
        const uint32_t place = first + number * CHUNK;
        const int n = int(least<uint32_t>(CHUNK, last - place));
        read_members(s.chunk, lists, job.in, lists.ids + place, n, n, float(frame.x), float(frame.y));
        memset(s.gradient, 0, sizeof(float) * RECORD * size_t(n));
        const size_t at = size_t(lists.first_chunk[tile] + number);
        for (int block = 0; block < BLOCKS; ++block) {
            const uint64_t listed = lists.touched[at * BLOCKS + block];
            if (listed) backward_block(s, block, listed, load(lists.transmittance + at * PIXELS + block * LANES));
        }
        for (int k = 0; k < n; ++k) {
            float *g = s.gradient[k];
            float *m = g + MOMENT_OFFSET;
            constexpr int S = MOMENT_STRIDE;
            const float mx = s.chunk.member[k].x - TILE / 2, my = s.chunk.member[k].y - TILE / 2;
            // Moments about the tile's centre -> about the mean.
            const float m0 = m[0], x1 = m[S] - mx * m0, y1 = m[2 * S] - my * m0;
            m[3 * S] -= mx * (m[S] + x1);
            m[4 * S] -= mx * m[2 * S] + my * x1;
            m[5 * S] -= my * (m[2 * S] + y1);
            m[S] = x1;
            m[2 * S] = y1;
            memcpy(record_of(lists.ids[place + k]), g, sizeof(float) * RECORD);
        }
    }
}

// Adds up a Gaussian's records and takes the gradients back through the projection.
template <int C> void reduce(const ReduceJob &job, int begin, int end) {
    constexpr int RECORD = Layout<C>::record, GROUPS = RECORD / 8;
    const View &view = job.view;
    const Limits limits(view);
    const int channels = job.in.channels;
    for (int i = begin; i < end; i += LANES) {
        const int count = least(LANES, end - i);
        float moment[MOMENTS][LANES] = {};
        uint32_t drawn = 0;
        for (int l = 0; l < count; ++l) {
            const uint32_t from = job.first_record[i + l], to = job.first_record[i + l + 1];
            float *d_feature = job.d_features + size_t(i + l) * channels;
            if (from == to) {
                memset(d_feature, 0, sizeof(float) * size_t(channels));
                continue;
            }
            drawn |= 1u << l;
            v8 sum[GROUPS];
            for (int g = 0; g < GROUPS; ++g) sum[g] = load8(job.records + size_t(from) * RECORD + 8 * g);
            for (uint32_t r = from + 1; r < to; ++r)
                for (int g = 0; g < GROUPS; ++g) sum[g] += load8(job.records + size_t(r) * RECORD + 8 * g);
            float total[RECORD];
            for (int g = 0; g < GROUPS; ++g) store8(total + 8 * g, sum[g]);
            const int main = least(channels, 8);
            for (int q = 0; q < main; ++q) d_feature[q] = total[FEATURE_STRIDE * q];
            if (Layout<C>::ninth) d_feature[8] = total[NINTH];
            else
                for (int q = 0; q < least(channels - 8, Layout<C>::extra); ++q) d_feature[8 + q] = total[GRADIENTS + q];
            for (int k = 0; k < MOMENTS; ++k) moment[k][l] = total[MOMENT_OFFSET + MOMENT_STRIDE * k];
        }
        float *d_mean = job.d_means + 3 * size_t(i), *d_quat = job.d_quats + 4 * size_t(i);
        float *d_scale = job.d_scales + 3 * size_t(i), *d_opacity = job.d_opacities + i;
        if (!drawn) {
            memset(d_mean, 0, 12 * size_t(count));
            memset(d_quat, 0, 16 * size_t(count));
            memset(d_scale, 0, 12 * size_t(count));
            memset(d_opacity, 0, 4 * size_t(count));
            continue;
        }
        float flag[LANES];
        for (int l = 0; l < LANES; ++l) flag[l] = drawn >> l & 1u ? 1.0f : 0.0f;
        const vm shown = gt(load(flag), set1(0.5f));
        const float *mean = job.in.means + 3 * size_t(i), *quat = job.in.quats + 4 * size_t(i);
        const float *scale = job.in.scales + 3 * size_t(i);
        const vf z = select(shown, gather(mean + 2, 3, count), set1(1.0f));
        const vf x = gather(mean, 3, count), y = gather(mean + 1, 3, count);
        const Footprint p = footprint(view.focal, limits, x, y, z, gather(quat, 4, count), gather(quat + 1, 4, count),
                                      gather(quat + 2, 4, count), gather(quat + 3, 4, count), gather(scale, 3, count),
                                      gather(scale + 1, 3, count), gather(scale + 2, 3, count));
        const vf g0 = load(moment[0]), gx = load(moment[1]), gy = load(moment[2]);
        const vf gxx = load(moment[3]), gxy = load(moment[4]), gyy = load(moment[5]);
        const vf inverse = 1.0f / p.determinant;
        const vf qxx = p.yy * inverse, qxy = -p.xy * inverse, qyy = p.xx * inverse; // conic Q = S^-1
        const vf d_mx = qxx * gx + qxy * gy, d_my = qxy * gx + qyy * gy;
        // dL/dQ = -1/2 sum G d d^T, and dL/dS = -Q (dL/dQ) Q.
        const vf hx = qxx * gxx + qxy * gxy, hy = qxx * gxy + qxy * gyy;
        const vf kx = qxy * gxx + qyy * gxy, ky = qxy * gxy + qyy * gyy;
        const vf d_xx = 0.5f * (hx * qxx + hy * qxy), d_xy = 0.5f * (hx * qxy + hy * qyy),
                 d_yy = 0.5f * (kx * qxy + ky * qyy);
        // S = V V^T + EPS_2D I.
        const vf a0 = 2.0f * (d_xx * p.v00 + d_xy * p.v10), a1 = 2.0f * (d_xx * p.v01 + d_xy * p.v11),
                 a2 = 2.0f * (d_xx * p.v02 + d_xy * p.v12);
        const vf b0 = 2.0f * (d_xy * p.v00 + d_yy * p.v10), b1 = 2.0f * (d_xy * p.v01 + d_yy * p.v11),
                 b2 = 2.0f * (d_xy * p.v02 + d_yy * p.v12);
        // V = f/z (rows of R S0 minus edge times its last row); dM = J^T dV with M = R diag(s).
        const vf j = view.focal * p.z_inv;
        const vf m00 = j * a0, m01 = j * a1, m02 = j * a2, m10 = j * b0, m11 = j * b1, m12 = j * b2;
        const vf m20 = -(p.edge_x * m00 + p.edge_y * m10), m21 = -(p.edge_x * m01 + p.edge_y * m11),
                 m22 = -(p.edge_x * m02 + p.edge_y * m12);
        scatter(d_scale, 3, count, keep(shown, p.r00 * m00 + p.r10 * m10 + p.r20 * m20));
        scatter(d_scale + 1, 3, count, keep(shown, p.r01 * m01 + p.r11 * m11 + p.r21 * m21));
        scatter(d_scale + 2, 3, count, keep(shown, p.r02 * m02 + p.r12 * m12 + p.r22 * m22));
        const vf r00 = m00 * p.s0, r10 = m10 * p.s0, r20 = m20 * p.s0, r01 = m01 * p.s1, r11 = m11 * p.s1,
                 r21 = m21 * p.s1, r02 = m02 * p.s2, r12 = m12 * p.s2, r22 = m22 * p.s2;
        const vf ew = 2.0f * (p.qx * (r21 - r12) + p.qy * (r02 - r20) + p.qz * (r10 - r01));
        const vf ex = 2.0f * (p.qy * (r01 + r10) + p.qz * (r02 + r20) + p.qw * (r21 - r12) - 2.0f * p.qx * (r11 + r22));
        const vf ey = 2.0f * (p.qx * (r01 + r10) + p.qz * (r12 + r21) + p.qw * (r02 - r20) - 2.0f * p.qy * (r00 + r22));
        const vf ez = 2.0f * (p.qx * (r02 + r20) + p.qy * (r12 + r21) + p.qw * (r10 - r01) - 2.0f * p.qz * (r00 + r11));
        const vf radial = ew * p.qw + ex * p.qx + ey * p.qy + ez * p.qz;
        scatter(d_quat, 4, count, keep(shown, (ew - radial * p.qw) * p.q_inv));
        scatter(d_quat + 1, 4, count, keep(shown, (ex - radial * p.qx) * p.q_inv));
        scatter(d_quat + 2, 4, count, keep(shown, (ey - radial * p.qy) * p.q_inv));
        scatter(d_quat + 3, 4, count, keep(shown, (ez - radial * p.qz) * p.q_inv));
        // J: f/z and -f/z edge, the edge only where it is the mean's own slope.
        const vf d_edge_x = -j * (a0 * (p.r20 * p.s0) + a1 * (p.r21 * p.s1) + a2 * (p.r22 * p.s2));
        const vf d_edge_y = -j * (b0 * (p.r20 * p.s0) + b1 * (p.r21 * p.s1) + b2 * (p.r22 * p.s2));
        const vm free_x = both(ge(p.slope_x, set1(limits.low_x)), ge(set1(limits.high_x), p.slope_x));
        const vm free_y = both(ge(p.slope_y, set1(limits.low_y)), ge(set1(limits.high_y), p.slope_y));
        const vf d_slope_x = view.focal * d_mx + keep(free_x, d_edge_x);
        const vf d_slope_y = view.focal * d_my + keep(free_y, d_edge_y);
        const vf v_dot = a0 * p.v00 + a1 * p.v01 + a2 * p.v02 + b0 * p.v10 + b1 * p.v11 + b2 * p.v12;
        scatter(d_mean, 3, count, keep(shown, d_slope_x * p.z_inv));
        scatter(d_mean + 1, 3, count, keep(shown, d_slope_y * p.z_inv));
        scatter(d_mean + 2, 3, count,
                keep(shown, -(d_slope_x * p.slope_x + d_slope_y * p.slope_y + v_dot) * p.z_inv));
        const vf opacity = select(shown, gather(job.in.opacities + i, 1, count), set1(1.0f));
        scatter(d_opacity, 1, count, keep(shown, g0 / opacity));
    }
}

template <int C, int CLASS> void add(Kernels &k) {
    k.backward_scratch[CLASS] = sizeof(BackwardScratch<C>);
    k.backward[CLASS] = backward_tile<C>;
    k.record_floats[CLASS] = Layout<C>::record;
    k.reduce[CLASS] = reduce<C>;
}

} // namespace

void register_backward(Kernels &k) {
    add<4, 0>(k);
    add<8, 1>(k);
    add<9, 2>(k);
    add<16, 3>(k);
    add<24, 4>(k);
    add<32, 5>(k);
}

} // namespace GSWAP_ISA
} // namespace gswap
