//! A page as a question: its code, and what is in it. Plain HTTP/1.1 (RFC 9112); a redirect is an answer like any other.

use super::{HostPort, left, why};
use crate::machine::Mono;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::ops::RangeInclusive;

/// No head of an answer is longer.
const HEAD: usize = 64 * 1024;
/// So much of a body is searched.
const BODY: usize = 1 << 20;
/// An answer has no more lines at its head.
const FIELDS: usize = 128;

/// Where a page is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Url {
    server: HostPort,
    /// The server as the URL has it, for its `Host`.
    authority: String,
    path: String,
}

impl Url {
    /// Reads `http://HOST[:PORT][/PATH]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Url, String> {
        let rest = text.strip_prefix("http://").ok_or_else(|| match text.starts_with("https://") {
            true => "https is not for this probe: ask the plain port behind it, or use exec".to_owned(),
            false => format!("\"{text}\" is not http://HOST[:PORT][/PATH]"),
        })?;
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7f) || authority.contains('@') {
            return Err(format!("\"{text}\" is not http://HOST[:PORT][/PATH]"));
        }
        let server = HostPort::parse(authority, Some(80))?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Url { server, authority: authority.to_owned(), path: format!("{slash}{path}") })
    }
}

/// What the answer has to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expected {
    /// Its code.
    pub codes: RangeInclusive<u16>,
    /// What has to be in it.
    pub text: Option<String>,
}

/// Reads `200` or `200-399`.
///
/// # Errors
/// What is wrong with it.
pub fn codes(text: &str) -> Result<RangeInclusive<u16>, String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let code = |text: &str| text.parse().ok().filter(|code| (100..=999).contains(code));
    match (code(first), code(last)) {
        (Some(first), Some(last)) if first <= last => Ok(first..=last),
        _ => Err(format!("\"{text}\" is no code and no range of codes, as 200 or 200-399")),
    }
}

impl Expected {
    /// These codes, and this text.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(range: &str, text: Option<String>) -> Result<Expected, String> {
        Ok(Expected { codes: codes(range)?, text })
    }
}

/// Asks for a page.
pub fn ask(url: &Url, expected: &Expected, until: Mono) -> Result<(), String> {
    let mut stream = url.server.connect(until)?;
    let version = env!("CARGO_PKG_VERSION");
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: onit/{version}\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        url.path, url.authority
    );
    let limited = left(until).and_then(|left| stream.set_write_timeout(Some(left)));
    limited.and_then(|()| stream.write_all(request.as_bytes())).map_err(|error| why(&error))?;
    let mut received = Vec::new();
    let head = loop {
        if let Some(head) = Head::read(&received)? {
            break head;
        }
        if received.len() > HEAD {
            return Err("the head of its answer is too long".into());
        }
        if !receive(&mut stream, &mut received, until)? {
            return Err(if received.is_empty() { "it has hung up" } else { "it has hung up in its answer" }.into());
        }
    };
    if !expected.codes.contains(&head.code) {
        return Err(format!("code {}", head.code));
    }
    expected.text.as_ref().map_or(Ok(()), |text| find(text.as_bytes(), &head, &mut stream, received, until))
}

/// Reads on until the text has come.
fn find(text: &[u8], head: &Head, from: &mut TcpStream, mut got: Vec<u8>, until: Mono) -> Result<(), String> {
    loop {
        let (body, is_whole) = head.body(&got);
        if body.windows(text.len().max(1)).any(|part| part == text) {
            return Ok(());
        }
        if is_whole || got.len() > head.length + BODY || !receive(from, &mut got, until)? {
            return Err(format!("code {}, and the text is not in it", head.code));
        }
    }
}

