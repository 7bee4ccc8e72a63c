// Steps of the optimizers over many parameters in one launch: launched by src/optim.
#include "tensor.cuh"

// The number of parameters that one launch takes, so that its arguments stay below 4 KiB: `MAX_PARAMETERS` in
// src/optim/cuda.rs.
#define MAX_PARAMETERS 100
// The number of numbers that one block steps: `PART` in src/optim/cuda.rs.
#define PART 1024

struct Parameter {
    float *weights;
    const float *gradients;
    u64 count;
    // The index of its first number in the optimizer's state.
    u64 start;
    // The number of the first block behind its blocks.
    u64 end;
};

struct Parameters {
    Parameter at[MAX_PARAMETERS];
    u64 count;
};

// The part of a parameter that a block steps.
struct Part {
    float *weights;
    const float *gradients;
    // The index of its first number in the optimizer's state.
    u64 state;
    u64 count;
};

__device__ inline Part part(const Parameters &all) {
    // The first parameter whose end is behind this block.
    unsigned low = 0, high = (unsigned)all.count - 1;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (all.at[middle].end > blockIdx.x) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    const Parameter &own = all.at[low];
    u64 from = (blockIdx.x - (low ? all.at[low - 1].end : 0)) * PART, left = own.count - from;
    return Part{own.weights + from, own.gradients + from, own.start + from, left < PART ? left : PART};
}

// The parameters of AdamW.
struct AdamSettings {
    double decay1, decay2;
    float beta1, rest1, beta2, rest2, eps, rate, keep, unused;
};

// The powers of the betas so far, and the bias corrections computed from them.
struct AdamState {
    double power1, power2;
    float scale1, scale2;
};

// Updates the state before a step, in one thread.
extern "C" __global__ void adam_tick(const AdamSettings *settings, AdamState *state) {
    state->power1 *= settings->decay1;
    state->power2 *= settings->decay2;
    state->scale1 = (float)(1.0 / (1.0 - state->power1));
    state->scale2 = (float)(1.0 / (1.0 - state->power2));
}

// Steps with AdamW. `first` and `second` are the running means of the gradient and of its square.
extern "C" __global__ void __launch_bounds__(THREADS)
    adamw(Parameters all, const AdamSettings *settings, const AdamState *state, float *first, float *second) {
    const Part own = part(all);
    const AdamSettings set = *settings;
    const float scale1 = state->scale1, scale2 = state->scale2;
    for (u64 k = threadIdx.x; k < own.count; k += THREADS) {
        float g = own.gradients[k], w = own.weights[k];
        float m = first[own.state + k] * set.beta1 + g * set.rest1;
        float v = second[own.state + k] * set.beta2 + g * g * set.rest2;
        first[own.state + k] = m;
        second[own.state + k] = v;
        float direction = m * scale1 / (sqrtf(v * scale2) + set.eps);
        own.weights[k] = w * set.keep - direction * set.rate;
    }
}

// The parameters of gradient descent.
struct SgdSettings {
    float rate, momentum, decay;
    int nesterov;
};

// Steps with gradient descent. `velocity` is zero at first, so that the velocity of the first step is the
// gradient.
extern "C" __global__ void __launch_bounds__(THREADS)
    sgd(Parameters all, const SgdSettings *settings, float *velocity) {
    const Part own = part(all);
    const SgdSettings set = *settings;
    for (u64 k = threadIdx.x; k < own.count; k += THREADS) {
        float w = own.weights[k], g = own.gradients[k] + set.decay * w;
        float v = set.momentum * velocity[own.state + k] + g;
        velocity[own.state + k] = v;
        own.weights[k] = w - set.rate * (set.nesterov ? g + set.momentum * v : v);
    }
}
