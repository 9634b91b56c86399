// Compositing of a tile, front to back (splat/reference.py: composite).
#include "tile.h"

namespace gswap {
namespace GSWAP_ISA {
namespace {

#if defined(GSWAP_AVX512)
constexpr int MOST_IN_REGISTERS = 16; // channels accumulated in one pass over a block's Gaussians
#else
constexpr int MOST_IN_REGISTERS = 9;
#endif

template <int C> struct alignas(64) ForwardScratch {
    Chunk<C> chunk;
    vf sum[BLOCKS][C];
    Pixels pixels[BLOCKS];
    vf alpha[BLOCKS];
    vf weight[CHUNK];
    uint8_t which[CHUNK];
};

// Composites the listed Gaussians of one block. Returns the bits of those that changed a pixel.
template <int C, bool TRACK, bool CLAMPED>
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
            blend<CLAMPED, false>(m, px, py, pixels, hit);
            if (TRACK) used |= uint64_t(any(gt(hit.weight, set1(0.0f)))) << k;
            for (int q = 0; q < C; ++q) sum[q] += hit.weight * m.feature[q];
            if (!any(pixels.alive)) break;
        }
        for (int q = 0; q < C; ++q) s.sum[block][q] = sum[q];
    } else {
        int n = 0;
        while (listed) {
            const int k = lowest_bit(listed);
            listed &= listed - 1;
            blend<CLAMPED, false>(s.chunk.member[k], px, py, pixels, hit);
            const bool lit = any(gt(hit.weight, set1(0.0f)));
            if (TRACK) used |= uint64_t(lit) << k;
            s.weight[n] = hit.weight;
            s.which[n] = uint8_t(k);
            n += lit;
            if (!any(pixels.alive)) break;
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

// All blocks of a tile that still live, over one chunk. Returns those that live on.
template <int C, bool TRACK, bool CLAMPED>
uint64_t composite_chunk(ForwardScratch<C> &s, const TileLists &lists, size_t at, uint64_t living) {
    for (int block = 0; block < BLOCKS; ++block) {
        const uint64_t listed = living >> block & 1 ? s.chunk.touched[block] : 0;
        if (TRACK) {
            store(lists.transmittance + at * PIXELS + block * LANES, keep(s.pixels[block].alive, s.pixels[block].light));
            lists.touched[at * BLOCKS + block] = 0;
        }
        if (!listed) continue;
        const uint64_t used = composite_block<C, TRACK, CLAMPED>(s, block, listed);
        if (TRACK) lists.touched[at * BLOCKS + block] = used;
        if (!any(s.pixels[block].alive)) living &= ~(uint64_t(1) << block);
    }
    return living;
}

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
        finish_rows();
        return;
    }
    uint64_t living = 0; // blocks with a pixel that has not stopped
    for (int block = 0; block < BLOCKS; ++block) {
        const vm shown = inside(block, frame.width, frame.height);
        s.pixels[block] = {set1(1.0f), shown};
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
        const auto step = track ? s.chunk.clamped ? composite_chunk<C, true, true> : composite_chunk<C, true, false>
                                : s.chunk.clamped ? composite_chunk<C, false, true> : composite_chunk<C, false, false>;
        living = step(s, lists, at, living);
    }
    lists.used_chunks[tile] = number;
    for (int q = 0; q < channels; ++q)
        store_channel(image + q * frame.plane, row, frame.width, frame.height,
                      reinterpret_cast<const float *>(&s.sum[0][q]), size_t(C) * LANES);
    for (int block = 0; block < BLOCKS; ++block) s.alpha[block] = 1.0f - s.pixels[block].light;
    store_channel(alpha, row, frame.width, frame.height, reinterpret_cast<const float *>(s.alpha), LANES);
    finish_rows();
}

template <int CLASS> void add(Kernels &k) {
    constexpr int C = CHANNEL_CLASSES[CLASS];
    k.forward_scratch[CLASS] = sizeof(ForwardScratch<C>);
    k.forward[CLASS] = forward_tile<C>;
    if constexpr (CLASS + 1 < CHANNEL_CLASS_COUNT) add<CLASS + 1>(k);
}

} // namespace

void register_forward(Kernels &k) {
    k.blocks = BLOCKS;
    add<0>(k);
}

} // namespace GSWAP_ISA
} // namespace gswap
