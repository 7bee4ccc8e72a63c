// Statistics of a tensor in two stages: each block sees a part; the last block to finish merges all parts, in their order,
// so that the bits do not depend on which block that is.
#pragma once
#include "tensor.cuh"

#define WARPS (THREADS / 32)
// Bins that the blocks count in shared memory, over all copies of the histogram.
#define SHARED_BINS 4096

// What a tensor's statistics are written to, in words of eight bytes (as src/cuda/stats.rs reads them).
enum Word { TICKETS = 0, COUNT, MEAN, SQUARES, MIN, MAX, LOW, HIGH, SATURATED, OUTSIDE, COUNTS };

// Who listens to a tensor.
struct Ear {
    // The record, all zeros before; null if nobody listens.
    u64 *record;
    // Five numbers for each block.
    double *parts;
    // How many bins its histogram has.
    int bins;
    // Whether the range is known before the elements are.
    int known;
    double low, high;
    // At or outside of these, an element is saturated.
    double tail_low, tail_high;
};

// Moments of some numbers: how many, their mean, and the sum of squared distances from it.
struct Moments {
    double count, mean, squares, min, max;
};

__device__ inline Moments nothing() { return Moments{0, 0, 0, INFINITY, -INFINITY}; }

// Chan, Golub and LeVeque 1979, equation 2.1.
__device__ inline Moments merged(const Moments &a, const Moments &b) {
    if (b.count == 0) return a;
    if (a.count == 0) return b;
    double count = a.count + b.count, delta = b.mean - a.mean, share = b.count / count;
    return Moments{count, a.mean + delta * share, a.squares + b.squares + delta * delta * a.count * share,
                   fmin(a.min, b.min), fmax(a.max, b.max)};
}

// The numbers that are nearest to a double without being above it, or below it: comparisons with them are those with the double.
template <class F> __device__ inline F from_below(double x);
template <class F> __device__ inline F from_above(double x);
template <> __device__ inline double from_below<double>(double x) { return x; }
template <> __device__ inline double from_above<double>(double x) { return x; }
template <> __device__ inline float from_below<float>(double x) { return __double2float_rd(x); }
template <> __device__ inline float from_above<float>(double x) { return __double2float_ru(x); }

// What one thread has seen, as differences from the first number.
template <class F> struct Seen {
    double pivot = 0, off = 0, squares = 0;
    F min = INFINITY, max = -INFINITY;
    u64 count = 0;

    template <int N> __device__ inline void add(const F (&xs)[N]) {
        if (count == 0) pivot = (double)xs[0];
        count += N;
#pragma unroll
        for (int k = 0; k < N; k++) {
            double d = (double)xs[k] - pivot;
            off += d;
            squares += d * d;
            // NaN is neither.
            min = xs[k] < min ? xs[k] : min;
            max = xs[k] > max ? xs[k] : max;
        }
    }

    __device__ inline Moments moments() const {
        if (count == 0) return nothing();
        double n = (double)count, rest = squares - off * off / n;
        return Moments{n, pivot + off / n, rest < 0 ? 0 : rest, (double)min, (double)max};
    }
};

// How many numbers one thread has seen at or below one bound, or at or above another.
template <class F> struct Tails {
    F low, high;
    unsigned count = 0;

    __device__ inline Tails(const Ear &ear) : low(from_below<F>(ear.tail_low)), high(from_above<F>(ear.tail_high)) {}

    template <int N> __device__ inline void add(const F (&xs)[N]) {
#pragma unroll
        for (int k = 0; k < N; k++) count += xs[k] <= low || xs[k] >= high;
    }

    __device__ inline void hand_in(u64 *record) const {
        if (count) atomicAdd(record + SATURATED, (u64)count);
    }
};

// The threads of the block, and this one's number.
__device__ inline int threads() { return blockDim.x * blockDim.y; }
__device__ inline int thread() { return threadIdx.y * blockDim.x + threadIdx.x; }

