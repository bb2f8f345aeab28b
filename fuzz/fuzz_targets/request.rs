//! Any line is a request or an error, what it names is in the line, and only orders change anything; any answer is a
//! line or an error.
//!
//! ```sh
//! cargo +nightly fuzz run request
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;
use onit::wire::api::{Line, Order, Request};

fuzz_target!(|line: &[u8]| {
    if let Ok(request) = Request::parse(line) {
        let name = match request {
            Request::Status(name) => name,
            Request::History(name) | Request::Order(_, name) => Some(name),
            Request::Hello | Request::Rescan | Request::Subscribe | Request::Scale(..) => None,
        };
        let text = line.strip_suffix(b"\r").unwrap_or(line);
        if let Request::Scale(name, _) = request {
            let number = text.strip_prefix(b"scale ").and_then(|words| words.strip_prefix(name)).expect("its name");
            assert!(!name.is_empty() && number.len() > 1 && number.starts_with(b"="));
        }
        assert!(name.is_none_or(|name| !name.is_empty() && text.ends_with(name)));
        let verb = text.split(|byte| *byte == b' ').next().and_then(|verb| std::str::from_utf8(verb).ok());
        let order = verb.and_then(|verb| verb.parse::<Order>().ok());
        assert_eq!(request.is_order(), order.is_some() || matches!(verb, Some("rescan" | "scale")));
    }
    if let Ok(answer) = Line::decode(line) {
        let again = answer.encode();
        assert_eq!(again.iter().position(|byte| *byte == b'\n'), Some(again.len() - 1));
    }
});
