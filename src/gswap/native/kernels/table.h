// What the kernels of one instruction set offer, and the plain data that they exchange with their callers.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gswap {

constexpr int TILE = 16;  // pixels: side of the square whose Gaussians are listed together
constexpr int CHUNK = 64; // Gaussians of a tile handled at once: one bit each in a 64-bit word
constexpr int MAX_CHANNELS = 32;
constexpr int CHANNEL_CLASSES = 6; // kernels are compiled for 4, 8, 9, 16, 24 and 32 channels; others are padded

// A Gaussian in the image: alpha(p) = 2^(power - (a dx + b dy)^2 - (c dy)^2), (dx, dy) = p - mean.
// The factored quadratic form does not cancel for long thin Gaussians, and the mean is split into a whole number
// and a remainder so that its distance to a tile's corner is exact to 2^-20 pixel in an image of any size.
struct Splat {
    float whole_x, whole_y, part_x, part_y, a, b, c, power;
};

// Tiles that a Gaussian may touch: [x0, x1) x [y0, y1). Empty = it is not drawn.
struct TileBox {
    uint16_t x0, x1, y0, y1;
};

struct View {
    float focal, cx, cy, near;
    int width, height, tiles_x, tiles_y;
};

// The given Gaussians; features is n x channels.
struct Gaussians {
    int count, channels;
    const float *means, *quats, *scales, *opacities, *features;
};

struct ProjectJob {
    View view;
    Gaussians in;
    Splat *splats;
    TileBox *boxes;
};
enum NotFinite : uint32_t { MEANS = 1, QUATS = 2, SCALES = 4, OPACITIES = 8, FEATURES = 16 };

// The drawn Gaussians by tile, nearest first, and what is kept of the forward pass for the backward one.
struct TileLists {
    const Splat *splats;
    const TileBox *boxes;
    const uint32_t *first;       // tile -> first place in `ids`; tiles + 1 entries
    const uint32_t *ids;         // place -> Gaussian
    const uint32_t *first_chunk; // tile -> first chunk; tiles + 1 entries
    uint32_t *used_chunks;       // tile -> chunks that were reached before every pixel had stopped
    uint64_t *touched;           // chunk x block -> one bit per Gaussian of the chunk; null in inference
    float *transmittance;        // chunk x pixel of the tile, at the chunk's start, 0 = stopped; null in inference
};

struct ForwardJob {
    View view;
    Gaussians in;
    TileLists lists;
    float *image, *alpha;
};

struct BackwardJob {
    View view;
    Gaussians in;
    TileLists lists;
    const float *d_image, *d_alpha;
    const uint32_t *first_record; // Gaussian -> its first record; one record per tile of its box
    float *records;
};

struct ReduceJob {
    View view;
    Gaussians in;
    const TileBox *boxes;
    const uint32_t *first_record;
    const float *records;
    float *d_means, *d_quats, *d_scales, *d_opacities, *d_features;
};

struct Kernels {
    const char *name;
    int lanes, blocks; // blocks = pixels of a tile / lanes
    // Gaussians [begin, end); returns the NotFinite flags of what it saw.
    uint32_t (*project)(const ProjectJob &, int begin, int end);
    size_t forward_scratch[CHANNEL_CLASSES], backward_scratch[CHANNEL_CLASSES]; // bytes, 64-byte aligned
    void (*forward[CHANNEL_CLASSES])(const ForwardJob &, void *scratch, int tile);
    void (*backward[CHANNEL_CLASSES])(const BackwardJob &, void *scratch, int tile);
    int record_floats[CHANNEL_CLASSES];
    void (*reduce[CHANNEL_CLASSES])(const ReduceJob &, int begin, int end);
};

inline int channel_class(int channels) {
    return channels <= 4 ? 0 : channels <= 8 ? 1 : channels == 9 ? 2 : channels <= 16 ? 3 : channels <= 24 ? 4 : 5;
}

} // namespace gswap
