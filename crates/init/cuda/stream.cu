// The keyed stream (src/rng/keyed): Philox4x32-10, uniform, normal and truncated normal, the same bits as on
// a CPU. Compile it without fused multiplications and additions, fast division or approximate square roots.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

typedef unsigned int u32;
typedef unsigned long long u64;

#define ELEMENTS 0u
#define EXTENSION 1u

// The number of rounds of Philox, as in src/rng/keyed/philox.rs.
#define ROUNDS 10

struct Key {
    u64 seed;
    // The key of each round, computed once for all elements; as a kernel argument it takes no register.
    u32 low[ROUNDS], high[ROUNDS];
};

struct Words {
    u32 at[4];
};

// Salmon, Moraes, Dror and Shaw 2011, as in src/rng/keyed/philox.rs.
__device__ inline Words philox(const Key &key, u32 domain, u64 number) {
    u32 a = (u32)number, b = (u32)(number >> 32) | domain << 28, c = (u32)key.seed, d = (u32)(key.seed >> 32);
#pragma unroll
    for (int round = 0; round < ROUNDS; round++) {
        u64 p = 0xD2511F53ull * a, q = 0xCD9E8D57ull * c;
        a = (u32)(q >> 32) ^ b ^ key.low[round];
        b = (u32)q;
        c = (u32)(p >> 32) ^ d ^ key.high[round];
        d = (u32)p;
    }
    return Words{{a, b, c, d}};
}

// ln, sin and cos with the coefficients of src/rng/keyed/math.rs.
__device__ inline float of_bits(u32 x) { return __int_as_float((int)x); }
__device__ inline u32 to_bits(float x) { return (u32)__float_as_int(x); }
__device__ inline double of_bits(u64 x) { return __longlong_as_double((long long)x); }
__device__ inline u64 to_bits(double x) { return (u64)__double_as_longlong(x); }

// a b + c where a b is exact: both ways round once, so the fused operation gives the same bits.
__device__ inline float of_exact(float a, float b, float c) { return __fmaf_rn(a, b, c); }
__device__ inline double of_exact(double a, double b, double c) { return __fma_rn(a, b, c); }

__device__ inline float root(float x) { return sqrtf(x); }
__device__ inline double root(double x) { return sqrt(x); }

__device__ inline float ln(float u) {
    const float P[9] = {7.0376836e-2f,  -1.151461e-1f,  1.1676999e-1f, -1.2420141e-1f, 1.4249323e-1f,
                        -1.6668058e-1f, 2.0000715e-1f, -2.4999994e-1f, 3.333333e-1f};
    u32 shifted = to_bits(u) - 0x3f3504f3u;
    float e = (float)((int)shifted >> 23);
    float m = of_bits((shifted & 0x007fffffu) + 0x3f3504f3u);
    float x = m - 1.0f, square = x * x, p = P[0];
    for (int i = 1; i < 9; i++) p = p * x + P[i];
    p = of_exact(-0.5f, square, x * square * p + e * -2.1219444e-4f);
    // The product is exact: 355/512 times a small whole number.
    return of_exact(e, 0.6933594f, x + p);
}

__device__ inline double ln(double u) {
    const double P[7] = {1.4798198605116586e-1, 1.5313837699209373e-1, 1.818357216161805e-1, 2.2222198432149784e-1,
                         2.857142874366239e-1,  3.999999999940942e-1,  6.666666666666735e-1};
    u64 shifted = to_bits(u) - 0x3fe6a09e667f3bcdull;
    double e = (double)((long long)shifted >> 52);
    double m = of_bits((shifted & 0x000fffffffffffffull) + 0x3fe6a09e667f3bcdull);
    double x = m - 1.0, s = x / (2.0 + x), z = s * s, p = P[0];
    for (int i = 1; i < 7; i++) p = p * z + P[i];
    double half_square = 0.5 * x * x;
    return e * 6.931471803691238e-1 - ((half_square - (s * (half_square + p * z) + e * 1.9082149292705877e-10)) - x);
}

