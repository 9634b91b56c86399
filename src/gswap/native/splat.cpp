// The rasteriser between Python and its kernels: lists by tile, the frame kept for the backward pass, memory.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/shared_ptr.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "dispatch.h"
#include "memory.h"
#include "pool.h"
#include "tensors.h"

namespace nb = nanobind;

namespace gswap {
namespace {

constexpr int GRAIN = 2048; // Gaussians per task of the stages that run over Gaussians
constexpr int DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS;
constexpr uint64_t MAX_PLACES = uint64_t(1) << 31; // Gaussians times the tiles of each

// What the backward pass needs of a forward pass. Immutable once made.
struct Frame {
    const Kernels *kernels;
    View view;
    int count, channels, tiles;
    Buffer splats, boxes, first, ids, first_chunk, used_chunks, touched, transmittance;

    TileLists lists() const {
        return {splats.as<Splat>(),          boxes.as<TileBox>(),         first.as<uint32_t>(),
                ids.as<uint32_t>(),          first_chunk.as<uint32_t>(),  used_chunks.as<uint32_t>(),
                touched.as<uint64_t>(),      transmittance.as<float>()};
    }
};

// Milliseconds of the stages of the last forward and backward pass of this process (for the benchmark).
struct StageTimes {
    std::atomic<double> project{0}, sort{0}, bin{0}, composite{0}, backward{0}, reduce{0};
} times;

class Stopwatch {
  public:
    double lap() {
        const auto now = std::chrono::steady_clock::now();
        const double ms = std::chrono::duration<double, std::milli>(now - start_).count();
        start_ = now;
        return ms;
    }

