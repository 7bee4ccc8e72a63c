// Moments, histogram and saturated count of a tensor: launched by src/stats/cuda.rs.
#include "stats.cuh"

template <class T> __device__ void summarize(Sink sink, const T *xs, u64 count) {
    typedef typename Wide<T>::type F;
    __shared__ unsigned shared[SHARED_BINS];
    double low = sink.low, high = sink.high;
    if (sink.known) widen_range(low, high);
    Counter<F> counter(shared, sink.known ? sink.bins : 1, low, high);
    Saturated<F> saturated(sink);
    u64 first;
    Running<F> running(first_of_warp(count, is_aligned(xs), first) ? widen(xs[first]) : F(0));
    auto observe = [&](const auto &wide) {
        running.add(wide);
        if (sink.known) counter.add(wide);
        saturated.add(wide);
    };
    auto four = [&](u64, const Four<T> &x) {
        F wide[4];
        widen(x, wide);
        observe(wide);
    };
    auto one = [&](u64 i) {
        F wide[1] = {widen(xs[i])};
        observe(wide);
    };
    sweep_ahead(xs, count, is_aligned(xs), four, one);
    if (sink.known) counter.write(sink.record);
    saturated.write(sink.record);
    write_moments(sink, running, blockIdx.x, gridDim.x);
}

// Counts the histogram if the range was not known before: the record has it.
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
    counter.write(record);
}

#define KERNELS(T, suffix, blocks)                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS, blocks)                                                      \
        summarize_##suffix(Sink sink, const T *xs, u64 count) {                                                        \
        summarize(sink, xs, count);                                                                                    \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS, blocks)                                                      \
        histogram_##suffix(u64 *record, int bins, const T *xs, u64 count) {                                            \
        histogram(record, bins, xs, count);                                                                            \
    }

// The number of blocks that a multiprocessor must have room for.
KERNELS(float, f32, 4)
KERNELS(double, f64, 3)
KERNELS(__nv_bfloat16, bf16, 4)
KERNELS(__half, f16, 4)
