// The activations and their derivatives, in float or double. The formulas are those of
// src/activation/scalar.rs: nothing in them overflows, cancels or turns an infinity into a NaN.
#pragma once

// The activations in the order of `Activation::ALL`, which a test of src/activation/code.rs checks.
enum Code {
    IDENTITY,
    SIGMOID,
    TANH,
    RELU,
    LEAKY_RELU,
    ELU,
    SELU,
    GELU,
    GELU_TANH,
    SILU,
    SOFTPLUS,
    SOFTSIGN,
    HARDTANH,
    HARDSWISH,
    MISH,
    SIN,
    ERF,
};

// An activation with its parameters: the slope of a leaky ReLU; the alpha of an ELU, and the factor of the
// whole ELU (`Code` in src/activation/code.rs).
struct Activation {
    int code;
    int unused;
    double slope;
    double scale;
};

// 2 sqrt(2/pi), and the coefficient of the cube (Hendrycks and Gimpel 2016, arXiv 1606.08415).
#define GELU_SLOPE 1.5957691216057308
#define GELU_CUBIC 0.044715

__device__ inline float normal_cdf(float x) { return normcdff(x); }
__device__ inline double normal_cdf(double x) { return normcdf(x); }
__device__ inline float from_exp(float x) { return expf(x); }
__device__ inline double from_exp(double x) { return exp(x); }
__device__ inline float from_expm1(float x) { return expm1f(x); }
__device__ inline double from_expm1(double x) { return expm1(x); }
__device__ inline float from_log1p(float x) { return log1pf(x); }
__device__ inline double from_log1p(double x) { return log1p(x); }
__device__ inline float from_tanh(float x) { return tanhf(x); }
__device__ inline double from_tanh(double x) { return tanh(x); }
__device__ inline float from_sin(float x) { return sinf(x); }
__device__ inline double from_sin(double x) { return sin(x); }
__device__ inline float from_cos(float x) { return cosf(x); }
__device__ inline double from_cos(double x) { return cos(x); }
__device__ inline float from_erf(float x) { return erff(x); }
__device__ inline double from_erf(double x) { return erf(x); }
__device__ inline float size_of(float x) { return fabsf(x); }
__device__ inline double size_of(double x) { return fabs(x); }

// The magnitude at which exp(-x) is 0, and the x at which exp(x) squared is still finite.
template <class F> struct Ends;
template <> struct Ends<float> {
    static constexpr float far = 200.0f, mish = 20.0f;
};
template <> struct Ends<double> {
    static constexpr double far = 760.0, mish = 40.0;
};

// A NaN stays a NaN.
template <class F> __device__ inline F at_least(F x, F low) { return x < low ? low : x; }
template <class F> __device__ inline F at_most(F x, F high) { return x > high ? high : x; }
template <class F> __device__ inline F or_nan(F x, F y) { return x != x ? x : y; }

template <class F> __device__ inline F sigmoid(F x) {
    F e = from_exp(-size_of(x));
    return (x < 0 ? e : F(1)) / (1 + e);
}

// e/(1 + e)^2
template <class F> __device__ inline F sigmoid_slope(F x) {
    F e = from_exp(-size_of(x));
    return e / ((1 + e) * (1 + e));
}

// The argument of the sigmoid in the tanh form of GELU, and its derivative.
template <class F> __device__ inline F gelu_inner(F x) { return F(GELU_SLOPE) * (x + F(GELU_CUBIC) * x * x * x); }
template <class F> __device__ inline F gelu_inner_slope(F x) {
    return F(GELU_SLOPE) * (1 + 3 * F(GELU_CUBIC) * x * x);
}

