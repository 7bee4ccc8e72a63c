// Steps of the optimizers over many parameters in one launch.
#include "tensor.cuh"

// Parameters that one launch takes, so that its arguments stay below 4 KiB.
#define MOST 120
// Numbers that one block steps.
#define PART 1024

struct Parameter {
    float *weights;
    const float *gradients;
    u64 count;
    // The number of the first block behind it.
    u64 end;
};

struct Parameters {
    Parameter at[MOST];
    u64 count;
};

// The numbers of one of Adam's steps, and the powers of its betas so far.
struct AdamStep {
    float beta1, rest1, beta2, rest2, scale1, scale2, eps, rate, keep, unused;
    double decay1, decay2, power1, power2;
};

// Which parameter a block belongs to: the first whose end is behind it.
__device__ inline const Parameter &find(const Parameters &all, u64 &first) {
    unsigned low = 0, high = (unsigned)all.count - 1;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (all.at[middle].end > blockIdx.x) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    first = low ? all.at[low - 1].end : 0;
    return all.at[low];
}

// Before the parameters' step: the bias corrections of Adam's next step.
extern "C" __global__ void adam_tick(AdamStep *step) {
    step->power1 *= step->decay1;
    step->power2 *= step->decay2;
    step->scale1 = (float)(1.0 / (1.0 - step->power1));
    step->scale2 = (float)(1.0 / (1.0 - step->power2));
}

// `first` and `second`: PART numbers for each block, the running means of the gradient and of its square.
extern "C" __global__ void __launch_bounds__(THREADS)
    adamw(Parameters all, const AdamStep *now, float *first, float *second) {
    u64 start;
    const Parameter &parameter = find(all, start);
    const AdamStep step = *now;
    u64 from = (blockIdx.x - start) * PART, block = (u64)blockIdx.x * PART;
    for (u64 k = threadIdx.x; k < PART && from + k < parameter.count; k += THREADS) {
        float g = parameter.gradients[from + k], w = parameter.weights[from + k];
        float m = first[block + k] * step.beta1 + g * step.rest1;
        float v = second[block + k] * step.beta2 + g * g * step.rest2;
        first[block + k] = m;
        second[block + k] = v;
        float direction = m * step.scale1 / (sqrtf(v * step.scale2) + step.eps);
        parameter.weights[from + k] = w * step.keep - direction * step.rate;
    }
}

// `velocity`: PART numbers for each block, zero at first, so that the first step's velocity is the gradient.
extern "C" __global__ void __launch_bounds__(THREADS)
    sgd(Parameters all, const float *settings, float *velocity, int nesterov) {
    u64 start;
    const Parameter &parameter = find(all, start);
    float rate = settings[0], momentum = settings[1], decay = settings[2];
    u64 from = (blockIdx.x - start) * PART, block = (u64)blockIdx.x * PART;
    for (u64 k = threadIdx.x; k < PART && from + k < parameter.count; k += THREADS) {
        float w = parameter.weights[from + k], g = parameter.gradients[from + k] + decay * w;
        float v = momentum * velocity[block + k] + g;
        velocity[block + k] = v;
        parameter.weights[from + k] = w - rate * (nesterov ? g + momentum * v : v);
    }
}