/// More of the answer; false at its end.
fn receive(stream: &mut TcpStream, to: &mut Vec<u8>, until: Mono) -> Result<bool, String> {
    let mut room = [0; 16 * 1024];
    loop {
        let limited = left(until).and_then(|left| stream.set_read_timeout(Some(left)));
        match limited.and_then(|()| stream.read(&mut room)) {
            Ok(count) => {
                to.extend(room.get(..count).unwrap_or_default());
                return Ok(count > 0);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(why(&error)),
        }
    }
}

/// What an answer begins with.
#[derive(PartialEq, Eq, Debug)]
struct Head {
    code: u16,
    /// How many bytes it has.
    length: usize,
    framing: Framing,
}

/// Where a body ends (RFC 9112, 6.3).
#[derive(PartialEq, Eq, Debug)]
enum Framing {
    Chunks,
    Length(usize),
    Close,
}

impl Head {
    /// `None` if it is not all there yet. What comes before the answer (codes 1xx) is passed over.
    fn read(bytes: &[u8]) -> Result<Option<Head>, String> {
        let mut before = 0;
        loop {
            let mut fields = [httparse::EMPTY_HEADER; FIELDS];
            let mut answer = httparse::Response::new(&mut fields);
            let parsed = answer.parse(bytes.get(before..).unwrap_or_default());
            let length = match parsed.map_err(|error| format!("its answer is not HTTP/1: {error}"))? {
                httparse::Status::Complete(length) => before + length,
                httparse::Status::Partial => return Ok(None),
            };
            let code = answer.code.unwrap_or_default();
            if (100..200).contains(&code) && code != 101 {
                before = length;
                continue;
            }
            return Ok(Some(Head { code, length, framing: Framing::of(answer.headers) }));
        }
    }

    /// What has come of the body, and whether that is all of it.
    fn body(&self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let rest = bytes.get(self.length..).unwrap_or_default();
        match self.framing {
            Framing::Close => (rest.to_vec(), false),
            Framing::Length(length) => (rest.get(..length).unwrap_or(rest).to_vec(), rest.len() >= length),
            Framing::Chunks => unchunked(rest),
        }
    }
}

impl Framing {
    fn of(fields: &[httparse::Header<'_>]) -> Framing {
        let value = |name: &str| fields.iter().find(|field| field.name.eq_ignore_ascii_case(name)).map(|it| it.value);
        if value("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().ends_with(b"chunked")) {
            return Framing::Chunks;
        }
        let length = value("content-length").and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
        length.map_or(Framing::Close, Framing::Length)
    }
}

/// What is in the chunks, and whether the last one has come. What is no chunk is an end.
fn unchunked(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let (start, size) = match httparse::parse_chunk_size(rest) {
            Ok(httparse::Status::Complete((start, size))) => (start, usize::try_from(size).unwrap_or(usize::MAX)),
            Ok(httparse::Status::Partial) => return (body, false),
            Err(_) => return (body, true),
        };
        let data = rest.get(start..).unwrap_or_default();
        body.extend(data.get(..size).unwrap_or(data));
        if size == 0 {
            return (body, true);
        }
        match data.get(size.saturating_add(2)..) {
            Some(next) => rest = next,
            None => return (body, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_is_where_its_url_says() {
        let read = |text| Url::parse(text).map(|url| (url.server.host, url.server.port, url.authority, url.path));
        let url =
            |host: &str, port, authority: &str, path: &str| Ok((host.into(), port, authority.into(), path.into()));
        assert_eq!(read("http://web"), url("web", 80, "web", "/"));
        assert_eq!(read("http://[::1]:8080/a?b=c#d"), url("::1", 8080, "[::1]:8080", "/a?b=c"));
        assert_eq!(read("http://web:81?q"), url("web", 81, "web:81", "/?q"));
        for wrong in
            ["", "web", "ftp://web", "http://", "http://a b/", "http://a/\r\nX: y", "http://me@web/", "http://:1"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        assert!(read("https://web").expect_err("no").contains("https"));
    }

    #[test]
    fn codes_are_one_or_a_range() {
        assert_eq!([codes("200"), codes("200-399")], [Ok(200..=200), Ok(200..=399)]);
        assert!(["", "x", "-", "399-200", "99", "1000", "200-", "2xx"].iter().all(|text| codes(text).is_err()));
    }

    fn body(answer: &str) -> Option<(u16, String, bool)> {
        let head = Head::read(answer.as_bytes()).expect("an answer")?;
        let (body, is_whole) = head.body(answer.as_bytes());
        Some((head.code, String::from_utf8(body).expect("text"), is_whole))
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        let some = |code, text: &str, is_whole| Some((code, text.to_owned(), is_whole));
        assert_eq!(body("HTTP/1.1 200 OK\r\n"), None);
        assert_eq!(body("HTTP/1.0 200 OK\r\n\r\nab"), some(200, "ab", false));
        assert_eq!(body("HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nab+"), some(404, "ab", true));
        assert_eq!(body("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab"), some(200, "ab", false));
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(body(&format!("{chunks}2\r\nab\r\n1;x=y\r\nc\r\n0\r\n\r\n")), some(200, "abc", true));
        assert_eq!(body(&format!("{chunks}5\r\nab")), some(200, "ab", false));
        assert_eq!(body(&format!("{chunks}zz\r\nab")), some(200, "", true));
        assert_eq!(body("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 X\r\n\r\n"), some(204, "", false));
        assert!(Head::read(b"SSH-2.0-OpenSSH\r\n").is_err());
    }

    proptest! {
        #[test]
        fn any_answer_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), chunked: bool) {
            let start: &[u8] = if chunked { b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" } else { b"" };
            let bytes = [start, &bytes].concat();
            if let Ok(Some(head)) = Head::read(&bytes) {
                prop_assert!(head.body(&bytes).0.len() <= bytes.len());
            }
        }
    }
}