// Replaces each of N numbers by phi of it.
template <class F, int N> __device__ inline void values(const Activation &activation, F (&xs)[N]) {
    const F slope = F(activation.slope), scale = F(activation.scale), left = -Ends<F>::far;
#define EACH(value)                                                                                                    \
    _Pragma("unroll") for (int k = 0; k < N; k++) {                                                                    \
        F x = xs[k];                                                                                                   \
        xs[k] = (value);                                                                                               \
    }                                                                                                                  \
    break;
    switch (activation.code) {
    case SIGMOID: EACH(sigmoid(x))
    case TANH: EACH(from_tanh(x))
    case RELU: EACH(x <= 0 ? F(0) : x)
    case LEAKY_RELU: EACH(x <= 0 ? slope * x : x)
    case ELU:
    case SELU: EACH(scale * (x <= 0 ? slope * from_expm1(x) : x))
    case GELU: EACH(at_least(x, left) * normal_cdf(x))
    case GELU_TANH: EACH(at_least(x, left) * sigmoid(gelu_inner(at_most(at_least(x, F(-40)), F(40)))))
    case SILU: EACH(at_least(x, left) * sigmoid(x))
    case SOFTPLUS: EACH((x <= 0 ? F(0) : x) + from_log1p(from_exp(-size_of(x))))
    case SOFTSIGN: EACH(at_most(at_least(x, F(-1e30)), F(1e30)) / (1 + at_most(size_of(x), F(1e30))))
    case HARDTANH: EACH(at_most(at_least(x, F(-1)), F(1)))
    case HARDSWISH: EACH(x >= 3 ? x : x <= -3 ? F(0) : x * (x + 3) / 6)
    case MISH: EACH(({
            F e = from_exp(at_most(x, Ends<F>::mish)), n = e * e + 2 * e;
            at_least(x, left) * (n / (n + 2));
        }))
    case SIN: EACH(from_sin(x))
    case ERF: EACH(from_erf(x))
    default: break;
    }
#undef EACH
}

// Replaces each of N gradients g by phi' g, computed from the input of the activation.
template <class F, int N>
__device__ inline void gradients(const Activation &activation, const F (&inputs)[N], F (&gs)[N]) {
    const F slope = F(activation.slope), scale = F(activation.scale), far = Ends<F>::far;
#define EACH(derivative)                                                                                               \
    _Pragma("unroll") for (int k = 0; k < N; k++) {                                                                    \
        F x = inputs[k];                                                                                               \
        gs[k] = (derivative) * gs[k];                                                                                  \
    }                                                                                                                  \
    break;
#define NEAR(x, high) at_most(at_least(x, -far), F(high))
    switch (activation.code) {
    case SIGMOID: EACH(sigmoid_slope(x))
    case TANH: EACH(4 * sigmoid_slope(2 * x))
    case RELU: EACH(or_nan(x, x > 0 ? F(1) : F(0)))
    case LEAKY_RELU: EACH(or_nan(x, x > 0 ? F(1) : slope))
    case ELU:
    case SELU: EACH(or_nan(x, scale * (x <= 0 ? slope * from_exp(x) : F(1))))
    case GELU: EACH(({
            F y = NEAR(x, far);
            normal_cdf(y) + y * (F(0.3989422804014327) * from_exp(F(-0.5) * y * y));
        }))
    case GELU_TANH: EACH(({
            F y = at_most(at_least(x, F(-40)), F(40)), t = gelu_inner(y);
            sigmoid(t) + y * gelu_inner_slope(y) * sigmoid_slope(t);
        }))
    case SILU: EACH(({
            F y = NEAR(x, far);
            sigmoid(y) + y * sigmoid_slope(y);
        }))
    case SOFTPLUS: EACH(sigmoid(x))
    case SOFTSIGN: EACH(1 / ((1 + size_of(x)) * (1 + size_of(x))))
    case HARDTANH: EACH(or_nan(x, size_of(x) < 1 ? F(1) : F(0)))
    case HARDSWISH: EACH(x >= 3 ? F(1) : x <= -3 ? F(0) : (2 * x + 3) / 6)
    case MISH: EACH(({
            F y = NEAR(x, Ends<F>::mish), e = from_exp(y), n = e * e + 2 * e, d = n + 2;
            n / d + 4 * y * (e * (1 + e) / (d * d));
        }))
    case SIN: EACH(from_cos(x))
    case ERF: EACH(F(1.1283791670955126) * from_exp(-x * x))
    default: EACH(or_nan(x, F(1)))
    }
#undef NEAR
#undef EACH
}

// The same, computed from the output of the activation, for those whose derivative can be (`OF_OUTPUT` in
// src/activation/scalar.rs).
template <class F, int N>
__device__ inline void gradients_of_output(const Activation &activation, const F (&outputs)[N], F (&gs)[N]) {
#pragma unroll
    for (int k = 0; k < N; k++) {
        F h = outputs[k];
        switch (activation.code) {
        case SIGMOID: gs[k] = h * (1 - h) * gs[k]; break;
        case TANH: gs[k] = (1 - h * h) * gs[k]; break;
        case RELU: gs[k] = h > 0 ? gs[k] : h * gs[k]; break;
        default: break;
        }
    }
}
