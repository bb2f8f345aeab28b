//! Lines of a log as lines of JSON: `{"ts":"2026-11-29T04:18:52.374140Z","msg":"…"}`.

use crate::wire::json::Write as _;
use crate::wire::log_time;
use std::fmt::Write as _;
use std::time::Duration;

/// A longer line becomes several, all but the last one of which say `"partial":true`. In bytes.
const LONGEST: usize = 65_536;

/// A line that is being read.
#[derive(Default)]
pub struct JsonLine {
    message: Vec<u8>,
    began: Duration,
}

impl JsonLine {
    /// It begins with this.
    pub fn begin(&mut self, head: &[u8], began: Duration, to: &mut Vec<u8>) {
        self.message.clear();
        self.began = began;
        self.more(head, to);
    }

    /// It goes on with this.
    pub fn more(&mut self, bytes: &[u8], to: &mut Vec<u8>) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.message.len() >= LONGEST {
                let tail = self.message.split_off(whole(&self.message));
                push(to, &self.message, self.began, true);
                self.message = tail;
            }
            let room = LONGEST.saturating_sub(self.message.len());
            let (part, behind) = rest.split_at_checked(room).unwrap_or((rest, &[]));
            self.message.extend_from_slice(part);
            rest = behind;
        }
    }

    /// It has ended.
    pub fn end(&mut self, to: &mut Vec<u8>) {
        push(to, &self.message, self.began, false);
    }
}

/// How many bytes of a message are whole letters, if its end is in the middle of one.
fn whole(message: &[u8]) -> usize {
    let tail = message.len().saturating_sub(3);
    let last = message.get(tail..).unwrap_or_default();
    let lead = last.iter().rposition(|byte| byte & 0xc0 == 0xc0);
    match lead.map(|at| (tail + at, last.get(at).copied().unwrap_or_default())) {
        Some((at, byte)) if message.len() - at < letter_length(byte) => at,
        _ => message.len(),
    }
}

fn letter_length(lead: u8) -> usize {
    match lead {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        _ => 4,
    }
}

fn push(to: &mut Vec<u8>, message: &[u8], began: Duration, is_partial: bool) {
    to.extend_from_slice(b"{\"ts\":\"");
    log_time::iso_micros(to, began);
    to.extend_from_slice(if is_partial { b"\",\"partial\":true,\"msg\":" } else { b"\",\"msg\":" });
    let mut text = String::with_capacity(message.len() + 2);
    match std::str::from_utf8(message) {
        Ok(message) => message.write(&mut text),
        Err(_) => readable(message).write(&mut text),
    }
    to.extend_from_slice(text.as_bytes());
    to.extend_from_slice(b"}\n");
}

/// What is not UTF-8 is shown as `\xNN`.
fn readable(message: &[u8]) -> String {
    let mut text = String::new();
    for chunk in message.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}"); // a String takes everything
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(pieces: &[&[u8]]) -> String {
        let (mut line, mut to) = (JsonLine::default(), Vec::new());
        line.begin(b"", Duration::from_secs(1), &mut to);
        pieces.iter().for_each(|piece| line.more(piece, &mut to));
        line.end(&mut to);
        String::from_utf8(to).expect("UTF-8")
    }

    #[test]
    fn a_line_is_one_of_json_whatever_is_in_it() {
        let start = "{\"ts\":\"1970-01-01T00:00:01.000000Z\",\"msg\":";
        assert_eq!(lines(&[b"a\"\\\t\0", "ß".as_bytes()]), format!("{start}\"a\\\"\\\\\\t\\u0000ß\"}}\n"));
        assert_eq!(lines(&[b"a\xe9z"]), format!("{start}\"a\\\\xe9z\"}}\n"));
        assert_eq!(lines(&[]), format!("{start}\"\"}}\n"));
    }

    #[test]
    fn a_long_line_is_several_and_no_letter_is_cut() {
        let text = lines(&["€".repeat(30_000).as_bytes()]);
        let told: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!(told.len(), 2);
        assert_eq!((&told[0]["partial"], &told[1]["partial"]), (&true.into(), &serde_json::Value::Null));
        let whole: String = told.iter().map(|line| line["msg"].as_str().expect("text")).collect();
        assert_eq!(whole, "€".repeat(30_000));
    }

    proptest! {
        #[test]
        fn any_bytes_are_json(message: Vec<u8>) {
            let text = lines(&[&message]);
            let told: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            if let Ok(message) = std::str::from_utf8(&message) {
                prop_assert_eq!(told["msg"].as_str(), Some(message));
            }
        }
    }
}