// The moments of all the threads' numbers, in the first thread. The block has THREADS threads.
__device__ inline Moments of_block(Moments mine) {
    __shared__ Moments warps[WARPS];
    for (int step = 16; step > 0; step /= 2) {
        Moments other;
        other.count = __shfl_down_sync(0xffffffff, mine.count, step);
        other.mean = __shfl_down_sync(0xffffffff, mine.mean, step);
        other.squares = __shfl_down_sync(0xffffffff, mine.squares, step);
        other.min = __shfl_down_sync(0xffffffff, mine.min, step);
        other.max = __shfl_down_sync(0xffffffff, mine.max, step);
        // What comes from beyond the warp's end is this lane's own, and does not count.
        if (thread() % 32 + step < 32) mine = merged(mine, other);
    }
    if (thread() % 32 == 0) warps[thread() / 32] = mine;
    __syncthreads();
    if (thread() == 0) {
        for (int warp = 1; warp < WARPS; warp++) mine = merged(mine, warps[warp]);
    }
    __syncthreads();
    return mine;
}

// Whether this block is the last of `blocks` to get here.
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

// NumPy's way with a range that has no width: one around it.
__device__ inline void widen_range(double &low, double &high) {
    if (low != low) low = 0;
    if (!(low < high)) {
        high = low + 0.5;
        low -= 0.5;
    }
}

// Hands in what this thread has seen; the last block writes the record. The grid has `blocks` blocks, and this is `block`.
template <class F> __device__ inline void hand_in(const Ear &ear, const Seen<F> &seen, unsigned block, unsigned blocks) {
    Moments mine = of_block(seen.moments());
    if (thread() == 0) {
        double *part = ear.parts + 5 * (u64)block;
        part[0] = mine.count, part[1] = mine.mean, part[2] = mine.squares, part[3] = mine.min, part[4] = mine.max;
    }
    if (!is_last(ear.record + TICKETS, blocks)) return;
    Moments all = nothing();
    // Threads take neighbouring parts, so that all are merged in their order.
    unsigned each = (blocks + THREADS - 1) / THREADS;
    for (unsigned i = thread() * each; i < (thread() + 1) * each && i < blocks; i++) {
        const volatile double *part = ear.parts + 5 * (u64)i;
        all = merged(all, Moments{part[0], part[1], part[2], part[3], part[4]});
    }
    all = of_block(all);
    if (thread() == 0) {
        double *out = (double *)ear.record;
        ear.record[COUNT] = (u64)all.count;
        out[MEAN] = all.mean, out[SQUARES] = all.squares, out[MIN] = all.min, out[MAX] = all.max;
        double low = ear.known ? ear.low : all.min, high = ear.known ? ear.high : all.max;
        // Of nothing but NaN there is no smallest.
        if (!ear.known && all.min > all.max) low = NAN;
        widen_range(low, high);
        out[LOW] = low, out[HIGH] = high;
    }
}

// A histogram that a block counts in shared memory, in as many copies as there is room for, so that the warps seldom wait
// for each other. With SHARED_BINS bins at most.
template <class F> struct Counter {
    unsigned *shared, *mine;
    double low, scale;
    F first, last;
    int bins, copies;
    unsigned outside = 0;

    __device__ inline Counter(unsigned *shared, int bins, double low, double high)
        : shared(shared), low(low), scale(bins / (high - low)), first(from_above<F>(low)), last(from_below<F>(high)),
          bins(bins) {
        copies = SHARED_BINS / bins < WARPS ? SHARED_BINS / bins : WARPS;
        mine = shared + thread() / 32 % copies * bins;
        for (int i = thread(); i < copies * bins; i += threads()) shared[i] = 0;
        __syncthreads();
    }

    // The bins are those of src/histogram to the last bit: no multiplication may be fused with an addition.
    template <int N> __device__ inline void add(const F (&xs)[N]) {
#pragma unroll
        for (int k = 0; k < N; k++) {
            if (first <= xs[k] && xs[k] <= last) {
                // The upper edge is in the last bin; so is what is no number, of a range that is infinite.
                unsigned bin = (unsigned)(int)__dmul_rn(__dsub_rn((double)xs[k], low), scale);
                atomicAdd(mine + (bin < (unsigned)bins ? bin : bins - 1), 1u);
            } else {
                outside++;
            }
        }
    }

    // Adds all to the record.
    __device__ inline void hand_in(u64 *record) {
        __syncthreads();
        for (int bin = thread(); bin < bins; bin += threads()) {
            u64 sum = 0;
            for (int copy = 0; copy < copies; copy++) sum += shared[copy * bins + bin];
            if (sum) atomicAdd(record + COUNTS + bin, sum);
        }
        if (outside) atomicAdd(record + OUTSIDE, (u64)outside);
    }
};
