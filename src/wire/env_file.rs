//! Files of variables, `NAME=VALUE` in each line, as docker's `--env-file` takes them: no quotes, no escapes.
//!
//! Source: `opts/file.go` of the docker client.

/// A variable: set to a value; or, without one, left as it is.
pub type Variable = (Vec<u8>, Option<Vec<u8>>);

/// Its variables, in their order. Empty lines and those that begin with `#` are none, and blanks before a name do not
/// count. A line with a name alone leaves that variable as it is. Or which line is wrong, from 1 on, and what is.
pub fn parse(content: &[u8]) -> Result<Vec<Variable>, (usize, &'static str)> {
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    let mut variables = Vec::new();
    for (number, line) in (1..).zip(content.split(|byte| *byte == b'\n')) {
        let line = line.strip_suffix(b"\r").unwrap_or(line).trim_ascii_start();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        variables.push(variable(line).map_err(|why| (number, why))?);
    }
    Ok(variables)
}

fn variable(line: &[u8]) -> Result<Variable, &'static str> {
    let mut parts = line.splitn(2, |byte| *byte == b'=');
    let (name, value) = (parts.next().unwrap_or_default(), parts.next());
    match name {
        _ if line.contains(&0) => Err("there is a NUL in it"),
        [] => Err("there is no name before ="),
        name if name.iter().any(u8::is_ascii_whitespace) => Err("there is a blank in the name"),
        name => Ok((name.to_vec(), value.map(<[u8]>::to_vec))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As `NAME=VALUE`, or `NAME`.
    fn shown(content: &str) -> Result<Vec<String>, (usize, &'static str)> {
        let text = |(name, value): Variable| {
            let whole = value.map_or(name.clone(), |value| [&name[..], b"=", &value].concat());
            String::from_utf8(whole).expect("text")
        };
        parse(content.as_bytes()).map(|variables| variables.into_iter().map(text).collect())
    }

    #[test]
    fn lines_are_variables_as_docker_reads_them() {
        let seen = shown("\u{feff}A=1\r\n\n# B=2\n  # C=3\n  D=\"4\" \nE=a=b #c\nF=\nG\nA=2");
        assert_eq!(seen, Ok(["A=1", "D=\"4\" ", "E=a=b #c", "F=", "G", "A=2"].map(String::from).to_vec()));
        assert_eq!(shown(""), Ok(Vec::new()));
        assert_eq!(shown("A=1\n=2\n"), Err((2, "there is no name before =")));
        assert_eq!(shown("A B=1"), Err((1, "there is a blank in the name")));
        assert_eq!(shown("export A=1"), Err((1, "there is a blank in the name")));
        assert_eq!(shown("\nA=\0"), Err((2, "there is a NUL in it")));
    }

    proptest! {
        #[test]
        fn what_is_read_can_stand_in_an_environment(content: Vec<u8>) {
            for (name, value) in parse(&content).unwrap_or_default() {
                prop_assert!(!name.is_empty() && !name.contains(&b'=') && !name.contains(&0));
                prop_assert!(value.is_none_or(|value| !value.contains(&0) && !value.contains(&b'\n')));
            }
        }
    }
}
