//! What sysvinit's tools, and systemctl where there is no systemd, write into init's FIFO `/run/initctl`.
//!
//! A request has 384 bytes (sysvinit's initreq.h): magic number, command, run level and a pause as integers of the
//! machine, and 368 bytes of data. It is written in one piece, so what does not come whole is none.

use crate::machine::request::{Request, ShutdownAction};

/// A request has so many bytes.
pub const LENGTH: usize = 384;

const MAGIC: [u8; 4] = 0x0309_1969_i32.to_ne_bytes();
const RUN_LEVEL: i32 = 1;
const POWER_FAILS: i32 = 2;
const POWER_FAILS_NOW: i32 = 3;
const POWER_IS_BACK: i32 = 4;
const SET_VARIABLE: i32 = 6;
const REMOVE_VARIABLE: i32 = 7;
/// By this variable the tools say what run level 0 is to be. Others would be for programs that sysvinit starts.
const KIND_OF_STOP: &[u8] = b"INIT_HALT";

/// What stood in the FIFO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heard {
    /// This is asked for.
    Request(Request),
    /// A run level, by its letter, that we do not have.
    Level(char),
    /// So many bytes that are no request.
    Garbage(usize),
}

/// Reads requests, and knows what those before have said.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Reader {
    /// Run level 0 is a halt; else the power goes off.
    halts: bool,
}

impl Reader {
    /// What these bytes ask for. What is no request is passed over, up to the next magic number behind it.
    pub fn read(&mut self, mut bytes: &[u8]) -> Vec<Heard> {
        let (mut heard, mut garbage) = (Vec::new(), 0);
        while let Some((_, behind)) = bytes.split_first() {
            let record = bytes.split_first_chunk();
            bytes = match record.and_then(|(record, rest)| self.word(record).map(|word| (word, rest))) {
                Some((word, rest)) => {
                    heard.extend(word);
                    rest
                }
                None => {
                    garbage += 1;
                    behind
                }
            };
        }
        heard.extend((garbage > 0).then_some(Heard::Garbage(garbage)));
        heard
    }

    /// `None` for what is no request.
    fn word(&mut self, record: &[u8; LENGTH]) -> Option<Option<Heard>> {
        let (magic, rest) = record.split_first_chunk::<4>()?;
        let (command, rest) = rest.split_first_chunk()?;
        let (level, rest) = rest.split_first_chunk()?;
        let (_pause, data) = rest.split_first_chunk::<4>()?;
        if *magic != MAGIC {
            return None;
        }
        let command = i32::from_ne_bytes(*command);
        match command {
            RUN_LEVEL => self.level(i32::from_ne_bytes(*level)).map(Some),
            POWER_FAILS | POWER_FAILS_NOW => Some(Some(Heard::Request(Request::Shutdown(ShutdownAction::PowerOff)))),
            POWER_IS_BACK => Some(None), // had it failed, we would be on our way
            SET_VARIABLE | REMOVE_VARIABLE => {
                self.variable(data, command == SET_VARIABLE);
                Some(None)
            }
            _ => None,
        }
    }

    fn level(&self, level: i32) -> Option<Heard> {
        let letter = char::from_u32(level.cast_unsigned()).filter(char::is_ascii_alphanumeric)?;
        Some(match letter {
            '0' if self.halts => Heard::Request(Request::Shutdown(ShutdownAction::Halt)),
            '0' => Heard::Request(Request::Shutdown(ShutdownAction::PowerOff)),
            '6' => Heard::Request(Request::Shutdown(ShutdownAction::Reboot)),
            'q' | 'Q' => Heard::Request(Request::Rescan),
            letter => Heard::Level(letter),
        })
    }

    /// `NAME=VALUE`, or `NAME` alone, which is as good as none.
    fn variable(&mut self, data: &[u8], is_set: bool) {
        let text = data.split(|byte| *byte == 0).next().unwrap_or_default();
        if text.split(|byte| *byte == b'=').next() == Some(KIND_OF_STOP) {
            self.halts = is_set && text.ends_with(b"=HALT");
        }
    }
}

