// Statistics of a tensor in two stages: each block takes a part, and the last block to finish merges all
// parts in order, so that the bits do not depend on which block is the last. They depend on the number of
// blocks, as many as a GPU runs at once.
#pragma once
#include "tensor.cuh"

#define WARPS (THREADS / 32)
// The number of bins that a block counts in shared memory, over all copies of the histogram: `MAX_BINS` in
// src/stats/cuda.rs.
#define SHARED_BINS 4096

// The words, of eight bytes, of a record of a tensor's statistics, as src/stats/cuda.rs reads them.
enum Word { TICKETS = 0, COUNT, MEAN, SQUARES, MIN, MAX, LOW, HIGH, SATURATED, OUTSIDE, COUNTS };

// The destination of a tensor's statistics, and which are taken: `Sink` in src/stats/cuda.rs.
struct Sink {
    // The record, all zeros before the launch; null if no statistics are taken.
    u64 *record;
    // Five numbers for each block.
    double *parts;
    // The number of bins of the histogram.
    int bins;
    // Whether the range is known before the elements are.
    int known;
    double low, high;
    // An element at or below the first, or at or above the second, is saturated.
    double saturated_low, saturated_high;
    // Whether saturated elements are counted.
    int counts_saturated;
    int unused;
};

// Moments of some numbers: their count, their mean, the sum of squared distances from the mean, and the
// extremes.
struct Moments {
    double count, mean, squares, min, max;
};

__device__ inline Moments nothing() { return Moments{0, 0, 0, INFINITY, -INFINITY}; }

// Chan, Golub and LeVeque 1979, equation 2.1.
__device__ inline Moments merged(const Moments &a, const Moments &b) {
    if (b.count == 0) return a;
    if (a.count == 0) return b;
    double count = a.count + b.count, delta = b.mean - a.mean, fraction = b.count / count;
    return Moments{count, a.mean + delta * fraction, a.squares + b.squares + delta * delta * a.count * fraction,
                   fmin(a.min, b.min), fmax(a.max, b.max)};
}

// The number of type F nearest to a double that is not above it, or not below it: comparing with it is
// comparing with the double.
template <class F> __device__ inline F from_below(double x);
template <class F> __device__ inline F from_above(double x);
template <> __device__ inline double from_below<double>(double x) { return x; }
template <> __device__ inline double from_above<double>(double x) { return x; }
template <> __device__ inline float from_below<float>(double x) { return __double2float_rd(x); }
template <> __device__ inline float from_above<float>(double x) { return __double2float_ru(x); }

// The number of threads of the block, and the number of this thread.
__device__ inline int threads() { return blockDim.x * blockDim.y; }
__device__ inline int thread() { return threadIdx.y * blockDim.x + threadIdx.x; }

// The sum over the warp, returned to its first lane. All lanes must call it.
template <class N> __device__ inline N sum_of_warp(N mine) {
#pragma unroll
    for (int step = 16; step > 0; step /= 2) mine += __shfl_down_sync(0xffffffff, mine, step);
    return mine;
}

// The smaller and the larger of two numbers; a NaN is ignored.
__device__ inline float lower(float a, float b) { return fminf(a, b); }
__device__ inline double lower(double a, double b) { return fmin(a, b); }
__device__ inline float higher(float a, float b) { return fmaxf(a, b); }
__device__ inline double higher(double a, double b) { return fmax(a, b); }

// The running moments of one thread, as sums of differences from a pivot that is the same for the whole warp:
// such sums are merged without a division.
template <class F> struct Running {
    double pivot, off = 0, squares = 0;
    F min = INFINITY, max = -INFINITY;
    unsigned count = 0;

    // `pivot` is one of the warp's numbers, if it has any. All lanes must call it.
    __device__ inline Running(F pivot) : pivot((double)__shfl_sync(0xffffffff, pivot, 0)) {}

    template <int N> __device__ inline void add(const F (&xs)[N]) {
        count += N;
#pragma unroll
        for (int k = 0; k < N; k++) {
            double d = (double)xs[k] - pivot;
            off += d;
            squares += d * d;
            min = lower(min, xs[k]);
            max = higher(max, xs[k]);
        }
    }

    // The moments of the whole warp, returned to its first lane. All lanes must call it.
    __device__ inline Moments of_warp() const {
        double n = (double)sum_of_warp((u64)count), sum = sum_of_warp(off), sum_squares = sum_of_warp(squares);
        F least = min, most = max;
#pragma unroll
        for (int step = 16; step > 0; step /= 2) {
            least = lower(least, __shfl_down_sync(0xffffffff, least, step));
            most = higher(most, __shfl_down_sync(0xffffffff, most, step));
        }
        if (n == 0) return nothing();
        double rest = sum_squares - sum * sum / n;
        return Moments{n, pivot + sum / n, rest < 0 ? 0 : rest, (double)least, (double)most};
    }
};

