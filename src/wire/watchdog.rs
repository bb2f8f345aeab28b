//! What `/etc/onit/watchdog` says: which device, and how long the machine may stand still.

use super::svdir;
use std::path::PathBuf;
use std::time::Duration;

/// What it says where it says nothing.
const DEVICE: &str = "/dev/watchdog";
const TIMEOUT: Duration = Duration::from_secs(30);

/// The watchdog that is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// Its device.
    pub device: PathBuf,
    /// After this long without being fed it resets the machine.
    pub timeout: Duration,
}

/// Reads a line as `/dev/watchdog 30s`: either word may be left out, and they may come in any order. `None` if it says
/// anything else.
pub fn parse(text: &str) -> Option<Wanted> {
    let (mut device, mut timeout) = (None, None);
    for word in text.lines().next().unwrap_or_default().split_ascii_whitespace() {
        let known = if word.starts_with('/') {
            device.replace(PathBuf::from(word)).is_some()
        } else {
            timeout.replace(svdir::span(word).filter(|span| !span.is_zero())?).is_some()
        };
        if known {
            return None;
        }
    }
    Some(Wanted { device: device.unwrap_or_else(|| DEVICE.into()), timeout: timeout.unwrap_or(TIMEOUT) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_and_a_time_or_what_is_usual() {
        let read = |text| parse(text).map(|Wanted { device, timeout }| (device, timeout.as_secs()));
        let wanted = |device: &str, seconds| Some((PathBuf::from(device), seconds));
        assert_eq!(read("/dev/watchdog1 10s\n"), wanted("/dev/watchdog1", 10));
        assert_eq!(read("2m /dev/watchdog1"), wanted("/dev/watchdog1", 120));
        assert_eq!(["", "\n", "/dev/watchdog", "30s\nmore"].map(read), [(); 4].map(|()| wanted("/dev/watchdog", 30)));
        assert_eq!(
            ["30", "0s", "soon", "dev/watchdog", "10s 20s", "/dev/a /dev/b", "10s /dev/a x"].map(read),
            [(); 7].map(|()| None)
        );
    }
}
