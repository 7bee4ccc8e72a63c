// What a dense layer does before and after its matrix products.
#include "activation.cuh"
#include "stats.cuh"

// A division of 32 bits takes half the time of one of 64.
__device__ inline unsigned column_of(u64 i, unsigned outputs) {
    return i >> 32 ? (unsigned)(i % outputs) : (unsigned)i % outputs;
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
    Counter counter(shared, ear.record ? ear.bins : 1, low, high);
    Seen seen;
    auto hear_z = [&](T stored) {
        double z = (double)widen(stored);
        counter.saturated += z <= ear.tail_low || z >= ear.tail_high;
    };
    auto hear_h = [&](T stored) {
        double h = (double)widen(stored);
        seen.add(h);
        if (ear.known) counter.add(h);
    };
    auto with_bias = [&](T z, unsigned column) { return bias ? widen(z) + widen(bias[column]) : (F)widen(z); };
    auto four = [&](u64 i) {
        F wide[4];
        Four<T> x = *(const Four<T> *)(zs + i), y;
        unsigned column = column_of(i, outputs);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            wide[k] = with_bias(x.at[k], column);
            if (++column == outputs) column = 0;
            y.at[k] = narrow<T>(wide[k]);
            if (ear.record) hear_z(y.at[k]);
        }
        if (kept) *(Four<T> *)(kept + i) = y;
        values(activation, wide);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            y.at[k] = narrow<T>(wide[k]);
            if (ear.record) hear_h(y.at[k]);
        }
        *(Four<T> *)(hs + i) = y;
    };
    auto one = [&](u64 i) {
        F wide[1] = {with_bias(zs[i], column_of(i, outputs))};
        T z = narrow<T>(wide[0]);
        if (kept) kept[i] = z;
        if (ear.record) hear_z(z);
        values(activation, wide);
        T h = narrow<T>(wide[0]);
        if (ear.record) hear_h(h);
        hs[i] = h;
    };
    sweep(count, is_aligned(zs) && is_aligned(hs) && (!kept || is_aligned(kept)), four, one);
    if (!ear.record) return;
    counter.hand_in(ear.record);
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
    Seen seen;
    if (column < outputs) {
        for (u64 row = blockIdx.y * 8 + threadIdx.y; row < samples; row += gridDim.y * 8) {
            u64 i = row * outputs + column;
            F x[1] = {widen(known[i])}, g[1] = {widen(gs[i])};
            if (ear.record) seen.add((double)g[0]);
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
