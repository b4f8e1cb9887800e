//! How far something is, drawn: `[=====>      ]  1.2MB/3.4MB`, as Docker's clients and daemons draw it.

use super::Detail;

/// Terminals that are narrower get numbers only.
const BAR_WIDTH_MIN: usize = 111;
/// What a bar is drawn for whose reader is not known.
pub const WIDTH_DEFAULT: usize = 200;
/// Signs between the brackets, the head not counted.
const BAR: usize = 50;

impl Detail {
    /// For a terminal of so many columns; empty if nothing is known.
    pub fn drawn(&self, width: usize) -> String {
        let current = format!("{:>8}", size(self.current));
        match (self.current > 0, self.total > 0) {
            (false, false) => String::new(),
            (true, false) => current,
            (_, true) => {
                let bar = if width >= BAR_WIDTH_MIN { self.bar() } else { String::new() };
                // More than all of it is no fraction.
                let total =
                    if self.current > self.total { String::new() } else { format!("/{}", size(self.total)) };
                format!("{bar}{current}{total}")
            }
        }
    }

    fn bar(&self) -> String {
        let percent = self.current as f64 / self.total as f64 * 100.0;
        let done = (percent as usize / 2).min(BAR);
        format!("[{}>{}] ", "=".repeat(done), " ".repeat(BAR - done))
    }
}

/// Four digits and a decimal unit: `1.235MB`.
fn size(bytes: i64) -> String {
    let mut number = bytes as f64;
    let mut unit = 0;
    while number >= 1000.0 && unit < UNITS.len() - 1 {
        number /= 1000.0;
        unit += 1;
    }
    let decimals = match number {
        number if number < 9.9995 => 3,
        number if number < 99.995 => 2,
        number if number < 999.95 => 1,
        _ => 0,
    };
    let digits = format!("{number:.decimals$}");
    let digits = if decimals > 0 { digits.trim_end_matches('0').trim_end_matches('.') } else { &digits };
    format!("{digits}{}", UNITS[unit])
}

const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(current: i64, total: i64, width: usize, drawn: &str) {
        assert_eq!(Detail { current, total }.drawn(width), drawn);
    }

    #[test]
    fn bars_are_docker_s() {
        check(0, 0, WIDTH_DEFAULT, "");
        check(1_234_567, 0, WIDTH_DEFAULT, " 1.235MB");
        check(0, 1000, WIDTH_DEFAULT, "[>                                                  ]       0B/1kB");
        check(
            512,
            2_136_000,
            WIDTH_DEFAULT,
            "[>                                                  ]     512B/2.136MB",
        );
        check(1_500, 3_000, 111, "[=========================>                         ]    1.5kB/3kB");
        check(3_000, 3_000, 111, "[==================================================>]      3kB/3kB");
        check(4_000, 3_000, 110, "     4kB");
        check(999_999, 1_000_000, 80, "  1000kB/1MB");
    }
}
