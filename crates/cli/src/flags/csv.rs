//! One line of comma-separated fields (RFC 4180), as `--mount`, `--network` and `--gpus` are written.

pub(crate) fn fields(line: &str) -> Result<Vec<String>, String> {
    if line.is_empty() {
        return Err("EOF".into());
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => bare_field(rest)?,
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

fn bare_field(rest: &str) -> Result<(String, Option<&str>), String> {
    let (field, after) = match rest.split_once(',') {
        Some((field, after)) => (field, Some(after)),
        None => (rest, None),
    };
    match field.find('"') {
        Some(at) => Err(format!("parse error on line 1, column {}: bare \" in non-quoted-field", at + 1)),
        None => Ok((field.into(), after)),
    }
}

fn quoted_field(mut rest: &str) -> Result<(String, Option<&str>), String> {
    let mut field = String::new();
    loop {
        let (part, after) =
            rest.split_once('"').ok_or("parse error on line 1: extraneous or missing \" in quoted-field")?;
        field.push_str(part);
        if let Some(after) = after.strip_prefix('"') {
            field.push('"');
            rest = after;
        } else if after.is_empty() {
            return Ok((field, None));
        } else {
            let after = after
                .strip_prefix(',')
                .ok_or("parse error on line 1: extraneous or missing \" in quoted-field")?;
            return Ok((field, Some(after)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_commas() {
        assert_eq!(fields(r#"a=1,"b=2,3","c=""x""",d"#).unwrap(), ["a=1", "b=2,3", "c=\"x\"", "d"]);
        assert_eq!(fields("a,,b").unwrap(), ["a", "", "b"]);
        assert_eq!(fields("").unwrap_err(), "EOF");
        assert!(fields("\"a").is_err());
        assert!(fields("a\"b").is_err());
    }
}
