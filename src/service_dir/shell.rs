//! Words and lines of the shell: written so that they mean exactly what was given, and read as far as lint needs it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// What the kernel takes as one argument or one variable, in bytes (`MAX_ARG_STRLEN`, less its NUL).
pub(super) const WORD: usize = 131_071;

/// Appends a word that the shell hands on unchanged, whatever bytes are in it.
pub(super) fn push_word(script: &mut Vec<u8>, word: &OsStr) {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-./:,@%+=".contains(byte);
    let bytes = word.as_bytes();
    if !bytes.is_empty() && bytes.iter().all(plain) {
        script.extend_from_slice(bytes);
        return;
    }
    script.push(b'\'');
    for byte in bytes {
        match byte {
            b'\'' => script.extend_from_slice(b"'\\''"),
            other => script.push(*other),
        }
    }
    script.push(b'\'');
}

/// A command line of these words.
pub(super) fn line<'a>(words: impl IntoIterator<Item = &'a OsStr>) -> Vec<u8> {
    let mut line = Vec::new();
    for word in words {
        if !line.is_empty() {
            line.push(b' ');
        }
        push_word(&mut line, word);
    }
    line
}

/// A script as far as it can be told apart without running it.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The lines that are commands, without comments, and what is quoted or continued in one; with their numbers.
    pub(super) lines: Vec<(usize, String)>,
    /// The first line that ends in CR LF outside quotes.
    pub(super) carriage_return: Option<usize>,
    /// There are here-documents: what comes after the first one is not known.
    pub(super) has_documents: bool,
}

/// Reads a script.
pub(super) fn read(text: &[u8]) -> Reading {
    let mut reading = Reading::default();
    let (mut line, mut first, mut number) = (Vec::new(), 1, 1);
    let mut bytes = text.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\n' => {
                if line.last() == Some(&b'\r') {
                    line.pop();
                    reading.carriage_return.get_or_insert(number);
                }
                number += 1;
                finish(&mut reading, &mut line, first);
                first = number;
            }
            b'\\' => match bytes.next() {
                Some(b'\n') => {
                    number += 1;
                    line.push(b' ');
                }
                next => line.extend([Some(b'\\'), next].into_iter().flatten()),
            },
            b'#' if line.last().is_none_or(|last| b" \t;&|(".contains(last)) => {
                while let Some(more) = bytes.next_if(|next| *next != b'\n') {
                    if more == b'\r' && bytes.peek() == Some(&b'\n') {
                        reading.carriage_return.get_or_insert(number);
                    }
                }
            }
            b'\'' | b'"' => {
                line.push(byte);
                while let Some(inner) = bytes.next() {
                    number += usize::from(inner == b'\n');
                    line.push(if inner == b'\n' { b' ' } else { inner });
                    if inner == byte {
                        break;
                    }
                    if inner == b'\\' && byte == b'"' {
                        line.extend(bytes.next());
                    }
                }
            }
            b'<' if line.last() == Some(&b'<') => {
                reading.has_documents = true;
                return reading;
            }
            other => line.push(other),
        }
    }
    finish(&mut reading, &mut line, first);
    reading
}

fn finish(reading: &mut Reading, line: &mut Vec<u8>, number: usize) {
    let text = String::from_utf8_lossy(line).trim().to_owned();
    if !text.is_empty() {
        reading.lines.push((number, text));
    }
    line.clear();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;
    use std::process::Command;

    /// What a shell makes of a line.
    #[allow(clippy::disallowed_methods)] // no PID 1 in sight
    fn heard_by(shell: &[&str], words: &[OsString]) -> Vec<u8> {
        let mut script = b"exec printf '%s\\0' ".to_vec();
        script.extend(line(words.iter().map(OsString::as_os_str)));
        let script = OsString::from_vec(script);
        let output = Command::new(shell[0]).args(&shell[1..]).arg("-c").arg(script).output().expect("a shell");
        assert!(output.status.success(), "{output:?}");
        output.stdout
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn a_shell_hears_what_was_written(words in prop::collection::vec(prop::collection::vec(1u8.., 0..40), 1..6)) {
            let words: Vec<OsString> = words.into_iter().map(OsString::from_vec).collect();
            let mut said = Vec::new();
            words.iter().for_each(|word| said.extend([word.as_bytes(), b"\0"].concat()));
            prop_assert_eq!(&heard_by(&["/bin/sh"], &words), &said);
            for shell in [&["bash", "--posix"][..], &["busybox", "sh"]] {
                if Command::new(shell[0]).arg("--help").output().is_ok() {
                    prop_assert_eq!(&heard_by(shell, &words), &said, "{:?}", shell);
                }
            }
        }

        #[test]
        fn a_written_line_is_read_as_one(words in prop::collection::vec("(\\PC|[\n\r'\"#&<\\\\]){0,12}", 1..5)) {
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            let mut script = b"#!/bin/sh\nexec ".to_vec();
            script.extend(line(words.iter().map(OsString::as_os_str)));
            script.extend(b"\nlast");
            let reading = read(&script);
            prop_assert!(!reading.has_documents && reading.carriage_return.is_none(), "{:?}", reading);
            prop_assert_eq!(reading.lines.len(), 2);
            prop_assert_eq!(reading.lines[1].1.as_str(), "last");
        }
    }

    #[test]
    fn each_byte_arrives_alone_and_among_others() {
        let around = |byte: u8| [vec![byte], vec![byte, b'a'], vec![b'a', byte, b'a'], vec![byte, byte]];
        let mut words: Vec<OsString> = (1..=255).flat_map(around).map(OsString::from_vec).collect();
        words.extend(
            ["", "$HOME", "${HOME}", "a=~", "~/x", "{a,b}", "[a-z]*", "!!", "$'a'", "if", "2"].map(OsString::from),
        );
        let mut said = Vec::new();
        words.iter().for_each(|word| said.extend([word.as_bytes(), b"\0"].concat()));
        assert!(heard_by(&["/bin/sh"], &words) == said);
    }

    #[test]
    fn lines_are_told_apart() {
        let lines = |text: &str| -> Vec<(usize, String)> { read(text.as_bytes()).lines };
        let line = |number, text: &str| (number, text.to_owned());
        assert_eq!(lines("#!/bin/sh\n\n a b # c\nd \\\n e\nf"), [line(3, "a b"), line(4, "d   e"), line(6, "f")]);
        assert_eq!(lines("a 'b\n#c' \"d\\\"\n\"\ne#f"), [line(1, "a 'b #c' \"d\\\" \""), line(4, "e#f")]);
        assert_eq!(read(b"a\r\nb\r\n").carriage_return, Some(1));
        assert_eq!(read(b"a '\r\n'\nb # x\r\n").carriage_return, Some(3));
        assert_eq!(read(b"a '\r\n'\n").carriage_return, None);
        assert!(read(b"cat <<EOF\nx\nEOF\n").has_documents && !read(b"cat <x 'a<<b'\n").has_documents);
    }
}