// The sum of all threads' counts, returned to the first thread. The block has THREADS threads, and all must
// call it.
__device__ inline u64 sum_of_block(unsigned mine) {
    __shared__ u64 warps[WARPS];
    u64 sum = sum_of_warp((u64)mine);
    if (thread() % 32 == 0) warps[thread() / 32] = sum;
    __syncthreads();
    if (thread() == 0) {
        for (int warp = 1; warp < WARPS; warp++) sum += warps[warp];
    }
    __syncthreads();
    return sum;
}

// The saturated numbers of one thread: those at or below one threshold, or at or above another.
template <class F> struct Saturated {
    F low, high;
    bool wanted;
    unsigned count = 0;

    __device__ inline Saturated(const Sink &sink)
        : low(from_below<F>(sink.saturated_low)), high(from_above<F>(sink.saturated_high)),
          wanted(sink.counts_saturated) {}

    template <int N> __device__ inline void add(const F (&xs)[N]) {
        if (!wanted) return;
#pragma unroll
        for (int k = 0; k < N; k++) count += xs[k] <= low || xs[k] >= high;
    }

    __device__ inline void write(u64 *record) const {
        if (!wanted) return;
        u64 sum = sum_of_block(count);
        if (thread() == 0 && sum) atomicAdd(record + SATURATED, sum);
    }
};

// Merges the moments in the first lanes of all warps, and returns them to the first thread. The block has
// THREADS threads.
__device__ inline Moments of_warps(Moments mine) {
    __shared__ Moments warps[WARPS];
    if (thread() % 32 == 0) warps[thread() / 32] = mine;
    __syncthreads();
    if (thread() == 0) {
        for (int warp = 1; warp < WARPS; warp++) mine = merged(mine, warps[warp]);
    }
    __syncthreads();
    return mine;
}

// Merges the moments of every thread, and returns them to the first thread.
__device__ inline Moments of_block(Moments mine) {
    for (int step = 16; step > 0; step /= 2) {
        Moments other;
        other.count = __shfl_down_sync(0xffffffff, mine.count, step);
        other.mean = __shfl_down_sync(0xffffffff, mine.mean, step);
        other.squares = __shfl_down_sync(0xffffffff, mine.squares, step);
        other.min = __shfl_down_sync(0xffffffff, mine.min, step);
        other.max = __shfl_down_sync(0xffffffff, mine.max, step);
        // Beyond the end of the warp, a shuffle returns the lane's own value, which must not be counted.
        if (thread() % 32 + step < 32) mine = merged(mine, other);
    }
    return of_warps(mine);
}

// Whether this block is the last of `blocks` to reach the call.
__device__ inline bool is_last(u64 *tickets, unsigned blocks) {
    __shared__ bool last;
    if (thread() == 0) {
        __threadfence();
        last = atomicAdd((unsigned *)tickets, 1u) == blocks - 1;
        __threadfence();
    }
    __syncthreads();
    return last;
}

// Replaces a range without width by one of width 1 around it, as NumPy does.
__device__ inline void widen_range(double &low, double &high) {
    if (low != low) low = 0;
    if (!(low < high)) {
        high = low + 0.5;
        low -= 0.5;
    }
}

