// The kernels of a dense layer before and after its matrix products: launched by src/dense/cuda.rs.
#include "activation.cuh"
#include "stats.cuh"

// A division of 32 bits takes half the time of one of 64.
__device__ inline unsigned column_of(u64 i, unsigned outputs) {
    return i >> 32 ? (unsigned)(i % outputs) : (unsigned)i % outputs;
}

// Numbers as they are read back after having been stored as T.
template <class F, int N> struct Stored {
    F at[N];
};
template <class T, class F, int N> __device__ inline Stored<F, N> as_stored(const F (&wide)[N]) {
    Stored<F, N> stored;
#pragma unroll
    for (int k = 0; k < N; k++) stored.at[k] = widen(narrow<T>(wide[k]));
    return stored;
}

// Computes hs = phi(zs + bias) from the product zs of shape [count/outputs, outputs]. `hs` may be `zs`
// itself; `bias` may be null. `kept`, if not null, gets zs + bias. If OBSERVED, statistics are taken of the
// numbers as they are stored.
template <bool OBSERVED, class T>
__device__ void dense_forward(Activation activation, Sink sink, const T *zs, const T *bias, T *kept, T *hs, u64 count,
                              unsigned outputs) {
    typedef typename Wide<T>::type F;
    const bool fours = is_aligned(zs) && is_aligned(hs) && (!kept || is_aligned(kept));
    // Whether any four columns that are read at once have aligned biases.
    const bool straight = bias && outputs % 4 == 0 && is_aligned(bias);
    auto biased = [&](T z, unsigned column) { return bias ? widen(z) + widen(bias[column]) : (F)widen(z); };
    auto pre_activations = [&](u64 i, const Four<T> &x, F(&wide)[4]) {
        widen(x, wide);
        if (!bias) return;
        unsigned column = column_of(i, outputs);
        if (straight) {
            F more[4];
            load(bias + column, more);
#pragma unroll
            for (int k = 0; k < 4; k++) wide[k] += more[k];
        } else {
#pragma unroll
            for (int k = 0; k < 4; k++) {
                wide[k] += widen(bias[column]);
                if (++column == outputs) column = 0;
            }
        }
    };
    if constexpr (!OBSERVED) {
        auto four = [&](u64 i) {
            F wide[4];
            pre_activations(i, *(const Four<T> *)(zs + i), wide);
            if (kept) store(kept + i, wide);
            values(activation, wide);
            store(hs + i, wide);
        };
        auto one = [&](u64 i) {
            F wide[1] = {biased(zs[i], column_of(i, outputs))};
            if (kept) kept[i] = narrow<T>(wide[0]);
            values(activation, wide);
            hs[i] = narrow<T>(wide[0]);
        };
        sweep(count, fours, four, one);
    } else {
        __shared__ unsigned shared[SHARED_BINS];
        double low = sink.low, high = sink.high;
        if (sink.known) widen_range(low, high);
        Counter<F> counter(shared, sink.known ? sink.bins : 1, low, high);
        Saturated<F> saturated(sink);
        // All lanes read the same element, before any of them overwrites it.
        F pivot[1] = {0};
        u64 first;
        if (first_of_warp(count, fours, first)) {
            pivot[0] = biased(zs[first], column_of(first, outputs));
            values(activation, pivot);
        }
        Running<F> running(pivot[0]);
        auto observe = [&](const auto &hs) {
            running.add(hs);
            if (sink.known) counter.add(hs);
        };
        auto four = [&](u64 i, const Four<T> &x) {
            F wide[4];
            pre_activations(i, x, wide);
            if (kept) store(kept + i, wide);
            saturated.add(as_stored<T>(wide).at);
            values(activation, wide);
            observe(as_stored<T>(wide).at);
            store(hs + i, wide);
        };
        auto one = [&](u64 i) {
            F wide[1] = {biased(zs[i], column_of(i, outputs))};
            if (kept) kept[i] = narrow<T>(wide[0]);
            saturated.add(as_stored<T>(wide).at);
            values(activation, wide);
            observe(as_stored<T>(wide).at);
            hs[i] = narrow<T>(wide[0]);
        };
        sweep_ahead(zs, count, fours, four, one);
        if (sink.known) counter.write(sink.record);
        saturated.write(sink.record);
        write_moments(sink, running, blockIdx.x, gridDim.x);
    }
}

// Computes of_z = phi' gs, if there is no bias and no statistics are taken. `of_output` tells whether `known`
// is the output of the activation or its input.
template <class T>
__device__ void dense_gradient(Activation activation, const T *known, int of_output, const T *gs, T *of_z, u64 count) {
    typedef typename Wide<T>::type F;
    auto through = [&](const auto &xs, auto &gs) {
        if (of_output) {
            gradients_of_output(activation, xs, gs);
        } else {
            gradients(activation, xs, gs);
        }
    };
    auto four = [&](u64 i) {
        F xs[4], wide[4];
        load(known + i, xs);
        load(gs + i, wide);
        through(xs, wide);
        store(of_z + i, wide);
    };
    auto one = [&](u64 i) {
        F xs[1] = {widen(known[i])}, wide[1] = {widen(gs[i])};
        through(xs, wide);
        of_z[i] = narrow<T>(wide[0]);
    };
    sweep(count, is_aligned(known) && is_aligned(gs) && is_aligned(of_z), four, one);
}

