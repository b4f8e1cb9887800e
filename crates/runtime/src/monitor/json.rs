//! Bytes as a JSON string, exactly as Docker's json-file driver writes them (moby: `jsonlogbytes.go`): `<`, `>`, `&` and
//! U+2028/2029 escaped, control characters as `\u00XX` but for `\n`, `\r`, `\t`, and U+FFFD for every byte that is not
//! UTF-8. Pure.

/// Appends the string, without quotes.
pub(super) fn escape(mut bytes: &[u8], out: &mut Vec<u8>) {
    loop {
        let (plain, rest) = bytes.split_at(plain_prefix(bytes));
        out.extend_from_slice(plain);
        let Some((&byte, after)) = rest.split_first() else { return };
        if byte.is_ascii() {
            escape_ascii(byte, out);
            bytes = after;
        } else {
            let (foreign, after) = rest.split_at(rest.iter().position(u8::is_ascii).unwrap_or(rest.len()));
            escape_unicode(foreign, out);
            bytes = after;
        }
    }
}

/// How many bytes from the first on need no escape. Eight at a time, because every byte of every log passes here.
fn plain_prefix(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<8>();
    let whole = 8 * words.iter().take_while(|word| is_plain_word(u64::from_le_bytes(**word))).count();
    let rest = &bytes[whole..];
    whole + rest.iter().position(|byte| !is_plain(*byte)).unwrap_or(rest.len())
}

fn is_plain(byte: u8) -> bool {
    (0x20..0x80).contains(&byte) && !ESCAPED.contains(&byte)
}

const ESCAPED: [u8; 5] = *b"\"\\<>&";

/// [`is_plain`] of all eight bytes (Bit Twiddling Hacks: "Determine if a word has a byte equal to n / less than n").
fn is_plain_word(word: u64) -> bool {
    const ONES: u64 = u64::MAX / 0xff;
    const TOPS: u64 = ONES << 7;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & TOPS;
    let special = ESCAPED.iter().fold(0, |found, byte| found | has_zero(word ^ (ONES * u64::from(*byte))));
    let control = word.wrapping_sub(ONES * 0x20) & !word & TOPS;
    (special | control | word & TOPS) == 0
}

fn escape_ascii(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => out.extend([b'\\', byte]),
        b'\n' => out.extend(b"\\n"),
        b'\r' => out.extend(b"\\r"),
        b'\t' => out.extend(b"\\t"),
        _ => {
            out.extend(b"\\u00");
            out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

fn escape_unicode(bytes: &[u8], out: &mut Vec<u8>) {
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            match character {
                '\u{2028}' => out.extend(b"\\u2028"),
                '\u{2029}' => out.extend(b"\\u2029"),
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        chunk.invalid().iter().for_each(|_| out.extend(b"\\ufffd"));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        escape(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn escapes_are_dockers() {
        let table: &[(&[u8], &str)] = &[
            (b"plain text ~ \x7f", "plain text ~ \u{7f}"),
            (b"\"quoted\\\"", r#"\"quoted\\\""#),
            (b"<a href='x'>&</a>", r"\u003ca href='x'\u003e\u0026\u003c/a\u003e"),
            (b"\r\n\t\x08\x0c\x1b[0m\0", r"\r\n\t\u0008\u000c\u001b[0m\u0000"),
            ("grüße 🐳".as_bytes(), "grüße 🐳"),
            ("a\u{2028}b\u{2029}c".as_bytes(), r"a\u2028b\u2029c"),
            (b"a\xffb\xe2\x82c", r"a\ufffdb\ufffd\ufffdc"),
        ];
        for (bytes, text) in table {
            assert_eq!(escaped(bytes), *text);
        }
    }

    proptest! {
        #[test]
        fn words_are_judged_as_their_bytes(word in any::<u64>(), mask in any::<u64>()) {
            for word in [word, word & mask & (u64::MAX / 0xff * 0x7f), word & (u64::MAX / 0xff * 0x5f) | 0x2020_2020_2020_2020] {
                prop_assert_eq!(is_plain_word(word), word.to_le_bytes().into_iter().all(is_plain));
            }
        }

        #[test]
        fn any_text_reads_back(text in any::<String>()) {
            let json = format!("\"{}\"", escaped(text.as_bytes()));
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn any_bytes_are_json(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let json = format!("\"{}\"", escaped(&bytes));
            prop_assert!(serde_json::from_str::<String>(&json).is_ok());
        }
    }
}
