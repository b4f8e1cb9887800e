//! Bytes as a JSON string, exactly as Docker's json-file driver writes them (moby: `jsonlogbytes.go`): `<`, `>`, `&` and
//! U+2028/2029 escaped, control characters as `\u00XX` but for `\n`, `\r`, `\t`, and U+FFFD for every byte that is not
//! UTF-8. Pure.

/// Appends the string, without quotes.
pub(super) fn escape(mut bytes: &[u8], out: &mut Vec<u8>) {
    while let Some(&byte) = bytes.first() {
        let (run, is_plain) = (run(bytes), IS_PLAIN[usize::from(byte)]);
        let (these, rest) = bytes.split_at(run);
        if is_plain {
            out.extend_from_slice(these);
        } else if byte.is_ascii() {
            these.iter().for_each(|byte| escape_ascii(*byte, out));
        } else {
            escape_unicode(these, out);
        }
        bytes = rest;
    }
}

/// How many bytes from the first on are of the same class: plain, to be escaped, or not ASCII.
fn run(bytes: &[u8]) -> usize {
    let class = |byte: u8| (byte.is_ascii(), IS_PLAIN[usize::from(byte)]);
    let first = class(bytes[0]);
    bytes.iter().position(|byte| class(*byte) != first).unwrap_or(bytes.len())
}

/// ASCII that needs no escape.
const IS_PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0x20;
    while byte < 0x80 {
        table[byte] = !matches!(byte as u8, b'"' | b'\\' | b'<' | b'>' | b'&');
        byte += 1;
    }
    table
};

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
