//! The keys that leave a process without ending it.

/// Docker's default, `ctrl-p,ctrl-q`.
const DEFAULT: &[u8] = &[16, 17];

/// Reads `ctrl-p,ctrl-q` or `a,b,c`; what cannot be read is the default, with a warning.
pub(super) fn keys(text: &str) -> Vec<u8> {
    if text.is_empty() {
        return DEFAULT.to_vec();
    }
    match text.split(',').map(key).collect() {
        Some(keys) => keys,
        None => {
            crate::terminal::warn(format_args!(
                "invalid detach escape keys, using default: Unknown character: '{text}'"
            ));
            DEFAULT.to_vec()
        }
    }
}

fn key(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [byte] => Some(*byte),
        [b'c', b't', b'r', b'l', b'-', letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
        [b'c', b't', b'r', b'l', b'-', sign] => match sign {
            b'@' => Some(0),
            b'[' => Some(27),
            b'\\' => Some(28),
            b']' => Some(29),
            b'^' => Some(30),
            b'_' => Some(31),
            _ => None,
        },
        _ => None,
    }
}

/// Holds back what may be the start of the keys.
#[derive(Debug)]
pub(super) struct Filter {
    keys: Vec<u8>,
    seen: usize,
}

impl Filter {
    pub(super) fn new(keys: Vec<u8>) -> Self {
        Self { keys, seen: 0 }
    }

    /// What to send on, and whether the keys are complete.
    pub(super) fn pass(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(bytes.len());
        for &byte in bytes {
            if self.keys.get(self.seen) != Some(&byte) && self.seen > 0 {
                passed.extend_from_slice(&self.keys[..self.seen]);
                self.seen = 0;
            }
            if self.keys.get(self.seen) == Some(&byte) {
                self.seen += 1;
            } else {
                passed.push(byte);
            }
            if self.seen == self.keys.len() {
                return (passed, true);
            }
        }
        (passed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read() {
        assert_eq!(keys(""), [16, 17]);
        assert_eq!(keys("ctrl-a,b,ctrl-]"), [1, b'b', 29]);
        assert_eq!(keys("ctrl-A"), [16, 17]);
    }

    #[test]
    fn only_the_whole_sequence_leaves() {
        let mut filter = Filter::new(vec![16, 17]);
        assert_eq!(filter.pass(b"ls\n"), (b"ls\n".to_vec(), false));
        assert_eq!(filter.pass(&[16]), (vec![], false));
        assert_eq!(filter.pass(b"x"), (vec![16, b'x'], false));
        assert_eq!(filter.pass(&[16, 16, 17, b'y']), (vec![16], true));
    }
}
