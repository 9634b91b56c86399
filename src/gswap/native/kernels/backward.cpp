// Gradients of a tile's Gaussians, back to front, then of the projection.
#include "tile.h"

namespace gswap {
namespace GSWAP_ISA {
namespace {

constexpr int GRADIENTS = 16; // floats of a record before the channels beyond the eighth
// A record: eight channel gradients and eight geometry values alternate (feature 0, moment 0, feature 1, ...), then
// the channels beyond the eighth. Without AVX-512 the eight channels come first. Moments of G = dL/d(ln alpha) about the
// mean: 1, u, v, u^2, u v, v^2 with alpha = 2^(power - u^2 - v^2), in which a Gaussian of any shape is round and nothing
// cancels; the seventh value is the ninth channel where there are nine.
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

template <int C, bool CLAMPED> void backward_block(BackwardScratch<C> &s, int block, uint64_t listed, vf light) {
    vf px, py;
    pixel_centres(block, px, py);
    Pixels pixels = {light, gt(light, set1(0.0f))};
    int n = 0;
    Hit hit;
    while (listed) {
        const int k = lowest_bit(listed);
        listed &= listed - 1;
        blend<CLAMPED, true>(s.chunk.member[k], px, py, pixels, hit);
        s.alpha[n] = hit.alpha;
        s.weight[n] = hit.weight;
        if (CLAMPED) s.open[n] = hit.open;
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
        const vf g = CLAMPED ? keep(s.open[j], s.weight[j] * step) : s.weight[j] * step;
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
        float strongest = LOG2_ALPHA_MIN;
        for (int k = 0; k < n; ++k) strongest = most(strongest, s.chunk.power[k]);
        const auto step = strongest > LOG2_ALPHA_MAX ? backward_block<C, true> : backward_block<C, false>;
        for (int block = 0; block < BLOCKS; ++block) {
            const uint64_t listed = lists.touched[at * BLOCKS + block];
            if (listed) step(s, block, listed, load(lists.transmittance + at * PIXELS + block * LANES));
        }
        for (int k = 0; k < n; ++k) {
            float *g = s.gradient[k];
            float *m = g + MOMENT_OFFSET;
            constexpr int S = MOMENT_STRIDE;
            const Member<C> &member = s.chunk.member[k];
            const float a = member.a, b = member.b, c = member.c, u = member.u, v = member.v;
            // Moments of x, y about the tile's centre -> of a x + b y + u and c y + v.
            const float m0 = m[0], lean_u = a * m[S] + b * m[2 * S], lean_v = c * m[2 * S];
            const float ax = a * m[3 * S] + b * m[4 * S], ay = a * m[4 * S] + b * m[5 * S], cy = c * m[5 * S];
            const float sum_u = lean_u + u * m0, sum_v = lean_v + v * m0;
            m[S] = sum_u;
            m[2 * S] = sum_v;
            m[3 * S] = a * ax + b * ay + u * (lean_u + sum_u);
            m[4 * S] = c * ay + u * lean_v + v * sum_u;
            m[5 * S] = c * cy + v * (lean_v + sum_v);
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
        // With w = (u, v) = U (p - mean), W = sum G w w^T, H = HALF_LOG2_E and S^-1 = U^T U / H: dL/dmean = U^T sum G w / H
        // and dL/dS = U^T W U / (2 H^2). In n_k = U J r_k (r_k a column of R) and B_kl = n_k^T W n_l / H^2 the scale k has
        // the gradient s_k B_kk, and turning the axes k and l into each other (s_k^2 - s_l^2) B_kl.
        const vf g0 = load(moment[0]), gu = load(moment[1]), gv = load(moment[2]);
        constexpr float H_INV = 1.0f / HALF_LOG2_E;
        const vf wuu = load(moment[3]) * (H_INV * H_INV), wuv = load(moment[4]) * (H_INV * H_INV),
                 wvv = load(moment[5]) * (H_INV * H_INV);
        const Factor f = factor(p);
        const vf d_mx = f.a * gu * H_INV, d_my = (f.b * gu + f.c * gv) * H_INV;
        const vf j = view.focal * p.z_inv, fa = f.a * j, fb = f.b * j, fc = f.c * j;
        const vf fx = -(fa * p.edge_x + fb * p.edge_y), fy = -fc * p.edge_y; // U J: (fa, fb, fx), (0, fc, fy)
        const vf n00 = fa * p.r00 + fb * p.r10 + fx * p.r20, n10 = fc * p.r10 + fy * p.r20;
        const vf n01 = fa * p.r01 + fb * p.r11 + fx * p.r21, n11 = fc * p.r11 + fy * p.r21;
        const vf n02 = fa * p.r02 + fb * p.r12 + fx * p.r22, n12 = fc * p.r12 + fy * p.r22;
        const vf m00 = wuu * n00 + wuv * n10, m10 = wuv * n00 + wvv * n10; // W n_k / H^2
        const vf m01 = wuu * n01 + wuv * n11, m11 = wuv * n01 + wvv * n11;
        const vf m02 = wuu * n02 + wuv * n12, m12 = wuv * n02 + wvv * n12;
        const vf b00 = n00 * m00 + n10 * m10, b11 = n01 * m01 + n11 * m11, b22 = n02 * m02 + n12 * m12;
        const vf b01 = n00 * m01 + n10 * m11, b02 = n00 * m02 + n10 * m12, b12 = n01 * m02 + n11 * m12;
        const vf s00 = p.s0 * p.s0, s11 = p.s1 * p.s1, s22 = p.s2 * p.s2;
        scatter(d_scale, 3, count, keep(shown, p.s0 * b00));
        scatter(d_scale + 1, 3, count, keep(shown, p.s1 * b11));
        scatter(d_scale + 2, 3, count, keep(shown, p.s2 * b22));
        // A small turn w about the local axes is dq = q (0, w) / 2, so dL/dq = 2 q (0, torque).
        const vf twice = 2.0f * p.q_inv;
        const vf tx = twice * ((s11 - s22) * b12), ty = twice * ((s22 - s00) * b02), tz = twice * ((s00 - s11) * b01);
        scatter(d_quat, 4, count, keep(shown, -(p.qx * tx + p.qy * ty + p.qz * tz)));
        scatter(d_quat + 1, 4, count, keep(shown, p.qw * tx + p.qy * tz - p.qz * ty));
        scatter(d_quat + 2, 4, count, keep(shown, p.qw * ty + p.qz * tx - p.qx * tz));
        scatter(d_quat + 3, 4, count, keep(shown, p.qw * tz + p.qx * ty - p.qy * tx));
        // J: f/z and -f/z edge, the edge only where it is the mean's own slope.
        const vf low0 = s00 * p.r20, low1 = s11 * p.r21, low2 = s22 * p.r22;
        const vf e0 = m00 * low0 + m01 * low1 + m02 * low2, e1 = m10 * low0 + m11 * low1 + m12 * low2;
        const vf d_edge_x = -fa * e0, d_edge_y = -(fb * e0 + fc * e1);
        const vm free_x = both(ge(p.slope_x, set1(limits.low_x)), ge(set1(limits.high_x), p.slope_x));
        const vm free_y = both(ge(p.slope_y, set1(limits.low_y)), ge(set1(limits.high_y), p.slope_y));
        const vf d_slope_x = view.focal * d_mx + keep(free_x, d_edge_x);
        const vf d_slope_y = view.focal * d_my + keep(free_y, d_edge_y);
        const vf v_dot = s00 * b00 + s11 * b11 + s22 * b22;
        scatter(d_mean, 3, count, keep(shown, d_slope_x * p.z_inv));
        scatter(d_mean + 1, 3, count, keep(shown, d_slope_y * p.z_inv));
        scatter(d_mean + 2, 3, count,
                keep(shown, -(d_slope_x * p.slope_x + d_slope_y * p.slope_y + v_dot) * p.z_inv));
        const vf opacity = select(shown, gather(job.in.opacities + i, 1, count), set1(1.0f));
        scatter(d_opacity, 1, count, keep(shown, g0 / opacity));
    }
}

template <int CLASS> void add(Kernels &k) {
    constexpr int C = CHANNEL_CLASSES[CLASS];
    k.backward_scratch[CLASS] = sizeof(BackwardScratch<C>);
    k.backward[CLASS] = backward_tile<C>;
    k.record_floats[CLASS] = Layout<C>::record;
    k.reduce[CLASS] = reduce<C>;
    if constexpr (CLASS + 1 < CHANNEL_CLASS_COUNT) add<CLASS + 1>(k);
}

} // namespace

void register_backward(Kernels &k) {
    add<0>(k);
}

} // namespace GSWAP_ISA
} // namespace gswap
