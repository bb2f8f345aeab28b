//! The file `config` of a log directory, and how svlogd reads it: byte by byte, and whatever it does not know is nothing.
//!
//! Sources: svlogd(8), `svlogd.c` of runit 2.1.2, and what the real one did.

use super::log_pattern;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

/// What a `config` says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// A file is closed at so many bytes; 0: never.
    pub size: u64,
    /// So many closed files are kept; 0: all.
    pub keep: u64,
    /// So many are kept when the file system is full, if that is less than `keep`.
    pub keep_when_full: u64,
    /// A file is closed at this age; zero: never.
    pub age: Duration,
    /// What is run by the shell on each closed file.
    pub processor: Option<Vec<u8>>,
    /// Where lines are sent besides.
    pub udp: Option<SocketAddrV4>,
    /// They are sent and not written.
    pub udp_only: bool,
    /// What stands in front of each line, behind the time stamp.
    pub prefix: Vec<u8>,
    /// The rules, in the order of the file.
    pub rules: Vec<Rule>,
}

/// A line `+PATTERN`, `-PATTERN`, `ePATTERN` or `EPATTERN`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rule {
    /// Which of them.
    pub kind: RuleKind,
    /// The pattern.
    pub pattern: Vec<u8>,
}

/// What becomes of a line that fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RuleKind {
    /// It is written.
    Select,
    /// It is not written.
    Deselect,
    /// It is copied to standard error.
    Copy,
    /// It is not copied to standard error.
    DoNotCopy,
}

/// What becomes of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Selected {
    /// It is written.
    pub written: bool,
    /// It is copied to standard error.
    pub copied: bool,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            size: 1_000_000,
            keep: 10,
            keep_when_full: 10,
            age: Duration::ZERO,
            processor: None,
            udp: None,
            udp_only: false,
            prefix: Vec::new(),
            rules: Vec::new(),
        }
    }
}