__device__ inline void sin_cos_pi(float t, float &sine, float &cosine) {
    float shifted = of_exact(2.0f, t, 12582912.0f);
    u32 quarter = to_bits(shifted);
    float x = of_exact(-0.5f, shifted - 12582912.0f, t) * 3.14159265358979323846f, z = x * x;
    float sin = ((-1.9515296e-4f * z + 8.332161e-3f) * z - 1.6666655e-1f) * z * x + x;
    float cos = of_exact(-0.5f, z, ((2.4433157e-5f * z - 1.3887316e-3f) * z + 4.1666646e-2f) * (z * z)) + 1.0f;
    bool even = (quarter & 1) == 0;
    sine = of_bits(to_bits(even ? sin : cos) ^ (quarter & 2) << 30);
    cosine = of_bits(to_bits(even ? cos : sin) ^ ((quarter + 1) & 2) << 30);
}

__device__ inline void sin_cos_pi(double t, double &sine, double &cosine) {
    const double SIN[6] = {1.58969099521155e-10,   -2.5050760253406863e-8, 2.7557313707070068e-6,
                           -1.984126982985795e-4, 8.33333333332249e-3,    -1.6666666666666632e-1};
    const double COS[6] = {-1.1359647557788195e-11, 2.087572321298175e-9, -2.7557314351390663e-7,
                           2.480158728947673e-5,    -1.388888888887411e-3, 4.16666666666666e-2};
    double shifted = of_exact(2.0, t, 6755399441055744.0);
    u64 quarter = to_bits(shifted);
    double x = of_exact(-0.5, shifted - 6755399441055744.0, t) * 3.14159265358979323846, z = x * x;
    double p = SIN[0], q = COS[0];
    for (int i = 1; i < 6; i++) {
        p = p * z + SIN[i];
        q = q * z + COS[i];
    }
    double sin = p * z * x + x, cos = of_exact(-0.5, z, q * (z * z)) + 1.0;
    bool even = (quarter & 1) == 0;
    sine = of_bits(to_bits(even ? sin : cos) ^ (quarter & 2) << 62);
    cosine = of_bits(to_bits(even ? cos : sin) ^ ((quarter + 1) & 2) << 62);
}

// As in src/rng/keyed/fill/mod.rs: 32 bits for a float, 64 for a double.
__device__ inline float from_minus_1_to_1(u32 word) { return (float)(int)word * 4.656612873077392578125e-10f; }
__device__ inline double from_minus_1_to_1(u64 word) { return (double)(long long)word * 1.084202172485504434e-19; }
__device__ inline float above_0_to_1(u32 word) { return ((float)word + 0.5f) * 2.3283064365386962890625e-10f; }
__device__ inline double above_0_to_1(u64 word) { return ((double)word + 0.5) * 5.42101086242752217e-20; }

// Box and Muller 1958.
template <class F, class W> __device__ inline void normal_pair(W radius, W angle, F &a, F &b) {
    F r = root(F(-2) * ln(above_0_to_1(radius))), sine, cosine;
    sin_cos_pi(from_minus_1_to_1(angle), sine, cosine);
    a = r * cosine;
    b = r * sine;
}

template <class F, class W> struct Normal {
    F mean, std;
    __device__ Normal(double mean, double std) : mean((F)mean), std((F)std) {}

    __device__ inline void draw(const W (&words)[4], F (&out)[4]) const {
        for (int pair = 0; pair < 4; pair += 2) {
            F a, b;
            normal_pair(words[pair], words[pair + 1], a, b);
            out[pair] = mean + std * a;
            out[pair + 1] = mean + std * b;
        }
    }
};

template <class F, class W> struct Uniform {
    F middle, half, low, high;

    __device__ inline void draw(const W (&words)[4], F (&out)[4]) const {
        for (int k = 0; k < 4; k++) {
            F x = middle + half * from_minus_1_to_1(words[k]);
            x = x > low ? x : low;
            out[k] = x < high ? x : high;
        }
    }
};

