// The rasteriser's kernels for one instruction set. Semantics: splat/reference.py.
//
// A tile of 16 x 16 pixels is cut into blocks of LANES pixels, 4 wide. Its Gaussians, nearest first, are read in chunks
// of 64; for every block one 64-bit word says which of them may touch it. A block then composites the Gaussians of its
// word with all channels in registers.
#include "project.h"

namespace gswap {
namespace GSWAP_ISA {
namespace {

constexpr int BLOCK_HEIGHT = LANES / 4, SLABS = TILE / BLOCK_HEIGHT, BLOCKS = 4 * SLABS, PIXELS = TILE * TILE;
constexpr float LOG2_ALPHA_MAX = -0.00144341705f; // log2(0.999)
constexpr float T_MIN = 1e-4f;
constexpr float SAFETY = 1e-3f;        // pixels, and relative to a width: lists may name too many Gaussians, never too few
constexpr float SHEAR_SAFETY = 1e-5f;  // relative to the shift of the axis
constexpr float NOWHERE = -1e30f;
constexpr int GRADIENTS = 16;          // floats of a record before the channels beyond the eighth
#if defined(GSWAP_AVX512)
constexpr int MOST_IN_REGISTERS = 16; // channels accumulated in one pass over a block's Gaussians
#else
constexpr int MOST_IN_REGISTERS = 9;
#endif

// ---------------------------------------------------------------- projection
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
        const float *scale = job.in.scales + 3 * size_t(i);
        const vf x = gather(mean, 3, count), y = gather(mean + 1, 3, count), z = gather(mean + 2, 3, count);
        const vf qw = gather(quat, 4, count), qx = gather(quat + 1, 4, count), qy = gather(quat + 2, 4, count),
                 qz = gather(quat + 3, 4, count);
        const vf s0 = gather(scale, 3, count), s1 = gather(scale + 1, 3, count), s2 = gather(scale + 2, 3, count);
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
            const double f = double(view.focal) / double(zs[l]);
            const double mx = f * double(xs[l]) + double(view.cx), my = f * double(ys[l]) + double(view.cy);
            whole_x[l] = rintf(float(mx));
            whole_y[l] = rintf(float(my));
            part_x[l] = float(mx - double(whole_x[l]));
            part_y[l] = float(my - double(whole_y[l]));
        }
        const vf mx = load(whole_x) + load(part_x), my = load(whole_y) + load(part_y);

