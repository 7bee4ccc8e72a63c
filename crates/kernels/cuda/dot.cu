// The sum of products of two tensors, and its gradient: launched by src/dot/cuda.rs.
#include "stats.cuh"

// `words`, zero before the launch: the number of blocks that have finished, then a part for each block. The
// last block writes the sum of a b to `sum`, from all parts in order.
template <class T> __device__ void dot(const T *as, const T *bs, T *sum, u64 *words, u64 count) {
    typedef typename Wide<T>::type F;
    __shared__ double warps[WARPS];
    double own = 0;
    auto four = [&](u64 i, const Four<T> &a) {
        F xs[4], ys[4];
        widen(a, xs);
        load(bs + i, ys);
#pragma unroll
        for (int k = 0; k < 4; k++) own += (double)xs[k] * (double)ys[k];
    };
    auto one = [&](u64 i) { own += (double)widen(as[i]) * (double)widen(bs[i]); };
    sweep_ahead(as, count, is_aligned(as) && is_aligned(bs), four, one);
    // The sum over the block, returned to its first thread.
    auto of_block = [&](double own) {
        own = sum_of_warp(own);
        if (thread() % 32 == 0) warps[thread() / 32] = own;
        __syncthreads();
        if (thread() == 0) {
            for (int warp = 1; warp < WARPS; warp++) own += warps[warp];
        }
        __syncthreads();
        return own;
    };
    double *parts = (double *)(words + 1);
    own = of_block(own);
    if (thread() == 0) parts[blockIdx.x] = own;
    if (!is_last(words, gridDim.x)) return;
    double all = 0;
    for (unsigned i = thread(); i < gridDim.x; i += THREADS) all += ((const volatile double *)parts)[i];
    all = of_block(all);
    if (thread() == 0) *sum = narrow<T>((F)all);
}

// Multiplies every element by one number.
template <class T> __device__ void scaled(const T *xs, const T *scale, T *ys, u64 count) {
    typedef typename Wide<T>::type F;
    const F by = widen(*scale);
    auto four = [&](u64 i) {
        F wide[4];
        load(xs + i, wide);
#pragma unroll
        for (int k = 0; k < 4; k++) wide[k] *= by;
        store(ys + i, wide);
    };
    auto one = [&](u64 i) { ys[i] = narrow<T>(widen(xs[i]) * by); };
    sweep(count, is_aligned(xs) && is_aligned(ys), four, one);
}

#define KERNELS(T, suffix)                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                              \
        dot_##suffix(const T *as, const T *bs, T *sum, u64 *words, u64 count) {                                        \
        dot(as, bs, sum, words, count);                                                                                \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                              \
        scaled_##suffix(const T *xs, const T *scale, T *ys, u64 count) {                                               \
        scaled(xs, scale, ys, count);                                                                                  \
    }

KERNELS(float, f32)
KERNELS(double, f64)
KERNELS(__nv_bfloat16, bf16)
KERNELS(__half, f16)