__device__ inline Uniform<float, u32> uniform(double low, double high, float) {
    return Uniform<float, u32>{(float)(0.5 * (low + high)), (float)(0.5 * (high - low)), (float)low, (float)high};
}
__device__ inline Uniform<double, u64> uniform(double low, double high, double) {
    return Uniform<double, u64>{0.5 * low + 0.5 * high, 0.5 * high - 0.5 * low, low, high};
}

// The inverse of erf, as in src/rng/keyed/truncated.rs (Giles 2010).
__device__ inline float erf_inv(float x) {
    const float CENTRAL[9] = {
        2.8102264e-8f, 3.4327394e-7f, -3.5233877e-6f, -4.3915065e-6f, 2.1858087e-4f, -1.253725e-3f, -4.1776816e-3f,
        2.4664073e-1f, 1.5014094f};
    const float TAIL[9] = {
        -2.0021426e-4f, 1.0095056e-4f, 1.3493432e-3f, -3.6734284e-3f, 5.7395077e-3f, -7.6224613e-3f, 9.4388705e-3f,
        1.001674f, 2.8329768f};
    float w = -ln((1.0f - x) * (1.0f + x));
    bool central = w < 5.0f;
    float t = central ? w - 2.5f : root(w) - 3.0f, p = central ? CENTRAL[0] : TAIL[0];
    for (int i = 1; i < 9; i++) p = p * t + (central ? CENTRAL[i] : TAIL[i]);
    return p * x;
}

__device__ inline double ratio(const double (&top)[8], const double (&bottom)[8], double x) {
    double p = 0.0, q = 0.0;
    for (int i = 0; i < 8; i++) {
        p = p * x + top[i];
        q = q * x + bottom[i];
    }
    return p / q;
}

// The inverse of the standard normal distribution function, as in src/rng/keyed/truncated.rs (Wichura 1988,
// AS 241).
__device__ inline double normal_quantile(double p) {
    const double A[8] = {
        2.5090809287301227e3, 33430.57558358813, 6.72657709270087e4, 4.592195393154987e4, 1.373169376550946e4,
        1.9715909503065513e3, 1.3314166789178438e2, 3.3871328727963665};
    const double B[8] = {
        5.226495278852854e3, 2.8729085735721943e4, 3.930789580009271e4, 2.1213794301586597e4, 5.394196021424751e3,
        6.871870074920579e2, 4.231333070160091e1, 1.0};
    const double C[8] = {
        7.745450142783414e-4, 2.2723844989269184e-2, 2.417807251774506e-1, 1.2704582524523684, 3.6478483247632045,
        5.769497221460691, 4.630337846156546, 1.4234371107496835};
    const double D[8] = {
        1.0507500716444169e-9, 5.475938084995345e-4, 1.5198666563616457e-2, 1.4810397642748008e-1,
        6.897673349851e-1, 1.6763848301838038, 2.053191626637759, 1.0};
    const double E[8] = {
        2.0103343992922881e-7, 2.7115555687434876e-5, 1.2426609473880784e-3, 2.6532189526576124e-2,
        2.9656057182850487e-1, 1.7848265399172913, 5.463784911164114, 6.657904643501103};
    const double F[8] = {
        2.0442631033899398e-15, 1.421511758316446e-7, 1.8463183175100548e-5, 7.868691311456133e-4,
        1.4875361290850615e-2, 1.369298809227358e-1, 5.99832206555888e-1, 1.0};
    double q = p - 0.5;
    if (fabs(q) <= 0.425) return q * ratio(A, B, 0.180625 - q * q);
    double r = root(-ln(p < 1.0 - p ? p : 1.0 - p));
    double z = r <= 5.0 ? ratio(C, D, r - 1.6) : ratio(E, F, r - 5.0);
    return q < 0.0 ? -z : z;
}

