//! The last lines of a log.

use crate::sys::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// How many lines, out of how many bytes.
const LINES: usize = 10;
const BYTES: i64 = 16 * 1024;

/// Where loggers write by custom, when they run in this directory.
pub(crate) fn customary(directory: &Path) -> [PathBuf; 3] {
    ["main/current", "current", "log/current"].map(|place| directory.join(place))
}

/// The last ten lines of a file that are whole.
pub(crate) fn tail(file: &Path) -> io::Result<Vec<String>> {
    let mut file = fs::regular(file)?;
    let length = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
    let whole = file.seek(SeekFrom::End(-length.min(BYTES)))? == 0;
    let mut bytes = Vec::new();
    file.take(BYTES.cast_unsigned()).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().skip(usize::from(!whole)).collect();
    Ok(lines.iter().skip(lines.len().saturating_sub(LINES)).map(|line| line.to_string()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ten_lines_are_whole() {
        let root = tempfile::tempdir().expect("a directory");
        let file = root.path().join("current");
        std::fs::write(&file, (0..3000).map(|n| format!("line {n}\n")).collect::<String>()).expect("write");
        let lines = tail(&file).expect("read");
        assert_eq!((lines.len(), lines[0].as_str(), lines[9].as_str()), (10, "line 2990", "line 2999"));
        std::fs::write(&file, "a\nb").expect("write");
        assert_eq!(tail(&file).expect("read"), ["a", "b"]);
    }
}
