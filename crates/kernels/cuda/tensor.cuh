// Elements: the types they are computed in, and loops over four at a time.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// The number of threads in a block: `THREADS` in src/cuda/launch.rs.
#define THREADS 256

typedef unsigned long long u64;

// The type that an element is computed in.
template <class T> struct Wide {
    typedef float type;
};
template <> struct Wide<double> {
    typedef double type;
};

__device__ inline float widen(float x) { return x; }
__device__ inline double widen(double x) { return x; }
__device__ inline float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline float widen(__half x) { return __half2float(x); }

template <class T> __device__ inline T narrow(typename Wide<T>::type x);
template <> __device__ inline float narrow<float>(float x) { return x; }
template <> __device__ inline double narrow<double>(double x) { return x; }
template <> __device__ inline __nv_bfloat16 narrow<__nv_bfloat16>(float x) { return __float2bfloat16_rn(x); }
template <> __device__ inline __half narrow<__half>(float x) { return __float2half_rn(x); }

template <class T> struct alignas(4 * sizeof(T)) Four {
    T at[4];
};

// Whether four elements can be read at once.
template <class T> __device__ inline bool is_aligned(const T *p) { return (size_t)p % sizeof(Four<T>) == 0; }

// Loads and stores four elements at an aligned address.
template <class T, class F> __device__ inline void load(const T *from, F (&wide)[4]) {
    Four<T> x = *(const Four<T> *)from;
#pragma unroll
    for (int k = 0; k < 4; k++) wide[k] = widen(x.at[k]);
}
template <class T, class F> __device__ inline void store(T *to, const F (&wide)[4]) {
    Four<T> x;
#pragma unroll
    for (int k = 0; k < 4; k++) x.at[k] = narrow<T>(wide[k]);
    *(Four<T> *)to = x;
}

// Widens four elements that have been read.
template <class T, class F> __device__ inline void widen(const Four<T> &x, F (&wide)[4]) {
#pragma unroll
    for (int k = 0; k < 4; k++) wide[k] = widen(x.at[k]);
}

// The number of this thread in the grid, and the number of threads.
__device__ inline u64 thread_index() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline u64 thread_count() { return (u64)gridDim.x * blockDim.x; }

// Calls `four` with the index of the first of every four elements, if `fours` is set, and `one` with each
// index that is left.
template <class Fours, class Ones> __device__ inline void sweep(u64 count, bool fours, Fours four, Ones one) {
    u64 done = 0;
    if (fours) {
        for (u64 i = thread_index(); i < count / 4; i += thread_count()) four(4 * i);
        done = count / 4 * 4;
    }
    for (u64 i = done + thread_index(); i < count; i += thread_count()) one(i);
}

// The number of fours that a thread loads before it uses the first of them, so that memory is never idle.
#define AHEAD 4

// The same for elements that are read from one tensor: `four` gets the index of its first element, and the
// elements.
template <class T, class Fours, class Ones>
__device__ inline void sweep_ahead(const T *xs, u64 count, bool fours, Fours four, Ones one) {
    const Four<T> *from = (const Four<T> *)xs;
    u64 end = fours ? count / 4 : 0, step = thread_count(), i = thread_index();
    for (; i + (AHEAD - 1) * step < end; i += AHEAD * step) {
        Four<T> read[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) read[k] = from[i + k * step];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) four(4 * (i + k * step), read[k]);
    }
    for (; i < end; i += step) four(4 * i, from[i]);
    for (u64 i = 4 * end + thread_index(); i < count; i += step) one(i);
}

// The index of the first element of a sweep by the first thread of this warp; false if it has none.
__device__ inline bool first_of_warp(u64 count, bool fours, u64 &first) {
    u64 lane = thread_index() / 32 * 32, end = fours ? count / 4 : 0;
    first = lane < end ? 4 * lane : 4 * end + lane;
    return first < count;
}
