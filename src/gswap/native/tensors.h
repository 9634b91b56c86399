// Arrays from and to torch.
#pragma once
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <initializer_list>
#include <utility>

#include "memory.h"

namespace gswap {

template <class... Shape> using Array = nanobind::ndarray<const float, Shape..., nanobind::c_contig, nanobind::device::cpu>;
using Vector = Array<nanobind::shape<-1>>;
using Matrix = Array<nanobind::shape<-1, -1>>;
using Points = Array<nanobind::shape<-1, 3>>;
using Quats = Array<nanobind::shape<-1, 4>>;
using Volume = Array<nanobind::shape<-1, -1, -1>>;

// A torch tensor that owns `buffer`; the memory goes back to the cache with the tensor.
template <class T = float>
nanobind::ndarray<nanobind::pytorch, T> tensor(Buffer &&buffer, std::initializer_list<size_t> shape) {
    // An empty tensor still needs an address.
    Buffer *kept = new Buffer(buffer.as<T>() ? std::move(buffer) : Buffer(64));
    nanobind::capsule owner(kept, [](void *p) noexcept { delete static_cast<Buffer *>(p); });
    return nanobind::ndarray<nanobind::pytorch, T>(kept->as<T>(), shape, owner);
}

} // namespace gswap
