// Gaussians -> image Gaussians (splat/reference.py: project).
#include "project.h"

namespace gswap {
namespace GSWAP_ISA {
namespace {

// log2 of positive normal numbers, absolute error about 1e-7: 2^e m, m in [sqrt(1/2), sqrt(2)), and the series of
// artanh((m - 1) / (m + 1)).
GSWAP_INLINE vf log2_positive(vf x) {
    float power[LANES], mantissa[LANES];
    uint32_t word[LANES];
    memcpy(word, &x, sizeof word);
    for (int l = 0; l < LANES; ++l) {
        const int32_t e = int32_t(word[l] - 0x3f3504f3u) >> 23; // 0x3f3504f3 = sqrt(1/2)
        const uint32_t m = word[l] - (uint32_t(e) << 23);
        power[l] = float(e);
        memcpy(&mantissa[l], &m, 4);
    }
    const vf m = load(mantissa), s = (m - 1.0f) / (m + 1.0f), t = s * s;
    const vf series = (((t * (1.0f / 9.0f) + 1.0f / 7.0f) * t + 1.0f / 5.0f) * t + 1.0f / 3.0f) * t + 1.0f;
    return s * series * 2.88539008f + load(power); // 2 / ln 2
}

uint32_t project(const ProjectJob &job, int begin, int end) {
    const View &view = job.view;
    const Limits limits(view);
    const float half_pixel = 0.5f, tile_inv = 1.0f / TILE;
    uint32_t bad = 0;
    for (int i = begin; i < end; i += LANES) {
        const int count = least(LANES, end - i);
        const float *mean = job.in.means + 3 * size_t(i), *quat = job.in.quats + 4 * size_t(i);
        const float *scales = job.in.scales + 3 * size_t(i);
        const vf x = gather(mean, 3, count), y = gather(mean + 1, 3, count), z = gather(mean + 2, 3, count);
        const vf qw = gather(quat, 4, count), qx = gather(quat + 1, 4, count), qy = gather(quat + 2, 4, count),
                 qz = gather(quat + 3, 4, count);
        const vf s0 = gather(scales, 3, count), s1 = gather(scales + 1, 3, count), s2 = gather(scales + 2, 3, count);
        const vf opacity = gather(job.in.opacities + i, 1, count);
        bad |= (any_not_finite(x) | any_not_finite(y) | any_not_finite(z)) ? MEANS : 0u;
        bad |= (any_not_finite(qw) | any_not_finite(qx) | any_not_finite(qy) | any_not_finite(qz)) ? QUATS : 0u;
        bad |= (any_not_finite(s0) | any_not_finite(s1) | any_not_finite(s2)) ? SCALES : 0u;
        bad |= any_not_finite(opacity) ? OPACITIES : 0u;
        const vm in_front = both(ge(z, set1(view.near)), ge(opacity, set1(ALPHA_MIN)));
        // Lanes that are not drawn get harmless numbers.
        const vf depth = select(in_front, z, set1(1.0f));
        const Footprint p = footprint(view.focal, limits, x, y, depth, qw, qx, qy, qz, s0, s1, s2);
        const vf power = log2_positive(select(in_front, opacity, set1(1.0f)));
        const vf tau = max(power - LOG2_ALPHA_MIN, set1(0.0f));

        // The mean in double precision: a pixel coordinate in the hundreds leaves float too few digits.
        float xs[LANES], ys[LANES], zs[LANES], whole_x[LANES], whole_y[LANES], part_x[LANES], part_y[LANES];
        store(xs, x);
        store(ys, y);
        store(zs, depth);
        for (int l = 0; l < LANES; ++l) {
            const double scale = double(view.focal) / double(zs[l]);
            const double mx = scale * double(xs[l]) + double(view.cx), my = scale * double(ys[l]) + double(view.cy);
            whole_x[l] = rintf(float(mx));
            whole_y[l] = rintf(float(my));
            part_x[l] = float(mx - double(whole_x[l]));
            part_y[l] = float(my - double(whole_y[l]));
        }
        const vf mx = load(whole_x) + load(part_x), my = load(whole_y) + load(part_y);

        const vf reach_x = root(tau * p.xx * (1.0f / HALF_LOG2_E)) + SAFETY;
        const vf reach_y = root(tau * p.yy * (1.0f / HALF_LOG2_E)) + SAFETY;
        // Pixel centres are at +1/2: the first and last that lie inside, in tiles.
        const vf zero = set1(0.0f);
        const vf low_x = (mx - reach_x - half_pixel), high_x = (mx + reach_x - half_pixel);
        const vf low_y = (my - reach_y - half_pixel), high_y = (my + reach_y - half_pixel);
        vm drawn = both(in_front, both(ge(high_x, zero), ge(set1(float(view.width - 1)), low_x)));
        drawn = both(drawn, both(ge(high_y, zero), ge(set1(float(view.height - 1)), low_y)));
        const vf last_x = set1(float(view.width - 1)), last_y = set1(float(view.height - 1));
        float box[4][LANES];
        store(box[0], max(min(low_x, last_x), zero) * tile_inv);
        store(box[1], max(min(high_x, last_x), zero) * tile_inv);
        store(box[2], max(min(low_y, last_y), zero) * tile_inv);
        store(box[3], max(min(high_y, last_y), zero) * tile_inv);
        const Factor f = factor(p);
        const uint32_t visible = bits(drawn);
        float as[LANES], bs[LANES], cs[LANES], powers[LANES];
        store(as, f.a);
        store(bs, f.b);
        store(cs, f.c);
        store(powers, power);
        for (int l = 0; l < count; ++l) {
            job.splats[i + l] = {whole_x[l], whole_y[l], part_x[l], part_y[l], as[l], bs[l], cs[l], powers[l]};
            TileBox t = {uint16_t(box[0][l]), uint16_t(int(box[1][l]) + 1), uint16_t(box[2][l]),
                         uint16_t(int(box[3][l]) + 1)};
            if (!(visible >> l & 1u)) t = TileBox{0, 0, 0, 0};
            job.boxes[i + l] = t;
        }
    }
    // The features are read only where they are drawn, so they are looked at here.
    const float *feature = job.in.features + size_t(begin) * job.in.channels;
    const size_t floats = size_t(end - begin) * job.in.channels;
    size_t k = 0;
    bool bad_feature = false;
    for (; k + LANES <= floats; k += LANES) bad_feature |= any_not_finite(load(feature + k));
    if (k < floats) bad_feature |= any_not_finite(gather(feature + k, 1, int(floats - k)));
    return bad | (bad_feature ? FEATURES : 0u);
}

} // namespace

void register_project(Kernels &k) {
    k.lanes = LANES;
    k.project = project;
}

} // namespace GSWAP_ISA
} // namespace gswap
