//! TAI64N labels as daemontools and runit write them: 2^62 + 10 + Unix time, never with leap seconds.
//!
//! Source: `taia_now` and `tai_pack` of daemontools. (s6 adds 37 where these add 10.)

/// What is added to Unix seconds.
const LABEL: u64 = (1 << 62) + 10;

/// An instant of the wall clock.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tai {
    /// Unix seconds. At least -2^62-10.
    pub unix: i64,
    /// Nanoseconds, 0 to 999,999,999.
    pub nanos: u32,
}

impl Tai {
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
}
