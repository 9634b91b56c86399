// Vectors of LANES floats, written once and compiled for every instruction set: AVX-512 (16 lanes), AVX2 (8),
// SSE and NEON through the compiler's vector extensions (4), and plain C++ where there are none (MSVC).
// This header is included once per instruction set with another GSWAP_ISA: everything lives in that namespace, and
// nothing of the standard library is instantiated here, so that no function compiled for a newer processor can be
// picked by the linker for an older one.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#if !defined(GSWAP_PORTABLE) && !(defined(__GNUC__) || defined(__clang__))
#define GSWAP_PORTABLE 1
#endif
#if !defined(GSWAP_PORTABLE) && (defined(__x86_64__) || defined(__i386__))
#include <immintrin.h>
#elif !defined(GSWAP_PORTABLE) && defined(__aarch64__)
#include <arm_neon.h>
#endif
#if defined(__GNUC__) || defined(__clang__)
#define GSWAP_INLINE inline __attribute__((always_inline))
#else
#define GSWAP_INLINE __forceinline
#include <intrin.h>
#endif

namespace gswap {
namespace GSWAP_ISA {

template <class T> GSWAP_INLINE T least(T a, T b) { return b < a ? b : a; }
template <class T> GSWAP_INLINE T most(T a, T b) { return a < b ? b : a; }

GSWAP_INLINE int lowest_bit(uint64_t bits) {
#if defined(__GNUC__) || defined(__clang__)
    return __builtin_ctzll(bits);
#else
    unsigned long index;
    _BitScanForward64(&index, bits);
    return int(index);
#endif
}

// ---------------------------------------------------------------- types: vf floats, vi integers, vm lane masks
#if defined(GSWAP_PORTABLE)
constexpr int LANES = 4;
template <class T, int N> struct Lanes {
    T lane[N];
    GSWAP_INLINE T operator[](int i) const { return lane[i]; }
};
using vf = Lanes<float, 4>;
using vi = Lanes<int32_t, 4>;
using vm = Lanes<int32_t, 4>;
using v8 = Lanes<float, 8>;
#define GSWAP_OPERATOR(OP)                                                                              \
    template <int N> GSWAP_INLINE Lanes<float, N> operator OP(Lanes<float, N> a, Lanes<float, N> b) {   \
        Lanes<float, N> r;                                                                              \
        for (int i = 0; i < N; ++i) r.lane[i] = a.lane[i] OP b.lane[i];                                 \
        return r;                                                                                       \
    }                                                                                                   \
    template <int N> GSWAP_INLINE Lanes<float, N> operator OP(Lanes<float, N> a, float b) {             \
        Lanes<float, N> r;                                                                              \
        for (int i = 0; i < N; ++i) r.lane[i] = a.lane[i] OP b;                                         \
        return r;                                                                                       \
    }                                                                                                   \
    template <int N> GSWAP_INLINE Lanes<float, N> operator OP(float a, Lanes<float, N> b) {             \
        Lanes<float, N> r;                                                                              \
        for (int i = 0; i < N; ++i) r.lane[i] = a OP b.lane[i];                                         \
        return r;                                                                                       \
    }
GSWAP_OPERATOR(+)
GSWAP_OPERATOR(-)
GSWAP_OPERATOR(*)
GSWAP_OPERATOR(/)
#undef GSWAP_OPERATOR
template <int N> GSWAP_INLINE Lanes<float, N> operator-(Lanes<float, N> a) { return 0.0f - a; }
template <int N> GSWAP_INLINE Lanes<float, N> &operator+=(Lanes<float, N> &a, Lanes<float, N> b) { return a = a + b; }
template <int N> GSWAP_INLINE Lanes<float, N> &operator-=(Lanes<float, N> &a, Lanes<float, N> b) { return a = a - b; }
template <int N> GSWAP_INLINE Lanes<float, N> &operator*=(Lanes<float, N> &a, Lanes<float, N> b) { return a = a * b; }
GSWAP_INLINE vf set1(float x) { return vf{{x, x, x, x}}; }
#else
#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define GSWAP_AVX512 1
constexpr int LANES = 16;
#elif defined(__AVX2__)
#define GSWAP_AVX2 1
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif
typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef float v8 __attribute__((vector_size(32)));
#if defined(GSWAP_AVX512)
typedef __mmask16 vm;
#else
typedef int32_t vm __attribute__((vector_size(4 * LANES)));
#endif
GSWAP_INLINE vf set1(float x) { return vf{} + x; }
#endif

GSWAP_INLINE vf load(const float *p) {
    vf v;
    memcpy(&v, p, sizeof v);
    return v;
}
GSWAP_INLINE void store(float *p, vf v) { memcpy(p, &v, sizeof v); }
GSWAP_INLINE v8 load8(const float *p) {
    v8 v;
    memcpy(&v, p, sizeof v);
    return v;
}
GSWAP_INLINE void store8(float *p, v8 v) { memcpy(p, &v, sizeof v); }

// ---------------------------------------------------------------- comparisons, selection, roots
#if defined(GSWAP_AVX512)
GSWAP_INLINE vm ge(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
GSWAP_INLINE vm gt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
GSWAP_INLINE vm both(vm a, vm b) { return vm(a & b); }
GSWAP_INLINE vm minus(vm a, vm b) { return vm(a & ~b); }
GSWAP_INLINE vm either(vm a, vm b) { return vm(a | b); }
GSWAP_INLINE bool any(vm m) { return m != 0; }
GSWAP_INLINE uint32_t bits(vm m) { return m; }
GSWAP_INLINE vm every_lane() { return 0xffff; }
GSWAP_INLINE vf select(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); }
GSWAP_INLINE vf keep(vm m, vf a) { return _mm512_maskz_mov_ps(m, a); }
GSWAP_INLINE vf min(vf a, vf b) { return _mm512_min_ps(a, b); }
GSWAP_INLINE vf max(vf a, vf b) { return _mm512_max_ps(a, b); }
GSWAP_INLINE vf root(vf a) { return _mm512_sqrt_ps(a); }
// Square root of positive numbers with a relative error below 2^-13.
GSWAP_INLINE vf rough_root(vf a) { return _mm512_rsqrt14_ps(a) * a; }
#else
#if defined(GSWAP_PORTABLE)
#define GSWAP_LANEWISE(T, EXPR)                   \
    T r;                                          \
    for (int i = 0; i < LANES; ++i) r.lane[i] = EXPR; \
    return r
GSWAP_INLINE vm ge(vf a, vf b) { GSWAP_LANEWISE(vm, -(a[i] >= b[i])); }
GSWAP_INLINE vm gt(vf a, vf b) { GSWAP_LANEWISE(vm, -(a[i] > b[i])); }
GSWAP_INLINE vm both(vm a, vm b) { GSWAP_LANEWISE(vm, a[i] & b[i]); }
GSWAP_INLINE vm minus(vm a, vm b) { GSWAP_LANEWISE(vm, a[i] & ~b[i]); }
GSWAP_INLINE vm either(vm a, vm b) { GSWAP_LANEWISE(vm, a[i] | b[i]); }
GSWAP_INLINE vm every_lane() { return vm{{-1, -1, -1, -1}}; }
GSWAP_INLINE vf select(vm m, vf a, vf b) { GSWAP_LANEWISE(vf, m[i] ? a[i] : b[i]); }
GSWAP_INLINE vf keep(vm m, vf a) { GSWAP_LANEWISE(vf, m[i] ? a[i] : 0.0f); }
GSWAP_INLINE vf min(vf a, vf b) { GSWAP_LANEWISE(vf, a[i] < b[i] ? a[i] : b[i]); }
GSWAP_INLINE vf max(vf a, vf b) { GSWAP_LANEWISE(vf, a[i] > b[i] ? a[i] : b[i]); }
GSWAP_INLINE vf root(vf a) { GSWAP_LANEWISE(vf, sqrtf(a[i])); }
#undef GSWAP_LANEWISE
#else
GSWAP_INLINE vm ge(vf a, vf b) { return a >= b; }
GSWAP_INLINE vm gt(vf a, vf b) { return a > b; }
GSWAP_INLINE vm both(vm a, vm b) { return a & b; }
GSWAP_INLINE vm minus(vm a, vm b) { return a & ~b; }
GSWAP_INLINE vm either(vm a, vm b) { return a | b; }
GSWAP_INLINE vm every_lane() { return vm{} == 0; }
GSWAP_INLINE vf select(vm m, vf a, vf b) { return (vf)((m & (vi)a) | (~m & (vi)b)); }
GSWAP_INLINE vf keep(vm m, vf a) { return (vf)(m & (vi)a); }
#if defined(GSWAP_AVX2)
GSWAP_INLINE vf min(vf a, vf b) { return _mm256_min_ps(a, b); }
GSWAP_INLINE vf max(vf a, vf b) { return _mm256_max_ps(a, b); }
GSWAP_INLINE vf root(vf a) { return _mm256_sqrt_ps(a); }
#elif defined(__x86_64__)
GSWAP_INLINE vf min(vf a, vf b) { return _mm_min_ps(a, b); }
GSWAP_INLINE vf max(vf a, vf b) { return _mm_max_ps(a, b); }
GSWAP_INLINE vf root(vf a) { return _mm_sqrt_ps(a); }
#elif defined(__aarch64__)
GSWAP_INLINE vf min(vf a, vf b) { return (vf)vminq_f32((float32x4_t)a, (float32x4_t)b); }
GSWAP_INLINE vf max(vf a, vf b) { return (vf)vmaxq_f32((float32x4_t)a, (float32x4_t)b); }
GSWAP_INLINE vf root(vf a) { return (vf)vsqrtq_f32((float32x4_t)a); }
#else
GSWAP_INLINE vf min(vf a, vf b) { return select(a < b, a, b); }
GSWAP_INLINE vf max(vf a, vf b) { return select(a > b, a, b); }
GSWAP_INLINE vf root(vf a) {
    for (int i = 0; i < LANES; ++i) a[i] = sqrtf(a[i]);
    return a;
}
#endif
#endif
GSWAP_INLINE vf rough_root(vf a) { return root(a); }
GSWAP_INLINE uint32_t bits(vm m) {
#if defined(GSWAP_AVX2)
    return uint32_t(_mm256_movemask_ps((__m256)m));
#elif !defined(GSWAP_PORTABLE) && defined(__x86_64__)
    return uint32_t(_mm_movemask_ps((__m128)m));
#elif !defined(GSWAP_PORTABLE) && defined(__aarch64__)
    const uint32x4_t weight = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32((uint32x4_t)m, weight));
#else
    uint32_t r = 0;
    for (int i = 0; i < LANES; ++i) r |= uint32_t(m[i] & 1) << i;
    return r;
#endif
}
GSWAP_INLINE bool any(vm m) { return bits(m) != 0; }
#endif

GSWAP_INLINE float sum(vf v) {
#if defined(GSWAP_AVX512)
    return _mm512_reduce_add_ps(v);
#else
    float lane[LANES];
    store(lane, v);
    for (int width = LANES / 2; width > 0; width /= 2)
        for (int l = 0; l < width; ++l) lane[l] += lane[l + width];
    return lane[0];
#endif
}

// Lane l reads base[l * stride] for l < count, 0 beyond.
GSWAP_INLINE vf gather(const float *base, int stride, int count) {
#if defined(GSWAP_AVX512)
    const __m512i step = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __mmask16 used = __mmask16(count >= 16 ? 0xffffu : (1u << count) - 1u);
    return _mm512_mask_i32gather_ps(_mm512_setzero_ps(), used, _mm512_mullo_epi32(step, _mm512_set1_epi32(stride)),
                                    base, 4);
#else
    float lane[LANES];
    for (int l = 0; l < LANES; ++l) lane[l] = l < count ? base[l * stride] : 0.0f;
    return load(lane);
#endif
}
GSWAP_INLINE void scatter(float *base, int stride, int count, vf v) {
    float lane[LANES];
    store(lane, v);
    for (int l = 0; l < count; ++l) base[l * stride] = lane[l];
}
// Lanes that hold NaN or infinity. The bit pattern is looked at, so no compiler flag can reason it away.
GSWAP_INLINE bool any_not_finite(vf v) {
#if defined(GSWAP_AVX512)
    return _mm512_fpclass_ps_mask(v, 0x01 | 0x08 | 0x10 | 0x80) != 0;
#else
    uint32_t word[LANES], found = 0;
    memcpy(word, &v, sizeof v);
    for (int l = 0; l < LANES; ++l) found |= uint32_t((word[l] & 0x7f800000u) == 0x7f800000u);
    return found != 0;
#endif
}

} // namespace GSWAP_ISA
} // namespace gswap

