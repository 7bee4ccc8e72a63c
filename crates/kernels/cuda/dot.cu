// The sum of products of two tensors, and its gradient.
#include "stats.cuh"

// `words`, zeros before: how many blocks have finished, and behind it a part for each block. The sum of a b is written to
// `sum` by the last block, from all parts in their order.
template <class T> __device__ void dot(const T *as, const T *bs, T *sum, u64 *words, u64 count) {
    typedef typename Wide<T>::type F;
    __shared__ double warps[WARPS];
    double mine = 0;
    auto four = [&](u64 i, const Four<T> &a) {
        F xs[4], ys[4];
        widen(a, xs);
        load(bs + i, ys);
#pragma unroll
        for (int k = 0; k < 4; k++) mine += (double)xs[k] * (double)ys[k];
    };
    auto one = [&](u64 i) { mine += (double)widen(as[i]) * (double)widen(bs[i]); };
    sweep_ahead(as, count, is_aligned(as) && is_aligned(bs), four, one);
    // The sum over the block, in its first thread.
    auto of_block = [&](double mine) {
        mine = sum_of_warp(mine);
        if (thread() % 32 == 0) warps[thread() / 32] = mine;
        __syncthreads();
        if (thread() == 0) {
            for (int warp = 1; warp < WARPS; warp++) mine += warps[warp];
        }
        __syncthreads();
        return mine;
    };
    double *parts = (double *)(words + 1);
    mine = of_block(mine);
    if (thread() == 0) parts[blockIdx.x] = mine;
    if (!is_last(words, gridDim.x)) return;
    double all = 0;
    for (unsigned i = thread(); i < gridDim.x; i += THREADS) all += ((const volatile double *)parts)[i];
    all = of_block(all);
    if (thread() == 0) *sum = narrow<T>((F)all);
}

// Every element times one number.
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