// The number of rows whose elements a thread loads before it uses the first.
#define ROWS_AHEAD 4

// Computes of_z = phi' gs from the gradient gs of the layer's output, of shape [samples, outputs], and
// of_bias, its sums over the samples. A block takes 32 columns, and every gridDim.y-th eight rows. `sums` has
// gridDim.y numbers for each column, and `tickets` one for each 32 columns, zero before the launch; both are
// null if of_bias is.
template <class T>
__device__ void dense_backward(Activation activation, Sink sink, const T *known, int of_output, const T *gs, T *of_z,
                               T *of_bias, double *sums, u64 *tickets, u64 samples, unsigned outputs) {
    typedef typename Wide<T>::type F;
    __shared__ double rows[8][33];
    unsigned column = blockIdx.x * 32 + threadIdx.x;
    u64 row = blockIdx.y * 8 + threadIdx.y, step = gridDim.y * 8;
    double sum = 0;
    Running<F> running(row < samples ? widen(gs[row * outputs + blockIdx.x * 32]) : F(0));
    auto use = [&](u64 i, T x, T of_h) {
        F xs[1] = {widen(x)}, g[1] = {widen(of_h)};
        if (sink.record) running.add(g);
        if (of_output) {
            gradients_of_output(activation, xs, g);
        } else {
            gradients(activation, xs, g);
        }
        of_z[i] = narrow<T>(g[0]);
        sum += (double)g[0];
    };
    if (column < outputs) {
        for (; row + (ROWS_AHEAD - 1) * step < samples; row += ROWS_AHEAD * step) {
            T xs[ROWS_AHEAD], g[ROWS_AHEAD];
#pragma unroll
            for (int k = 0; k < ROWS_AHEAD; k++) {
                u64 i = (row + k * step) * outputs + column;
                xs[k] = known[i], g[k] = gs[i];
            }
#pragma unroll
            for (int k = 0; k < ROWS_AHEAD; k++) use((row + k * step) * outputs + column, xs[k], g[k]);
        }
        for (; row < samples; row += step) {
            u64 i = row * outputs + column;
            use(i, known[i], gs[i]);
        }
    }
    if (sink.record) write_moments(sink, running, blockIdx.y * gridDim.x + blockIdx.x, gridDim.x * gridDim.y);
    if (!of_bias) return;
    // The sums over the eight rows of threads, returned to the first row.
    auto over_rows = [&](double mine) {
        rows[threadIdx.y][threadIdx.x] = mine;
        __syncthreads();
        if (threadIdx.y == 0) {
            for (int row = 1; row < 8; row++) mine += rows[row][threadIdx.x];
        }
        __syncthreads();
        return mine;
    };
    sum = over_rows(sum);
    if (threadIdx.y == 0 && column < outputs) {
        sums[(u64)blockIdx.y * outputs + column] = sum;
        __threadfence();
    }
    __syncthreads();
    if (!is_last(tickets + blockIdx.x, gridDim.y)) return;
    double all = 0;
    if (column < outputs) {
        for (unsigned part = threadIdx.y; part < gridDim.y; part += 8) {
            all += ((const volatile double *)sums)[(u64)part * outputs + column];
        }
    }
    all = over_rows(all);
    if (threadIdx.y == 0 && column < outputs) of_bias[column] = narrow<T>((F)all);
}

#define KERNELS(T, suffix, blocks)                                                                                     \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                              \
        dense_forward_##suffix(Activation activation, const T *zs, const T *bias, T *kept, T *hs, u64 count,           \
                               unsigned outputs) {                                                                     \
        dense_forward<false>(activation, Sink{}, zs, bias, kept, hs, count, outputs);                                  \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS, blocks)                                                      \
        dense_forward_observed_##suffix(Activation activation, Sink sink, const T *zs, const T *bias, T *kept, T *hs,  \
                                     u64 count, unsigned outputs) {                                                    \
        dense_forward<true>(activation, sink, zs, bias, kept, hs, count, outputs);                                     \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                              \
        dense_gradient_##suffix(Activation activation, const T *known, int of_output, const T *gs, T *of_z,            \
                                u64 count) {                                                                           \
        dense_gradient(activation, known, of_output, gs, of_z, count);                                                 \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                              \
        dense_backward_##suffix(Activation activation, Sink sink, const T *known, int of_output, const T *gs, T *of_z, \
                                T *of_bias, double *sums, u64 *tickets, u64 samples, unsigned outputs) {               \
        dense_backward(activation, sink, known, of_output, gs, of_z, of_bias, sums, tickets, samples, outputs);        \
    }

// The number of blocks that a multiprocessor must have room for if statistics are taken.
KERNELS(float, f32, 3)
KERNELS(double, f64, 2)
KERNELS(__nv_bfloat16, bf16, 3)
KERNELS(__half, f16, 3)
