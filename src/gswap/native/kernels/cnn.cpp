// Background encoder (3 -> 8 -> 5, plus RGB), fusion (eq. 11) and rerenderer (8 -> 8 -> 8 -> 3) in one pass: rows of a
// strip stream through the five convolutions, each keeping its last four rows. No image is stored in between.
#include "simd.h"
#include "table.h"

namespace gswap {
namespace GSWAP_ISA {
namespace {

constexpr int HALO = LANES / 2 > 4 ? LANES / 2 : 4; // columns beside the strip: four layers after the first reach so far
constexpr int REACH = 5;                            // rows above and below: one per layer
constexpr int MAX_STRIP = 240;
constexpr int MARGIN = 2 * LANES; // columns that may be read but never matter
constexpr int PITCH = MAX_STRIP + 2 * HALO + 2 * MARGIN;
constexpr int RING = 4;
#if defined(GSWAP_AVX512) || defined(__aarch64__)
constexpr int GROUP = 8, WIDE = 3; // outputs and vectors accumulated at once: 24 of 32 registers
#else
constexpr int GROUP = 4, WIDE = 2; // 8 of 16
#endif

template <int C> struct Ring {
    float row[RING][C][PITCH];
    GSWAP_INLINE float (*at(int y))[PITCH] { return row[(y + 4 * RING) % RING]; }
};

struct alignas(64) Scratch {
    Ring<3> rgb;
    Ring<8> hidden, fused, first, second;
    float latent[5][PITCH], out[3][PITCH], fore[8][PITCH], alpha[1][PITCH], head[1][PITCH];
    float weights[5][9 * 8 * 8];
};

// Weights (out, in, 3, 3) -> (in, ky, kx, out).
void pack(const Convolution &layer, float *packed) {
    for (int o = 0; o < layer.out; ++o)
        for (int i = 0; i < layer.in; ++i)
            for (int t = 0; t < 9; ++t) packed[(i * 9 + t) * layer.out + o] = layer.weight[(o * layer.in + i) * 9 + t];
}

template <int IN, int OUT, int COUNT, int VECTORS>
GSWAP_INLINE void convolve(const float (*const rows[3])[PITCH], const float *packed, const float *bias, int from, int x,
                           bool relu, float (*out)[PITCH]) {
    vf sum[COUNT][VECTORS];
#if defined(__GNUC__)
#pragma GCC unroll 8
#endif
    for (int o = 0; o < COUNT; ++o)
        for (int v = 0; v < VECTORS; ++v) sum[o][v] = set1(bias[from + o]);
    for (int i = 0; i < IN; ++i)
        for (int ky = 0; ky < 3; ++ky) {
            const float *row = rows[ky][i] + x - 1;
            const float *w = packed + (i * 9 + ky * 3) * OUT + from;
#if defined(__GNUC__)
#pragma GCC unroll 3
#endif
            for (int kx = 0; kx < 3; ++kx) {
                vf in[VECTORS];
                for (int v = 0; v < VECTORS; ++v) in[v] = load(row + kx + v * LANES);
#if defined(__GNUC__)
#pragma GCC unroll 8
#endif
                for (int o = 0; o < COUNT; ++o) {
                    const vf weight = set1(w[kx * OUT + o]);
                    for (int v = 0; v < VECTORS; ++v) sum[o][v] += in[v] * weight;
                }
            }
        }
    for (int o = 0; o < COUNT; ++o)
        for (int v = 0; v < VECTORS; ++v)
            store(out[from + o] + x + v * LANES, relu ? max(sum[o][v], set1(0.0f)) : sum[o][v]);
}

// One row of one layer; columns [begin, end) of the buffers, end - begin a multiple of LANES.
template <int IN, int OUT>
void convolve_row(const float (*const rows[3])[PITCH], const float *packed, const float *bias, int begin, int end,
                  bool relu, float (*out)[PITCH]) {
    constexpr int COUNT = OUT < GROUP ? OUT : GROUP, REST = OUT % COUNT;
    int x = begin;
    for (; x + WIDE * LANES <= end; x += WIDE * LANES) {
        for (int from = 0; from + COUNT <= OUT; from += COUNT)
            convolve<IN, OUT, COUNT, WIDE>(rows, packed, bias, from, x, relu, out);
        if constexpr (REST > 0) convolve<IN, OUT, REST, WIDE>(rows, packed, bias, OUT - REST, x, relu, out);
    }
    for (; x < end; x += LANES) {
        for (int from = 0; from + COUNT <= OUT; from += COUNT)
            convolve<IN, OUT, COUNT, 1>(rows, packed, bias, from, x, relu, out);
        if constexpr (REST > 0) convolve<IN, OUT, REST, 1>(rows, packed, bias, OUT - REST, x, relu, out);
    }
}

struct Strip {
    int x, width, height, image_width; // first column of the strip; the image's size
    int begin, end;                    // columns of the buffers that are computed
    GSWAP_INLINE int column(int buffer) const { return x - HALO + buffer - begin; } // of the image
};

// A convolution pads with zeros: columns outside the image are cleared after every layer.
template <int C> GSWAP_INLINE void clear_outside(const Strip &s, float (*row)[PITCH]) {
    const int left = s.begin - s.column(s.begin), right = left + s.image_width; // buffer columns of the image's edges
    for (int c = 0; c < C; ++c) {
        if (left > 0) memset(row[c], 0, sizeof(float) * size_t(left));
        if (right < PITCH) memset(row[c] + right, 0, sizeof(float) * size_t(PITCH - right));
    }
}

// Row y of planar channels into a buffer, 0 outside the image.
template <int C>
GSWAP_INLINE void read_row(const Strip &s, const float *image, int y, float (*row)[PITCH]) {
    if (y < 0 || y >= s.height) {
        memset(row, 0, sizeof(float) * C * PITCH);
        return;
    }
    const int first = s.column(0), from = most(first, 0), to = least(first + PITCH, s.image_width);
    for (int c = 0; c < C; ++c) {
        const float *line = image + (size_t(c) * s.height + y) * s.image_width;
        memset(row[c], 0, sizeof(float) * PITCH);
        if (to > from) memcpy(row[c] + (from - first), line + from, sizeof(float) * size_t(to - from));
    }
}

template <int IN, int OUT>
GSWAP_INLINE void layer(const Strip &s, Ring<IN> &in, int y, const float *packed, const Convolution &c, bool relu,
                        float (*out)[PITCH]) {
    if (y < 0 || y >= s.height) {
        memset(out, 0, sizeof(float) * OUT * PITCH);
        return;
    }
    const float(*const rows[3])[PITCH] = {in.at(y - 1), in.at(y), in.at(y + 1)};
    convolve_row<IN, OUT>(rows, packed, c.bias, s.begin, s.end, relu, out);
    clear_outside<OUT>(s, out);
}

void composite_strip(const CnnJob &job, void *scratch, int strip, int band) {
    Scratch &m = *static_cast<Scratch *>(scratch);
    const int strips = cnn_strips(job.width), width = (job.width + strips - 1) / strips;
    const int padded = (width + LANES - 1) / LANES * LANES;
    Strip s;
    s.x = strip * width;
    s.width = least(width, job.width - s.x);
    if (s.width <= 0) return;
    s.height = job.height;
    s.image_width = job.width;
    s.begin = MARGIN;
    s.end = MARGIN + (padded + 2 * HALO + LANES - 1) / LANES * LANES;
    const int top = band * CNN_BAND, bottom = least(top + CNN_BAND, job.height);
    memset(&m, 0, sizeof m);
    for (int k = 0; k < 5; ++k) pack(job.layers[k], m.weights[k]);
    const vf one = set1(1.0f);
    uint64_t spent[3] = {}, mark = job.clock ? job.clock() : 0;
    const auto lap = [&](int part) {
        if (!job.clock) return;
        const uint64_t now = job.clock();
        spent[part] += now - mark;
        mark = now;
    };
    for (int y = top - REACH; y < bottom + REACH; ++y) {
        read_row<3>(s, job.plate, y, m.rgb.at(y));
        layer<3, 8>(s, m.rgb, y - 1, m.weights[0], job.layers[0], true, m.hidden.at(y - 1));
        const int at = y - 2;
        layer<8, 5>(s, m.hidden, at, m.weights[1], job.layers[1], true, m.latent);
        lap(0);
        read_row<8>(s, job.features, at, m.fore);
        read_row<1>(s, job.alpha, at, m.alpha);
        read_row<1>(s, job.head, at, m.head);
        float(*fused)[PITCH] = m.fused.at(at), (*rgb)[PITCH] = m.rgb.at(at);
        for (int x = s.begin; x < s.end; x += LANES) {
            const vf head = load(m.head[0] + x), through = one - load(m.alpha[0] + x) * head;
            for (int c = 0; c < 8; ++c) {
                const vf back = load(c < 3 ? rgb[c] + x : m.latent[c - 3] + x);
                store(fused[c] + x, head * load(m.fore[c] + x) + through * back);
            }
        }
        lap(1);
        layer<8, 8>(s, m.fused, y - 3, m.weights[2], job.layers[2], true, m.first.at(y - 3));
        layer<8, 8>(s, m.first, y - 4, m.weights[3], job.layers[3], true, m.second.at(y - 4));
        const int done = y - REACH;
        if (done < top) {
            lap(2);
            continue;
        }
        layer<8, 3>(s, m.second, done, m.weights[4], job.layers[4], job.last_relu, m.out);
        for (int c = 0; c < 3; ++c)
            memcpy(job.out + (size_t(c) * job.height + done) * job.width + s.x, m.out[c] + s.begin + HALO,
                   sizeof(float) * size_t(s.width));
        lap(2);
    }
    if (job.clock) memcpy(job.spent + 3 * (size_t(band) * strips + strip), spent, sizeof spent);
}

} // namespace

void register_cnn(Kernels &k) {
    static_assert(MAX_STRIP == CNN_MAX_STRIP, "one width");
    k.cnn = composite_strip;
    k.cnn_scratch = sizeof(Scratch);
}

} // namespace GSWAP_ISA
} // namespace gswap
