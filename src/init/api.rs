//! The api socket: who may connect, what they ask, and what they are answered.
//!
//! The supervisor never waits for a client. What a client does not take is kept for it up to a limit, and then the
//! client is dropped; as long as it has much to take, nothing more is read from it. Answers are given step by step, a
//! line or two each, to one client after the other, and a turn takes so many steps for all of them together. Clients
//! that may not give orders cost a small share of our time in the long run, whatever they ask for: services come
//! first.

use super::Init;
use super::config::Root;
use super::door::Door;
use super::instances::Unscaled;
use super::mirror;
use super::report::refused_line;
use super::table::{LogPipe, SlotId};
use super::turn::Token;
use crate::machine::allowance::Allowance;
use crate::machine::{Event, Mono, Phase};
use crate::sys::fs::{self, FileId};
use crate::sys::socket::{self, Connection, Listener, Output, Peer};
use crate::sys::{Errno, process};
use crate::wire::api::{Done, Error, ErrorCode, LONGEST, Line, Order, Request};
use crate::wire::journal::{self, Field};
use crate::wire::svdir::Instances;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The name of the socket.
const NAME: &str = "api";
/// Where it stands in the directory of services.
const FOLDER: &str = ".onit";
/// As many may be connected at once. A client that comes then takes the place of one with the fewest rights; among
/// these, of one that is no subscriber; among these, of the one that has been silent longest.
const CLIENTS: usize = 64;
/// Accepted in one turn.
const ACCEPTS: usize = 16;
/// Steps in one turn for clients that may give orders, and as many for the other clients.
const STEPS: usize = 64;
/// Clients that may not give orders get so many steps at once, and in the long run so many each millisecond.
const GUESTS: Allowance = Allowance::new(4096, 8);
/// So many clients that may not give orders are accepted at once, and in the long run so many each millisecond.
const ARRIVALS: Allowance = Allowance::new(256, 2);
/// When one of these is used up, it is left alone for so long.
const REST: Duration = Duration::from_millis(8);
/// Read from one client in one turn.
const READ_CHUNK: usize = 4096;
/// A client that has this much to take, in bytes, is not read from.
const HIGH_WATER: usize = 32 << 10;
/// A client that has this much to take is dropped: it is a subscriber that does not keep up.
const TOO_MUCH: usize = 4 << 20;
/// If all together have this much to take, the one with the most is dropped.
const TOO_MUCH_TOGETHER: usize = 8 << 20;
/// A client that has taken nothing for this long, although there was something, is dropped.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Who may do what, beside root and our own user.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Groups {
    /// Members of this group may do everything.
    pub control: Option<u32>,
    /// Members of this group may look.
    pub status: Option<u32>,
}

/// What a client may do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Rights {
    Nothing,
    Look,
    Control,
}

impl Groups {
    fn rights(&self, peer: &Peer, us: u32) -> Rights {
        let is_in = |group: Option<u32>| group.is_some_and(|group| peer.groups.contains(&group));
        if peer.user == us || peer.user == 0 || is_in(self.control) {
            Rights::Control
        } else if is_in(self.status) {
            Rights::Look
        } else {
            Rights::Nothing
        }
    }

    /// The permissions of the socket: without groups, the kernel refuses users without rights; else we do.
    fn mode(&self) -> u32 {
        if *self == Groups::default() { 0o600 } else { 0o666 }
    }
}

/// The socket and the clients that are connected to it.
pub(super) struct Api {
    tried: bool,
    pub(super) door: Option<Door>,
    left: Option<Left>,
    /// Where it stands, and the link that leads there.
    places: Vec<Place>,
    clients: Vec<Option<Client>>,
    /// A client has asked for a rescan.
    rescan: bool,
    /// Of clients that may not give orders: how many more are accepted.
    arrivals: Allowance,
    guests: Allowance,
    /// Until then there is no step for clients that may not give orders.
    guests_rest_until: Option<Mono>,
    /// Which of them had the last one.
    last_guest: usize,
    /// Why the last file `down` that was to be made or removed was not.
    down_file: Option<String>,
}

