//! How s6 tells whoever waits for a service what happens to it: a directory `event` with a FIFO of each listener, and a
//! letter for each event.
//!
//! Source: `ftrigw_notifyb` and `s6-supervise` of s6 2.11 to 2.15; checked with the real `s6-svwait` and `s6-svlisten`.

use super::tai::Tai;
use crate::machine::Phase;
use crate::machine::life_event::LifeEvent;

/// The directory, in that of the service.
pub const DIRECTORY: &str = "event";

/// How the name of a listener's FIFO begins: then follow a time, in 24 hexadecimal digits, a colon and 6 more.
const BEGINNING: &[u8] = b"ftrig1:@";
/// How long it is.
const LENGTH: usize = 39;

/// Whether this is the name of a listener's FIFO.
pub fn is_listener(name: &[u8]) -> bool {
    name.len() == LENGTH && name.starts_with(BEGINNING)
}

/// The name of a listener's FIFO: made at this time, by this process, which has others. Until it is open it has a dot in
/// front, and is not told anything.
pub fn listener(now: Tai, process: u32, other: usize) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut number = u64::from(process) << 10 | (other as u64 & 0x3ff);
    let mut tail = String::new();
    for _ in 0..6 {
        tail.push(char::from(*DIGITS.get((number % 36) as usize).unwrap_or(&b'0')));
        number /= 36;
    }
    format!("ftrig1:@{}:{tail}", now.digits_of_s6().map(char::from).iter().collect::<String>())
}

/// What listeners are told.
pub fn letter(event: LifeEvent) -> u8 {
    match event {
        LifeEvent::Supervised => b's',
        LifeEvent::Up => b'u',
        LifeEvent::Ready => b'U',
        LifeEvent::Died => b'd',
        LifeEvent::GaveUp => b'O',
        LifeEvent::Down => b'D',
        LifeEvent::Left => b'x',
    }
}

/// The letters that a supervisor may leave to the one that goes on after it, each with the bit that stands for it.
const LEFT: [u8; 6] = *b"suUdOD";

/// Letters that were not told yet, a bit each. In which order they were does not matter: see [`of_bits`].
pub fn bits(letters: impl IntoIterator<Item = u8>) -> u8 {
    let place = |letter| LEFT.iter().position(|known| *known == letter);
    letters.into_iter().filter_map(place).fold(0, |bits, place| bits | 1 << place)
}

/// And back, in an order that ends with what is so now.
pub fn of_bits(bits: u8, now: Phase) -> Vec<u8> {
    let order = match now {
        Phase::Run => b"sdODuU",
        Phase::Finish => b"sODuUd",
        Phase::Down | Phase::Setup => b"suUdOD",
    };
    order.iter().copied().filter(|letter| self::bits([*letter]) & bits != 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_have_the_names_that_s6_gives_them() {
        let made = listener(Tai { unix: 1_700_000_000, nanos: 7 }, 4_194_304, 1023);
        assert!(is_listener(made.as_bytes()), "{made}");
        assert_ne!(made, listener(Tai { unix: 1_700_000_000, nanos: 7 }, 4_194_304, 1022));
        assert!(is_listener(b"ftrig1:@400000006b05475209c45957:aB3xYz"));
        for other in [
            &b".ftrig1:@400000006b05475209c45957:aB3xY"[..],
            b"ftrig1:@400000006b05475209c45957:aB3xYzz",
            b"ftrig1:=400000006b05475209c45957:aB3xYz",
            b"ftrig1:bad",
            b"",
        ] {
            assert!(!is_listener(other));
        }
    }

    #[test]
    fn what_was_not_told_yet_ends_with_what_is_so() {
        let told_later = |letters: &[u8], now| of_bits(bits(letters.iter().copied()), now);
        assert_eq!(told_later(b"dDuU", Phase::Run), b"dDuU");
        assert_eq!(told_later(b"dDudD", Phase::Down), b"udD", "once each is enough");
        assert_eq!(told_later(b"dODsx", Phase::Down), b"sdOD", "who is gone is told at once");
        assert_eq!(told_later(b"dDud", Phase::Finish), b"Dud");
        assert_eq!(told_later(b"", Phase::Run), b"");
        assert_eq!((of_bits(0xff, Phase::Setup), of_bits(0xc0, Phase::Run)), (b"suUdOD".to_vec(), vec![]));
    }
}
