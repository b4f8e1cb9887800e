//! Cuts a process's output into log lines, as Docker does: a line ends with a newline; one that is longer than 16 KiB
//! is cut; what has no newline yet waits for it, or for the end of the output. Pure.

use sys::time::Timestamp;

/// The most bytes of one line, the newline included (moby: `daemon/logger`, `defaultBufSize`).
pub(super) const LINE_MAX: usize = 16 << 10;

/// One line, or a piece of a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// Without its newline.
    pub(super) bytes: &'a [u8],
    /// The newline was there: the line, or the last piece of one, ends here.
    pub(super) ends: bool,
    /// When it was read; all pieces of a line have the time of the first.
    pub(super) time: Timestamp,
}

/// What is left of one stream between two reads.
#[derive(Debug, Default)]
pub(super) struct Lines {
    rest: Vec<u8>,
    /// The time of the first piece, inside of a long line.
    cut_since: Option<Timestamp>,
}

impl Lines {
    /// Takes what was read at `now` and gives every line that it completes.
    pub(super) fn push(&mut self, mut bytes: &[u8], now: Timestamp, mut give: impl FnMut(Line<'_>)) {
        while !bytes.is_empty() {
            let window = &bytes[..bytes.len().min(LINE_MAX - self.rest.len())];
            let taken = match memchr::memchr(b'\n', window) {
                Some(at) => {
                    let time = self.cut_since.take().unwrap_or(now);
                    self.give(&window[..at], true, time, &mut give);
                    at + 1
                }
                None if self.rest.len() + window.len() == LINE_MAX => {
                    let time = *self.cut_since.get_or_insert(now);
                    self.give(window, false, time, &mut give);
                    window.len()
                }
                None => {
                    self.rest.extend_from_slice(window);
                    window.len()
                }
            };
            bytes = &bytes[taken..];
        }
    }

    /// The output is over: gives what waits for a newline.
    pub(super) fn finish(&mut self, now: Timestamp, mut give: impl FnMut(Line<'_>)) {
        if !self.rest.is_empty() {
            let time = self.cut_since.take().unwrap_or(now);
            self.give(&[], false, time, &mut give);
        }
    }

    /// What waits for its newline.
    pub(super) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// The rest and what follows it, in one piece: a character may have been cut between two reads.
    fn give(&mut self, more: &[u8], ends: bool, time: Timestamp, give: &mut impl FnMut(Line<'_>)) {
        if self.rest.is_empty() {
            return give(Line { bytes: more, ends, time });
        }
        self.rest.extend_from_slice(more);
        give(Line { bytes: &self.rest, ends, time });
        // The memory goes with it: most streams are silent most of the time.
        self.rest = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(reads: &[&[u8]]) -> Vec<(String, bool, i64)> {
        let (mut lines, mut found) = (Lines::default(), Vec::new());
        let mut give = |line: Line<'_>| {
            found.push((String::from_utf8_lossy(line.bytes).into_owned(), line.ends, line.time.seconds));
        };
        let mut now = 0;
        for read in reads {
            now += 1;
            lines.push(read, Timestamp::new(now, 0), &mut give);
        }
        lines.finish(Timestamp::new(now + 1, 0), &mut give);
        found
    }

    #[test]
    fn a_line_is_told_when_its_newline_comes() {
        let found = cut(&[b"one\ntw", b"o\n\nthr", b"ee"]);
        let expected = [("one", true, 1), ("two", true, 2), ("", true, 2), ("three", false, 4)];
        assert_eq!(found, expected.map(|(text, ends, time)| (text.to_owned(), ends, time)));
    }

    #[test]
    fn a_long_line_is_cut_and_keeps_its_time() {
        let long = "x".repeat(LINE_MAX);
        let found = cut(&[long.as_bytes(), long.as_bytes(), b"end\nnext\n"]);
        let expected = [(&*long, false, 1), (&*long, false, 1), ("end", true, 1), ("next", true, 3)];
        assert_eq!(found, expected.map(|(text, ends, time)| (text.to_owned(), ends, time)));
    }

    #[test]
    fn a_line_fits_with_its_newline_or_not_at_all() {
        let fits = "x".repeat(LINE_MAX - 1);
        assert_eq!(cut(&[format!("{fits}\n").as_bytes()]), [(fits.clone(), true, 1)]);
        let over = format!("{fits}x");
        let found = cut(&[format!("{over}\n").as_bytes()]);
        assert_eq!(found, [(over, false, 1), (String::new(), true, 1)]);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_however_it_is_read(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..400),
            size in 1usize..50,
        ) {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            let mut give = |line: Line<'_>| {
                found.extend_from_slice(line.bytes);
                found.extend(line.ends.then_some(b'\n'));
            };
            for read in text.chunks(size) {
                lines.push(read, Timestamp::EPOCH, &mut give);
            }
            lines.finish(Timestamp::EPOCH, &mut give);
            prop_assert_eq!(found, text);
        }
    }
}
