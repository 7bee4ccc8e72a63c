// Moments, histogram and saturated share of a tensor.
#include "stats.cuh"

template <class T> __device__ void summarize(Ear ear, const T *xs, u64 count) {
    __shared__ unsigned shared[SHARED_BINS];
    double low = ear.low, high = ear.high;
    if (ear.known) widen_range(low, high);
    Counter counter(shared, ear.bins, low, high);
    Seen seen;
    auto add = [&](T element) {
        double x = (double)widen(element);
        seen.add(x);
        if (ear.known) counter.add(x);
        if (x <= ear.tail_low || x >= ear.tail_high) counter.saturated++;
    };
    auto four = [&](u64 i) {
        Four<T> x = *(const Four<T> *)(xs + i);
#pragma unroll
        for (int k = 0; k < 4; k++) add(x.at[k]);
    };
    sweep(count, is_aligned(xs), four, [&](u64 i) { add(xs[i]); });
    counter.hand_in(ear.record);
    hand_in(ear, seen, blockIdx.x, gridDim.x);
}

// The histogram where the range had to be found first; it stands in the record.
template <class T> __device__ void histogram(u64 *record, int bins, const T *xs, u64 count) {
    __shared__ unsigned shared[SHARED_BINS];
    Counter counter(shared, bins, ((double *)record)[LOW], ((double *)record)[HIGH]);
    auto four = [&](u64 i) {
        Four<T> x = *(const Four<T> *)(xs + i);
#pragma unroll
        for (int k = 0; k < 4; k++) counter.add((double)widen(x.at[k]));
    };
    sweep(count, is_aligned(xs), four, [&](u64 i) { counter.add((double)widen(xs[i])); });
    counter.hand_in(record);
}

#define KERNELS(T, suffix)                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS) summarize_##suffix(Ear ear, const T *xs, u64 count) {        \
        summarize(ear, xs, count);                                                                                     \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                              \
        histogram_##suffix(u64 *record, int bins, const T *xs, u64 count) {                                            \
        histogram(record, bins, xs, count);                                                                            \
    }

KERNELS(float, f32)
KERNELS(double, f64)
KERNELS(__nv_bfloat16, bf16)
KERNELS(__half, f16)
