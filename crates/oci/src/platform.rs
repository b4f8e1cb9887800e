//! What an image runs on, in Go's words: reading, normalising, and which of several fits best.
//!
//! The rules are those of containerd's `platforms` module, which Docker follows: an architecture has variants, newer ones
//! run what was made for older ones, and 64-bit processors run 32-bit programs.

use std::fmt;

use fault::{Error, Result};

use crate::Platform;

impl Platform {
    /// The platform that this program runs on.
    pub fn host() -> Self {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            "powerpc64" => "ppc64le",
            other => other,
        };
        Self { architecture: architecture.into(), os: "linux".into(), ..Self::default() }
    }

    /// The host with the newest variant that its processor runs: what an image may be chosen for at best.
    pub fn host_newest() -> Self {
        Self { variant: newest_variant().map(Into::into), ..Self::host() }
    }

    /// `linux/arm/v7`, `linux/amd64`, `linux` or `arm64`: what is left out is the host's.
    pub fn parse(text: &str) -> Result<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (system, version) = split_version(parts[0]);
        if !is_os_word(system) || version.is_some_and(|version| !version.is_empty() && !is_word(version)) {
            return Err(Error::invalid(format!(
                "{:?} is an invalid OS component of {text:?}: OSAndVersion specifier component must match \
                 \"^([A-Za-z0-9_-]+)(?:\\\\(([A-Za-z0-9_.-]*)\\\\))?$\": invalid argument",
                parts[0]
            )));
        }
        let parts: Vec<&str> = std::iter::once(system).chain(parts[1..].iter().copied()).collect();
        let os_version = version.filter(|version| !version.is_empty()).map(Into::into);
        if let Some(part) = parts[1..].iter().find(|part| !is_word(part)) {
            return Err(Error::invalid(format!(
                "{part:?} is an invalid component of {text:?}: platform specifier component must match \
                 \"^[A-Za-z0-9_.-]+$\": invalid argument"
            )));
        }
        let host = Self::host();
        let (os, architecture, variant) = match parts[..] {
            [word] if is_os(word) => (word.to_ascii_lowercase(), host.architecture, None),
            [word] if is_architecture(word) => (host.os, word.into(), None),
            [_] => return Err(invalid(text, "unknown operating system or architecture")),
            [os, architecture] => (os.to_ascii_lowercase(), architecture.into(), None),
            [os, architecture, variant] => {
                (os.to_ascii_lowercase(), architecture.into(), Some(variant.into()))
            }
            _ => return Err(invalid(text, "cannot parse platform specifier")),
        };
        Ok(Self { os, architecture, variant, os_version, ..Self::default() }.normalized())
    }

    /// One way of saying each: `x86_64` is `amd64`, `arm64/v8` is `arm64`, `arm` is `arm/v7`.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".into(),
            os => os.into(),
        };
        let variant = self.variant.take().unwrap_or_default().to_ascii_lowercase();
        let (architecture, variant) = normal_architecture(&self.architecture.to_ascii_lowercase(), &variant);
        self.architecture = architecture;
        self.variant = Some(variant).filter(|variant| !variant.is_empty());
        self
    }

    /// How well a machine of this platform runs what was made for the other: 0 is best, `None` not at all.
    pub fn rank(&self, other: &Self) -> Option<usize> {
        let wanted = self.clone().normalized();
        let other = other.clone().normalized();
        if wanted.os != other.os || !version_fits(&wanted, &other) {
            return None;
        }
        let offered = (other.architecture.as_str(), other.variant.as_deref().unwrap_or_default());
        runnable(&wanted)
            .iter()
            .position(|(architecture, variant)| (*architecture, variant.as_str()) == offered)
    }
}

/// `linux/arm/v7`; `unknown` if nothing is known.
impl fmt::Display for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return out.write_str("unknown");
        }
        out.write_str(&self.os)?;
        if let Some(version) = &self.os_version {
            write!(out, "({version})")?;
        }
        for part in [Some(&self.architecture), self.variant.as_ref()].into_iter().flatten() {
            if !part.is_empty() {
                write!(out, "/{part}")?;
            }
        }
        Ok(())
    }
}

fn normal_architecture(architecture: &str, variant: &str) -> (String, String) {
    let (architecture, variant) = match (architecture, variant) {
        ("i386", _) => ("386", ""),
        ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
        ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", variant),
        ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
        ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
        ("aarch64" | "arm64", variant) => ("arm64", variant),
        ("armhf", _) => ("arm", "v7"),
        ("armel", _) => ("arm", "v6"),
        ("arm", "" | "7") => ("arm", "v7"),
        ("arm", "5") => ("arm", "v5"),
        ("arm", "6") => ("arm", "v6"),
        ("arm", "8") => ("arm", "v8"),
        other => other,
    };
    (architecture.into(), variant.into())
}

/// What a processor runs, best first.
fn runnable(platform: &Platform) -> Vec<(&str, String)> {
    let architecture = platform.architecture.as_str();
    let variant = platform.variant.clone().unwrap_or_default();
    let number = variant.strip_prefix('v').and_then(|number| number.parse::<u32>().ok()).unwrap_or_default();
    let mut all = vec![(architecture, variant)];
    match architecture {
        "amd64" => {
            all.extend((2..number.min(VARIANT_MAX)).rev().map(|older| ("amd64", format!("v{older}"))));
            if number > 1 {
                all.push(("amd64", String::new()));
            }
            all.push(("386", String::new()));
        }
        "arm" => all.extend((5..number.min(VARIANT_MAX)).rev().map(|older| ("arm", format!("v{older}")))),
        "arm64" => {
            if !all[0].1.is_empty() {
                all.push(("arm64", String::new()));
            }
            all.extend((5..=8).rev().map(|older| ("arm", format!("v{older}"))));
        }
        _ => {}
    }
    all
}

