// Compares the kernels of this processor with the portable ones on one scene, without Python: run_cross.sh builds it
// for another processor and runs it in an emulator. The portable kernels are tested against the float64 reference.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "kernels/table.h"

namespace gswap {
namespace portable {
const Kernels *table();
}
namespace baseline {
const Kernels *table();
}
} // namespace gswap

using namespace gswap;
using Floats = std::vector<float>;

namespace {

std::mt19937 source(7);
Floats uniform(size_t n, float low, float high) {
    std::uniform_real_distribution<float> draw(low, high);
    Floats out(n);
    for (float &x : out) x = draw(source);
    return out;
}

struct Aligned { // scratch memory as the kernels want it
    void *data;
    explicit Aligned(size_t bytes) : data(std::aligned_alloc(64, (bytes + 63) / 64 * 64)) { std::memset(data, 0, bytes); }
    ~Aligned() { std::free(data); }
};

int failures = 0;
void compare(const char *what, const Floats &a, const Floats &b, double tolerance) {
    double error = 0, norm = 0;
    for (size_t i = 0; i < a.size(); ++i) {
        error += double(a[i] - b[i]) * double(a[i] - b[i]);
        norm += double(b[i]) * double(b[i]);
    }
    const double relative = std::sqrt(error / std::max(norm, 1e-30));
    const bool good = relative <= tolerance;
    failures += !good;
    std::printf("%-12s relative difference %.1e%s\n", what, relative, good ? "" : "  TOO LARGE");
}

struct SplatResult {
    Floats image, alpha, d_means, d_quats, d_scales, d_opacities, d_features;
};

SplatResult splat(const Kernels &k, const View &view, const Gaussians &in, const Floats &d_image, const Floats &d_alpha) {
    const int n = in.count, tiles = view.tiles_x * view.tiles_y, kind = channel_class(in.channels);
    std::vector<Splat> splats(size_t(n), Splat{});
    std::vector<TileBox> boxes(size_t(n), TileBox{});
    if (k.project({view, in, splats.data(), boxes.data()}, 0, n)) std::printf("a value is not finite\n"), ++failures;
    std::vector<uint32_t> order(static_cast<size_t>(n));
    std::iota(order.begin(), order.end(), 0u);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return in.means[3 * a + 2] < in.means[3 * b + 2]; });
    std::vector<std::vector<uint32_t>> lists(static_cast<size_t>(tiles));
    std::vector<uint32_t> first_record(size_t(n) + 1, 0);
    for (uint32_t g : order)
        for (int y = boxes[g].y0; y < boxes[g].y1; ++y)
            for (int x = boxes[g].x0; x < boxes[g].x1; ++x) lists[size_t(y * view.tiles_x + x)].push_back(g);
    for (int g = 0; g < n; ++g)
        first_record[g + 1] = first_record[g] + uint32_t((boxes[g].x1 - boxes[g].x0) * (boxes[g].y1 - boxes[g].y0));
    std::vector<uint32_t> first(1, 0), first_chunk(1, 0), ids, used(static_cast<size_t>(tiles));
    for (const auto &list : lists) {
        ids.insert(ids.end(), list.begin(), list.end());
        first.push_back(uint32_t(ids.size()));
        first_chunk.push_back(first_chunk.back() + uint32_t((list.size() + CHUNK - 1) / CHUNK));
    }
    std::vector<uint64_t> touched(size_t(first_chunk.back()) * k.blocks);
    Floats light(size_t(first_chunk.back()) * TILE * TILE), records(size_t(first_record[n]) * k.record_floats[kind]);
    const TileLists tile_lists{splats.data(), boxes.data(), first.data(), ids.data(), first_chunk.data(), used.data(),
                               touched.data(), light.data()};
    const size_t pixels = size_t(view.width) * view.height, N = size_t(n), C = size_t(in.channels);
    SplatResult r{Floats(C * pixels), Floats(pixels), Floats(3 * N), Floats(4 * N), Floats(3 * N), Floats(N), Floats(C * N)};
    const Aligned forward(k.forward_scratch[kind]), backward(k.backward_scratch[kind]);
    const ForwardJob draw{view, in, tile_lists, r.image.data(), r.alpha.data()};
    for (int tile = 0; tile < tiles; ++tile) k.forward[kind](draw, forward.data, tile);
    const BackwardJob back{view, in, tile_lists, d_image.data(), d_alpha.data(), first_record.data(), records.data()};
    for (int tile = 0; tile < tiles; ++tile) k.backward[kind](back, backward.data, tile);
    const ReduceJob sum{view, in, boxes.data(), first_record.data(), records.data(), r.d_means.data(), r.d_quats.data(),
                        r.d_scales.data(), r.d_opacities.data(), r.d_features.data()};
    k.reduce[kind](sum, 0, n);
    return r;
}

