//! Crash points: places where a test can end the process as if the power had failed.
//!
//! `KOGGE_CRASH=container.create.recorded` kills the process the first time that it passes this point,
//! `KOGGE_CRASH=container.create.recorded:3` the third time. Unset, a point costs one relaxed load.
//! The environment is read once, at the first point passed.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

const UNKNOWN: u8 = 0;
const OFF: u8 = 1;
const ARMED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNKNOWN);
static WANTED: OnceLock<Wanted> = OnceLock::new();

#[derive(Debug)]
struct Wanted {
    name: String,
    passes_left: AtomicU32,
}

/// Ends the process with SIGKILL if `KOGGE_CRASH` asks for it here.
#[inline]
pub fn point(name: &str) {
    if STATE.load(Ordering::Relaxed) != OFF {
        passed(name);
    }
}

#[cold]
fn passed(name: &str) {
    if STATE.load(Ordering::Relaxed) == UNKNOWN {
        arm(std::env::var("KOGGE_CRASH").ok().as_deref());
    }
    let Some(wanted) = WANTED.get() else { return };
    if wanted.name == name && wanted.passes_left.fetch_sub(1, Ordering::Relaxed) == 1 {
        crate::process::die();
    }
}

fn arm(text: Option<&str>) {
    let Some(wanted) = text.and_then(parse) else {
        STATE.store(OFF, Ordering::Relaxed);
        return;
    };
    WANTED.get_or_init(|| wanted);
    STATE.store(ARMED, Ordering::Relaxed);
}

fn parse(text: &str) -> Option<Wanted> {
    let (name, passes) = match text.rsplit_once(':') {
        Some((name, passes)) => (name, passes.parse().ok()?),
        None => (text, 1),
    };
    (!name.is_empty() && passes > 0)
        .then(|| Wanted { name: name.to_owned(), passes_left: AtomicU32::new(passes) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_named_with_an_optional_count() {
        let check = |text, name, passes| {
            let wanted = parse(text).unwrap();
            assert_eq!((wanted.name.as_str(), wanted.passes_left.into_inner()), (name, passes));
        };
        check("container.create.recorded", "container.create.recorded", 1);
        check("container.create.recorded:3", "container.create.recorded", 3);
        assert!(parse("").is_none());
        assert!(parse("a:0").is_none());
    }

    #[test]
    fn an_unset_variable_disarms() {
        point("nothing.asks.for.this");
        assert_eq!(STATE.load(Ordering::Relaxed), OFF);
    }
}