impl Config {
    /// Reads it. Beside the config, what svlogd warns of: what is wrong, and the text.
    pub fn parse(text: &[u8]) -> (Config, Vec<(&'static str, Vec<u8>)>) {
        Config::default().with(text)
    }

    /// The same, where what the file does not say is as it is here.
    pub fn with(self, text: &[u8]) -> (Config, Vec<(&'static str, Vec<u8>)>) {
        let (mut config, mut warnings) = (self, Vec::new());
        let mut rest = text;
        while rest.len() > 1 {
            // A last line of one byte without a newline is not looked at.
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            config.take(line, &mut warnings);
            rest = behind.get(1..).unwrap_or_default();
        }
        config.udp_only &= config.udp.is_some(); // what is sent nowhere is written
        (config, warnings)
    }

    fn take(&mut self, line: &[u8], warnings: &mut Vec<(&'static str, Vec<u8>)>) {
        let Some((first, value)) = line.split_first() else { return };
        let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
        let rule = |kind| Rule { kind, pattern: text.to_vec() };
        match first {
            b'+' => self.rules.push(rule(RuleKind::Select)),
            b'-' => self.rules.push(rule(RuleKind::Deselect)),
            b'e' => self.rules.push(rule(RuleKind::Copy)),
            b'E' => self.rules.push(rule(RuleKind::DoNotCopy)),
            b's' => self.size = scaled(value, [(b'k', 1 << 10), (b'm', 1 << 20)]),
            b'n' => self.keep = number(value).0,
            b'N' => self.keep_when_full = number(value).0,
            b't' => self.age = Duration::from_secs(scaled(value, [(b'm', 60), (b'h', 3600)])),
            b'!' if !value.is_empty() => self.processor = Some(text.to_vec()),
            b'p' if !value.is_empty() => self.prefix = text.to_vec(),
            b'u' | b'U' => match address(value) {
                Ok(address) => {
                    self.udp_only |= *first == b'U';
                    self.udp = (address.port() != 0).then_some(address);
                }
                Err((what, at)) => {
                    let text = value.get(at..).unwrap_or_default();
                    warnings.push((what, text.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()));
                }
            },
            _ => {}
        }
    }

    /// What becomes of a line. Of two rules that fit the last one counts.
    pub fn select(&self, line: &[u8]) -> Selected {
        let mut selected = Selected { written: true, copied: false };
        for rule in self.rules.iter().filter(|rule| log_pattern::svlogd(&rule.pattern, line)) {
            match rule.kind {
                RuleKind::Select => selected.written = true,
                RuleKind::Deselect => selected.written = false,
                RuleKind::Copy => selected.copied = true,
                RuleKind::DoNotCopy => selected.copied = false,
            }
        }
        selected
    }
}

/// The digits at the front, modulo 2^64, and how many there are.
fn number(text: &[u8]) -> (u64, usize) {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let digits = text.iter().take(count);
    (digits.fold(0, |sum: u64, digit| sum.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))), count)
}

/// A number, and maybe a letter that multiplies it.
fn scaled(text: &[u8], units: [(u8, u64); 2]) -> u64 {
    let (value, count) = number(text);
    let unit = units.iter().find(|(letter, _)| text.get(count) == Some(letter));
    unit.map_or(value, |(_, factor)| value.wrapping_mul(*factor))
}

/// `a.b.c.d` or `a.b.c.d:port`, each part modulo its range. The error says what is wrong from which byte on.
fn address(text: &[u8]) -> Result<SocketAddrV4, (&'static str, usize)> {
    let (mut octets, mut at) = ([0_u8; 4], 0);
    for (place, octet) in octets.iter_mut().enumerate() {
        if place > 0 && text.get(at) != Some(&b'.') {
            return Err(("unable to scan ip address", 0));
        }
        at += usize::from(place > 0);
        let (value, count) = number(text.get(at..).unwrap_or_default());
        if count == 0 {
            return Err(("unable to scan ip address", 0));
        }
        *octet = value as u8;
        at += count;
    }
    let port = match text.get(at) {
        Some(b':') => match number(text.get(at + 1..).unwrap_or_default()).0 {
            0 => return Err(("unable to scan port number", at + 1)),
            port => port as u16,
        },
        _ => 514,
    };
    Ok(SocketAddrV4::new(Ipv4Addr::from(octets), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Config {
        Config::parse(text.as_bytes()).0
    }

    #[test]
    fn a_config_is_read_as_the_real_one_reads_it() {
        let config = parsed("# old\n\ns12k\nn3\nN2\nt5m\n!gzip\nu10.0.0.1:99\nppre: \n-*\n+a*\neb\nEc\nzzz");
        let rules: Vec<_> = config.rules.iter().map(|rule| (rule.kind, rule.pattern.as_slice())).collect();
        assert_eq!(
            rules,
            [
                (RuleKind::Deselect, &b"*"[..]),
                (RuleKind::Select, b"a*"),
                (RuleKind::Copy, b"b"),
                (RuleKind::DoNotCopy, b"c")
            ]
        );
        assert_eq!((config.size, config.keep, config.keep_when_full), (12 * 1024, 3, 2));
        assert_eq!((config.age, config.processor), (Duration::from_secs(300), Some(b"gzip".to_vec())));
        assert_eq!(config.udp, Some(SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 99)));
        assert_eq!((config.udp_only, config.prefix), (false, b"pre: ".to_vec()));
    }

    #[test]
    fn odd_lines_mean_what_they_mean_to_the_real_one() {
        assert_eq!(parsed(""), Config::default());
        assert_eq!(parsed("s 5000").size, 0);
        assert_eq!(parsed("s1m").size, 1 << 20);
        assert_eq!(parsed("t2h").age, Duration::from_secs(7200));
        assert_eq!(parsed("s").size, 1_000_000, "one byte without a newline is no line");
        assert_eq!(parsed("s\n").size, 0);
        assert_eq!(parsed("!\np\n"), Config::default());
        assert_eq!(parsed("px\0y\n").prefix, b"x");
        assert_eq!(parsed("U1.2.3.4").udp, Some(SocketAddrV4::new(Ipv4Addr::new(1, 2, 3, 4), 514)));
        assert!(parsed("U1.2.3.4").udp_only);
    }

    #[test]
    fn an_address_that_is_none_is_warned_of_and_no_line_is_lost_for_it() {
        let (config, warnings) = Config::parse(b"U1.2.3\nu1.2.3.4:x\n");
        assert_eq!((config.udp, config.udp_only), (None, false));
        assert_eq!(
            warnings,
            [("unable to scan ip address", b"1.2.3".to_vec()), ("unable to scan port number", b"x".to_vec())]
        );
    }

    #[test]
    fn the_last_rule_that_fits_counts() {
        let config = parsed("-*\n+a*\n-ab\ne*b\nEx*\n");
        let told = |line: &str| (config.select(line.as_bytes()).written, config.select(line.as_bytes()).copied);
        assert_eq!(["a", "ab", "b", "xb"].map(told), [(true, false), (false, true), (false, true), (false, false)]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_config(text: Vec<u8>, line: Vec<u8>) {
            let (config, _) = Config::parse(&text);
            config.select(&line);
            prop_assert!(config.udp.is_some() || !config.udp_only);
        }
    }
}