impl Default for Api {
    fn default() -> Api {
        Api {
            tried: false,
            door: None,
            left: None,
            places: Vec::new(),
            clients: Vec::new(),
            rescan: false,
            arrivals: ARRIVALS,
            guests: GUESTS,
            guests_rest_until: None,
            last_guest: 0,
            down_file: None,
        }
    }
}

/// What the supervisor before us listened to: who has come since then waits for our answer.
struct Left {
    listener: Listener,
    /// No other file is this one as long as it is listened to.
    socket: FileId,
}

/// A directory in which we have put something under [`NAME`].
struct Place {
    dir: OwnedFd,
    what: Put,
}

/// What we have put there.
enum Put {
    Socket(FileId),
    /// A link to this path.
    Link(PathBuf),
}

impl Place {
    /// Whether it is still there, and nothing else has taken its place.
    fn is_ours(&self) -> bool {
        match &self.what {
            Put::Socket(id) => fs::identity_at(&self.dir, OsStr::new(NAME)) == Ok(*id),
            Put::Link(target) => fs::leads_to(&self.dir, Path::new(NAME), target),
        }
    }

    fn socket(&self) -> Option<FileId> {
        match self.what {
            Put::Socket(id) => Some(id),
            Put::Link(_) => None,
        }
    }

    fn clear(&self) {
        if self.is_ours() {
            let _ = fs::remove(&self.dir, NAME);
        }
    }
}

struct Client {
    connection: Connection,
    rights: Rights,
    input: Vec<u8>,
    output: Output,
    /// The connection may take something.
    has_room: bool,
    /// It has said all that it will say, and may still listen.
    has_spoken: bool,
    subscribed: bool,
    /// When it has taken its answer it belongs to `onit mux`.
    leaves: bool,
    listing: Option<Listing>,
    /// When it last said or took something.
    active: Mono,
    /// What the poller reports of it: input, and room for output.
    interest: (bool, bool),
}

/// An answer that is given piece by piece.
struct Listing {
    part: Part,
    /// The last name of this part of which it told.
    last: Option<OsString>,
    count: u64,
}

/// What it lists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    Services,
    Refused,
}

impl Client {
    fn say(&mut self, line: &Line) {
        self.output.add(&line.encode());
    }

    fn is_guest(&self) -> bool {
        self.rights != Rights::Control
    }

    /// There is something to be answered.
    fn has_more(&self) -> bool {
        self.listing.is_some() || self.input.contains(&b'\n')
    }

    /// There is something to be done for it now.
    fn is_due(&self) -> bool {
        !self.has_much() && (self.has_more() || self.input.len() > LONGEST)
    }

    fn done(&mut self, count: u64) {
        self.say(&Line::Done(Done { count }));
    }

    fn refuse(&mut self, kind: ErrorCode, text: impl Into<String>, request: Option<String>) {
        self.say(&Line::Error(Error { kind: kind.into(), text: text.into(), request }));
    }

    fn has_much(&self) -> bool {
        self.output.len() >= HIGH_WATER
    }

    fn next_line(&mut self) -> Option<Vec<u8>> {
        let end = self.input.iter().position(|byte| *byte == b'\n')?;
        let mut line: Vec<u8> = self.input.drain(..=end).collect();
        line.pop();
        Some(line)
    }
}

impl Api {
    /// When a client is to be dropped, answered or accepted.
    pub(super) fn deadline(&self) -> Option<Mono> {
        let stalled = self.clients.iter().flatten().filter(|client| !client.output.is_empty());
        let stalled = stalled.map(|client| client.active.after(WRITE_TIMEOUT));
        let due = self.clients.iter().flatten().filter(|client| client.is_due());
        let due = due.map(|client| self.guests_rest_until.filter(|_| client.is_guest()).unwrap_or_default());
        stalled.chain(due).chain(self.door.as_ref().and_then(Door::deadline)).min()
    }

    /// The clients of one kind that wait for an answer, each once, beginning behind this one.
    fn due(&self, guests: bool, behind: usize) -> VecDeque<usize> {
        let is_due = |client: &Client| client.is_guest() == guests && client.is_due();
        let all = self.clients.iter().enumerate();
        let due = all.filter(|(_, client)| client.as_ref().is_some_and(is_due)).map(|(at, _)| at);
        let (first, then): (Vec<_>, Vec<_>) = due.partition(|at| *at > behind);
        first.into_iter().chain(then).collect()
    }

