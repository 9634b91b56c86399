// A tile of 16 x 16 pixels is cut into blocks of LANES pixels, 4 wide. Its Gaussians, nearest first, are read in chunks
// of 64; for every block one 64-bit word says which of them may touch it. A block then composites the Gaussians of its
// word, all its pixels at once.
#pragma once
#include "project.h"

namespace gswap {
namespace GSWAP_ISA {

constexpr int BLOCK_HEIGHT = LANES / 4, SLABS = TILE / BLOCK_HEIGHT, BLOCKS = 4 * SLABS, PIXELS = TILE * TILE;
constexpr float LOG2_ALPHA_MAX = -0.00144341705f; // log2(0.999)
constexpr float T_MIN = 1e-4f;
constexpr float SHEAR_SAFETY = 1e-5f;  // relative to the shift of the axis
constexpr float NOWHERE = -1e30f;
// A Gaussian as a tile sees it: alpha(p) = 2^(power - (a x + b y + u)^2 - (c y + v)^2), (x, y) = p - the tile's centre.
template <int C> struct Member {
    float a, b, c, u, v, power, unused[2];
    float feature[C];
};

template <int C> struct alignas(64) Chunk {
    Member<C> member[CHUNK];
    float x[CHUNK], y[CHUNK], a[CHUNK], b[CHUNK], c[CHUNK], power[CHUNK]; // x, y: the mean, from the tile's corner
    uint64_t touched[BLOCKS];
    bool clamped; // an alpha of these Gaussians may reach ALPHA_MAX
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
        const float x = s.whole_x - left, y = s.whole_y - top; // whole numbers: exact
        // Far along a thin Gaussian a x and b y nearly cancel: in double precision.
        const double dx = double(TILE / 2 - x) - double(s.part_x), dy = double(TILE / 2 - y) - double(s.part_y);
        Member<C> &m = chunk.member[k];
        m.a = s.a;
        m.b = s.b;
        m.c = s.c;
        m.u = float(double(s.a) * dx + double(s.b) * dy);
        m.v = float(double(s.c) * dy);
        m.power = s.power;
        chunk.x[k] = x + s.part_x;
        chunk.y[k] = y + s.part_y;
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
    float strongest = LOG2_ALPHA_MIN;
    for (int k = 0; k < n; ++k) strongest = most(strongest, chunk.power[k]);
    chunk.clamped = strongest > LOG2_ALPHA_MAX;
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

// Pixel centres of a block, from the tile's centre.
GSWAP_INLINE void pixel_centres(int block, vf &px, vf &py) {
    float x[LANES], y[LANES];
    for (int l = 0; l < LANES; ++l) {
        x[l] = float(4 * (block & 3) + (l & 3)) + 0.5f - TILE / 2;
        y[l] = float(BLOCK_HEIGHT * (block >> 2) + (l >> 2)) + 0.5f - TILE / 2;
    }
    px = load(x);
    py = load(y);
}

// The pixels of a block that lie in the image.
GSWAP_INLINE vm inside(int block, int width, int height) {
    vf px, py;
    pixel_centres(block, px, py);
    return both(gt(set1(float(width - TILE / 2)), px), gt(set1(float(height - TILE / 2)), py));
}

// The state of a block's pixels: what passes through what was drawn so far, and which pixels have not stopped.
struct Pixels {
    vf light;
    vm alive;
};

struct Hit {
    vf alpha, weight; // 0 where the Gaussian is skipped
    vm open;          // alpha is below its clamp; only where CLAMPED
};

// One Gaussian over a block. CLAMPED: its alpha may exceed ALPHA_MAX.
template <bool CLAMPED, bool BACKWARD, class M>
GSWAP_INLINE void blend(const M &m, vf px, vf py, Pixels &pixels, Hit &hit) {
    const vf u = px * m.a + (py * m.b + m.u), v = py * m.c + m.v;
    const vf e = m.power - u * u - v * v;
    const vf alpha = exp2_where(ge(e, set1(LOG2_ALPHA_MIN)), CLAMPED ? min(e, set1(LOG2_ALPHA_MAX)) : e);
    const vf next = pixels.light - pixels.light * alpha;
    pixels.alive = both(pixels.alive, gt(next, set1(T_MIN)));
    hit.weight = keep(pixels.alive, alpha * pixels.light);
    if (BACKWARD) hit.alpha = keep(pixels.alive, alpha);
    if (BACKWARD && CLAMPED) hit.open = ge(set1(LOG2_ALPHA_MAX), e);
    pixels.light = select(pixels.alive, next, pixels.light);
}

// Writes a row of a tile, one cache line where the image's rows begin on one, past the caches: nothing of it is read
// first, and an image of many channels would push everything else out. finish_rows() makes the rows visible to others.
#if defined(GSWAP_AVX512)
GSWAP_INLINE void store_row(float *to, __m512 row) {
    if (reinterpret_cast<uintptr_t>(to) % 64 == 0)
        _mm512_stream_ps(to, row);
    else
        _mm512_storeu_ps(to, row);
}
GSWAP_INLINE void finish_rows() { _mm_sfence(); }
#elif defined(GSWAP_AVX2)
GSWAP_INLINE void store_row(float *to, __m256 left, __m256 right) {
    if (reinterpret_cast<uintptr_t>(to) % 32 == 0) {
        _mm256_stream_ps(to, left);
        _mm256_stream_ps(to + 8, right);
    } else {
        _mm256_storeu_ps(to, left);
        _mm256_storeu_ps(to + 8, right);
    }
}
GSWAP_INLINE void finish_rows() { _mm_sfence(); }
#else
GSWAP_INLINE void finish_rows() {}
#endif

// Copies one channel of a tile (blocks of LANES floats, `stride` floats apart) to the image, or clears it.
GSWAP_INLINE void store_channel(float *plane, int row, int width, int height, const float *blocks, size_t stride) {
    if (width == TILE && height == TILE) {
#if defined(GSWAP_AVX512)
        for (int slab = 0; slab < SLABS; ++slab, blocks += 4 * stride) { // 4 blocks of 4 x 4 -> 4 rows of 16
            const __m512 b0 = _mm512_load_ps(blocks), b1 = _mm512_load_ps(blocks + stride),
                         b2 = _mm512_load_ps(blocks + 2 * stride), b3 = _mm512_load_ps(blocks + 3 * stride);
            const __m512 upper01 = _mm512_shuffle_f32x4(b0, b1, 0x44), lower01 = _mm512_shuffle_f32x4(b0, b1, 0xee);
            const __m512 upper23 = _mm512_shuffle_f32x4(b2, b3, 0x44), lower23 = _mm512_shuffle_f32x4(b2, b3, 0xee);
            store_row(plane, _mm512_shuffle_f32x4(upper01, upper23, 0x88));
            store_row(plane + row, _mm512_shuffle_f32x4(upper01, upper23, 0xdd));
            store_row(plane + 2 * size_t(row), _mm512_shuffle_f32x4(lower01, lower23, 0x88));
            store_row(plane + 3 * size_t(row), _mm512_shuffle_f32x4(lower01, lower23, 0xdd));
            plane += 4 * size_t(row);
        }
#elif defined(GSWAP_AVX2)
        for (int slab = 0; slab < SLABS; ++slab, blocks += 4 * stride) { // 4 blocks of 4 x 2 -> 2 rows of 16
            const __m256 b0 = _mm256_load_ps(blocks), b1 = _mm256_load_ps(blocks + stride),
                         b2 = _mm256_load_ps(blocks + 2 * stride), b3 = _mm256_load_ps(blocks + 3 * stride);
            store_row(plane, _mm256_permute2f128_ps(b0, b1, 0x20), _mm256_permute2f128_ps(b2, b3, 0x20));
            store_row(plane + row, _mm256_permute2f128_ps(b0, b1, 0x31), _mm256_permute2f128_ps(b2, b3, 0x31));
            plane += 2 * size_t(row);
        }
#else
        for (int y = 0; y < TILE; ++y, plane += row) {
            const float *line = blocks + size_t(4 * (y / BLOCK_HEIGHT)) * stride + 4 * (y % BLOCK_HEIGHT);
            for (int column = 0; column < 4; ++column) memcpy(plane + 4 * column, line + column * stride, 16);
        }
#endif
        return;
    }
    for (int y = 0; y < height; ++y, plane += row) {
        const float *line = blocks + size_t(4 * (y / BLOCK_HEIGHT)) * stride + 4 * (y % BLOCK_HEIGHT);
        for (int x = 0; x < width; ++x) plane[x] = line[size_t(x >> 2) * stride + (x & 3)];
    }
}

GSWAP_INLINE void clear_channel(float *plane, int row, int width, int height) {
    if (width == TILE) {
#if defined(GSWAP_AVX512)
        for (int y = 0; y < height; ++y, plane += row) store_row(plane, _mm512_setzero_ps());
#elif defined(GSWAP_AVX2)
        for (int y = 0; y < height; ++y, plane += row) store_row(plane, _mm256_setzero_ps(), _mm256_setzero_ps());
#else
        const v8 zero = v8{};
        for (int y = 0; y < height; ++y, plane += row) {
            store8(plane, zero);
            store8(plane + 8, zero);
        }
#endif
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

} // namespace GSWAP_ISA
} // namespace gswap