void compare_splats(const Kernels &a, const Kernels &b, int channels) {
    constexpr int N = 1500;
    const View view{90.0f, 40.0f, 35.0f, 0.01f, 83, 70, 6, 5};
    const Floats xy = uniform(2 * N, -0.5f, 0.5f), z = uniform(N, 0.8f, 1.6f);
    Floats means(3 * N);
    for (size_t i = 0; i < N; ++i) means[3 * i] = xy[2 * i], means[3 * i + 1] = xy[2 * i + 1], means[3 * i + 2] = z[i];
    const Floats quats = uniform(4 * N, -1, 1), scales = uniform(3 * N, 0.002f, 0.05f), opacities = uniform(N, 0.1f, 1);
    const Floats features = uniform(size_t(channels) * N, -1, 1);
    const Floats d_image = uniform(size_t(channels) * 83 * 70, -1, 1), d_alpha = uniform(83 * 70, -1, 1);
    const Gaussians in{N, channels, means.data(), quats.data(), scales.data(), opacities.data(), features.data()};
    const SplatResult x = splat(a, view, in, d_image, d_alpha), y = splat(b, view, in, d_image, d_alpha);
    std::printf("splatting, %d channels\n", channels);
    compare("image", x.image, y.image, 1e-5);
    compare("alpha", x.alpha, y.alpha, 1e-5);
    compare("d means", x.d_means, y.d_means, 1e-4);
    compare("d quats", x.d_quats, y.d_quats, 1e-4);
    compare("d scales", x.d_scales, y.d_scales, 1e-4);
    compare("d opacities", x.d_opacities, y.d_opacities, 1e-4);
    compare("d features", x.d_features, y.d_features, 1e-4);
}

void compare_binding(const Kernels &a, const Kernels &b) {
    constexpr int FIELD = 700, N = 501, VERTICES = 90;
    std::vector<int64_t> visible(N), corners(3 * N);
    for (int i = 0; i < N; ++i) visible[size_t(i)] = i + 100;
    for (int64_t &c : corners) c = int64_t(source() % VERTICES);
    const Floats vertices = uniform(3 * VERTICES, -1, 1), quats = uniform(4 * N, -1, 1), stretch = uniform(N, 0.5f, 2);
    const Floats bary = uniform(3 * FIELD, 0, 1), rotation = uniform(4 * FIELD, -1, 1), log_scale = uniform(3 * FIELD, -6, -4);
    const Floats offset = uniform(3 * FIELD, -0.01f, 0.01f), weight = uniform(FIELD, 0, 1), pivot = uniform(3, -1, 1);
    const Floats correction = uniform(6, -0.1f, 0.1f);
    const BindJob job{N, visible.data(), corners.data(), vertices.data(), quats.data(), stretch.data(), bary.data(),
                      rotation.data(), log_scale.data(), offset.data(), weight.data(), pivot.data(), correction.data(), 0.1f};
    const Floats d_means = uniform(3 * N, -1, 1), d_quats = uniform(4 * N, -1, 1), d_scales = uniform(3 * N, -1, 1);
    std::vector<Floats> results[2];
    const Kernels *both[2] = {&a, &b};
    for (int which = 0; which < 2; ++which) {
        Floats m(3 * N), q(4 * N), s(3 * N), dr(4 * FIELD), dl(3 * FIELD), off(3 * FIELD), points(3 * N);
        double moved[6] = {};
        both[which]->bind_forward(job, m.data(), q.data(), s.data(), 0, N);
        both[which]->bind_backward(job, {d_means.data(), d_quats.data(), d_scales.data(), dr.data(), dl.data(), off.data(),
                                         points.data()}, 0, N, moved);
        results[which] = {m, q, s, dr, dl, off, points, Floats(moved, moved + 6)};
    }
    std::printf("binding\n");
    for (size_t k = 0; k < results[0].size(); ++k) compare("", results[0][k], results[1][k], 1e-5);
}

void compare_networks(const Kernels &a, const Kernels &b) {
    constexpr int WIDTH = 300, HEIGHT = 75;
    constexpr size_t PIXELS = size_t(WIDTH) * HEIGHT;
    const int sizes[5][2] = {{3, 8}, {8, 5}, {8, 8}, {8, 8}, {8, 3}};
    const Floats plate = uniform(3 * PIXELS, 0, 1), features = uniform(8 * PIXELS, 0, 1), alpha = uniform(PIXELS, 0, 1),
                 head = uniform(PIXELS, 0, 1);
    std::vector<Floats> weights, biases;
    for (const auto &size : sizes) {
        weights.push_back(uniform(size_t(9) * size[0] * size[1], -0.3f, 0.3f));
        biases.push_back(uniform(size_t(size[1]), -0.1f, 0.1f));
    }
    Floats out[2] = {Floats(3 * PIXELS), Floats(3 * PIXELS)};
    const Kernels *both[2] = {&a, &b};
    for (int which = 0; which < 2; ++which) {
        CnnJob job{};
        job.width = WIDTH;
        job.height = HEIGHT;
        job.plate = plate.data();
        job.features = features.data();
        job.alpha = alpha.data();
        job.head = head.data();
        for (size_t k = 0; k < 5; ++k) job.layers[k] = {sizes[k][0], sizes[k][1], weights[k].data(), biases[k].data()};
        job.out = out[which].data();
        const Aligned scratch(both[which]->cnn_scratch);
        for (int band = 0; band * CNN_BAND < HEIGHT; ++band)
            for (int strip = 0; strip < cnn_strips(WIDTH); ++strip) both[which]->cnn(job, scratch.data, strip, band);
    }
    std::printf("networks\n");
    compare("image", out[0], out[1], 1e-5);
}

} // namespace

int main() {
    const Kernels &mine = *baseline::table(), &plain = *portable::table();
    std::printf("%s: %d lanes; %s: %d lanes\n", mine.name, mine.lanes, plain.name, plain.lanes);
    for (int channels : {3, 8, 9, 20}) compare_splats(mine, plain, channels);
    compare_binding(mine, plain);
    compare_networks(mine, plain);
    std::printf(failures ? "%d differences\n" : "all agree\n", failures);
    return failures != 0;
}
