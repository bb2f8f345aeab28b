//! TAI64N labels as daemontools and runit write them: 2^62 + 10 + Unix time, never with leap seconds.
//!
//! s6 adds 37 where these add 10, since it counts the leap seconds that there have been until now.
//!
//! Source: `taia_now` and `tai_pack` of daemontools, and records of the real s6.

use std::time::{Duration, SystemTime};

/// What is added to Unix seconds.
const LABEL: u64 = (1 << 62) + 10;
/// What s6 adds beyond that: the leap seconds since 1972, 27 ever since 2017.
const LEAP_SECONDS: i64 = 27;

/// An instant of the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tai {
    /// Unix seconds. At least -2^62-10.
    pub unix: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanos: u32,
}

impl Tai {
    /// That long after 1970.
    pub fn after_1970(time: Duration) -> Tai {
        Tai { unix: time.as_secs().cast_signed(), nanos: time.subsec_nanos() }
    }

    /// The twelve bytes of the external TAI64N format, big-endian.
    pub fn pack(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        bytes[..8].copy_from_slice(&LABEL.wrapping_add_signed(self.unix).to_be_bytes());
        bytes[8..].copy_from_slice(&self.nanos.to_be_bytes());
        bytes
    }

    /// The instant of twelve bytes; any bytes are one.
    pub fn unpack(bytes: [u8; 12]) -> Tai {
        let [a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        Tai {
            unix: u64::from_be_bytes([a, b, c, d, e, f, g, h]).wrapping_sub(LABEL).cast_signed(),
            nanos: u32::from_be_bytes([i, j, k, l]),
        }
    }

    /// The label in a log: 24 hexadecimal digits, without the `@` in front of it.
    pub fn label(self) -> String {
        self.digits().map(char::from).iter().collect()
    }

    /// The same digits as bytes.
    pub fn digits(self) -> [u8; 24] {
        digits(self.pack())
    }

    /// The digits that s6 would write.
    pub fn digits_of_s6(self) -> [u8; 24] {
        digits(self.pack_s6())
    }

    /// The twelve bytes that s6 would write.
    pub fn pack_s6(self) -> [u8; 12] {
        Tai { unix: self.unix.wrapping_add(LEAP_SECONDS), ..self }.pack()
    }

    /// The same twelve bytes as s6 means them.
    pub fn unpack_s6(bytes: [u8; 12]) -> Tai {
        let Tai { unix, nanos } = Tai::unpack(bytes);
        Tai { unix: unix.wrapping_sub(LEAP_SECONDS), nanos }
    }

    /// The instant as the standard library has it. `None` if there are no such nanoseconds, or it is too far away.
    pub fn time(self) -> Option<SystemTime> {
        let nanos = Duration::from_nanos(u64::from(self.nanos));
        let seconds = Duration::from_secs(self.unix.unsigned_abs());
        let second = match self.unix {
            0.. => SystemTime::UNIX_EPOCH.checked_add(seconds),
            _ => SystemTime::UNIX_EPOCH.checked_sub(seconds),
        };
        second.filter(|_| nanos < Duration::from_secs(1))?.checked_add(nanos)
    }
}

fn digits(bytes: [u8; 12]) -> [u8; 24] {
    let digit = |half: u8| if half < 10 { b'0' + half } else { b'a' - 10 + half };
    let mut digits = [0; 24];
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_epoch_is_ten_seconds_after_the_label() {
        let packed = Tai { unix: 0, nanos: 0 }.pack();
        assert_eq!(packed, [0x40, 0, 0, 0, 0, 0, 0, 0x0a, 0, 0, 0, 0]);
    }

    #[test]
    fn packing_and_unpacking_are_inverse() {
        for unix in [i64::MIN, -1, 0, 1, 1_795_000_000, i64::MAX] {
            let tai = Tai { unix, nanos: 999_999_999 };
            assert_eq!(Tai::unpack(tai.pack()), tai);
        }
    }

    #[test]
    fn s6_counts_leap_seconds() {
        let tai = Tai { unix: 1_700_000_000, nanos: 5 };
        assert_eq!(Tai::unpack_s6(Tai { unix: tai.unix + 27, ..tai }.pack()), tai);
        assert_eq!(Tai::unpack_s6(tai.pack_s6()), tai);
    }

    #[test]
    fn an_instant_is_one_of_the_standard_library_unless_it_is_none() {
        let at = |unix, nanos| Tai { unix, nanos }.time();
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(at(1, 500), Some(epoch + Duration::new(1, 500)));
        assert_eq!(at(-2, 500), Some(epoch - Duration::from_secs(2) + Duration::from_nanos(500)));
        assert_eq!(at(0, 1_000_000_000), None);
        assert!(at(i64::MIN, 0).is_some() && at(i64::MAX, 999_999_999).is_some());
    }
}
