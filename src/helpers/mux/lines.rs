//! How a line looks that has the name of its service in front.

use crate::helpers::log::json;
use crate::sys::clock;
use crate::wire::log_time::{self, Format};
use std::time::Duration;

/// How lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// `web | a line`, `web ! a line of its standard error`.
    Text {
        /// The time stands in front of it.
        time: bool,
    },
    /// `{"ts":"…","service":"web","stream":"stdout","msg":"a line"}`.
    Json,
}

impl Form {
    /// `text`, `time` or `json`.
    pub fn parse(word: &str) -> Option<Form> {
        Some(match word {
            "text" => Form::Text { time: false },
            "time" => Form::Text { time: true },
            "json" => Form::Json,
            _ => return None,
        })
    }
}

/// What is the same for all lines.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// How they look.
    pub form: Form,
    /// Each service has a colour of its own, and names have one length: for a terminal.
    pub colour: bool,
    /// So long are names then.
    pub width: usize,
}

/// Colours that can be read on dark and on bright.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

impl Style {
    /// Adds a line to `to`. `after_1970`: when it was read.
    pub fn push(&self, to: &mut Vec<u8>, name: &[u8], is_error: bool, line: &[u8], after_1970: Duration) {
        match self.form {
            Form::Json => {
                to.extend_from_slice(b"{\"ts\":\"");
                log_time::iso_micros(to, after_1970);
                to.extend_from_slice(b"\",\"service\":");
                json::push_text(to, name);
                to.extend_from_slice(if is_error { b",\"stream\":\"stderr\"" } else { b",\"stream\":\"stdout\"" });
                to.extend_from_slice(b",\"msg\":");
                json::push_text(to, line);
                to.extend_from_slice(b"}\n");
            }
            Form::Text { time } => {
                if time {
                    let offset = clock::offset(after_1970.as_secs().cast_signed());
                    log_time::push(to, Format::Local(i32::try_from(offset).unwrap_or_default()), after_1970);
                    to.truncate(to.len().saturating_sub(8)); // milliseconds are enough
                    to.push(b' ');
                }
                self.push_name(to, name, is_error);
                to.extend_from_slice(line);
                to.push(b'\n');
            }
        }
    }

    fn push_name(&self, to: &mut Vec<u8>, name: &[u8], is_error: bool) {
        let sum = name.iter().fold(0usize, |sum, byte| sum.wrapping_mul(31).wrapping_add((*byte).into()));
        let colour = COLOURS.get(sum % COLOURS.len()).filter(|_| self.colour);
        if let Some(colour) = colour {
            to.extend_from_slice(format!("\x1b[{colour}m").as_bytes());
        }
        to.extend_from_slice(name);
        if colour.is_some() {
            to.resize(to.len() + self.width.saturating_sub(name.len()), b' ');
        }
        to.extend_from_slice(if is_error { b" !" } else { b" |" });
        to.extend_from_slice(if colour.is_some() { b"\x1b[0m " } else { b" " });
    }
}

/// Gives the lines at the front of `bytes` to `push`, as long as what it makes of them has room; longer ones in pieces of
/// `longest`. With `all`, also the last one, which has no end yet. Returns how many bytes that were.
pub fn each(
    bytes: &[u8],
    longest: usize,
    all: bool,
    room: usize,
    to: &mut Vec<u8>,
    mut push: impl FnMut(&mut Vec<u8>, &[u8]),
) -> usize {
    let mut taken = 0;
    loop {
        let rest = bytes.get(taken..).unwrap_or_default();
        let end = memchr::memchr(b'\n', rest);
        let line = match end {
            Some(end) if end <= longest => rest.get(..end),
            None if rest.is_empty() || rest.len() < longest && !all => return taken,
            Some(_) | None => rest.get(..rest.len().min(longest)),
        };
        let line = line.unwrap_or_default();
        let before = to.len();
        push(to, line);
        if to.len() > room {
            to.truncate(before);
            return taken;
        }
        taken += line.len() + usize::from(end == Some(line.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_millis(1_500);

    fn pushed(form: Form, colour: bool, line: &[u8], is_error: bool) -> String {
        let mut to = Vec::new();
        Style { form, colour, width: 5 }.push(&mut to, b"web", is_error, line, SECOND);
        String::from_utf8(to).expect("UTF-8")
    }

    #[test]
    fn a_line_has_the_name_of_its_service_in_front() {
        let text = Form::Text { time: false };
        assert_eq!(pushed(text, false, b"a | b", false), "web | a | b\n");
        assert_eq!(pushed(text, false, b"", true), "web ! \n");
        let coloured = pushed(text, true, b"x", false);
        assert!(coloured.starts_with("\x1b[3") && coloured.ends_with("mweb   |\x1b[0m x\n"), "{coloured:?}");
        let timed = pushed(Form::parse("time").expect("a form"), false, b"x", false);
        assert!(
            timed.ends_with("01.500 web | x\n") && timed.len() == "1970-01-01 00:00:01.500 web | x\n".len(),
            "{timed}"
        );
        let json = pushed(Form::Json, true, b"\"\xff", true);
        let head = "{\"ts\":\"1970-01-01T00:00:01.500000Z\",\"service\":\"web\",\"stream\":\"stderr\",\"msg\":";
        assert_eq!(json, format!("{head}\"\\\"\\\\xff\"}}\n"));
    }

    #[test]
    fn only_whole_lines_are_taken_unless_they_are_too_long_or_all_is() {
        let lines = |bytes: &[u8], all, room| {
            let mut to = Vec::new();
            let taken = each(bytes, 5, all, room, &mut to, |to, line| {
                to.extend_from_slice(line);
                to.push(b';');
            });
            (taken, String::from_utf8(to).expect("text"))
        };
        for (bytes, all, room, taken, text) in [
            ("a\nb\nc", false, 100, 4, "a;b;"),
            ("a\nb\nc", true, 100, 5, "a;b;c;"),
            ("a\nb\nc", true, 4, 4, "a;b;"),
            ("a\nb\n", false, 1, 0, ""),
            ("\n\n", true, 100, 2, ";;"),
            ("12345\nx", false, 100, 6, "12345;"),
            ("123456\n", false, 100, 7, "12345;6;"),
            ("1234", false, 100, 0, ""),
            ("12345", false, 100, 5, "12345;"),
            ("", true, 100, 0, ""),
        ] {
            assert_eq!(lines(bytes.as_bytes(), all, room), (taken, text.to_owned()), "{bytes:?} {all} {room}");
        }
    }
}
