//! Whatever a loader says is read as the same messages however it is cut, and no answer is understood that is out of range.
//!
//! ```sh
//! cargo +nightly fuzz run godv1
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::wire::godv1::{Auto, Broken, Check, Hello, Reader, env, exec, message, stop};

fn read(bytes: &[u8], piece: usize) -> (Vec<Vec<String>>, Option<Broken>) {
    let (mut reader, mut messages) = (Reader::default(), Vec::new());
    for bytes in bytes.chunks(piece) {
        reader.push(bytes);
        loop {
            match reader.message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(broken) => return (messages, Some(broken)),
            }
        }
    }
    (messages, None)
}

fuzz_target!(|bytes: &[u8]| {
    let (messages, broken) = read(bytes, 1);
    let whole = read(bytes, bytes.len().max(1));
    assert_eq!((&messages, broken.is_some()), (&whole.0, whole.1.is_some()));
    for words in messages {
        assert_eq!(read(message(&words).as_bytes(), 7), (vec![words.clone()], None));
        let _ = (Hello::parse(words.clone()), Check::parse(&words), stop(&words));
        let _ = (exec(words.clone()), env(words.clone()), Auto::parse(words));
    }
});
