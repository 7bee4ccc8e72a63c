// The built-ins of CUDA's compiler, for an ordinary C++ compiler. Included before a kernel's source, this
// file makes the kernels functions for the CPU, which driver.cpp runs thread by thread. Blocks run one after
// the other, so that the shared memory of a block can be static.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <algorithm>
#include <limits>

#define __device__
#define __global__
#define __host__
#define __shared__ static
#define __constant__ static
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __CUDACC_VER_MAJOR__ 13
#define __CUDACC_VER_MINOR__ 0

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_fp8.h>
#include <cuda/std/limits>
#include <vector_types.h>

#define __CUDA_ARCH__ 800

extern "C" {
extern uint3 emulated_thread, emulated_block;
extern dim3 emulated_block_size, emulated_grid_size;
// Barriers of all threads of the block, or of the warp.
void emulated_block_barrier();
void emulated_warp_barrier();
// Eight bytes per thread of the block.
extern uint64_t emulated_slots[1024];
}

#define threadIdx emulated_thread
#define blockIdx emulated_block
#define blockDim emulated_block_size
#define gridDim emulated_grid_size
#define warpSize 32

#define __syncthreads emulated_block_barrier
inline void __syncwarp(unsigned = ~0u) { emulated_warp_barrier(); }
inline void __threadfence() {}
inline void __threadfence_block() {}

inline unsigned emulated_number() { return (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x; }

// Returns the value of the lane `from` of this warp.
template <class T> inline T emulated_exchange(T mine, unsigned from) {
    static_assert(sizeof(T) <= 8, "a word at most");
    unsigned self = emulated_number(), warp = self / 32 * 32;
    memcpy(&emulated_slots[self], &mine, sizeof(T));
    emulated_warp_barrier();
    T other;
    memcpy(&other, &emulated_slots[from < 32 ? warp + from : self], sizeof(T));
    emulated_warp_barrier();
    return other;
}
template <class T> inline T __shfl_xor_sync(unsigned, T x, int mask, int = 32) {
    return emulated_exchange(x, emulated_number() % 32 ^ mask);
}
template <class T> inline T __shfl_down_sync(unsigned, T x, unsigned step, int = 32) {
    return emulated_exchange(x, emulated_number() % 32 + step);
}
template <class T> inline T __shfl_sync(unsigned, T x, int from, int = 32) { return emulated_exchange(x, from & 31); }

// One thread runs at a time, so that an atomic operation is a plain one.
template <class T, class U> inline T atomicAdd(T *place, U more) {
    T before = *place;
    *place = before + T(more);
    return before;
}
template <class T, class U> inline T atomicMax(T *place, U other) {
    T before = *place;
    if (T(other) > before) *place = T(other);
    return before;
}
template <class T, class U> inline T atomicMin(T *place, U other) {
    T before = *place;
    if (T(other) < before) *place = T(other);
    return before;
}
template <class T> inline T atomicCAS(T *place, T expected, T wanted) {
    T before = *place;
    if (before == expected) *place = wanted;
    return before;
}
template <class T> inline T __ldg(const T *place) { return *place; }

// Each operation is rounded separately: compile with -ffp-contract=off.
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dsub_rn(double a, double b) { return a - b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

inline float __double2float_rd(double x) {
    float near = (float)x;
    return near > x ? nextafterf(near, -INFINITY) : near;
}
inline float __double2float_ru(double x) { return -__double2float_rd(-x); }

template <class To, class From> inline To emulated_cast(From x) {
    static_assert(sizeof(To) == sizeof(From), "the same bits");
    To y;
    memcpy(&y, &x, sizeof(To));
    return y;
}
inline float __int_as_float(int x) { return emulated_cast<float>(x); }
inline int __float_as_int(float x) { return emulated_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return emulated_cast<float>(x); }
inline unsigned __float_as_uint(float x) { return emulated_cast<unsigned>(x); }
inline double __longlong_as_double(long long x) { return emulated_cast<double>(x); }
inline long long __double_as_longlong(double x) { return emulated_cast<long long>(x); }

inline double normcdf(double x) { return 0.5 * erfc(-x * M_SQRT1_2); }
inline float normcdff(float x) { return (float)normcdf((double)x); }
inline double normcdfinv(double) { abort(); }
inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
inline double rsqrt(double x) { return 1.0 / sqrt(x); }
inline float __expf(float x) { return expf(x); }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fdividef(float a, float b) { return a / b; }

// The functions of the half types.
#define EMULATED_HALF(name, value)                                                                                     \
    inline __half name(__half h) {                                                                                     \
        float x = __half2float(h);                                                                                     \
        return __float2half_rn(value);                                                                                 \
    }                                                                                                                  \
    inline __nv_bfloat16 name(__nv_bfloat16 h) {                                                                       \
        float x = __bfloat162float(h);                                                                                 \
        return __float2bfloat16_rn(value);                                                                             \
    }
EMULATED_HALF(hsqrt, sqrtf(x))
EMULATED_HALF(hrsqrt, 1.0f / sqrtf(x))
EMULATED_HALF(hsin, sinf(x))
EMULATED_HALF(hcos, cosf(x))
EMULATED_HALF(hexp, expf(x))
EMULATED_HALF(hlog, logf(x))
EMULATED_HALF(hceil, ceilf(x))
EMULATED_HALF(hfloor, floorf(x))
EMULATED_HALF(hrint, rintf(x))
#undef EMULATED_HALF

using std::isinf;
using std::isnan;
using std::max;
using std::min;
using std::signbit;
