// Moments, histogram and saturated share of a tensor.
#include "stats.cuh"

template <class T> __device__ void summarize(Ear ear, const T *xs, u64 count) {
    typedef typename Wide<T>::type F;
    __shared__ unsigned shared[SHARED_BINS];
    double low = ear.low, high = ear.high;
    if (ear.known) widen_range(low, high);
    Counter<F> counter(shared, ear.known ? ear.bins : 1, low, high);
    Tails<F> tails(ear);
    u64 first;
    Seen<F> seen(first_of_warp(count, is_aligned(xs), first) ? widen(xs[first]) : F(0));
    auto hear = [&](const auto &wide) {
        seen.add(wide);
        if (ear.known) counter.add(wide);
        tails.add(wide);
    };
    auto four = [&](u64, const Four<T> &x) {
        F wide[4];
        widen(x, wide);
        hear(wide);
    };
    auto one = [&](u64 i) {
        F wide[1] = {widen(xs[i])};
        hear(wide);
    };
    sweep_ahead(xs, count, is_aligned(xs), four, one);
    if (ear.known) counter.hand_in(ear.record);
    tails.hand_in(ear.record);
    hand_in(ear, seen, blockIdx.x, gridDim.x);
}

// The histogram where the range had to be found first; it stands in the record.
template <class T> __device__ void histogram(u64 *record, int bins, const T *xs, u64 count) {
    typedef typename Wide<T>::type F;
    __shared__ unsigned shared[SHARED_BINS];
    Counter<F> counter(shared, bins, ((double *)record)[LOW], ((double *)record)[HIGH]);
    auto four = [&](u64, const Four<T> &x) {
        F wide[4];
        widen(x, wide);
        counter.add(wide);
    };
    auto one = [&](u64 i) {
        F wide[1] = {widen(xs[i])};
        counter.add(wide);
    };
    sweep_ahead(xs, count, is_aligned(xs), four, one);
    counter.hand_in(record);
}

#define KERNELS(T, suffix, blocks)                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS, blocks)                                                      \
        summarize_##suffix(Ear ear, const T *xs, u64 count) {                                                          \
        summarize(ear, xs, count);                                                                                     \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS, blocks)                                                      \
        histogram_##suffix(u64 *record, int bins, const T *xs, u64 count) {                                            \
        histogram(record, bins, xs, count);                                                                            \
    }

// The blocks that a multiprocessor is to have room for.
KERNELS(float, f32, 4)
KERNELS(double, f64, 3)
KERNELS(__nv_bfloat16, bf16, 4)
KERNELS(__half, f16, 4)
