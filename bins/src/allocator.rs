//! The allocator of the programs: where the system refuses memory, the program ends with one line and exit code 1,
//! and leaves no temporary file. Rust by itself aborts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

/// The system's allocator, with an end for memory that the system refuses.
///
/// A program names it in its `main.rs`:
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: wick_bins::allocator::Allocator = wick_bins::allocator::Allocator;
/// # fn main() { assert_eq!(vec![1u8; 1 << 20].len(), 1 << 20) }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Allocator;

// SAFETY: every call is passed on to the system's allocator, and what it returns is returned.
unsafe impl GlobalAlloc for Allocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        granted(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        granted(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(at, layout) };
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `realloc`.
        granted(unsafe { System.realloc(at, layout, size) }, size)
    }
}

fn granted(at: *mut u8, bytes: usize) -> *mut u8 {
    if at.is_null() {
        end(bytes);
    }
    at
}

/// Ends the program. Nothing here allocates.
#[cold]
fn end(bytes: usize) -> ! {
    static ENDING: AtomicBool = AtomicBool::new(false);
    while ENDING.swap(true, Ordering::AcqRel) {
        // Another thread is about to end the program.
        thread::sleep(Duration::from_secs(1));
    }
    let _ = writeln!(
        std::io::stderr(),
        "error: the system refuses {bytes} bytes of memory: ask for smaller sizes, or raise the limit (ulimit -v)"
    );
    wick_files::remove_temporaries();
    process::exit(1);
}
