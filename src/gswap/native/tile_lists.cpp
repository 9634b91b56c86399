#include "tile_lists.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <utility>

#include "pool.h"

namespace gswap {
namespace {

constexpr size_t MAX_RANGES = 8; // each looks at all Gaussians, so many would take longer
constexpr int DIGIT_BITS = 11, MAX_PASSES = 3;
constexpr uint32_t DIGITS = 1u << DIGIT_BITS;

// Depths are positive, so their bit patterns sort as they do.
uint32_t depth_bits(uint64_t item) { return uint32_t(item >> 32); }

// Bits of depths, both ends included.
struct DepthRange {
    uint32_t low, high;
};

// Cuts the depths into ranges of about as many Gaussians each, nearest first.
std::vector<DepthRange> cut_depths(const Drawn &drawn, int workers) {
    size_t n = 0;
    DepthRange rest{~0u, 0};
    for (const Drawn::Block &block : drawn.blocks) {
        n += block.count;
        rest = {std::min(rest.low, block.low), std::max(rest.high, block.high)};
    }
    std::vector<DepthRange> ranges;
    if (n == 0) return ranges;
    const size_t wanted = std::min({size_t(workers), MAX_RANGES, n / GRAIN});
    std::vector<uint32_t> sample;
    for (const Drawn::Block &block : drawn.blocks)
        sample.insert(sample.end(), block.sample, block.sample + block.samples());
    std::sort(sample.begin(), sample.end());
    for (size_t range = 1; range < wanted; ++range) {
        const uint32_t cut = sample[sample.size() * range / wanted];
        if (cut <= rest.low) continue; // many equal depths
        ranges.push_back({rest.low, cut - 1});
        rest.low = cut;
    }
    ranges.push_back(rest);
    return ranges;
}

// Gaussians nearest first, depth's bits above, index below.
struct Sorted {
    uint32_t count = 0;
    uint64_t places = 0; // tiles that they touch, each Gaussian's added up
    Buffer items;
};

// The Gaussians of a range of depth, equal depths in the given order: a stable radix sort of the bits in which nearest
// and farthest differ.
Sorted sort_by_depth(const Drawn &drawn, const TileBox *boxes, DepthRange range) {
    const uint32_t width = range.high - range.low;
    int passes = 1;
    while (passes < MAX_PASSES && width >> passes * DIGIT_BITS) ++passes;
    const auto digit = [](uint32_t depth, int pass) { return depth >> pass * DIGIT_BITS & (DIGITS - 1); };
    const auto in_range = [&](uint64_t item) { return depth_bits(item) - range.low <= width; };
    Sorted sorted;
    for (size_t b = 0; b < drawn.blocks.size(); ++b) {
        const uint64_t *item = drawn.items_of(b);
        for (uint32_t i = 0; i < drawn.blocks[b].count; ++i) sorted.count += in_range(item[i]);
    }
    // One more: an item is written before it is known to belong here.
    sorted.items = Buffer::of<uint64_t>(size_t(sorted.count) + 1);
    Buffer other = Buffer::of<uint64_t>(sorted.count);
    uint64_t *to = sorted.items.as<uint64_t>();
    for (size_t b = 0; b < drawn.blocks.size(); ++b) {
        const uint64_t *item = drawn.items_of(b);
        for (uint32_t i = 0; i < drawn.blocks[b].count; ++i) {
            *to = item[i];
            to += in_range(item[i]);
        }
    }
    uint32_t next[MAX_PASSES][DIGITS] = {};
    const uint64_t *item = sorted.items.as<uint64_t>();
    for (uint32_t i = 0; i < sorted.count; ++i) {
        sorted.places += tiles_of(boxes[uint32_t(item[i])]);
        for (int pass = 0; pass < passes; ++pass) ++next[pass][digit(depth_bits(item[i]) - range.low, pass)];
    }
    for (int pass = 0; pass < passes; ++pass) {
        uint32_t sum = 0;
        for (uint32_t &place : next[pass]) sum += std::exchange(place, sum);
        const uint64_t *from = sorted.items.as<uint64_t>();
        to = other.as<uint64_t>();
        for (uint32_t i = 0; i < sorted.count; ++i)
            to[next[pass][digit(depth_bits(from[i]) - range.low, pass)]++] = from[i];
        std::swap(sorted.items, other);
    }
    return sorted;
}

RangeLists list_range(const Drawn &drawn, const TileBox *boxes, const View &view, DepthRange range) {
    const int tiles = view.tiles_x * view.tiles_y, tiles_x = view.tiles_x;
    const Sorted sorted = sort_by_depth(drawn, boxes, range);
    const uint64_t *order = sorted.items.as<uint64_t>();
    // A stable counting sort by tile. Counts lie two entries behind their tile. Added up they are first places, one entry
    // behind; and when all Gaussians are placed, the ends of the tiles, where the tiles after them begin.
    RangeLists lists{Buffer::of<uint32_t>(size_t(tiles) + 2), Buffer::of<uint32_t>(sorted.places)};
    uint32_t *first = lists.first.as<uint32_t>(), *next = first + 1, *count = first + 2;
    std::memset(first, 0, sizeof(uint32_t) * (size_t(tiles) + 2));
    const Buffer pairs = Buffer::of<uint64_t>(sorted.places + 4); // tile, Gaussian; written up to four at a time
    uint64_t *pair = pairs.as<uint64_t>();
    size_t m = 0;
    for (uint32_t i = 0; i < sorted.count; ++i) {
        const uint32_t g = uint32_t(order[i]);
        const TileBox box = boxes[g];
        const uint32_t width = box.x1 - box.x0, height = box.y1 - box.y0, corner = box.y0 * tiles_x + box.x0;
        if (width <= 2 && height <= 2) { // nearly all; a loop over so few would mispredict its end every time
            const uint32_t right = corner + (width - 1), below = corner + (height - 1) * tiles_x;
            const uint32_t wide = width - 1, tall = height - 1;
            pair[m] = uint64_t(corner) << 32 | g;
            ++count[corner];
            m += 1;
            pair[m] = uint64_t(right) << 32 | g;
            count[right] += wide;
            m += wide;
            pair[m] = uint64_t(below) << 32 | g;
            count[below] += tall;
            m += tall;
            pair[m] = uint64_t(below + wide) << 32 | g;
            count[below + wide] += wide & tall;
            m += wide & tall;
            continue;
        }
        for (uint32_t y = 0; y < height; ++y)
            for (uint32_t x = 0; x < width; ++x) {
                const uint32_t tile = corner + y * tiles_x + x;
                pair[m++] = uint64_t(tile) << 32 | g;
                ++count[tile];
            }
    }
    for (int tile = 0; tile < tiles; ++tile) next[tile + 1] += next[tile];
    uint32_t *ids = lists.ids.as<uint32_t>();
    for (size_t i = 0; i < m; ++i) ids[next[pair[i] >> 32]++] = uint32_t(pair[i]);
    return lists;
}

} // namespace

void Drawn::find(size_t block, const TileBox *boxes, const float *means, size_t gaussians) {
    uint64_t *item = items.as<uint64_t>() + block * GRAIN;
    Block found;
    for (size_t i = block * GRAIN, end = std::min(i + GRAIN, gaussians); i < end; ++i) {
        const uint32_t tiles = tiles_of(boxes[i]);
        uint32_t depth;
        std::memcpy(&depth, means + 3 * i + 2, 4);
        item[found.count] = uint64_t(depth) << 32 | uint32_t(i);
        found.count += tiles != 0;
        found.places += tiles;
        found.low = tiles ? std::min(found.low, depth) : found.low;
        found.high = tiles ? std::max(found.high, depth) : found.high;
    }
    for (uint32_t k = 0; k < found.samples(); ++k) found.sample[k] = depth_bits(item[k * SAMPLE_STEP]);
    blocks[block] = found;
}

std::vector<RangeLists> list_tiles(const Drawn &drawn, const TileBox *boxes, const View &view, int workers) {
    uint64_t places = 0;
    for (const Drawn::Block &block : drawn.blocks) places += block.places;
    if (places > MAX_PLACES) throw std::length_error("Too many Gaussians times tiles for the rasteriser's lists.");
    const std::vector<DepthRange> ranges = cut_depths(drawn, workers);
    std::vector<RangeLists> lists(ranges.size());
    parallel_for(int(ranges.size()), workers,
                 [&](int n, int) { lists[size_t(n)] = list_range(drawn, boxes, view, ranges[size_t(n)]); });
    return lists;
}

} // namespace gswap
