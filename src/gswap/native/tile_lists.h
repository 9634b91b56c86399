// Lists of the Gaussians that touch each tile, nearest first: made for several ranges of depth side by side.
#pragma once
#include <cstdint>
#include <vector>

#include "kernels/table.h"
#include "memory.h"

namespace gswap {

constexpr int GRAIN = 2048;                        // Gaussians per task of the stages that run over Gaussians
constexpr uint64_t MAX_PLACES = uint64_t(1) << 31; // Gaussians times the tiles of each

// The drawn Gaussians in the given order, found block by block of GRAIN.
struct Drawn {
    static constexpr uint32_t SAMPLE_STEP = 256, SAMPLES = GRAIN / SAMPLE_STEP;
    struct Block {
        uint32_t count = 0, low = ~0u, high = 0; // of its drawn Gaussians: how many, least and greatest depth's bits
        uint64_t places = 0;                     // tiles that they touch, each Gaussian's added up
        uint32_t sample[SAMPLES];                // the depths of every SAMPLE_STEP-th
        uint32_t samples() const { return (count + SAMPLE_STEP - 1) / SAMPLE_STEP; }
    };
    std::vector<Block> blocks;
    Buffer items; // depth's bits above, index below; the n-th block begins at n * GRAIN

    explicit Drawn(size_t gaussians)
        : blocks((gaussians + GRAIN - 1) / GRAIN), items(Buffer::of<uint64_t>(gaussians)) {}
    const uint64_t *items_of(size_t block) const { return items.as<uint64_t>() + block * GRAIN; }
    // Fills a block. Depths are the third floats of `means`, of all Gaussians as `boxes`.
    void find(size_t block, const TileBox *boxes, const float *means, size_t gaussians);
};

inline uint32_t tiles_of(const TileBox &box) { return uint32_t(box.x1 - box.x0) * uint32_t(box.y1 - box.y0); }

// Lists by tile of the Gaussians of one range of depth.
struct RangeLists {
    Buffer first, ids; // tile -> first place, tiles + 1 entries; place -> Gaussian

    uint32_t count(int tile) const { return first.as<uint32_t>()[tile + 1] - first.as<uint32_t>()[tile]; }
    const uint32_t *of(int tile) const { return ids.as<uint32_t>() + first.as<uint32_t>()[tile]; }
};

// One set of lists per range, the nearest range first; within a list nearest first, equal depths in the given order.
// The ranges depend on the number of workers, the lists of a tile one behind the other do not.
// Throws std::length_error if there are more than MAX_PLACES.
std::vector<RangeLists> list_tiles(const Drawn &drawn, const TileBox *boxes, const View &view, int workers);

} // namespace gswap
