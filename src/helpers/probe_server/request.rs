//! Requests and answers of HTTP/1 (RFC 9112), as far as a probe needs them. Pure.

/// No request is longer.
const LONGEST: usize = 8192;
/// A request has no more lines at its head.
const FIELDS: usize = 64;

/// What was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// It is not whole yet.
    Partial,
    /// A page, or its head only.
    Get {
        /// Its path, without `?` and what follows.
        path: String,
        /// Not for HEAD.
        with_text: bool,
    },
    /// The code for it, and why.
    Wrong(u16, &'static str),
}

/// Reads what has come of a request.
pub fn read(bytes: &[u8]) -> Request {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS];
    let mut request = httparse::Request::new(&mut fields);
    match request.parse(bytes) {
        Ok(httparse::Status::Partial) if bytes.len() > LONGEST => Request::Wrong(431, "the request is too long"),
        Ok(httparse::Status::Partial) => Request::Partial,
        Err(httparse::Error::TooManyHeaders) => Request::Wrong(431, "the request is too long"),
        Err(_) => Request::Wrong(400, "this is no request of HTTP/1"),
        Ok(httparse::Status::Complete(_)) => match (request.method, request.path) {
            (Some(method @ ("GET" | "HEAD")), Some(target)) => {
                Request::Get { path: path(target), with_text: method == "GET" }
            }
            _ => Request::Wrong(405, "only GET and HEAD"),
        },
    }
}

/// The path of what a client asks for, which a proxy may call by its whole URL.
fn path(target: &str) -> String {
    let target = target
        .strip_prefix("http://")
        .map_or(target, |rest| rest.find('/').and_then(|at| rest.get(at..)).unwrap_or("/"));
    target.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// An answer, after which the connection is closed.
pub fn reply(code: u16, text: &str, with_text: bool) -> Vec<u8> {
    let reason = match code {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Service Unavailable",
    };
    let allow = if code == 405 { "Allow: GET, HEAD\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {code} {reason}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\
         Cache-Control: no-store\r\n{allow}Connection: close\r\n\r\n",
        text.len()
    );
    let text = if with_text { text } else { "" };
    (head + text).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_page_is_asked_for_by_get_and_head_alone() {
        let get = |path: &str, with_text| Request::Get { path: path.into(), with_text };
        assert_eq!(read(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"), get("/livez", true));
        assert_eq!(read(b"HEAD /readyz?verbose HTTP/1.0\r\n\r\nmore"), get("/readyz", false));
        assert_eq!(read(b"GET http://web:80/healthz HTTP/1.1\r\n\r\n"), get("/healthz", true));
        assert_eq!(read(b"GET http://web HTTP/1.1\r\n\r\n"), get("/", true));
        assert_eq!(read(b"GET /livez HTTP/1.1\r\nHost: x\r\n"), Request::Partial);
        let code = |bytes: &[u8]| if let Request::Wrong(code, _) = read(bytes) { code } else { 0 };
        assert_eq!(code(b"POST / HTTP/1.1\r\n\r\n"), 405);
        assert_eq!([code(b"\x16\x03\x01"), code(b"GET\r\n\r\n"), code(b"GET / HTTP/9.9\r\n\r\n")], [400; 3]);
        assert_eq!(code(format!("GET /{}", "x".repeat(LONGEST)).as_bytes()), 431);
        assert_eq!(code(format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(FIELDS + 1)).as_bytes()), 431);
    }

    #[test]
    fn an_answer_says_how_long_it_is_also_where_only_its_head_is_sent() {
        let text = |code, with_text| String::from_utf8(reply(code, "web: up\n", with_text)).expect("text");
        let whole = text(503, true);
        assert!(whole.starts_with("HTTP/1.1 503 Service Unavailable\r\n") && whole.ends_with("\r\n\r\nweb: up\n"));
        assert!(whole.contains("\r\nContent-Length: 8\r\n") && whole.contains("\r\nConnection: close\r\n"));
        assert_eq!(text(503, false), whole.strip_suffix("web: up\n").expect("the text"));
        assert!(text(405, true).contains("\r\nAllow: GET, HEAD\r\n"));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_waited_for_no_longer_than_it_may_be(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let long = [&b"GET / HTTP/1.1\r\nX: "[..], &bytes, &[b'x'; LONGEST]].concat();
            prop_assert!(read(&long) != Request::Partial);
            read(&bytes);
        }
    }
}
