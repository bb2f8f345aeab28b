//! `supervise/death_tally`: the last deaths of a service, as s6 writes them, for `s6-svdt` and `s6-permafailon`.
//!
//! Source: s6's `s6-svdt`, and records of the real s6: 14 bytes each, a TAI64N label as s6 means it, how a shell would
//! tell the end (128 and the signal), and the signal or 0. The youngest is the last one.

use super::tai::Tai;
use crate::machine::Exit;

/// How many bytes one record has.
pub const RECORD: usize = 14;

/// There are never more records than this.
pub const MOST: u32 = 4096;

/// The records with this death behind them, and of all these the last `most`. A piece of a record is none.
pub fn with_death(old: &[u8], at: Tai, exit: Exit, most: u32) -> Vec<u8> {
    let whole = old.len() - old.len() % RECORD;
    let mut records: Vec<u8> = old.iter().take(whole).copied().collect();
    let signal = match exit {
        Exit::Code(_) => 0,
        Exit::Signal { signal, .. } => signal.0 as u8,
    };
    records.extend(at.pack_s6());
    records.extend([exit.shell_code(), signal]);
    let excess = records.len().saturating_sub(RECORD * most.min(MOST) as usize);
    records.drain(..excess);
    records
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Signal;

    #[test]
    fn deaths_are_written_as_s6_writes_them() {
        // Of s6 2.11: `exit 3` and a TERM, at 1_700_000_000 and half a second later.
        let at = |nanos| Tai { unix: 1_700_000_000, nanos };
        let one = with_death(b"", at(0), Exit::Code(3), 100);
        assert_eq!(one, *b"\x40\0\0\0\x65\x53\xf1\x25\0\0\0\0\x03\0");
        let term = Exit::Signal { signal: Signal::TERM, core: true };
        let two = with_death(&one, at(500_000_000), term, 100);
        assert_eq!(two[..14], one);
        assert_eq!(two[14..], *b"\x40\0\0\0\x65\x53\xf1\x25\x1d\xcd\x65\0\x8f\x0f");
    }

    #[test]
    fn the_last_ones_are_kept() {
        let mut records = Vec::new();
        for code in 0..5 {
            records = with_death(&records, Tai::default(), Exit::Code(code), 3);
        }
        let codes: Vec<u8> = records.chunks(RECORD).map(|record| record[12]).collect();
        assert_eq!(codes, [2, 3, 4]);
        let mended = with_death(&records[1..], Tai::default(), Exit::Code(9), 3);
        assert_eq!((mended.len(), mended[mended.len() - 2]), (3 * RECORD, 9), "the rest of a record is gone");
        let huge = vec![0; 2 * RECORD * MOST as usize];
        assert_eq!(with_death(&huge, Tai::default(), Exit::Code(0), u32::MAX).len(), RECORD * MOST as usize);
    }
}
