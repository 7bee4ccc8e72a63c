// Elements: what they are computed in, and four at a time.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

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

// Four elements from where they are aligned, and to there.
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

// The same of four that have been read.
template <class T, class F> __device__ inline void widen(const Four<T> &x, F (&wide)[4]) {
#pragma unroll
    for (int k = 0; k < 4; k++) wide[k] = widen(x.at[k]);
}

// Where this thread is in the grid, and how many there are.
__device__ inline u64 place() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
__device__ inline u64 places() { return (u64)gridDim.x * blockDim.x; }

// Calls `four` with the first of every four elements, where `fours` allows it, and `one` with each that is left.
template <class Fours, class Ones> __device__ inline void sweep(u64 count, bool fours, Fours four, Ones one) {
    u64 done = 0;
    if (fours) {
        for (u64 i = place(); i < count / 4; i += places()) four(4 * i);
        done = count / 4 * 4;
    }
    for (u64 i = done + place(); i < count; i += places()) one(i);
}

// Fours that a thread asks for before it uses the first of them, so that memory is never idle.
#define AHEAD 4

// The same for what is read from one place: `four` gets the number of its first element, and the elements.
template <class T, class Fours, class Ones>
__device__ inline void sweep_ahead(const T *xs, u64 count, bool fours, Fours four, Ones one) {
    const Four<T> *from = (const Four<T> *)xs;
    u64 end = fours ? count / 4 : 0, step = places(), i = place();
    for (; i + (AHEAD - 1) * step < end; i += AHEAD * step) {
        Four<T> read[AHEAD];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) read[k] = from[i + k * step];
#pragma unroll
        for (int k = 0; k < AHEAD; k++) four(4 * (i + k * step), read[k]);
    }
    for (; i < end; i += step) four(4 * i, from[i]);
    for (u64 i = 4 * end + place(); i < count; i += step) one(i);
}

// The element that the first thread of this warp meets first in a sweep, if it meets one.
__device__ inline bool first_of_warp(u64 count, bool fours, u64 &first) {
    u64 lane = place() / 32 * 32, end = fours ? count / 4 : 0;
    first = lane < end ? 4 * lane : 4 * end + lane;
    return first < count;
}