// A truncated normal, prepared for drawing: `Truncated` of src/rng/keyed/truncated.rs.
struct Truncated {
    double mean, std, low, high;
    // The distribution function at the bounds.
    double cdf_low, cdf_high;
    // The middle and half the width of erf at the bounds, if these are near enough to the mean for float.
    float middle, half;
    int near, mirrored;

    __device__ inline double at(u64 word) const {
        double u = ((double)(word ^ 1ull << 63) + 0.5) * 5.42101086242752217e-20;
        u = mirrored ? 1.0 - u : u;
        double p = cdf_low + (cdf_high - cdf_low) * u;
        // The last number below 1.
        double z = normal_quantile(p < 0.99999999999999988898 ? p : 0.99999999999999988898);
        return within(mean + std * (mirrored ? -z : z), low, high);
    }

    __device__ inline float at(u32 word) const {
        if (!near) return (float)at((u64)word << 32 | 1ull << 31);
        float z = 1.41421356237309504880f * erf_inv(middle + half * from_minus_1_to_1(word));
        return within((float)mean + (float)std * z, (float)low, (float)high);
    }

    template <class F> __device__ static inline F within(F x, F low, F high) {
        x = x > low ? x : low;
        return x < high ? x : high;
    }

    template <class F, class W> __device__ inline void draw(const W (&words)[4], F (&out)[4]) const {
        for (int k = 0; k < 4; k++) out[k] = at(words[k]);
    }
};

__device__ inline void words_of(const Key &key, u64 number, u32 (&words)[4]) {
    Words drawn = philox(key, ELEMENTS, number);
    for (int k = 0; k < 4; k++) words[k] = drawn.at[k];
}
__device__ inline void words_of(const Key &key, u64 number, u64 (&words)[4]) {
    Words high = philox(key, ELEMENTS, number), low = philox(key, EXTENSION, number);
    for (int k = 0; k < 4; k++) words[k] = (u64)high.at[k] << 32 | low.at[k];
}

__device__ inline void store(float *p, float x) { *p = x; }
__device__ inline void store(double *p, double x) { *p = x; }
__device__ inline void store(__nv_bfloat16 *p, float x) { *p = __float2bfloat16_rn(x); }
__device__ inline void store(__half *p, float x) { *p = __float2half_rn(x); }

// A thread takes the four words of one block of Philox, which are elements of a group of 64 that are 16
// apart.
template <class F, class W, class T, class D>
__device__ void draw(const Key &key, const D &distribution, T *out, u64 count) {
    auto four = [&](u64 block, F(&drawn)[4]) {
        W words[4];
        words_of(key, block, words);
        distribution.draw(words, drawn);
        return block / 16 * 64 + block % 16;
    };
    u64 whole = count / 64 * 16, step = (u64)gridDim.x * blockDim.x;
    u64 block = (u64)blockIdx.x * blockDim.x + threadIdx.x;
    F drawn[4];
    for (; block < whole; block += step) {
        T *first = out + four(block, drawn);
        for (int k = 0; k < 4; k++) store(first + 16 * k, drawn[k]);
    }
    // The elements of an incomplete last group.
    if (block < whole + 16) {
        u64 first = four(block, drawn);
        for (int k = 0; k < 4; k++) {
            if (first + 16 * k < count) store(out + first + 16 * k, drawn[k]);
        }
    }
}

#define KERNELS(T, F, W, suffix)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        normal_##suffix(Key key, double mean, double std, T *out, u64 count) {                                         \
        draw<F, W>(key, Normal<F, W>(mean, std), out, count);                                                          \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        uniform_##suffix(Key key, double low, double high, T *out, u64 count) {                                        \
        draw<F, W>(key, uniform(low, high, F(0)), out, count);                                                         \
    }                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(256)                                                                  \
        truncated_##suffix(Key key, Truncated distribution, T *out, u64 count) {                                       \
        draw<F, W>(key, distribution, out, count);                                                                     \
    }

KERNELS(float, float, u32, f32)
KERNELS(double, double, u64, f64)
KERNELS(__nv_bfloat16, float, u32, bf16)
KERNELS(__half, float, u32, f16)
