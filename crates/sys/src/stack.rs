//! The main thread's stack: what a deep call has touched stays allocated until it is given back.

use fault::{Call, Error, Result};
use rustix::mm::{Advice, madvise};

/// Gives back the pages of the main thread's stack that lie below the caller. Worth it once, after the deepest work of a
/// process that then lives for long.
pub fn release_unused() -> Result<()> {
    let bottom = stack_bottom()?;
    let here = 0u8;
    let top = (&raw const here as usize - PAGE) & !(PAGE - 1);
    if bottom >= top {
        return Ok(());
    }
    // SAFETY: the range is within the main thread's stack mapping (its start was just read from the kernel) and ends
    // well below this frame, so that no live frame, nor the red zone below the stack pointer, is in it. Dead stack
    // memory may read as zeros later. On another thread `here` lies outside of the mapping, which is checked.
    unsafe { madvise(bottom as *mut _, top - bottom, Advice::LinuxDontNeed) }.call(|| "madvise stack")
}

/// The least room that is left for the frames of the last call.
const PAGE: usize = 4096;

/// Where the `[stack]` mapping begins (proc_pid_maps(5)), if the caller's frame lies within it.
fn stack_bottom() -> Result<usize> {
    let here = 0u8;
    let here = &raw const here as usize;
    let maps = crate::fs::read_to_string("/proc/self/maps")?;
    let line = maps.lines().find(|line| line.ends_with("[stack]"));
    let range = line.and_then(|line| line.split_once(' ')).and_then(|(range, _)| range.split_once('-'));
    let parse = |text| usize::from_str_radix(text, 16).ok();
    let bounds = range.and_then(|(from, to)| Some(parse(from)?..parse(to)?));
    match bounds {
        Some(bounds) if bounds.contains(&here) => Ok(bounds.start),
        _ => Err(Error::internal("/proc/self/maps: this is not the main thread's stack")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_stack_is_left_alone() {
        // Tests run in threads of their own.
        assert!(release_unused().is_err());
    }
}