    /// What came of making or removing a file `down`, for the client that has asked for it.
    pub(super) fn note_down_file(&mut self, trouble: Option<String>) {
        self.down_file = trouble;
    }

    pub(super) fn has_subscribers(&self) -> bool {
        self.clients.iter().flatten().any(|client| client.subscribed)
    }

    /// Tells every subscriber.
    pub(super) fn publish(&mut self, line: &Line) {
        let line = line.encode();
        for client in self.clients.iter_mut().flatten().filter(|client| client.subscribed) {
            client.output.add(&line);
        }
    }

    fn client(&mut self, at: usize) -> Option<&mut Client> {
        self.clients.get_mut(at)?.as_mut()
    }

    fn drop_client(&mut self, at: usize) {
        if let Some(place) = self.clients.get_mut(at) {
            *place = None;
        }
    }

    /// Drops the clients that take up the room of the other clients, the one with the most first.
    fn drop_the_greedy(&mut self) {
        let waiting = |client: &Option<Client>| client.as_ref().map_or(0, |client| client.output.len());
        while self.clients.iter().map(waiting).sum::<usize>() > TOO_MUCH_TOGETHER {
            let most = self.clients.iter().enumerate().max_by_key(|(_, client)| waiting(client));
            let Some((at, _)) = most else { return };
            self.drop_client(at);
        }
    }

    /// A place for another client.
    fn place(&mut self) -> usize {
        if let Some(free) = self.clients.iter().position(Option::is_none) {
            return free;
        }
        if self.clients.len() < CLIENTS {
            self.clients.push(None);
            return self.clients.len() - 1;
        }
        let silent = self
            .clients
            .iter()
            .flatten()
            .enumerate()
            .min_by_key(|(_, client)| (client.rights, client.subscribed, client.active));
        silent.map_or(0, |(at, _)| at)
    }
}

impl Init {
    /// Makes the socket, once, when everything has started.
    pub(super) fn open_api(&mut self) {
        let Root::Directory(services) = &self.config.root else { return };
        if self.api.tried || !self.config.personality.has_api || self.has_backlog() {
            return;
        }
        self.api.tried = true;
        let services = fs::absolute(services);
        if let Err(why) = self.listen_somewhere(&services) {
            let then = "the verbs go by the files of each service, and know less";
            self.config.log.warn(None, &format_args!("there is no api socket: {why}; {then}"));
        }
        self.api.left = None;
        self.note_api();
    }

    /// Who goes on after us listens at the same socket.
    fn note_api(&self) {
        let journal = self.table.journal;
        let listens = self.api.door.as_ref().map(|door| door.as_fd().as_raw_fd());
        if let Some(socket) = self.api.places.iter().find_map(Place::socket) {
            journal.set(Field::ApiDevice, socket.device);
            journal.set(Field::ApiInode, socket.inode);
        }
        journal.set(Field::Api, journal::noted(listens));
    }

    /// Goes on with the socket that was noted.
    pub(super) fn restore_api(&mut self, listens: Option<OwnedFd>) {
        let journal = self.table.journal;
        let socket = FileId { device: journal.get(Field::ApiDevice), inode: journal.get(Field::ApiInode) };
        self.api.left = listens.map(|listens| Left { listener: Listener::restore(listens), socket });
    }

    /// The directory is to be looked at again: the socket may have been taken away.
    pub(super) fn renew_api(&mut self) {
        if !self.api.places.iter().all(Place::is_ours) {
            self.stop_listening(); // clients that are connected stay
        }
        self.api.tried = self.api.door.is_some();
    }

    fn stop_listening(&mut self) {
        self.api.door = None;
        self.note_api();
        std::mem::take(&mut self.api.places).iter().for_each(Place::clear);
    }

    fn listen_somewhere(&mut self, services: &Path) -> Result<(), String> {
        let mut why = Vec::new();
        if mirror::variable("ONIT_RUN").is_none() && !self.is_all_loaded() {
            match self.listen_in(&services.join(FOLDER)) {
                Ok(()) => {
                    self.leave_a_link(&services.join(FOLDER).join(NAME));
                    return Ok(());
                }
                Err(cause) => why.push(cause),
            }
        }
        for place in mirror::places_from_environment() {
            match self.listen_in(&place) {
                Ok(()) => return Ok(()),
                Err(cause) => why.push(cause),
            }
        }
        Err(why.join("; "))
    }