/// The request for a run level.
pub fn level(letter: u8) -> [u8; LENGTH] {
    let head = [MAGIC, RUN_LEVEL.to_ne_bytes(), i32::from(letter).to_ne_bytes()].concat();
    let mut record = [0; LENGTH];
    record.iter_mut().zip(head).for_each(|(byte, value)| *byte = value);
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the real telinit and shutdown (sysvinit 3.06, x86-64) have written: the start, and then nothing but zeros.
    fn real(start: &[u8]) -> [u8; LENGTH] {
        let mut record = [0; LENGTH];
        record[..start.len()].copy_from_slice(start);
        record
    }

    const TELINIT_0: &[u8] = b"\x69\x19\x09\x03\x01\0\0\0\x30\0\0\0\x03\0\0\0";
    const TELINIT_6: &[u8] = b"\x69\x19\x09\x03\x01\0\0\0\x36\0\0\0\x03\0\0\0";
    const TELINIT_S: &[u8] = b"\x69\x19\x09\x03\x01\0\0\0\x53\0\0\0\x03\0\0\0";
    const TELINIT_Q: &[u8] = b"\x69\x19\x09\x03\x01\0\0\0\x71\0\0\0\x03\0\0\0";
    const TELINIT_U: &[u8] = b"\x69\x19\x09\x03\x01\0\0\0\x75\0\0\0\x03\0\0\0";
    const TELINIT_T_7_3: &[u8] = b"\x69\x19\x09\x03\x01\0\0\0\x33\0\0\0\x07\0\0\0";
    const SHUTDOWN_H_UPPER_H: &[u8] = b"\x69\x19\x09\x03\x06\0\0\0\0\0\0\0\0\0\0\0INIT_HALT=HALT";
    const SHUTDOWN_H_UPPER_P: &[u8] = b"\x69\x19\x09\x03\x06\0\0\0\0\0\0\0\0\0\0\0INIT_HALT=POWEROFF";
    const SHUTDOWN_R: &[u8] = b"\x69\x19\x09\x03\x06\0\0\0\0\0\0\0\0\0\0\0INIT_HALT";
    /// systemctl 252, called as poweroff and as halt.
    const SYSTEMCTL: &[u8] = b"\x69\x19\x09\x03\x01\0\0\0\x30\0\0\0\0\0\0\0";

    fn shutdown(action: ShutdownAction) -> Vec<Heard> {
        vec![Heard::Request(Request::Shutdown(action))]
    }

    fn command(number: i32) -> [u8; LENGTH] {
        let mut record = real(&MAGIC);
        record[4..8].copy_from_slice(&number.to_ne_bytes());
        record
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_bytes_of_the_real_tools_are_understood() {
        let heard = |start| Reader::default().read(&real(start));
        assert_eq!(
            [heard(TELINIT_0), heard(SYSTEMCTL)],
            [shutdown(ShutdownAction::PowerOff), shutdown(ShutdownAction::PowerOff)]
        );
        assert_eq!(heard(TELINIT_6), shutdown(ShutdownAction::Reboot));
        assert_eq!(heard(TELINIT_Q), [Heard::Request(Request::Rescan)]);
        assert_eq!([heard(TELINIT_S), heard(TELINIT_U)], [[Heard::Level('S')], [Heard::Level('u')]]);
        assert_eq!(heard(TELINIT_T_7_3), [Heard::Level('3')]);
        assert_eq!(level(b'0'), real(SYSTEMCTL));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn shutdown_says_before_whether_it_is_a_halt() {
        let mut reader = Reader::default();
        let mut heard = |starts: [&[u8]; 2]| reader.read(&starts.map(real).concat());
        assert_eq!(heard([SHUTDOWN_H_UPPER_H, TELINIT_0]), shutdown(ShutdownAction::Halt));
        assert_eq!(
            heard([TELINIT_6, TELINIT_0]),
            [shutdown(ShutdownAction::Reboot), shutdown(ShutdownAction::Halt)].concat()
        );
        assert_eq!(heard([SHUTDOWN_H_UPPER_P, TELINIT_0]), shutdown(ShutdownAction::PowerOff));
        assert_eq!(heard([SHUTDOWN_H_UPPER_H, TELINIT_0]), shutdown(ShutdownAction::Halt));
        assert_eq!(heard([SHUTDOWN_R, TELINIT_0]), shutdown(ShutdownAction::PowerOff));
    }

    #[test]
    fn a_variable_that_is_removed_counts_no_more() {
        let variable = |number| {
            let mut record = command(number);
            record[16..30].copy_from_slice(b"INIT_HALT=HALT");
            record
        };
        let heard = |number| Reader::read(&mut Reader { halts: true }, &[variable(number), level(b'0')].concat());
        assert_eq!(
            [heard(SET_VARIABLE), heard(REMOVE_VARIABLE)],
            [shutdown(ShutdownAction::Halt), shutdown(ShutdownAction::PowerOff)]
        );
    }

    #[test]
    fn other_variables_and_a_longer_name_change_nothing() {
        let mut reader = Reader::default();
        for text in [&b"INIT_HALTED=HALT"[..], b"HALT", b"=", b"", &[b'x'; 368]] {
            let mut record = command(SET_VARIABLE);
            record[16..16 + text.len()].copy_from_slice(text);
            assert_eq!(reader.read(&record), []);
        }
        assert_eq!(reader, Reader::default());
    }

    #[test]
    fn when_the_power_fails_it_is_switched_off_in_order() {
        let heard = |number| Reader::default().read(&command(number));
        assert_eq!([heard(2), heard(3)], [shutdown(ShutdownAction::PowerOff), shutdown(ShutdownAction::PowerOff)]);
        assert_eq!(heard(4), []);
    }

    #[test]
    fn garbage_is_passed_over_up_to_the_next_request() {
        let good = level(b'6');
        let garbage = |before: &[u8], after: &[u8]| Reader::default().read(&[before, &good, after].concat());
        let with = |count| [shutdown(ShutdownAction::Reboot), vec![Heard::Garbage(count)]].concat();
        assert_eq!(garbage(b"hello\n", b""), with(6));
        assert_eq!(garbage(b"", &MAGIC), with(4));
        assert_eq!(garbage(&MAGIC, &good[..383]), with(4 + 383));
        assert_eq!(garbage(&[0; 1000], b"x"), with(1001));
        let mut strange = command(POWER_FAILS);
        strange[0] ^= 1;
        for bad in [command(0), command(5), command(8), command(-1), command(RUN_LEVEL), level(b'\n'), strange] {
            assert_eq!(Reader::default().read(&bad), [Heard::Garbage(LENGTH)]);
            assert_eq!(garbage(&bad, b""), with(LENGTH));
        }
        assert_eq!(Reader::default().read(b""), []);
    }

    proptest! {
        #[test]
        fn no_bytes_hide_the_request_behind_them(before in proptest::collection::vec(any::<u8>(), 0..900)) {
            let heard = Reader::default().read(&[&before[..], &level(b'6')].concat());
            prop_assert!(heard.contains(&Heard::Request(Request::Shutdown(ShutdownAction::Reboot))), "{heard:?}");
        }
    }
}
