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
#include "tile_lists.h"

namespace nb = nanobind;

namespace gswap {
namespace {

// What the backward pass needs of a forward pass. Immutable once made.
struct Frame {
    const Kernels *kernels;
    View view;
    int count, channels, tiles;
    std::vector<uint64_t> first_record; // of each block of GRAIN Gaussians, and the number of all records
    Buffer splats, boxes, first, ids, first_chunk, used_chunks, touched, transmittance;

    TileLists lists() const {
        return {splats.as<Splat>(),          boxes.as<TileBox>(),         first.as<uint32_t>(),
                ids.as<uint32_t>(),          first_chunk.as<uint32_t>(),  used_chunks.as<uint32_t>(),
                touched.as<uint64_t>(),      transmittance.as<float>()};
    }
};

// Milliseconds of the stages of the last forward and backward pass of this process (for the benchmark).
struct StageTimes {
    std::atomic<double> project{0}, list{0}, composite{0}, backward{0}, reduce{0};
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

// Projects and finds the drawn Gaussians. Returns the NotFinite flags.
uint32_t project(Frame &frame, const Gaussians &in, Drawn &drawn, int workers) {
    frame.splats = Buffer::of<Splat>(in.count);
    frame.boxes = Buffer::of<TileBox>(in.count);
    const ProjectJob job{frame.view, in, frame.splats.as<Splat>(), frame.boxes.as<TileBox>()};
    std::atomic<uint32_t> bad{0};
    parallel_for(int(drawn.blocks.size()), workers, [&](int block, int) {
        const int begin = block * GRAIN;
        bad |= frame.kernels->project(job, begin, std::min(begin + GRAIN, in.count));
        drawn.find(size_t(block), job.boxes, in.means, size_t(in.count));
    });
    frame.first_record.assign(1, 0);
    for (const Drawn::Block &block : drawn.blocks)
        frame.first_record.push_back(frame.first_record.back() + block.places);
    return bad;
}

// Makes room for the joined lists; copy_tile() fills it.
void join_lists(Frame &frame, const std::vector<RangeLists> &ranges) {
    const int tiles = frame.tiles;
    frame.first = Buffer::of<uint32_t>(tiles + 1);
    frame.first_chunk = Buffer::of<uint32_t>(tiles + 1);
    frame.used_chunks = Buffer::of<uint32_t>(tiles);
    uint32_t *first = frame.first.as<uint32_t>(), *first_chunk = frame.first_chunk.as<uint32_t>();
    first[0] = first_chunk[0] = 0;
    for (int tile = 0; tile < tiles; ++tile) {
        uint32_t count = 0;
        for (const RangeLists &lists : ranges) count += lists.count(tile);
        first[tile + 1] = first[tile] + count;
        first_chunk[tile + 1] = first_chunk[tile] + (count + CHUNK - 1) / CHUNK;
    }
    frame.ids = Buffer::of<uint32_t>(first[tiles]);
}

void copy_tile(Frame &frame, const std::vector<RangeLists> &ranges, int tile) {
    uint32_t *to = frame.ids.as<uint32_t>() + frame.first.as<uint32_t>()[tile];
    for (const RangeLists &lists : ranges) to = std::copy_n(lists.of(tile), lists.count(tile), to);
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
        Drawn drawn(size_t(in.count));
        const uint32_t bad = project(*frame, in, drawn, workers);
        if (bad) refuse(bad);
        times.project = watch.lap();
        const std::vector<RangeLists> ranges =
            list_tiles(drawn, frame->boxes.as<TileBox>(), frame->view, workers);
        join_lists(*frame, ranges);
        times.list = watch.lap();
        if (keep) {
            const size_t chunks = frame->first_chunk.as<uint32_t>()[frame->tiles];
            frame->touched = Buffer::of<uint64_t>(chunks * frame->kernels->blocks);
            frame->transmittance = Buffer::of<float>(chunks * TILE * TILE);
        }
        const int kind = channel_class(in.channels);
        const ForwardJob job{frame->view, in, frame->lists(), image.as<float>(), alpha.as<float>()};
        Scratch scratch(frame->kernels->forward_scratch[kind], workers);
        parallel_for(frame->tiles, workers, [&](int tile, int worker) {
            copy_tile(*frame, ranges, tile);
            frame->kernels->forward[kind](job, scratch.of(worker), tile);
        });
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
        const TileBox *boxes = frame->boxes.as<TileBox>();
        Buffer first_record = Buffer::of<uint32_t>(n + 1);
        uint32_t *first = first_record.as<uint32_t>();
        const int blocks = int(frame->first_record.size()) - 1;
        first[n] = uint32_t(frame->first_record.back());
        parallel_for(blocks, workers, [&](int block, int) {
            uint32_t next = uint32_t(frame->first_record[size_t(block)]);
            for (size_t i = size_t(block) * GRAIN, end = std::min(i + GRAIN, n); i < end; ++i) {
                first[i] = next;
                next += tiles_of(boxes[i]);
            }
        });
        Buffer records = Buffer::of<float>(size_t(first[n]) * k.record_floats[kind]);
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
        parallel_for(blocks, workers, [&](int block, int) {
            const int begin = block * GRAIN;
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
            d["list"] = times.list.load();
            d["composite"] = times.composite.load();
            d["backward"] = times.backward.load();
            d["reduce"] = times.reduce.load();
            return d;
        },
        "Milliseconds of the stages of the last forward and backward pass.");
}