    fn listen_in(&mut self, place: &Path) -> Result<(), String> {
        let cannot = |errno: Errno| format!("cannot create {}: {}", place.join(NAME).display(), errno.desc());
        let dir = mirror::base(place)?;
        let there = fs::identity_at(&dir, OsStr::new(NAME));
        let listener = match self.api.left.take_if(|left| there == Ok(left.socket)) {
            Some(left) => left.listener,
            None => {
                if self.api.door.is_none() && socket::is_left_by_us(&dir, NAME) {
                    let _ = fs::remove(&dir, NAME); // or listening says why not
                }
                socket::listen(&dir, NAME, self.config.groups.mode()).map_err(cannot)?
            }
        };
        self.api.left = None; // nobody may come there any more
        let socket = fs::identity_at(&dir, OsStr::new(NAME)).map_err(cannot)?;
        self.api.door = Some(Door::new(&self.poller, listener, Token::Api.pack()).map_err(cannot)?);
        self.api.places.push(Place { dir, what: Put::Socket(socket) });
        Ok(())
    }

    /// A client that does not know our directory looks for us here first.
    fn leave_a_link(&mut self, target: &Path) {
        for place in mirror::places_from_environment() {
            let Ok(dir) = mirror::base(&place) else { continue };
            let is_ours = fs::leads_to(&dir, Path::new(NAME), target);
            let is_free = matches!(socket::connect(&place.join(NAME)), Err(Errno::ENOENT | Errno::ECONNREFUSED));
            let take = || fs::remove(&dir, NAME).and_then(|()| fs::link(&dir, OsStr::new(NAME), target));
            if is_ours || is_free && take().is_ok() {
                self.api.places.push(Place { dir, what: Put::Link(target.to_owned()) });
                return;
            }
        }
    }

    /// No client is answered any more.
    pub(super) fn close_api(&mut self) {
        self.stop_listening();
        self.api.clients.clear();
    }

    /// Accepts clients that wait.
    pub(super) fn accept_clients(&mut self) {
        for _ in 0..ACCEPTS {
            let Some(door) = &mut self.api.door else { return };
            if !self.api.arrivals.take(self.now, 1) {
                return door.shut(&self.poller, self.now.after(REST));
            }
            let Some((connection, peer)) = door.accept(&self.poller, self.now) else { return };
            self.accept_peer(connection, &peer);
        }
    }

    fn accept_peer(&mut self, connection: Connection, peer: &Peer) {
        if fs::is_last(&connection, self.open_files.ours, super::adopt::SPARE_FILES) {
            return; // descriptors are for the services first
        }
        let client = Client {
            connection,
            rights: self.config.groups.rights(peer, process::user()),
            input: Vec::new(),
            output: Output::default(),
            has_room: true,
            has_spoken: false,
            subscribed: false,
            leaves: false,
            listing: None,
            active: self.now,
            interest: (true, false),
        };
        if !client.is_guest() {
            self.api.arrivals.give_back(1);
        }
        let at = self.api.place();
        if self.poller.add(&client.connection, Token::Client(at).pack()).is_ok()
            && let Some(place) = self.api.clients.get_mut(at)
        {
            *place = Some(client);
        }
    }

    /// A client has said something, or has room for more.
    pub(super) fn read_client(&mut self, at: usize) {
        let now = self.now;
        let Some(client) = self.api.client(at) else { return };
        client.has_room = true;
        // What a guest has said and is not there to hear the answer of, is nothing: it may give no orders.
        if (client.has_spoken || client.is_guest()) && client.connection.has_hung_up() {
            return self.api.drop_client(at);
        }
        if client.interest.0 {
            let mut bite = [0; READ_CHUNK];
            match client.connection.read(&mut bite) {
                None => client.has_spoken = true,
                Some([]) => {}
                Some(bytes) => {
                    client.active = now;
                    client.input.extend_from_slice(bytes);
                }
            }
        }
    }

