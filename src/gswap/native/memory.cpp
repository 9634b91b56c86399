#include "memory.h"

#include <nanobind/nanobind.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <new>
#include <vector>
#if !defined(_WIN32)
#include <pthread.h>
#endif

namespace nb = nanobind;

namespace gswap {
namespace {

constexpr size_t ALIGNMENT = 64, GRAIN = 4096;
constexpr size_t MAX_CACHED = size_t(256) << 20; // bytes

struct Block {
    void *data;
    size_t bytes;
};

void discard(const Block &block) { ::operator delete(block.data, std::align_val_t(ALIGNMENT)); }

struct Cache {
    std::mutex mutex;
    std::vector<Block> waiting; // oldest first
    size_t used = 0, peak = 0, cached = 0;
};

std::atomic<Cache *> the_cache{nullptr};

Cache &cache() {
    Cache *found = the_cache.load(std::memory_order_acquire);
    if (found) return *found;
#if !defined(_WIN32)
    // Another thread may hold the lock at the moment of a fork: the child starts with an empty cache.
    static const int registered = pthread_atfork(nullptr, nullptr, [] { the_cache.store(nullptr); });
    (void)registered;
#endif
    Cache *fresh = new Cache;
    if (the_cache.compare_exchange_strong(found, fresh)) return *fresh;
    delete fresh;
    return *found;
}

} // namespace

Buffer::Buffer(size_t bytes) {
    if (bytes == 0) return;
    bytes = (bytes + GRAIN - 1) / GRAIN * GRAIN;
    Cache &shared = cache();
    {
        std::lock_guard<std::mutex> lock(shared.mutex);
        // The tightest block that wastes at most half of itself.
        auto best = shared.waiting.end();
        for (auto it = shared.waiting.begin(); it != shared.waiting.end(); ++it)
            if (it->bytes >= bytes && it->bytes <= 2 * bytes && (best == shared.waiting.end() || it->bytes < best->bytes))
                best = it;
        if (best != shared.waiting.end()) {
            data_ = best->data;
            bytes_ = best->bytes;
            shared.cached -= bytes_;
            shared.waiting.erase(best);
        }
    }
    if (!data_) {
        data_ = ::operator new(bytes, std::align_val_t(ALIGNMENT));
        bytes_ = bytes;
    }
    std::lock_guard<std::mutex> lock(shared.mutex);
    shared.used += bytes_;
    shared.peak = std::max(shared.peak, shared.used);
}

Buffer::~Buffer() {
    if (!data_) return;
    Cache &shared = cache();
    std::lock_guard<std::mutex> lock(shared.mutex);
    shared.used -= std::min(bytes_, shared.used); // a forked child may return a block that its parent counted
    shared.waiting.push_back({data_, bytes_});
    shared.cached += bytes_;
    while (shared.cached > MAX_CACHED) {
        shared.cached -= shared.waiting.front().bytes;
        discard(shared.waiting.front());
        shared.waiting.erase(shared.waiting.begin());
    }
}

MemoryUse memory_use() {
    Cache &shared = cache();
    std::lock_guard<std::mutex> lock(shared.mutex);
    return {shared.used, shared.peak, shared.cached};
}

void reset_peak() {
    Cache &shared = cache();
    std::lock_guard<std::mutex> lock(shared.mutex);
    shared.peak = shared.used;
}

} // namespace gswap

void register_memory(nb::module_ &m) {
    m.def(
        "memory_use",
        [] {
            const gswap::MemoryUse use = gswap::memory_use();
            return nb::make_tuple(use.used, use.peak, use.cached);
        },
        "Bytes that the kernels hold now, the most since reset_peak_memory(), and bytes kept for the next frame.");
    m.def("reset_peak_memory", &gswap::reset_peak, "Start counting the peak of memory_use() anew.");
}
