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

// The drawn Gaussians, nearest first, equal depths in the given order. Depths are positive, so their bit patterns sort
// as they do, and only the bits in which nearest and farthest differ need sorting.
Buffer sort_by_depth(const Frame &frame, const float *means, int &drawn_count) {
    const TileBox *boxes = frame.boxes.as<TileBox>();
    const size_t n = size_t(frame.count);
    Buffer keys = Buffer::of<uint32_t>(n), other_keys = Buffer::of<uint32_t>(n);
    Buffer order = Buffer::of<uint32_t>(n), other_order = Buffer::of<uint32_t>(n);
    uint32_t *key = keys.as<uint32_t>(), *value = order.as<uint32_t>();
    uint32_t m = 0, low = ~0u, high = 0;
    for (size_t i = 0; i < n; ++i) {
        if (!drawn(boxes[i])) continue;
        uint32_t word;
        std::memcpy(&word, means + 3 * i + 2, 4);
        low = std::min(low, word);
        high = std::max(high, word);
        key[m] = word;
        value[m++] = uint32_t(i);
    }
    drawn_count = int(m);
    const uint32_t range = m ? high - low : 0;
    for (int shift = 0; shift < 32 && range >> shift; shift += DIGIT_BITS) {
        uint32_t start[DIGITS] = {};
        const uint32_t *from = keys.as<uint32_t>(), *from_value = order.as<uint32_t>();
        for (uint32_t i = 0; i < m; ++i) ++start[((from[i] - low) >> shift) & (DIGITS - 1)];
        uint32_t sum = 0;
        for (uint32_t &s : start) sum += std::exchange(s, sum);
        uint32_t *to = other_keys.as<uint32_t>(), *to_value = other_order.as<uint32_t>();
        for (uint32_t i = 0; i < m; ++i) {
            const uint32_t place = start[((from[i] - low) >> shift) & (DIGITS - 1)]++;
            to[place] = from[i];
            to_value[place] = from_value[i];
        }
        std::swap(keys, other_keys);
        std::swap(order, other_order);
    }
    return order;
}

// Lists by tile: a stable counting sort, each worker placing a contiguous part of the depth order.
void list_tiles(Frame &frame, const uint32_t *order, int n, int workers) {
    const TileBox *boxes = frame.boxes.as<TileBox>();
    const int tiles = frame.tiles, tiles_x = frame.view.tiles_x;
    const int parts = std::max(1, std::min(workers, n / GRAIN));
    Buffer counts = Buffer::of<uint32_t>(size_t(parts) * tiles);
    const auto for_each_tile = [&](int part, auto &&visit) {
        const int begin = int(int64_t(n) * part / parts), end = int(int64_t(n) * (part + 1) / parts);
        for (int i = begin; i < end; ++i) {
            const uint32_t g = order[i];
            const TileBox box = boxes[g];
            for (int y = box.y0; y < box.y1; ++y)
                for (int x = box.x0; x < box.x1; ++x) visit(y * tiles_x + x, g);
        }
    };
    parallel_for(parts, workers, [&](int part, int) {
        uint32_t *count = counts.as<uint32_t>() + size_t(part) * tiles;
        std::memset(count, 0, sizeof(uint32_t) * size_t(tiles));
        for_each_tile(part, [&](int tile, uint32_t) { ++count[tile]; });
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
    if (total > (uint64_t(1) << 31))
        throw std::length_error("The Gaussians cover " + std::to_string(total) +
                                " tiles in sum, more than the rasteriser can list.");
    first[tiles] = uint32_t(total);
    first_chunk[tiles] = uint32_t(chunks);
    frame.ids = Buffer::of<uint32_t>(total);
    uint32_t *ids = frame.ids.as<uint32_t>();
    parallel_for(parts, workers, [&](int part, int) {
        uint32_t *next = counts.as<uint32_t>() + size_t(part) * tiles;
        for_each_tile(part, [&](int tile, uint32_t g) { ids[next[tile]++] = g; });
    });
}

[[noreturn]] void refuse(uint32_t bad) {
    static const char *const names[] = {"means", "quats", "scales", "opacities", "features"};
    for (int k = 0; k < 5; ++k)
        if (bad >> k & 1) throw std::invalid_argument(names[k]);
    throw std::logic_error("no flag");
}

// One aligned scratch area per worker.
class Scratch {
  public:
    Scratch(size_t bytes, int workers) : stride_((bytes + 4095) / 4096 * 4096), buffer_(stride_ * size_t(workers)) {}
    void *of(int worker) { return buffer_.as<char>() + stride_ * size_t(worker); }

  private:
    size_t stride_;
    Buffer buffer_;
};

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
        list_tiles(*frame, order.as<uint32_t>(), drawn_count, workers);
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