        // Upper triangular factor of HALF_LOG2_E S^-1.
        const vf q = root(set1(HALF_LOG2_E) / (p.yy * p.determinant));
        const vf a = p.yy * q, b = -p.xy * q, c = root(set1(HALF_LOG2_E) / p.yy);

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
        const uint32_t visible = bits(drawn);
        float as[LANES], bs[LANES], cs[LANES], powers[LANES];
        store(as, a);
        store(bs, b);
        store(cs, c);
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

// ---------------------------------------------------------------- one chunk of a tile
template <int C> struct Member { // a Gaussian in the tile's coordinates (pixels from its corner)
    float x, y, a, b, c, power, unused[2];
    float feature[C];
};

template <int C> struct alignas(64) Chunk {
    Member<C> member[CHUNK];
    float x[CHUNK], y[CHUNK], a[CHUNK], b[CHUNK], c[CHUNK], power[CHUNK];
    uint64_t touched[BLOCKS];
};

template <int C>
GSWAP_INLINE void read_members(Chunk<C> &chunk, const TileLists &lists, const Gaussians &in, const uint32_t *ids, int n,
                               int ahead, float left, float top) {
    const int channels = in.channels;
    for (int k = 0; k < n; ++k) {
#if defined(__GNUC__) || defined(__clang__)
        if (k + 12 < ahead) {
            const uint32_t next = ids[k + 12];
            __builtin_prefetch(&lists.splats[next]);
            __builtin_prefetch(in.features + size_t(next) * channels);
        }
#endif
        const Splat &s = lists.splats[ids[k]];
        const float x = (s.whole_x - left) + s.part_x, y = (s.whole_y - top) + s.part_y;
        Member<C> &m = chunk.member[k];
        m.x = x;
        m.y = y;
        m.a = s.a;
        m.b = s.b;
        m.c = s.c;
        m.power = s.power;
        chunk.x[k] = x;
        chunk.y[k] = y;
        chunk.a[k] = s.a;
        chunk.b[k] = s.b;
        chunk.c[k] = s.c;
        chunk.power[k] = s.power;
        const float *feature = in.features + size_t(ids[k]) * channels;
        if (channels == C) {
            memcpy(m.feature, feature, sizeof m.feature);
        } else {
            for (int q = 0; q < channels; ++q) m.feature[q] = feature[q];
            for (int q = channels; q < C; ++q) m.feature[q] = 0.0f;
        }
    }
}

// For each block the Gaussians whose ellipse (alpha >= ALPHA_MIN) meets the rectangle of its pixel centres: LANES
// Gaussians at a time, exact but for the safety margins.
template <int C> GSWAP_INLINE void list_blocks(Chunk<C> &chunk, int n) {
    for (int block = 0; block < BLOCKS; ++block) chunk.touched[block] = 0;
    for (int k = 0; k < n; k += LANES) {
        const vf x = load(chunk.x + k), y = load(chunk.y + k), a = load(chunk.a + k), b = load(chunk.b + k),
                 c = load(chunk.c + k);
        const vf tau = max(load(chunk.power + k) - LOG2_ALPHA_MIN, set1(1e-12f));
        const vf a_inv = 1.0f / a, axis = -b * a_inv;
        const vf half_height = rough_root(tau) / c;
        const vf widest = -half_height * b / rough_root(b * b + c * c); // dy of the rightmost point
        const vf limit = half_height * (1.0f + SAFETY) + SAFETY;
        for (int slab = 0; slab < SLABS; ++slab) {
            const vf top = (float(slab * BLOCK_HEIGHT) + 0.5f) - y, bottom = top + float(BLOCK_HEIGHT - 1);
            const vf dy_right = min(max(widest, top), bottom), dy_left = min(max(-widest, top), bottom);
            const vf c_right = c * dy_right, c_left = c * dy_left;
            const vf width_right = rough_root(max(tau - c_right * c_right, set1(1e-12f))) * a_inv;
            const vf width_left = rough_root(max(tau - c_left * c_left, set1(1e-12f))) * a_inv;
            const vf shift_right = axis * dy_right, shift_left = axis * dy_left;
            const vf margin = max(max(shift_right, -shift_right), max(shift_left, -shift_left)) * SHEAR_SAFETY + SAFETY;
            const vm meets = both(ge(limit, top), ge(bottom, -limit));
            const vf right = select(meets, x + shift_right + (width_right * (1.0f + SAFETY) + margin), set1(NOWHERE));
            const vf left = x + shift_left - (width_left * (1.0f + SAFETY) + margin);
            for (int column = 0; column < 4; ++column) {
                const vm touches = both(ge(right, set1(4.0f * column + 0.5f)), ge(set1(4.0f * column + 3.5f), left));
                chunk.touched[4 * slab + column] |= uint64_t(bits(touches)) << k;
            }
        }
    }
    if (n < CHUNK)
        for (int block = 0; block < BLOCKS; ++block) chunk.touched[block] &= (uint64_t(1) << n) - 1;
}

// ---------------------------------------------------------------- one block
GSWAP_INLINE void pixel_centres(int block, vf &px, vf &py) {
    float x[LANES], y[LANES];
    for (int l = 0; l < LANES; ++l) {
        x[l] = float(4 * (block & 3) + (l & 3)) + 0.5f;
        y[l] = float(BLOCK_HEIGHT * (block >> 2) + (l >> 2)) + 0.5f;
    }
    px = load(x);
    py = load(y);
}

// The pixels of a block that lie in the image.
GSWAP_INLINE vm inside(int block, int width, int height) {
    vf px, py;
    pixel_centres(block, px, py);
    return both(gt(set1(float(width)), px), gt(set1(float(height)), py));
}

// The state of a block's pixels. `light` is the transmittance for as long as the pixel is alive and 0 afterwards, so that
// a stopped pixel needs no mask of its own: whatever comes would leave it at or below T_MIN again. `left` is what the
// background keeps. The loop is bound by the chain light -> next -> light: three instructions.
struct Pixels {
    vf light, left;
};

struct Hit {
    vf alpha, weight; // 0 where the Gaussian is skipped
    vm open;          // alpha is below its clamp
};

// One Gaussian over a block. Returns the lanes that are still alive.
template <bool BACKWARD, class M> GSWAP_INLINE vm blend(const M &m, vf px, vf py, Pixels &pixels, Hit &hit) {
    const vf dx = px - m.x, dy = py - m.y;
    const vf u = dx * m.a + dy * m.b, v = dy * m.c;
    const vf e = m.power - u * u - v * v;
    const vf alpha = keep(ge(e, set1(LOG2_ALPHA_MIN)), exp2(min(e, set1(LOG2_ALPHA_MAX))));
    const vf next = pixels.light - pixels.light * alpha;
    const vm alive = gt(next, set1(T_MIN));
    hit.weight = keep(alive, alpha * pixels.light);
    if (BACKWARD) {
        hit.alpha = keep(alive, alpha);
        hit.open = ge(set1(LOG2_ALPHA_MAX), e);
    } else {
        pixels.left = select(alive, next, pixels.left);
    }
    pixels.light = keep(alive, next);
    return alive;
}

template <int C> struct alignas(64) ForwardScratch {
    Chunk<C> chunk;
    vf sum[BLOCKS][C];
    Pixels pixels[BLOCKS];
    vf weight[CHUNK];
    uint8_t which[CHUNK];
};

// Composites the listed Gaussians of one block. Returns the bits of those that changed a pixel.
template <int C, bool TRACK>
GSWAP_INLINE uint64_t composite_block(ForwardScratch<C> &s, int block, uint64_t listed) {
    vf px, py;
    pixel_centres(block, px, py);
    Pixels pixels = s.pixels[block];
    uint64_t used = 0;
    Hit hit;
    if constexpr (C <= MOST_IN_REGISTERS) {
        vf sum[C];
        for (int q = 0; q < C; ++q) sum[q] = s.sum[block][q];
        while (listed) {
            const int k = lowest_bit(listed);
            listed &= listed - 1;
            const Member<C> &m = s.chunk.member[k];
            const vm alive = blend<false>(m, px, py, pixels, hit);
            if (TRACK) used |= uint64_t(any(gt(hit.weight, set1(0.0f)))) << k;
            for (int q = 0; q < C; ++q) sum[q] += hit.weight * m.feature[q];
            if (!any(alive)) break;
        }
        for (int q = 0; q < C; ++q) s.sum[block][q] = sum[q];
    } else {
        int n = 0;
        while (listed) {
            const int k = lowest_bit(listed);
            listed &= listed - 1;
            const vm alive = blend<false>(s.chunk.member[k], px, py, pixels, hit);
            const bool lit = any(gt(hit.weight, set1(0.0f)));
            if (TRACK) used |= uint64_t(lit) << k;
            s.weight[n] = hit.weight;
            s.which[n] = uint8_t(k);
            n += lit;
            if (!any(alive)) break;
        }
        for (int first = 0; first < C; first += 8) {
            vf sum[8];
            for (int q = 0; q < 8; ++q) sum[q] = s.sum[block][first + q];
            for (int j = 0; j < n; ++j) {
                const vf w = s.weight[j];
                const float *feature = s.chunk.member[s.which[j]].feature + first;
                for (int q = 0; q < 8; ++q) sum[q] += w * feature[q];
            }
            for (int q = 0; q < 8; ++q) s.sum[block][first + q] = sum[q];
        }
    }
    s.pixels[block] = pixels;
    return used;
}

// Copies one channel of a tile (blocks of LANES floats, `stride` floats apart) to the image, or clears it.
GSWAP_INLINE void store_channel(float *plane, int row, int width, int height, const float *blocks, size_t stride) {
    if (width == TILE && height == TILE) {
        for (int y = 0; y < TILE; ++y, plane += row) {
            const float *line = blocks + size_t(4 * (y / BLOCK_HEIGHT)) * stride + 4 * (y % BLOCK_HEIGHT);
            for (int column = 0; column < 4; ++column) memcpy(plane + 4 * column, line + column * stride, 16);
        }
        return;
    }
    for (int y = 0; y < height; ++y, plane += row) {
        const float *line = blocks + size_t(4 * (y / BLOCK_HEIGHT)) * stride + 4 * (y % BLOCK_HEIGHT);
        for (int x = 0; x < width; ++x) plane[x] = line[size_t(x >> 2) * stride + (x & 3)];
    }
}

GSWAP_INLINE void clear_channel(float *plane, int row, int width, int height) {
    if (width == TILE) {
        const v8 zero = v8{};
        for (int y = 0; y < height; ++y, plane += row) {
            store8(plane, zero);
            store8(plane + 8, zero);
        }
        return;
    }
    for (int y = 0; y < height; ++y, plane += row) memset(plane, 0, sizeof(float) * size_t(width));
}

// The reverse: pixels outside the image read as 0.
GSWAP_INLINE void load_channel(const float *plane, int row, int width, int height, float *blocks, size_t stride) {
    for (int y = 0; y < TILE; ++y) {
        float line[TILE] = {};
        if (y < height) memcpy(line, plane + size_t(y) * row, sizeof(float) * size_t(width));
        float *to = blocks + size_t(4 * (y / BLOCK_HEIGHT)) * stride + 4 * (y % BLOCK_HEIGHT);
        for (int column = 0; column < 4; ++column) memcpy(to + column * stride, line + 4 * column, 16);
    }
}

struct TileFrame {
    int x, y, width, height; // pixels; width and height inside the image
    size_t plane, corner;    // floats of a channel, offset of the tile's corner
    GSWAP_INLINE TileFrame(const View &view, int tile) {
        x = tile % view.tiles_x * TILE;
        y = tile / view.tiles_x * TILE;
        width = least(TILE, view.width - x);
        height = least(TILE, view.height - y);
        plane = size_t(view.width) * view.height;
        corner = size_t(y) * view.width + x;
    }
};

template <int C> void forward_tile(const ForwardJob &job, void *scratch, int tile) {
    ForwardScratch<C> &s = *static_cast<ForwardScratch<C> *>(scratch);
    const TileFrame frame(job.view, tile);
    const TileLists &lists = job.lists;
    const int row = job.view.width, channels = job.in.channels;
    const uint32_t first = lists.first[tile], last = lists.first[tile + 1];
    float *image = job.image + frame.corner, *alpha = job.alpha + frame.corner;
    lists.used_chunks[tile] = 0;
    if (first == last) {
        for (int q = 0; q < channels; ++q)
            clear_channel(image + q * frame.plane, row, frame.width, frame.height);
        clear_channel(alpha, row, frame.width, frame.height);
        return;
    }
    uint64_t living = 0; // blocks with a pixel that has not stopped
    for (int block = 0; block < BLOCKS; ++block) {
        const vm shown = inside(block, frame.width, frame.height);
        s.pixels[block] = {keep(shown, set1(1.0f)), set1(1.0f)};
        living |= uint64_t(any(shown)) << block;
        for (int q = 0; q < C; ++q) s.sum[block][q] = set1(0.0f);
    }
    const bool track = lists.touched != nullptr;
    uint32_t number = 0;
    for (uint32_t place = first; place < last && living; place += CHUNK, ++number) {
        const int n = int(least<uint32_t>(CHUNK, last - place));
        read_members(s.chunk, lists, job.in, lists.ids + place, n, int(last - place), float(frame.x), float(frame.y));
        list_blocks(s.chunk, n);
        const size_t at = size_t(lists.first_chunk[tile] + number);
        for (int block = 0; block < BLOCKS; ++block) {
            const uint64_t listed = living >> block & 1 ? s.chunk.touched[block] : 0;
            if (track) {
                store(lists.transmittance + at * PIXELS + block * LANES, s.pixels[block].light);
                lists.touched[at * BLOCKS + block] = listed ? composite_block<C, true>(s, block, listed) : 0;
            } else if (listed) {
                composite_block<C, false>(s, block, listed);
            }
            if (listed && !any(gt(s.pixels[block].light, set1(0.0f)))) living &= ~(uint64_t(1) << block);
        }
    }
    lists.used_chunks[tile] = number;
    for (int q = 0; q < channels; ++q)
        store_channel(image + q * frame.plane, row, frame.width, frame.height,
                      reinterpret_cast<const float *>(&s.sum[0][q]), size_t(C) * LANES);
    for (int block = 0; block < BLOCKS; ++block) s.pixels[block].left = 1.0f - s.pixels[block].left;
    store_channel(alpha, row, frame.width, frame.height, reinterpret_cast<const float *>(&s.pixels[0].left), 2 * LANES);
}

// ---------------------------------------------------------------- backward
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

template <int C, int CLASS> struct Register {
    static void into(Kernels &k) {
        k.forward_scratch[CLASS] = sizeof(ForwardScratch<C>);
        k.backward_scratch[CLASS] = sizeof(BackwardScratch<C>);
        k.forward[CLASS] = forward_tile<C>;
        k.backward[CLASS] = backward_tile<C>;
        k.record_floats[CLASS] = Layout<C>::record;
        k.reduce[CLASS] = reduce<C>;
    }
};

} // namespace

void register_splat(Kernels &k) {
    k.lanes = LANES;
    k.blocks = BLOCKS;
    k.project = project;
    Register<4, 0>::into(k);
    Register<8, 1>::into(k);
    Register<9, 2>::into(k);
    Register<16, 3>::into(k);
    Register<24, 4>::into(k);
    Register<32, 5>::into(k);
}

} // namespace GSWAP_ISA
} // namespace gswap
