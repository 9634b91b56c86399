// What the kernels of one instruction set offer, and the plain data that they exchange with their callers.
#pragma once
#include <cstddef>
#include <cstdint>

namespace gswap {

constexpr int TILE = 16;  // pixels: side of the square whose Gaussians are listed together
constexpr int CHUNK = 64; // Gaussians of a tile handled at once: one bit each in a 64-bit word
constexpr int MAX_CHANNELS = 32;
// Numbers of channels that kernels are compiled for; others are padded.
#if defined(GSWAP_FEW_CHANNEL_KERNELS)
constexpr int CHANNEL_CLASSES[] = {4, 9, 32}; // one for each layout that the code tells apart
#else
constexpr int CHANNEL_CLASSES[] = {4, 8, 9, 16, 24, 32};
#endif
constexpr int CHANNEL_CLASS_COUNT = sizeof CHANNEL_CLASSES / sizeof *CHANNEL_CLASSES;

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

// Gaussians bound to the faces of a posed mesh (eq. 7), for those that are visible.
struct BindJob {
    int count;                // visible Gaussians
    const int64_t *visible;   // count: which of the field's
    const int64_t *corners;   // count x 3: vertices of the triangle of each
    const float *vertices;    // vertices x 3, camera frame, metres
    const float *face_quats;  // count x 4: unit, wxyz
    const float *stretch;     // count
    const float *bary, *rotation, *log_scale, *offset, *head_weight; // per Gaussian of the field: 3, 4, 3, 3, 1
    const float *pivot, *correction; // 3; 6 (rotation vector, translation in units of row_metres) or null
    float row_metres;
};
struct BindGradients {
    const float *d_means, *d_quats, *d_scales;         // count rows
    float *d_rotation, *d_log_scale, *d_offset;        // per Gaussian of the field; zero where not visible
    float *d_points;                                   // count x 3: of the point on the triangle
};

// Background encoder, fusion and rerenderer. Images are planar; weights as torch's conv2d has them (out, in, 3, 3).
struct Convolution {
    int in, out;
    const float *weight, *bias;
};
struct CnnJob {
    int width, height;
    const float *plate, *features, *alpha, *head; // 3, 8, 1, 1 channels
    Convolution layers[5];                        // encoder 3-8-5, rerenderer 8-8-8-3
    bool last_relu;
    float *out; // 3 channels
    uint64_t (*clock)(); // nanoseconds; null = nobody wants to know where the time goes
    uint64_t *spent;     // task x (encoder, fusion, rerenderer), nanoseconds
};
constexpr int CNN_BAND = 64, CNN_MAX_STRIP = 240; // rows and most columns of a task
inline int cnn_strips(int width) { return (width + CNN_MAX_STRIP - 1) / CNN_MAX_STRIP; }

struct Kernels {
    const char *name;
    int lanes, blocks; // blocks = pixels of a tile / lanes
    // Gaussians [begin, end); returns the NotFinite flags of what it saw.
    uint32_t (*project)(const ProjectJob &, int begin, int end);
    size_t forward_scratch[CHANNEL_CLASS_COUNT], backward_scratch[CHANNEL_CLASS_COUNT]; // bytes, 64-byte aligned
    void (*forward[CHANNEL_CLASS_COUNT])(const ForwardJob &, void *scratch, int tile);
    void (*backward[CHANNEL_CLASS_COUNT])(const BackwardJob &, void *scratch, int tile);
    int record_floats[CHANNEL_CLASS_COUNT];
    void (*reduce[CHANNEL_CLASS_COUNT])(const ReduceJob &, int begin, int end);
    void (*bind_forward)(const BindJob &, float *means, float *quats, float *scales, int begin, int end);
    // Adds the correction's gradient of Gaussians [begin, end) to d_correction[6].
    void (*bind_backward)(const BindJob &, const BindGradients &, int begin, int end, double *d_correction);
    size_t cnn_scratch;
    void (*cnn)(const CnnJob &, void *scratch, int strip, int band);
};

inline int channel_class(int channels) {
    int k = 0;
    while (CHANNEL_CLASSES[k] < channels) ++k;
    return k;
}

} // namespace gswap