// Writes the part of this block; the last block merges all parts into the record. The grid has `blocks`
// blocks, and this is `block`.
template <class F>
__device__ inline void write_moments(const Sink &sink, const Running<F> &running, unsigned block, unsigned blocks) {
    Moments mine = of_warps(running.of_warp());
    if (thread() == 0) {
        double *part = sink.parts + 5 * (u64)block;
        part[0] = mine.count, part[1] = mine.mean, part[2] = mine.squares, part[3] = mine.min, part[4] = mine.max;
    }
    if (!is_last(sink.record + TICKETS, blocks)) return;
    Moments all = nothing();
    // Neighbouring threads take neighbouring parts, so that all parts are merged in order.
    unsigned each = (blocks + THREADS - 1) / THREADS;
    for (unsigned i = thread() * each; i < (thread() + 1) * each && i < blocks; i++) {
        const volatile double *part = sink.parts + 5 * (u64)i;
        all = merged(all, Moments{part[0], part[1], part[2], part[3], part[4]});
    }
    all = of_block(all);
    if (thread() == 0) {
        double *out = (double *)sink.record;
        sink.record[COUNT] = (u64)all.count;
        out[MEAN] = all.mean, out[SQUARES] = all.squares, out[MIN] = all.min, out[MAX] = all.max;
        double low = sink.known ? sink.low : all.min, high = sink.known ? sink.high : all.max;
        // If all numbers are NaN, there is no range.
        if (!sink.known && all.min > all.max) low = NAN;
        widen_range(low, high);
        out[LOW] = low, out[HIGH] = high;
    }
}

// A histogram that a block counts in shared memory, with at most SHARED_BINS bins. If the bins are few, every
// lane has its own copy, in its own bank, so that the lanes of a warp never wait for each other; otherwise
// the warps have copies, as many as fit.
template <class F> struct Counter {
    unsigned *shared, *mine;
    double low, scale;
    F first, last;
    // Scale and start of the guessed bin less a half; the guess is right within `near` of the middle of the
    // bin.
    float rough_scale, rough_start, near;
    int bins, copies;
    bool by_lane;
    unsigned outside = 0;

    __device__ inline Counter(unsigned *shared, int bins, double low, double high)
        : shared(shared), low(low), scale(bins / (high - low)), first(from_above<F>(low)), last(from_below<F>(high)),
          bins(bins), by_lane(bins <= SHARED_BINS / 32) {
        copies = by_lane ? 32 : SHARED_BINS / bins < WARPS ? SHARED_BINS / bins : WARPS;
        mine = shared + (by_lane ? thread() % 32 : thread() / 32 % copies * bins);
        for (int i = thread(); i < copies * bins; i += threads()) shared[i] = 0;
        // Four times the error of the guess, from three roundings: of the scaled number, of the start, and of
        // their sum.
        double far = scale * fmax(fabs(low), fabs(high));
        double error = 2.384185791015625e-7 * (far + scale * fabs(low) + bins + 1);
        bool guesses = sizeof(F) == 4 && error < 0.25 && scale > 1e-30 && scale < 1e30;
        rough_scale = guesses ? (float)scale : 0;
        rough_start = guesses ? (float)(-low * scale - 0.5) : 0;
        near = guesses ? (float)(0.5 - error) : -1;
        __syncthreads();
    }

    // The bins are exactly those of src/stats/histogram: no multiplication may be fused with an addition.
    __device__ inline unsigned exactly(F x) const {
        // The upper edge is in the last bin, as is a NaN that results from an infinite range.
        unsigned bin = (unsigned)(int)__dmul_rn(__dsub_rn((double)x, low), scale);
        return bin < (unsigned)bins ? bin : bins - 1;
    }

    // The same, guessed in float unless an edge is near.
    __device__ inline unsigned bin_of(double x) const { return exactly(x); }
    __device__ inline unsigned bin_of(float x) const {
        // Adding 3·2²² rounds a number to a whole one, which is then in the last bits.
        float place = __fmaf_rn(x, rough_scale, rough_start), whole = __fadd_rn(place, 12582912.0f);
        float off = __fsub_rn(place, __fsub_rn(whole, 12582912.0f));
        return fabsf(off) < near ? __float_as_uint(whole) - 0x4B400000u : exactly(x);
    }

    template <int N> __device__ inline void add(const F (&xs)[N]) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            if (first <= xs[k] && xs[k] <= last) {
                unsigned bin = bin_of(xs[k]);
                atomicAdd(mine + (by_lane ? 32 * bin : bin), 1u);
            } else {
                outside++;
            }
        }
    }

    // Adds the counts to the record.
    __device__ inline void write(u64 *record) {
        __syncthreads();
        for (int bin = thread(); bin < bins; bin += threads()) {
            u64 sum = 0;
            for (int copy = 0; copy < copies; copy++) {
                // Each thread begins in a different bank.
                sum += shared[by_lane ? 32 * bin + (copy + bin) % 32 : copy * bins + bin];
            }
            if (sum) atomicAdd(record + COUNTS + bin, sum);
        }
        u64 sum = sum_of_block(outside);
        if (thread() == 0 && sum) atomicAdd(record + OUTSIDE, sum);
    }
};