    /// Takes the steps of a turn: clients that may give orders come first, and each client has its turn.
    pub(super) fn answer_clients(&mut self) {
        self.answer_some(false, 0);
        self.api.guests_rest_until = self.api.guests_rest_until.filter(|at| *at > self.now);
        if self.api.guests_rest_until.is_none() {
            self.answer_some(true, self.api.last_guest);
        }
    }

    fn answer_some(&mut self, guests: bool, behind: usize) {
        let mut due = self.api.due(guests, behind);
        for _ in 0..STEPS {
            let Some(at) = due.pop_front() else { return };
            if guests && !self.api.guests.take(self.now, 1) {
                self.api.guests_rest_until = Some(self.now.after(REST));
                return;
            }
            if guests {
                self.api.last_guest = at;
            }
            self.answer_step(at);
            if self.api.client(at).is_some_and(|client| client.is_due()) {
                due.push_back(at);
            }
        }
    }

    /// One step of an answer.
    fn answer_step(&mut self, at: usize) {
        let Some(client) = self.api.client(at) else { return };
        if let Some(listing) = client.listing.take() {
            self.go_on_listing(at, listing);
        } else if let Some(line) = client.next_line() {
            self.answer(at, &line);
        } else {
            self.api.drop_client(at); // a line without end is no request
        }
    }

    fn answer(&mut self, at: usize, line: &[u8]) {
        let Some(rights) = self.api.client(at).map(|client| client.rights) else { return };
        let lines = match Request::parse(line) {
            _ if line.len() > LONGEST => Err((ErrorCode::Request, "the request is too long".to_owned())),
            _ if rights == Rights::Nothing => {
                Err((ErrorCode::Permission, "you may neither look nor give orders here".to_owned()))
            }
            Err(why) => Err((ErrorCode::Request, why.to_owned())),
            Ok(request) if request.is_order() && rights != Rights::Control => {
                Err((ErrorCode::Permission, "you may look, but not give orders".to_owned()))
            }
            Ok(Request::Logs) if rights != Rights::Control => {
                Err((ErrorCode::Permission, "you may look, but not read what services say".to_owned()))
            }
            Ok(Request::Logs) => self.may_follow_stream().map(|()| {
                self.api.client(at).into_iter().for_each(|client| client.leaves = true);
                Vec::new()
            }),
            Ok(Request::Hello) => Ok(vec![self.hello(rights == Rights::Control)]),
            Ok(Request::Rescan) => {
                self.api.rescan = true; // once a turn, however many ask for it
                Ok(Vec::new())
            }
            Ok(Request::Subscribe) => {
                if let Some(client) = self.api.client(at) {
                    client.subscribed = true;
                }
                Ok(Vec::new())
            }
            Ok(Request::Status(None)) => {
                if let Some(client) = self.api.client(at) {
                    client.listing = Some(Listing { part: Part::Services, last: None, count: 0 });
                }
                return;
            }
            Ok(Request::Status(Some(name))) => self.status_of(name),
            Ok(Request::Scale(name, count)) => self.scale_as_asked(name, count),
            Ok(Request::History(name)) => self.of(name, |init, slot| Ok(init.life_lines(slot))),
            Ok(Request::Order(order, name)) => self.of(name, |init, slot| init.order(slot, order).map(|()| Vec::new())),
        };
        let Some(client) = self.api.client(at) else { return };
        match lines {
            Ok(lines) => {
                lines.iter().for_each(|line| client.say(line));
                client.done(lines.len() as u64);
            }
            Err((kind, text)) => {
                let is_none = kind == ErrorCode::Request;
                let asked = line.get(..line.len().min(LONGEST)).unwrap_or_default();
                client.refuse(kind, text, is_none.then(|| String::from_utf8_lossy(asked).into_owned()));
            }
        }
    }

    fn hand_over(&mut self, at: usize) {
        let Some(client) = self.api.clients.get_mut(at).and_then(Option::take) else { return };
        let _ = self.poller.remove(&client.connection); // it outlives our descriptor
        self.tell_stream_to(client.connection);
    }

