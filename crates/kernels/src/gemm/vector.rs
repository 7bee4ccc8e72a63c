//! The few vector instructions of the matrix product.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{
    __m256, __m256d, __m512, __m512d, _MM_HINT_T0, _mm_prefetch, _mm256_add_pd, _mm256_add_ps,
    _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_loadu_pd, _mm256_loadu_ps, _mm256_set1_pd, _mm256_set1_ps,
    _mm256_storeu_pd, _mm256_storeu_ps, _mm512_add_pd, _mm512_add_ps, _mm512_fmadd_pd, _mm512_fmadd_ps,
    _mm512_loadu_pd, _mm512_loadu_ps, _mm512_set1_pd, _mm512_set1_ps, _mm512_storeu_pd, _mm512_storeu_ps,
};

/// A vector register.
///
/// # Safety
/// The processor must have the instructions of the type, and pointers must be good for [`LANES`](Self::LANES)
/// elements, aligned as one element is.
pub(super) unsafe trait Vector: Copy {
    type Element: Copy;
    const LANES: usize;

    unsafe fn splat(x: Self::Element) -> Self;
    unsafe fn load(from: *const Self::Element) -> Self;
    unsafe fn store(self, to: *mut Self::Element);
    unsafe fn add(self, b: Self) -> Self;
    /// Asks for the cache line of an address, which may be any.
    fn prefetch(at: *const Self::Element);
    /// `self · b + c`, rounded once.
    unsafe fn multiply_add(self, b: Self, c: Self) -> Self;
}

macro_rules! vector {
    ($vector:ty, $element:ty, $lanes:expr, $splat:ident, $load:ident, $store:ident, $add:ident, $fma:ident) => {
        // SAFETY: the intrinsics ask for what the trait's own contract promises.
        #[cfg(target_arch = "x86_64")]
        unsafe impl Vector for $vector {
            type Element = $element;
            const LANES: usize = $lanes;

            #[inline(always)]
            unsafe fn splat(x: $element) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $splat(x) }
            }

            #[inline(always)]
            unsafe fn load(from: *const $element) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $element) {
                // SAFETY: the trait's contract.
                unsafe { $store(to, self) }
            }

            #[inline(always)]
            fn prefetch(at: *const $element) {
                // SAFETY: a prefetch reads nothing, and every processor of the architecture has it.
                unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
            }

            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $add(self, b) }
            }

            #[inline(always)]
            unsafe fn multiply_add(self, b: Self, c: Self) -> Self {
                // SAFETY: the trait's contract.
                unsafe { $fma(self, b, c) }
            }
        }
    };
}

vector!(__m512, f32, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_add_ps, _mm512_fmadd_ps);
vector!(__m512d, f64, 8, _mm512_set1_pd, _mm512_loadu_pd, _mm512_storeu_pd, _mm512_add_pd, _mm512_fmadd_pd);
vector!(__m256, f32, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_add_ps, _mm256_fmadd_ps);
vector!(__m256d, f64, 4, _mm256_set1_pd, _mm256_loadu_pd, _mm256_storeu_pd, _mm256_add_pd, _mm256_fmadd_pd);

/// Four elements that the compiler makes of what the architecture has.
#[derive(Clone, Copy)]
pub(super) struct Four<T>([T; 4]);

macro_rules! four {
    ($element:ty) => {
        // SAFETY: it needs no instructions that might be missing; the pointers are read and written within the
        // trait's contract.
        unsafe impl Vector for Four<$element> {
            type Element = $element;
            const LANES: usize = 4;

            #[inline(always)]
            unsafe fn splat(x: $element) -> Self {
                Self([x; 4])
            }

            #[inline(always)]
            unsafe fn load(from: *const $element) -> Self {
                // SAFETY: the trait's contract.
                Self(unsafe { from.cast::<[$element; 4]>().read_unaligned() })
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $element) {
                // SAFETY: the trait's contract.
                unsafe { to.cast::<[$element; 4]>().write_unaligned(self.0) }
            }

            #[inline(always)]
            fn prefetch(_: *const $element) {}

            #[inline(always)]
            unsafe fn add(self, b: Self) -> Self {
                let mut sum = self.0;
                for (sum, b) in sum.iter_mut().zip(b.0) {
                    *sum += b;
                }
                Self(sum)
            }

            #[inline(always)]
            unsafe fn multiply_add(self, b: Self, c: Self) -> Self {
                let mut sum = c.0;
                for ((sum, a), b) in sum.iter_mut().zip(self.0).zip(b.0) {
                    *sum = a.mul_add(b, *sum);
                }
                Self(sum)
            }
        }
    };
}

four!(f32);
four!(f64);