  private:
    std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

bool drawn(const TileBox &box) { return box.x0 < box.x1; }
uint32_t tiles_of(const TileBox &box) { return uint32_t(box.x1 - box.x0) * uint32_t(box.y1 - box.y0); }

uint32_t project(Frame &frame, const Gaussians &in, int workers) {
    frame.splats = Buffer::of<Splat>(in.count);
    frame.boxes = Buffer::of<TileBox>(in.count);
    const ProjectJob job{frame.view, in, frame.splats.as<Splat>(), frame.boxes.as<TileBox>()};
    std::atomic<uint32_t> bad{0};
    parallel_for((in.count + GRAIN - 1) / GRAIN, workers, [&](int task, int) {
        const int begin = task * GRAIN;
        bad |= frame.kernels->project(job, begin, std::min(begin + GRAIN, in.count));
    });
    return bad;
}

// The drawn Gaussians, nearest first, equal depths in the given order: depth bits above, index below. Depths are
// positive, so their bit patterns sort as they do, and only the bits in which nearest and farthest differ need sorting.
Buffer sort_by_depth(const Frame &frame, const float *means, int &drawn_count) {
    const TileBox *boxes = frame.boxes.as<TileBox>();
    const size_t n = size_t(frame.count);
    Buffer sorted = Buffer::of<uint64_t>(n), other = Buffer::of<uint64_t>(n);
    uint64_t *item = sorted.as<uint64_t>();
    uint32_t m = 0, low = ~0u, high = 0;
    for (size_t i = 0; i < n; ++i) {
        if (!drawn(boxes[i])) continue;
        uint32_t word;
        std::memcpy(&word, means + 3 * i + 2, 4);
        low = std::min(low, word);
        high = std::max(high, word);
        item[m++] = uint64_t(word) << 32 | i;
    }
    drawn_count = int(m);
    const uint32_t range = m ? high - low : 0;
    for (int shift = 0; shift < 32 && range >> shift; shift += DIGIT_BITS) {
        uint32_t start[DIGITS] = {};
        const uint64_t *from = sorted.as<uint64_t>();
        uint64_t *to = other.as<uint64_t>();
        const auto digit = [&](uint64_t v) { return ((uint32_t(v >> 32) - low) >> shift) & (DIGITS - 1); };
        for (uint32_t i = 0; i < m; ++i) ++start[digit(from[i])];
        uint32_t sum = 0;
        for (uint32_t &s : start) sum += std::exchange(s, sum);
        for (uint32_t i = 0; i < m; ++i) to[start[digit(from[i])]++] = from[i];
        std::swap(sorted, other);
    }
    return sorted;
}

// Lists by tile: a stable counting sort, each worker placing a contiguous part of the depth order.
void list_tiles(Frame &frame, const uint64_t *order, int n, int workers) {
    const TileBox *boxes = frame.boxes.as<TileBox>();
    const int tiles = frame.tiles, tiles_x = frame.view.tiles_x;
    const int parts = std::max(1, std::min(workers, n / GRAIN));
    Buffer counts = Buffer::of<uint32_t>(size_t(parts) * tiles);
    std::vector<Buffer> pairs(static_cast<size_t>(parts)); // tile and Gaussian, in depth order
    std::vector<size_t> pair_counts(static_cast<size_t>(parts));
    parallel_for(parts, workers, [&](int part, int) {
        uint32_t *count = counts.as<uint32_t>() + size_t(part) * tiles;
        std::memset(count, 0, sizeof(uint32_t) * size_t(tiles));
        const size_t begin = size_t(n) * part / parts, end = size_t(n) * (part + 1) / parts;
        size_t total = 4; // the branchless path below writes up to four places at a time
        for (size_t i = begin; i < end; ++i) total += tiles_of(boxes[uint32_t(order[i])]);
        if (total > MAX_PLACES) throw std::length_error("Too many Gaussians times tiles for the rasteriser's lists.");
        pairs[part] = Buffer::of<uint64_t>(total);
        uint64_t *pair = pairs[part].as<uint64_t>();
        size_t m = 0;
        for (size_t i = begin; i < end; ++i) {
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
        pair_counts[part] = m;
    });
    frame.first = Buffer::of<uint32_t>(tiles + 1);
    frame.first_chunk = Buffer::of<uint32_t>(tiles + 1);
    frame.used_chunks = Buffer::of<uint32_t>(tiles);
    uint32_t *first = frame.first.as<uint32_t>(), *first_chunk = frame.first_chunk.as<uint32_t>();
    uint64_t total = 0, chunks = 0;
    for (int tile = 0; tile < tiles; ++tile) {
        first[tile] = uint32_t(total);
        first_chunk[tile] = uint32_t(chunks);
        for (int part = 0; part < parts; ++part)
            total += std::exchange(counts.as<uint32_t>()[size_t(part) * tiles + tile], uint32_t(total));
        chunks += (total - first[tile] + CHUNK - 1) / CHUNK;
    }
    if (total > MAX_PLACES) throw std::length_error("Too many Gaussians times tiles for the rasteriser's lists.");
    first[tiles] = uint32_t(total);
    first_chunk[tiles] = uint32_t(chunks);
    frame.ids = Buffer::of<uint32_t>(total);
    uint32_t *ids = frame.ids.as<uint32_t>();
    parallel_for(parts, workers, [&](int part, int) {
        uint32_t *next = counts.as<uint32_t>() + size_t(part) * tiles;
        const uint64_t *pair = pairs[part].as<uint64_t>();
        for (size_t i = 0; i < pair_counts[part]; ++i) ids[next[pair[i] >> 32]++] = uint32_t(pair[i]);
    });
}

[[noreturn]] void refuse(uint32_t bad) {
    static const char *const names[] = {"means", "quats", "scales", "opacities", "features"};
    for (int k = 0; k < 5; ++k)
        if (bad >> k & 1) throw std::invalid_argument(names[k]);
    throw std::logic_error("no flag");
}

Gaussians gaussians(const Points &means, const Quats &quats, const Points &scales, const Vector &opacities,
                    const Matrix &features) {
    const size_t n = means.shape(0);
    if (quats.shape(0) != n || scales.shape(0) != n || opacities.shape(0) != n || features.shape(0) != n)
        throw std::length_error("The rasteriser's tensors differ in their number of Gaussians.");
    if (features.shape(1) < 1 || features.shape(1) > MAX_CHANNELS || n > size_t(1) << 30)
        throw std::length_error("The rasteriser takes 1 to 32 channels and up to 2^30 Gaussians.");
    return {int(n),        int(features.shape(1)), means.data(),   quats.data(),
            scales.data(), opacities.data(),       features.data()};
}

nb::tuple forward(Points means, Quats quats, Points scales, Vector opacities, Matrix features, nb::tuple camera,
                  float near, bool keep) {
    const Gaussians in = gaussians(means, quats, scales, opacities, features);
    auto frame = std::make_shared<Frame>();
    const int width = nb::cast<int>(camera[3]), height = nb::cast<int>(camera[4]);
    frame->kernels = &kernels();
    frame->view = {nb::cast<float>(camera[0]), nb::cast<float>(camera[1]), nb::cast<float>(camera[2]), near,
                   width, height, (width + TILE - 1) / TILE, (height + TILE - 1) / TILE};
    frame->count = in.count;
    frame->channels = in.channels;
    frame->tiles = frame->view.tiles_x * frame->view.tiles_y;
    const size_t pixels = size_t(width) * height;
    Buffer image = Buffer::of<float>(pixels * in.channels), alpha = Buffer::of<float>(pixels);
    {
        nb::gil_scoped_release release;
        const int workers = thread_count();
        Stopwatch watch;
        const uint32_t bad = project(*frame, in, workers);
        if (bad) refuse(bad);
        times.project = watch.lap();
        int drawn_count = 0;
        const Buffer order = sort_by_depth(*frame, in.means, drawn_count);
        times.sort = watch.lap();
        list_tiles(*frame, order.as<uint64_t>(), drawn_count, workers);
        times.bin = watch.lap();
        if (keep) {
            const size_t chunks = frame->first_chunk.as<uint32_t>()[frame->tiles];
            frame->touched = Buffer::of<uint64_t>(chunks * frame->kernels->blocks);
            frame->transmittance = Buffer::of<float>(chunks * TILE * TILE);
        }
        const int kind = channel_class(in.channels);
        const ForwardJob job{frame->view, in, frame->lists(), image.as<float>(), alpha.as<float>()};
        Scratch scratch(frame->kernels->forward_scratch[kind], workers);
        parallel_for(frame->tiles, workers,
                     [&](int tile, int worker) { frame->kernels->forward[kind](job, scratch.of(worker), tile); });
        times.composite = watch.lap();
    }
    nb::object kept = nb::none();
    if (keep) kept = nb::cast(frame);
    return nb::make_tuple(tensor(std::move(image), {size_t(in.channels), size_t(height), size_t(width)}),
                          tensor(std::move(alpha), {size_t(height), size_t(width)}), kept);
}

nb::tuple backward(const std::shared_ptr<Frame> &frame, Points means, Quats quats, Points scales, Vector opacities,
                   Matrix features, Volume d_image, Matrix d_alpha) {
    const Gaussians in = gaussians(means, quats, scales, opacities, features);
    const View &view = frame->view;
    const size_t n = size_t(in.count), height = size_t(view.height), width = size_t(view.width);
    if (in.count != frame->count || in.channels != frame->channels || d_image.shape(0) != size_t(in.channels) ||
        d_image.shape(1) != height || d_image.shape(2) != width || d_alpha.shape(0) != height ||
        d_alpha.shape(1) != width)
        throw std::length_error("The gradients do not belong to this frame.");
    Buffer d_means = Buffer::of<float>(3 * n), d_quats = Buffer::of<float>(4 * n), d_scales = Buffer::of<float>(3 * n);
    Buffer d_opacities = Buffer::of<float>(n), d_features = Buffer::of<float>(n * in.channels);
    {
        nb::gil_scoped_release release;
        const int workers = thread_count(), kind = channel_class(in.channels);
        const Kernels &k = *frame->kernels;
        Stopwatch watch;
        Buffer first_record = Buffer::of<uint32_t>(n + 1);
        uint32_t *first = first_record.as<uint32_t>(), total = 0;
        const TileBox *boxes = frame->boxes.as<TileBox>();
        for (size_t i = 0; i < n; ++i) {
            first[i] = total;
            total += tiles_of(boxes[i]);
        }
        first[n] = total;
        Buffer records = Buffer::of<float>(size_t(total) * k.record_floats[kind]);
        const BackwardJob job{view, in, frame->lists(), d_image.data(), d_alpha.data(), first, records.as<float>()};
        Scratch scratch(k.backward_scratch[kind], workers);
        parallel_for(frame->tiles, workers,
                     [&](int tile, int worker) { k.backward[kind](job, scratch.of(worker), tile); });
        times.backward = watch.lap();
        const ReduceJob last{view,
                             in,
                             boxes,
                             first,
                             records.as<float>(),
                             d_means.as<float>(),
                             d_quats.as<float>(),
                             d_scales.as<float>(),
                             d_opacities.as<float>(),
                             d_features.as<float>()};
        parallel_for((in.count + GRAIN - 1) / GRAIN, workers, [&](int task, int) {
            const int begin = task * GRAIN;
            k.reduce[kind](last, begin, std::min(begin + GRAIN, in.count));
        });
        times.reduce = watch.lap();
    }
    return nb::make_tuple(tensor(std::move(d_means), {n, 3}), tensor(std::move(d_quats), {n, 4}),
                          tensor(std::move(d_scales), {n, 3}), tensor(std::move(d_opacities), {n}),
                          tensor(std::move(d_features), {n, size_t(in.channels)}));
}

} // namespace
} // namespace gswap

void register_splat(nb::module_ &m) {
    using namespace gswap;
    nb::class_<Frame>(m, "SplatFrame", "What splat_backward needs of a splat_forward.");
    m.def("splat_forward", &forward, nb::arg("means"), nb::arg("quats"), nb::arg("scales"), nb::arg("opacities"),
          nb::arg("features"), nb::arg("camera"), nb::arg("near"), nb::arg("keep"),
          "Splat (camera = focal, cx, cy, width, height). Returns image, alpha, and a SplatFrame if `keep`, else None. "
          "Raises ValueError with the name of a tensor that is not finite.");
    m.def("splat_backward", &backward, nb::arg("frame"), nb::arg("means"), nb::arg("quats"), nb::arg("scales"),
          nb::arg("opacities"), nb::arg("features"), nb::arg("d_image"), nb::arg("d_alpha"),
          "Gradients of the five tensors.");
    m.def(
        "splat_times",
        [] {
            nb::dict d;
            d["project"] = times.project.load();
            d["sort"] = times.sort.load();
            d["bin"] = times.bin.load();
            d["composite"] = times.composite.load();
            d["backward"] = times.backward.load();
            d["reduce"] = times.reduce.load();
            return d;
        },
        "Milliseconds of the stages of the last forward and backward pass.");
}
