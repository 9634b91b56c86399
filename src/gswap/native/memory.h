// Large blocks of memory that are kept between frames: fresh pages cost more than the work done in them.
#pragma once
#include <cstddef>
#include <utility>

namespace gswap {

// 64-byte aligned, contents undefined; goes back to the cache when destroyed.
class Buffer {
  public:
    Buffer() = default;
    explicit Buffer(size_t bytes);
    Buffer(Buffer &&other) noexcept : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
    Buffer &operator=(Buffer &&other) noexcept {
        std::swap(data_, other.data_);
        std::swap(bytes_, other.bytes_);
        return *this;
    }
    Buffer(const Buffer &) = delete;
    Buffer &operator=(const Buffer &) = delete;
    ~Buffer();
    template <class T> T *as() const { return static_cast<T *>(data_); }
    template <class T> static Buffer of(size_t count) { return Buffer(count * sizeof(T)); }

  private:
    void *data_ = nullptr;
    size_t bytes_ = 0; // capacity
};

// One aligned scratch area per worker.
class Scratch {
  public:
    Scratch(size_t bytes, int workers) : stride_((bytes + 4095) / 4096 * 4096), buffer_(stride_ * size_t(workers)) {}
    void *of(int worker) { return buffer_.as<char>() + stride_ * size_t(worker); }

  private:
    size_t stride_;
    Buffer buffer_;
};

// Bytes handed out now, the most since reset_peak(), and bytes waiting in the cache.
struct MemoryUse {
    size_t used, peak, cached;
};
MemoryUse memory_use();
void reset_peak();

} // namespace gswap
