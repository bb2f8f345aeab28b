//! A tiny server for probes that speak HTTP: one process, one request a connection, an answer of a few lines.
//!
//! It does one thing after the other. An answer may take its time, so one that was given is given again for a second:
//! a flood of probes is no flood of questions.

mod request;
mod stream;

pub use stream::Place;

use crate::exit;
use crate::machine::{Mono, Signal};
use crate::sys::poll::{self, Poller};
use crate::sys::say::say;
use crate::sys::signals::Signals;
use crate::sys::{Errno, clock};
use request::Request;
use std::collections::BTreeMap;
use std::time::Duration;
use stream::{Listener, Stream};

/// So many clients at a time; others wait in the kernel's queue.
const CLIENTS: usize = 64;
/// A client that takes longer with its request, or with reading the answer, is dropped.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer holds for so long.
const FRESH: Duration = Duration::from_secs(1);
/// Who cannot be accepted is tried again after this.
const BREATH: Duration = Duration::from_millis(100);
/// So many different answers are kept.
const KEPT: usize = 64;

/// What a page says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// 200, 404 or 503.
    pub code: u16,
    /// Whole lines.
    pub text: String,
}

struct Client {
    stream: Box<dyn Stream>,
    received: Vec<u8>,
    /// The answer, and how much of it has been sent; none while the request is not whole.
    reply: Option<(Vec<u8>, usize)>,
    deadline: Mono,
}

struct Server<'a> {
    listener: Listener,
    poller: Poller,
    clients: BTreeMap<u64, Client>,
    next: u64,
    pages: &'a mut dyn FnMut(&str) -> Answer,
    kept: BTreeMap<String, (Mono, Answer)>,
}

const SIGNALS: u64 = 0;
const LISTENER: u64 = 1;

/// Serves until TERM, INT, QUIT or HUP. `pages` makes the answer for a path. Returns the exit code.
pub fn serve(place: &Place, pages: &mut dyn FnMut(&str) -> Answer) -> i32 {
    let listener = match place.listen() {
        Ok(listener) => listener,
        Err(why) => {
            say(format_args!("onit: probe-server: cannot listen on {place}: {why}"));
            return exit::SYSTEM;
        }
    };
    run(listener, pages).unwrap_or_else(|errno| {
        say(format_args!("onit: probe-server: cannot wait for clients: {}", errno.desc()));
        exit::SYSTEM
    })
}

fn run(listener: Listener, pages: &mut dyn FnMut(&str) -> Answer) -> Result<i32, Errno> {
    let signals = Signals::take_over()?;
    let poller = Poller::new()?;
    poller.add(&signals, SIGNALS)?;
    poller.add(listener.as_fd(), LISTENER)?;
    let (clients, kept) = (BTreeMap::new(), BTreeMap::new());
    let mut server = Server { listener, poller, clients, next: LISTENER + 1, pages, kept };
    loop {
        let deadline = server.clients.values().map(|client| client.deadline).min();
        let tokens: Vec<u64> = server.poller.wait(clock::now(), deadline).collect();
        while let Some(signal) = signals.next() {
            if [Signal::TERM, Signal::INT, Signal::QUIT, Signal::HUP].contains(&signal) {
                return Ok(exit::OK);
            }
        }
        for token in tokens {
            match token {
                SIGNALS => {}
                LISTENER => server.accept(),
                client => server.handle(client),
            }
        }
        server.drop_late();
    }
}

impl Server<'_> {
    fn accept(&mut self) {
        while self.clients.len() < CLIENTS {
            let stream = match self.listener.accept() {
                Ok(Some(stream)) => stream,
                Ok(None) => break,
                Err(_) => {
                    let _ = poll::pause(BREATH); // no descriptor, no memory: they may be there again in a moment
                    break;
                }
            };
            if self.poller.add(stream.as_fd(), self.next).is_err() {
                continue;
            }
            let deadline = clock::now().after(PATIENCE);
            self.clients.insert(self.next, Client { stream, received: Vec::new(), reply: None, deadline });
            self.next += 1;
        }
        self.listen();
    }

    /// While there are too many, no more are accepted.
    fn listen(&self) {
        let _ = self.poller.listen(self.listener.as_fd(), LISTENER, self.clients.len() < CLIENTS);
    }

    fn handle(&mut self, token: u64) {
        let Some(mut client) = self.clients.remove(&token) else { return };
        if client.reply.is_none() && client.receive().is_some() {
            client.reply = self.answer(&client.received).map(|reply| (reply, 0));
            if client.reply.is_some() {
                client.deadline = clock::now().after(PATIENCE);
            }
        } else if client.reply.is_none() {
            return self.listen(); // it has hung up
        }
        let is_open = client.send().is_some();
        if is_open {
            let writes = client.reply.is_some();
            let _ = self.poller.look_for(client.stream.as_fd(), token, !writes, writes);
            self.clients.insert(token, client);
        } else {
            drop(client);
            self.listen();
        }
    }

    fn drop_late(&mut self) {
        let (now, before) = (clock::now(), self.clients.len());
        self.clients.retain(|_, client| client.deadline > now);
        if self.clients.len() < before {
            self.listen();
        }
    }

    /// `None` while the request is not whole.
    fn answer(&mut self, received: &[u8]) -> Option<Vec<u8>> {
        let said = |code, text: &str| Answer { code, text: format!("{text}\n") };
        let (answer, with_text) = match request::read(received) {
            Request::Partial => return None,
            Request::Get { path, with_text } => (self.page(&path), with_text),
            Request::Wrong(code, why) => (said(code, why), true),
        };
        Some(request::reply(answer.code, &answer.text, with_text))
    }

    fn page(&mut self, path: &str) -> Answer {
        let now = clock::now();
        self.kept.retain(|_, (until, _)| *until > now);
        if let Some((_, answer)) = self.kept.get(path) {
            return answer.clone();
        }
        let answer = (self.pages)(path);
        if self.kept.len() < KEPT {
            self.kept.insert(path.to_owned(), (clock::now().after(FRESH), answer.clone()));
        }
        answer
    }
}

impl Client {
    /// Takes what has come; `None` if it has hung up.
    fn receive(&mut self) -> Option<()> {
        let mut room = [0; 4096];
        let count = self.stream.read(&mut room)?;
        self.received.extend(room.get(..count).unwrap_or_default());
        Some(())
    }

    /// Sends what there is room for; `None` if that was all, or if nobody reads.
    fn send(&mut self) -> Option<()> {
        let Some((reply, sent)) = &mut self.reply else { return Some(()) };
        *sent += self.stream.write(reply.get(*sent..).unwrap_or_default())?;
        if *sent < reply.len() { Some(()) } else { None }
    }
}