/// Only an image that names a version wants one; Linux images do not.
fn version_fits(wanted: &Platform, other: &Platform) -> bool {
    match (&wanted.os_version, &other.os_version) {
        (Some(wanted), Some(offered)) => wanted == offered,
        _ => true,
    }
}

#[cfg(target_arch = "x86_64")]
fn newest_variant() -> Option<&'static str> {
    // The levels of the x86-64 psABI.
    let two = is_x86_feature_detected!("cmpxchg16b")
        && is_x86_feature_detected!("popcnt")
        && is_x86_feature_detected!("sse4.2")
        && is_x86_feature_detected!("ssse3");
    let three = two
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("movbe");
    let four = three
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512cd")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (four, three, two) {
        (true, ..) => Some("v4"),
        (_, true, _) => Some("v3"),
        (.., true) => Some("v2"),
        _ => None,
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn newest_variant() -> Option<&'static str> {
    None
}

/// `windows(10.0.17763)`: a system and its version.
fn split_version(part: &str) -> (&str, Option<&str>) {
    match part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        Some((system, version)) => (system, Some(version)),
        None => (part, None),
    }
}

fn is_os_word(part: &str) -> bool {
    is_word(part) && !part.contains('.')
}

fn is_word(part: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    !part.is_empty() && part.bytes().all(is_inner)
}

fn is_os(word: &str) -> bool {
    let word = word.to_ascii_lowercase();
    matches!(
        word.as_str(),
        "linux" | "windows" | "darwin" | "macos" | "freebsd" | "netbsd" | "openbsd" | "wasip1"
    )
}

fn is_architecture(word: &str) -> bool {
    let known =
        ["386", "amd64", "arm", "arm64", "loong64", "mips64le", "ppc64le", "riscv64", "s390x", "wasm"];
    known.contains(&normal_architecture(&word.to_ascii_lowercase(), "").0.as_str())
}

fn invalid(text: &str, why: &str) -> Error {
    Error::invalid(format!("{text:?}: {why}: invalid argument"))
}

/// No processor has more; a foreign text may say anything.
const VARIANT_MAX: u32 = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn platform(text: &str) -> Platform {
        Platform::parse(text).unwrap()
    }

    #[test]
    fn names_are_made_alike() {
        let check = |text: &str, normal: &str| assert_eq!(platform(text).to_string(), normal, "{text}");
        check("linux/x86_64", "linux/amd64");
        check("linux/amd64/v1", "linux/amd64");
        check("linux/amd64/v3", "linux/amd64/v3");
        check("Linux/arm64/v8", "linux/arm64");
        check("linux/aarch64", "linux/arm64");
        check("linux/arm", "linux/arm/v7");
        check("linux/armel", "linux/arm/v6");
        check("linux/arm/6", "linux/arm/v6");
        check("arm64", "linux/arm64");
        check("linux", &Platform::host().to_string());
        assert_eq!(Platform::default().to_string(), "unknown");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "/", "linux//", "a/b/c/d", "vax", "linux/a b"] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn newer_variants_run_older_ones_and_prefer_the_newest() {
        let check = |wanted: &str, offered: &[&str]| {
            let ranks: Vec<_> =
                offered.iter().map(|offered| platform(wanted).rank(&platform(offered))).collect();
            assert!(ranks.iter().all(Option::is_some), "{wanted}: {offered:?} {ranks:?}");
            assert!(ranks.is_sorted(), "{wanted}: {offered:?} {ranks:?}");
        };
        check("linux/amd64/v3", &["linux/amd64/v3", "linux/amd64/v2", "linux/amd64", "linux/386"]);
        check("linux/amd64", &["linux/amd64/v1", "linux/386"]);
        check("linux/arm/v7", &["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]);
        check("linux/arm64", &["linux/arm64/v8", "linux/arm/v8", "linux/arm/v7", "linux/arm/v5"]);
    }

    #[test]
    fn what_does_not_run_has_no_rank() {
        let check = |wanted: &str, offered: &str| {
            assert_eq!(platform(wanted).rank(&platform(offered)), None, "{wanted} {offered}");
        };
        check("linux/amd64", "linux/amd64/v2");
        check("linux/amd64", "linux/arm64");
        check("linux/amd64", "windows/amd64");
        check("linux/arm/v6", "linux/arm/v7");
        check("linux/386", "linux/amd64");
        assert_eq!(platform("linux/amd64").rank(&Platform::default()), None);
    }

    proptest! {
        #[test]
        fn whatever_parses_runs_itself_and_reads_back(text in "[a-zA-Z0-9._-]{1,8}(/[a-zA-Z0-9._-]{1,8}){0,2}") {
            if let Ok(platform) = Platform::parse(&text) {
                prop_assert_eq!(platform.rank(&platform), Some(0));
                prop_assert_eq!(Platform::parse(&platform.to_string()).unwrap(), platform);
            }
        }
    }
}