#include "exp2_coefficients.h"

namespace gswap {
namespace GSWAP_ISA {
// 2^x for |x| < 120 in the lanes of `used`, 0 in the others; relative error below EXP2_ERROR (scripts/fit_exp2.py).
// Other x give some number, not a trap.
GSWAP_INLINE vf exp2_where(vm used, vf x) {
#if defined(GSWAP_AVX512)
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const vf f = x - vf(whole);
#else
    const float shift = 12582912.0f; // 1.5 * 2^23: adding it leaves the rounded integer in the low bits
    const vf shifted = x + shift;
    const vf f = x - (shifted - shift);
#endif
    vf p = f * EXP2_C5 + EXP2_C4;
    p = p * f + EXP2_C3;
    p = p * f + EXP2_C2;
    p = p * f + EXP2_C1;
    p = p * f + EXP2_C0;
#if defined(GSWAP_AVX512)
    return _mm512_maskz_scalef_ps(used, p, whole);
#elif defined(GSWAP_PORTABLE)
    for (int l = 0; l < LANES; ++l) {
        uint32_t power, value;
        memcpy(&power, &shifted.lane[l], 4);
        memcpy(&value, &p.lane[l], 4);
        value += power << 23;
        memcpy(&p.lane[l], &value, 4);
    }
    return keep(used, p);
#else
    typedef uint32_t vu __attribute__((vector_size(4 * LANES)));
    return keep(used, (vf)((vu)p + ((vu)shifted << 23)));
#endif
}
GSWAP_INLINE vf exp2(vf x) { return exp2_where(every_lane(), x); }
} // namespace GSWAP_ISA
} // namespace gswap
