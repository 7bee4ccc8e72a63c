// Steps of the optimizers over many parameters in one launch.
#include "tensor.cuh"

// Parameters that one launch takes, so that its arguments stay below 4 KiB.
#define MOST 100
// Numbers that one block steps.
#define PART 1024

struct Parameter {
    float *weights;
    const float *gradients;
    u64 count;
    // Its first number in what the optimizer keeps.
    u64 start;
    // The number of the first block behind it.
    u64 end;
};

struct Parameters {
    Parameter at[MOST];
    u64 count;
};

// A block's part of a parameter.
struct Part {
    float *weights;
    const float *gradients;
    // Where its numbers lie in what the optimizer keeps.
    u64 kept;
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
    const Parameter &mine = all.at[low];
    u64 from = (blockIdx.x - (low ? all.at[low - 1].end : 0)) * PART, left = mine.count - from;
    return Part{mine.weights + from, mine.gradients + from, mine.start + from, left < PART ? left : PART};
}

// What the user sets.
struct AdamSettings {
    double decay1, decay2;
    float beta1, rest1, beta2, rest2, eps, rate, keep, unused;
};

// The powers of the betas so far, and the bias corrections that follow from them.
struct AdamState {
    double power1, power2;
    float scale1, scale2;
};

// Before a step.
extern "C" __global__ void adam_tick(const AdamSettings *settings, AdamState *state) {
    state->power1 *= settings->decay1;
    state->power2 *= settings->decay2;
    state->scale1 = (float)(1.0 / (1.0 - state->power1));
    state->scale2 = (float)(1.0 / (1.0 - state->power2));
}

// `first` and `second`: the running means of the gradient and of its square.
extern "C" __global__ void __launch_bounds__(THREADS)
    adamw(Parameters all, const AdamSettings *settings, const AdamState *state, float *first, float *second) {
    const Part mine = part(all);
    const AdamSettings set = *settings;
    const float scale1 = state->scale1, scale2 = state->scale2;
    for (u64 k = threadIdx.x; k < mine.count; k += THREADS) {
        float g = mine.gradients[k], w = mine.weights[k];
        float m = first[mine.kept + k] * set.beta1 + g * set.rest1;
        float v = second[mine.kept + k] * set.beta2 + g * g * set.rest2;
        first[mine.kept + k] = m;
        second[mine.kept + k] = v;
        float direction = m * scale1 / (sqrtf(v * scale2) + set.eps);
        mine.weights[k] = w * set.keep - direction * set.rate;
    }
}

struct SgdSettings {
    float rate, momentum, decay;
    int nesterov;
};

// `velocity`: zero at first, so that the first step's velocity is the gradient.
extern "C" __global__ void __launch_bounds__(THREADS)
    sgd(Parameters all, const SgdSettings *settings, float *velocity) {
    const Part mine = part(all);
    const SgdSettings set = *settings;
    for (u64 k = threadIdx.x; k < mine.count; k += THREADS) {
        float w = mine.weights[k], g = mine.gradients[k] + set.decay * w;
        float v = set.momentum * velocity[mine.kept + k] + g;
        velocity[mine.kept + k] = v;
        mine.weights[k] = w - set.rate * (set.nesterov ? g + set.momentum * v : v);
    }
}