    fn scale_as_asked(&mut self, name: &[u8], count: u64) -> Answer {
        let shown = String::from_utf8_lossy(name);
        self.scale(OsStr::from_bytes(name), count).map(|()| Vec::new()).map_err(|why| match why {
            Unscaled::Unknown => (ErrorCode::Service, format!("no such template: {shown}@")),
            Unscaled::TooMany => (ErrorCode::Failed, format!("{} instances are the most", Instances::MOST)),
            Unscaled::Named => {
                (ErrorCode::Failed, "its instances have names: write them into its file instances".into())
            }
            Unscaled::Stopping => (ErrorCode::Failed, "nothing new is taken in, as everything is being stopped".into()),
        })
    }

    fn of(&mut self, name: &[u8], act: impl FnOnce(&mut Init, SlotId) -> Answer) -> Answer {
        match self.slot_named(OsStr::from_bytes(name)) {
            Some(slot) => act(self, slot),
            None => Err((ErrorCode::Service, format!("no such service: {}", String::from_utf8_lossy(name)))),
        }
    }

    /// What there is to be told of one service; it may be refused.
    fn status_of(&mut self, name: &[u8]) -> Answer {
        let told = self.of(name, |init, slot| Ok(init.status_line(slot).into_iter().collect()));
        let name = OsStr::from_bytes(name);
        told.or_else(|unknown| self.scan.refusal(name).map(|why| vec![refused_line(name, why)]).ok_or(unknown))
    }

    /// The service of this name; `web/log` is the logger of `web`.
    fn slot_named(&self, name: &OsStr) -> Option<SlotId> {
        if let Some(slot) = self.named_as_told(name) {
            return Some(slot);
        }
        let producer = self.named_as_told(OsStr::from_bytes(name.as_bytes().strip_suffix(b"/log")?))?;
        match self.table.get(producer)?.log_pipe {
            LogPipe::Producer { logger, .. } => Some(logger),
            LogPipe::Writer { logger, .. } => logger,
            LogPipe::Alone | LogPipe::Logger { .. } | LogPipe::Shared { .. } => None,
        }
    }

    /// A client knows a name that is no UTF-8 with U+FFFD in it, as it was told. That is accepted, unless it could be
    /// the name of another service too.
    fn named_as_told(&self, name: &OsStr) -> Option<SlotId> {
        if let Some(slot) = self.table.named(name) {
            return Some(slot);
        }
        self.table.told_as(name.to_str()?)
    }

    /// What `enable` and `disable` do besides starting and stopping may fail.
    fn order(&mut self, at: SlotId, order: Order) -> Result<(), Refusal> {
        match order {
            Order::Ready => return self.be_ready(at),
            Order::Overlap => return self.replace(at),
            _ => {}
        }
        self.api.down_file = None;
        self.give(at, order.bytes())?;
        match (order, self.api.down_file.take()) {
            (Order::Enable, Some(why)) => Err((ErrorCode::Failed, format!("{why}; it is only started"))),
            (Order::Disable, Some(why)) => Err((ErrorCode::Failed, format!("{why}; it is only stopped"))),
            _ => Ok(()),
        }
    }

    /// Somebody else says that it is ready.
    fn be_ready(&mut self, at: SlotId) -> Result<(), Refusal> {
        if self.table.get(at).is_none_or(|slot| slot.service.view().phase != Phase::Run) {
            return Err((ErrorCode::Failed, "it does not run, so it cannot be ready".into()));
        }
        self.apply(at, Event::Ready);
        Ok(())
    }

    /// An order goes the way that all orders go, so that it waits for those that were given before.
    fn give(&mut self, at: SlotId, bytes: &[u8]) -> Result<(), Refusal> {
        let control = self.table.get(at).and_then(|slot| slot.files.control.as_ref());
        match control.map(|control| fs::send(control, bytes)) {
            Some(Ok(())) => self.take_bytes(at),
            Some(Err(_)) => return Err((ErrorCode::Busy, "too many orders wait for its control script".into())),
            None if self.is_busy(at) => return Err((ErrorCode::Busy, "its control script runs".into())),
            None => bytes.iter().for_each(|byte| self.apply_byte(at, *byte)),
        }
        Ok(())
    }

