//! The allocator's shape. A daemon that sleeps most of its life should not keep an arena per thread.
//!
//! glibc gives every thread that contends an arena of its own and trims only the top of each (mallopt(3)); with the
//! few threads of a small runtime that costs megabytes and gains nothing.

/// At most so many arenas for the whole process, and large blocks straight from the kernel, so that they return there.
/// Call before the first thread starts. Does nothing where the C library has no such knob.
pub fn keep_small(arenas_max: i32) {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only stores numbers in the allocator's parameters under its own lock; both names are glibc's.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, arenas_max);
        libc::mallopt(libc::M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
        libc::mallopt(libc::M_TRIM_THRESHOLD, MMAP_THRESHOLD_BYTES);
    }
    #[cfg(not(target_env = "gnu"))]
    let _no_such_knob = arenas_max;
}

/// Gives back what the heap holds free, after a burst.
pub fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim takes the arenas' locks itself and touches free memory only.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Setting it also switches off glibc's habit of raising it with use (mallopt(3), M_MMAP_THRESHOLD).
#[cfg(target_env = "gnu")]
const MMAP_THRESHOLD_BYTES: i32 = 128 * 1024;

#[cfg(test)]
mod tests {
    #[test]
    fn the_allocator_still_works() {
        super::keep_small(1);
        let threads: Vec<_> =
            (0..4).map(|size| std::thread::spawn(move || vec![1_u8; size << 18].len())).collect();
        let sum: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        super::trim();
        assert_eq!(sum, 6 << 18);
    }
}
