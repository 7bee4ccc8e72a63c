// Activations and their gradients, element by element: launched by src/activation/cuda.rs.
#include "activation.cuh"
#include "tensor.cuh"

template <class T> __device__ void value(Activation activation, const T *xs, T *ys, u64 count) {
    typedef typename Wide<T>::type F;
    auto four = [&](u64 i) {
        F wide[4];
        load(xs + i, wide);
        values(activation, wide);
        store(ys + i, wide);
    };
    auto one = [&](u64 i) {
        F wide[1] = {widen(xs[i])};
        values(activation, wide);
        ys[i] = narrow<T>(wide[0]);
    };
    sweep(count, is_aligned(xs) && is_aligned(ys), four, one);
}

template <class T> __device__ void gradient(Activation activation, const T *xs, const T *gs, T *ys, u64 count) {
    typedef typename Wide<T>::type F;
    auto four = [&](u64 i) {
        F known[4], wide[4];
        load(xs + i, known);
        load(gs + i, wide);
        gradients(activation, known, wide);
        store(ys + i, wide);
    };
    auto one = [&](u64 i) {
        F known[1] = {widen(xs[i])}, wide[1] = {widen(gs[i])};
        gradients(activation, known, wide);
        ys[i] = narrow<T>(wide[0]);
    };
    sweep(count, is_aligned(xs) && is_aligned(gs) && is_aligned(ys), four, one);
}

#define KERNELS(T, suffix)                                                                                             \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                              \
        value_##suffix(Activation activation, const T *xs, T *ys, u64 count) {                                         \
        value(activation, xs, ys, count);                                                                              \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                              \
        gradient_##suffix(Activation activation, const T *xs, const T *gs, T *ys, u64 count) {                         \
        gradient(activation, xs, gs, ys, count);                                                                       \
    }

KERNELS(float, f32)
KERNELS(double, f64)
KERNELS(__nv_bfloat16, bf16)
KERNELS(__half, f16)
