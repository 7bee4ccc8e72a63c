// What a dense layer does before and after its matrix products.
#include "activation.cuh"
#include "stats.cuh"

// A division of 32 bits takes half the time of one of 64.
__device__ inline unsigned column_of(u64 i, unsigned outputs) {
    return i >> 32 ? (unsigned)(i % outputs) : (unsigned)i % outputs;
}

// Numbers as they are after they have been stored as T.
template <class F, int N> struct Stored {
    F at[N];
};
template <class T, class F, int N> __device__ inline Stored<F, N> as_stored(const F (&wide)[N]) {
    Stored<F, N> stored;
#pragma unroll
    for (int k = 0; k < N; k++) stored.at[k] = widen(narrow<T>(wide[k]));
    return stored;
}

// zs: [count/outputs, outputs], the product; becomes phi(zs + bias) in `hs`, which may be `zs` itself. Where `kept` is not
// null, it gets zs + bias. What is heard are the numbers as they are stored.
template <class T>
__device__ void dense_forward(Activation activation, Ear ear, const T *zs, const T *bias, T *kept, T *hs, u64 count,
                              unsigned outputs) {
    typedef typename Wide<T>::type F;
    __shared__ unsigned shared[SHARED_BINS];
    double low = ear.low, high = ear.high;
    if (ear.known) widen_range(low, high);
    Counter<F> counter(shared, ear.record ? ear.bins : 1, low, high);
    Tails<F> tails(ear);
    Seen<F> seen;
    auto biased = [&](T z, unsigned column) { return bias ? widen(z) + widen(bias[column]) : (F)widen(z); };
    auto hear_h = [&](const auto &hs) {
        seen.add(hs);
        if (ear.known) counter.add(hs);
    };
    auto four = [&](u64 i) {
        F wide[4];
        Four<T> x = *(const Four<T> *)(zs + i);
        unsigned column = column_of(i, outputs);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            wide[k] = biased(x.at[k], column);
            if (++column == outputs) column = 0;
        }
        if (kept) store(kept + i, wide);
        if (ear.record) tails.add(as_stored<T>(wide).at);
        values(activation, wide);
        if (ear.record) hear_h(as_stored<T>(wide).at);
        store(hs + i, wide);
    };
    auto one = [&](u64 i) {
        F wide[1] = {biased(zs[i], column_of(i, outputs))};
        if (kept) kept[i] = narrow<T>(wide[0]);
        if (ear.record) tails.add(as_stored<T>(wide).at);
        values(activation, wide);
        if (ear.record) hear_h(as_stored<T>(wide).at);
        hs[i] = narrow<T>(wide[0]);
    };
    sweep(count, is_aligned(zs) && is_aligned(hs) && (!kept || is_aligned(kept)), four, one);
    if (!ear.record) return;
    counter.hand_in(ear.record);
    tails.hand_in(ear.record);
    hand_in(ear, seen, blockIdx.x, gridDim.x);
}

// gs: [samples, outputs], the gradient of the layer's output. of_z becomes phi' gs, and of_bias its sums over the samples.
// A block takes 32 columns, and every gridDim.y-th eight rows; `sums` has gridDim.y numbers for each column, and `tickets`
// one for each 32 columns, zero before. `of_output`: whether `known` is the output of the activation.
template <class T>
__device__ void dense_backward(Activation activation, Ear ear, const T *known, int of_output, const T *gs, T *of_z,
                               T *of_bias, double *sums, u64 *tickets, u64 samples, unsigned outputs) {
    typedef typename Wide<T>::type F;
    __shared__ double rows[8][33];
    unsigned column = blockIdx.x * 32 + threadIdx.x;
    double sum = 0;
    Seen<F> seen;
    if (column < outputs) {
        for (u64 row = blockIdx.y * 8 + threadIdx.y; row < samples; row += gridDim.y * 8) {
            u64 i = row * outputs + column;
            F x[1] = {widen(known[i])}, g[1] = {widen(gs[i])};
            if (ear.record) seen.add(g);
            if (of_output) {
                gradients_of_output(activation, x, g);
            } else {
                gradients(activation, x, g);
            }
            of_z[i] = narrow<T>(g[0]);
            sum += (double)g[0];
        }
    }
    if (ear.record) hand_in(ear, seen, blockIdx.y * gridDim.x + blockIdx.x, gridDim.x * gridDim.y);
    if (!of_bias) return;
    rows[threadIdx.y][threadIdx.x] = sum;
    __syncthreads();
    if (threadIdx.y == 0 && column < outputs) {
        for (int row = 1; row < 8; row++) sum += rows[row][threadIdx.x];
        sums[(u64)blockIdx.y * outputs + column] = sum;
        __threadfence();
    }
    __syncthreads();
    if (!is_last(tickets + blockIdx.x, gridDim.y)) return;
    if (threadIdx.y == 0 && column < outputs) {
        double all = 0;
        for (unsigned part = 0; part < gridDim.y; part++) {
            all += ((const volatile double *)sums)[(u64)part * outputs + column];
        }
        of_bias[column] = narrow<T>((F)all);
    }
}

#define KERNELS(T, suffix)                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                              \
        dense_forward_##suffix(Activation activation, Ear ear, const T *zs, const T *bias, T *kept, T *hs, u64 count,  \
                               unsigned outputs) {                                                                     \
        dense_forward(activation, ear, zs, bias, kept, hs, count, outputs);                                            \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                              \
        dense_backward_##suffix(Activation activation, Ear ear, const T *known, int of_output, const T *gs, T *of_z,   \
                                T *of_bias, double *sums, u64 *tickets, u64 samples, unsigned outputs) {               \
        dense_backward(activation, ear, known, of_output, gs, of_z, of_bias, sums, tickets, samples, outputs);         \
    }

KERNELS(float, f32)
KERNELS(double, f64)
KERNELS(__nv_bfloat16, bf16)
KERNELS(__half, f16)
