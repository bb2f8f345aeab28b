//! `onit logger`: what comes on standard input goes into a log.

use crate::exit;
use crate::helpers::log::{Format, Retention, Settings, logger};
use crate::sys::say::say;
use argh::{ArgsInfo, FromArgs};
use std::path::PathBuf;

/// Write what comes on standard input to a log, line by line, and lose nothing: while the log cannot be written, nothing is
/// read.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
#[argh(
    note = "Without --file and --dir, lines go to standard output. HUP or USR1: open the file anew; ALRM: close it and
begin another one; TERM: write what was read, and end. SIZE is in bytes, or with k, m or g behind it."
)]
pub struct LoggerVerb {
    /// this file; closed ones are FILE.1, FILE.2, …
    #[argh(option)]
    file: Option<PathBuf>,
    /// this log directory, as of svlogd; its file "config" counts
    #[argh(option)]
    dir: Option<PathBuf>,
    /// close a file when it has this size (default: 1m; 0: never)
    #[argh(option, from_str_fn(size), default = "1 << 20", arg_name = "SIZE")]
    size: u64,
    /// keep this many closed files (default: 10)
    #[argh(option, default = "10")]
    keep: u32,
    /// compress closed files of --file: gzip
    #[argh(option, from_str_fn(compression), arg_name = "HOW")]
    compress: Option<Gzip>,
    /// write JSON: an object with ts and msg for each line
    #[argh(switch)]
    json: bool,
    /// put a time in front of each line: tai64n, iso or none (default)
    #[argh(option, from_str_fn(format), default = "Format::None", arg_name = "FORMAT")]
    timestamp: Format,
    /// write each line to standard output as well, as it came
    #[argh(switch)]
    tee: bool,
}

/// How closed files are compressed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Gzip;

impl LoggerVerb {
    /// Runs until standard input ends. Returns the exit code.
    pub fn run(self) -> i32 {
        if self.json && self.timestamp != Format::None {
            say("onit: logger: --timestamp is not for --json, whose lines have a time");
            return exit::USAGE;
        }
        if self.compress.is_some() && self.file.is_none() {
            say("onit: logger: --compress is for --file (in a --dir, config has a line like \"!gzip\")");
            return exit::USAGE;
        }
        if self.tee && self.file.is_none() && self.dir.is_none() {
            say("onit: logger: --tee is for --file and --dir; without them lines go to standard output anyway");
            return exit::USAGE;
        }
        logger(&Settings {
            tee: self.tee,
            json: self.json,
            format: self.timestamp,
            file: self.file,
            directory: self.dir,
            retention: Retention { size: self.size, keep: self.keep, gzip: self.compress.is_some() },
        })
    }
}

fn size(text: &str) -> Result<u64, String> {
    let units = [('k', 10), ('m', 20), ('g', 30)];
    let unit = units.iter().find_map(|(letter, bits)| Some((text.strip_suffix(*letter)?, bits)));
    let (digits, bits) = unit.unwrap_or((text, &0));
    let number = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(1 << bits));
    number.ok_or_else(|| format!("\"{text}\" is no size: write 5000, 100k or 10m"))
}

fn compression(text: &str) -> Result<Gzip, String> {
    if text == "gzip" { Ok(Gzip) } else { Err(format!("\"{text}\" is none of gzip")) }
}

fn format(text: &str) -> Result<Format, String> {
    match text {
        "tai64n" => Ok(Format::Tai64n),
        "iso" => Ok(Format::Iso),
        "none" => Ok(Format::None),
        _ => Err(format!("\"{text}\" is none of tai64n iso none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_multiples_of_1024() {
        for (text, bytes) in [("0", 0), ("5000", 5000), ("2k", 2048), ("3m", 3 << 20), ("1g", 1 << 30)] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "k", "1x", "-1", "99999999999g", "1€"] {
            assert!(size(text).is_err(), "{text}");
        }
    }
}
