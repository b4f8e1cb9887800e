//! `WWW-Authenticate`: how a registry wants to be convinced (RFC 9110, 11.6.1; Bearer with `realm`, `service` and `scope`
//! as Docker's token servers use it).
//!
//! Foreign text: whatever it is, what could be read before the first nonsense is answered, and never more than a few.

/// One way to authenticate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Challenge {
    /// In lower case: `bearer`, `basic`.
    pub scheme: String,
    /// Names in lower case, in their order.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The first parameter of this name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// All challenges of one header's value.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut reader = Reader { rest: header };
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        reader.skip(|byte| byte == b',' || is_space(byte));
        let Some(word) = reader.word() else { break };
        reader.skip(is_space);
        let value = if reader.takes('=') { Some(reader.value()) } else { None };
        let is_full = challenges.len() == CHALLENGES_MAX;
        match (value, challenges.last_mut()) {
            (None, _) if is_full => break,
            (None, _) => {
                challenges.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
            }
            (Some(Some(value)), Some(challenge)) if challenge.parameters.len() < PARAMETERS_MAX => {
                challenge.parameters.push((word.to_ascii_lowercase(), value));
            }
            // A parameter of nothing, one too many, or a string without an end.
            _ => break,
        }
    }
    challenges
}

struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip(&mut self, is_skipped: impl Fn(u8) -> bool) {
        self.rest = self.rest.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(&is_skipped));
    }

    fn takes(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    /// A token (RFC 9110, 5.6.2).
    fn word(&mut self) -> Option<&'a str> {
        let end = self.rest.bytes().position(|byte| !is_token(byte)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then_some(word)
    }

    /// A quoted string or a token; `None` if a quoted string does not end.
    fn value(&mut self) -> Option<String> {
        self.skip(is_space);
        if !self.takes('"') {
            return Some(self.word().unwrap_or_default().into());
        }
        let mut value = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, character)) = characters.next() {
            match character {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return Some(value);
                }
                '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
                plain => value.push(plain),
            }
        }
        None
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~/:@".contains(&byte)
}

/// Registries offer two at most.
const CHALLENGES_MAX: usize = 8;
/// Four are in use.
const PARAMETERS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `scheme name=value;name=value`, a challenge a line.
    fn check(header: &str, expected: &[&str]) {
        let line = |challenge: &Challenge| {
            let parameters = challenge.parameters.iter().map(|(name, value)| format!("{name}={value}"));
            format!("{} {}", challenge.scheme, parameters.collect::<Vec<_>>().join(";"))
        };
        assert_eq!(parse(header).iter().map(line).collect::<Vec<_>>(), expected, "{header}");
    }

    #[test]
    fn reads_what_registries_send() {
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            &[
                "bearer realm=https://auth.docker.io/token;service=registry.docker.io;scope=repository:a/b:pull,push",
            ],
        );
        check(r#"Basic realm="Registry Realm""#, &["basic realm=Registry Realm"]);
        check(
            r#"Basic realm=x, Bearer realm="y" , service=z"#,
            &["basic realm=x", "bearer realm=y;service=z"],
        );
        check("Negotiate, Basic realm=\"a\\\"b\"", &["negotiate ", "basic realm=a\"b"]);
        check(r#"BEARER  Realm = "x""#, &["bearer realm=x"]);
    }

    #[test]
    fn stops_at_nonsense() {
        check("", &[]);
        check(",,, ,", &[]);
        check("realm=x", &[]);
        check(r#"Bearer realm="no end"#, &["bearer "]);
        check("Basic realm=x, \u{1}Bearer realm=y", &["basic realm=x"]);
        check(&"A,".repeat(100), &["a "; CHALLENGES_MAX]);
    }

    proptest! {
        #[test]
        fn no_text_panics_or_grows(text in "\\PC{0,200}") {
            let challenges = parse(&text);
            let bytes: usize = challenges
                .iter()
                .map(|one| one.scheme.len() + one.parameters.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>())
                .sum();
            prop_assert!(challenges.len() <= CHALLENGES_MAX && bytes <= text.len());
        }

        #[test]
        fn what_is_written_reads_back(values in proptest::collection::vec("[^\"\\\\\\p{C}]{0,20}", 1..5)) {
            let names = ["realm", "service", "scope", "error"];
            let parameters: Vec<_> =
                names.iter().zip(&values).map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
            let text: Vec<_> = parameters.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect();
            let expected = Challenge { scheme: "bearer".into(), parameters };
            prop_assert_eq!(parse(&format!("Bearer {}", text.join(","))), [expected]);
        }
    }
}