    fn go_on_listing(&mut self, at: usize, Listing { part, last, count }: Listing) {
        let (name, lines) = match part {
            Part::Services => self.next_service(last.as_deref()),
            Part::Refused => self.next_refused(last.as_deref()),
        };
        let count = count + lines.len() as u64;
        let Some(client) = self.api.client(at) else { return };
        lines.iter().for_each(|line| client.say(line));
        match (name, part) {
            (Some(name), part) => client.listing = Some(Listing { part, last: Some(name), count }),
            (None, Part::Services) => client.listing = Some(Listing { part: Part::Refused, last: None, count }),
            (None, Part::Refused) => client.done(count),
        }
    }

    /// The next service behind this name, and what is told of it and its logger.
    fn next_service(&self, behind: Option<&OsStr>) -> (Option<OsString>, Vec<Line>) {
        let Some((name, at)) = self.table.next_name(behind) else { return (None, Vec::new()) };
        let logger = match self.table.get(at).map(|slot| &slot.log_pipe) {
            Some(LogPipe::Producer { logger, .. }) => Some(*logger),
            _ => None,
        };
        let lines = std::iter::once(at).chain(logger).filter_map(|at| self.status_line(at));
        (Some(name.clone()), lines.collect())
    }

    fn next_refused(&self, behind: Option<&OsStr>) -> (Option<OsString>, Vec<Line>) {
        let Some((name, why)) = self.scan.next_refused(behind) else { return (None, Vec::new()) };
        (Some(name.clone()), vec![refused_line(name, why)])
    }

    /// Sends what there is to send, and drops clients that do not keep up.
    pub(super) fn flush_clients(&mut self) {
        if std::mem::take(&mut self.api.rescan) {
            self.rescan();
        }
        let now = self.now;
        for at in 0..self.api.clients.len() {
            let Some(client) = self.api.client(at) else { continue };
            if !client.output.is_empty() && client.has_room {
                match client.connection.write(client.output.rest()) {
                    None => {
                        self.api.drop_client(at);
                        continue;
                    }
                    Some(sent) => {
                        client.active = if sent > 0 { now } else { client.active };
                        client.output.was_sent(sent);
                        client.has_room = client.output.is_empty();
                    }
                }
            }
            if client.leaves && client.output.is_empty() {
                self.hand_over(at);
                continue;
            }
            let stalls = !client.output.is_empty() && client.active.after(WRITE_TIMEOUT) <= now;
            if stalls || client.output.len() > TOO_MUCH {
                self.api.drop_client(at);
                continue;
            }
            let has_more = client.has_more();
            if client.has_spoken && !client.subscribed && !has_more && client.output.is_empty() {
                self.api.drop_client(at);
                continue;
            }
            let listens = !client.has_spoken && !client.has_much() && !has_more;
            let interest = (listens, !client.output.is_empty());
            if std::mem::replace(&mut client.interest, interest) != interest {
                let token = Token::Client(at).pack();
                if let Some(client) = self.api.clients.get(at).and_then(Option::as_ref) {
                    let _ = self.poller.look_for(&client.connection, token, interest.0, interest.1);
                }
            }
        }
        self.api.drop_the_greedy();
    }
}

/// Lines, or why there are none.
type Answer = Result<Vec<Line>, Refusal>;

/// For programs, and in words.
pub(super) type Refusal = (ErrorCode, String);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Pid;

    #[test]
    fn root_and_we_may_do_everything_and_groups_what_they_are_for() {
        let peer = |user, groups: &[u32]| Peer { pid: Pid(1), user, groups: groups.to_vec() };
        let groups = Groups { control: Some(10), status: Some(20) };
        let rights = |user, of: &[u32]| groups.rights(&peer(user, of), 5);
        assert_eq!([rights(5, &[]), rights(0, &[]), rights(6, &[1, 10, 20])], [Rights::Control; 3]);
        assert_eq!(
            [rights(6, &[20]), rights(6, &[1]), rights(6, &[])],
            [Rights::Look, Rights::Nothing, Rights::Nothing]
        );
        assert_eq!(Groups::default().rights(&peer(6, &[0]), 5), Rights::Nothing);
        assert_eq!((groups.mode(), Groups::default().mode()), (0o666, 0o600));
    }
}
