//! The api socket: one line of words a request, lines of JSON back.
//!
//! A request is a verb and, behind one space, the name of a service: all that stands up to the newline, whatever it is.
//! Each line of an answer is an object with one key, see [`Line`]; the last one is `done` or `error`. Behind `subscribe`
//! come `event` lines for as long as the connection lasts, between the answers to further requests.
//!
//! Instants are seconds since 1970 on the wall clock, spans are seconds. New keys may come at any time; a key that is
//! there never changes its meaning within a version.

pub use super::word::Word;
use crate::machine::probe::Health;
use crate::machine::{Exit, ServiceState, Want, words};
use crate::wire::json::{self, Value, record};

/// Version of the protocol.
pub const VERSION: u32 = 1;
/// The longest request, in bytes, its newline not counted.
pub const LONGEST: usize = 1024;

const EMPTY_NAME: &str = "the name of the service is empty";
const NO_NAME: &str = "the name of a service is missing";
const NO_SCALE: &str = "it takes NAME=NUMBER";

/// The variable that names the directory of services to the processes of its services.
pub const DIRECTORY_VARIABLE: &str = "ONIT_SVDIR";

/// What a client asks for. Names are bytes: a service may be called anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request<'a> {
    /// Which supervisor answers?
    Hello,
    /// What of one service, or of all.
    Status(Option<&'a [u8]>),
    /// Its last lives, oldest first.
    History(&'a [u8]),
    /// This is to be done with it.
    Order(Order, &'a [u8]),
    /// The template of this name is to have so many instances.
    Scale(&'a [u8], u64),
    /// The directory is looked at.
    Rescan,
    /// Every transition is told from now on.
    Subscribe,
    /// From the end of the answer on the connection is one of `onit mux`: what services say, see [`crate::wire::mux`].
    Logs,
}

/// An order to one service, by the verb that asks for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Order {
    /// Start it, and start it again whenever it ends.
    Up,
    /// The stop signal and CONT, and do not start it again.
    Down,
    /// Start it, and do not start it again when it ends.
    Once,
    /// The stop signal, CONT, and up.
    Restart,
    /// Stop it, and leave its directory.
    Exit,
    /// HUP, by the name that people look for.
    Reload,
    /// STOP.
    Pause,
    /// CONT.
    Cont,
    /// The signal TERM.
    Term,
    /// The signal KILL.
    Kill,
    /// The signal HUP.
    Hup,
    /// The signal INT.
    Int,
    /// The signal QUIT.
    Quit,
    /// The signal ALRM.
    Alrm,
    /// The signal USR1.
    Usr1,
    /// The signal USR2.
    Usr2,
    /// The signal ABRT.
    Abrt,
    /// The signal WINCH.
    Winch,
    /// Remove the file `down`, and up.
    Enable,
    /// Make the file `down`, and down.
    Disable,
    /// It is ready, whatever it says of that itself.
    Ready,
    /// A second `run` starts beside the first, and takes its place when it is ready.
    Overlap,
}

words!(
    Order,
    "order",
    Up = "up",
    Down = "down",
    Once = "once",
    Restart = "restart",
    Exit = "exit",
    Reload = "reload",
    Pause = "pause",
    Cont = "cont",
    Term = "term",
    Kill = "kill",
    Hup = "hup",
    Int = "int",
    Quit = "quit",
    Alrm = "alrm",
    Usr1 = "usr1",
    Usr2 = "usr2",
    Abrt = "abrt",
    Winch = "winch",
    Enable = "enable",
    Disable = "disable",
    Ready = "ready",
    Overlap = "overlap",
);

impl Order {
    /// What it is in the bytes of `supervise/control`. The one place where this stands. Empty: there are no bytes for it.
    pub fn bytes(self) -> &'static [u8] {
        match self {
            Order::Ready | Order::Overlap => b"",
            Order::Up => b"u",
            Order::Down => b"d",
            Order::Once => b"o",
            Order::Restart => b"rcu",
            Order::Exit => b"x",
            Order::Reload => b"l",
            Order::Pause => b"p",
            Order::Cont => b"c",
            Order::Term => b"t",
            Order::Kill => b"k",
            Order::Hup => b"h",
            Order::Int => b"i",
            Order::Quit => b"q",
            Order::Alrm => b"a",
            Order::Usr1 => b"1",
            Order::Usr2 => b"2",
            Order::Abrt => b"b",
            Order::Winch => b"y",
            Order::Enable => b"U",
            Order::Disable => b"D",
        }
    }
}

impl Request<'_> {
    /// Reads a line without its newline. Or says what is wrong with it.
    pub fn parse(line: &[u8]) -> Result<Request<'_>, &'static str> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (verb, name) = match line.iter().position(|byte| *byte == b' ') {
            Some(at) => (line.get(..at).unwrap_or_default(), line.get(at + 1..)),
            None => (line, None),
        };
        let verb = std::str::from_utf8(verb).map_err(|_| "no such verb")?;
        if let Ok(order) = verb.parse() {
            return match name {
                Some([]) => Err(EMPTY_NAME),
                Some(name) => Ok(Request::Order(order, name)),
                None => Err(NO_NAME),
            };
        }
        match (verb, name) {
            // Not "all": it is what a script says whose variable is not set.
            ("status" | "history", Some([])) => Err(EMPTY_NAME),
            ("hello", None) => Ok(Request::Hello),
            ("status", name) => Ok(Request::Status(name)),
            ("history", Some(name)) => Ok(Request::History(name)),
            ("history", None) => Err(NO_NAME),
            ("scale", Some(words)) => scale(words).ok_or(NO_SCALE),
            ("scale", None) => Err(NO_SCALE),
            ("rescan", None) => Ok(Request::Rescan),
            ("subscribe", None) => Ok(Request::Subscribe),
            ("logs", None) => Ok(Request::Logs),
            ("hello" | "rescan" | "subscribe" | "logs", Some(_)) => Err("it takes no name"),
            (_, _) => Err("no such verb"),
        }
    }

    /// Whether it changes anything.
    pub fn is_order(&self) -> bool {
        match self {
            Request::Order(..) | Request::Scale(..) | Request::Rescan => true,
            Request::Hello | Request::Status(_) | Request::History(_) | Request::Subscribe | Request::Logs => false,
        }
    }
}

/// `NAME=N`.
fn scale(words: &[u8]) -> Option<Request<'_>> {
    let (name, count) = words.split_at_checked(words.iter().rposition(|byte| *byte == b'=')?)?;
    let count = std::str::from_utf8(count.get(1..)?).ok()?;
    let is_number = !name.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| count.parse().ok()).flatten().map(|count| Request::Scale(name, count))
}

/// One line of an answer: an object with one key.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum Line {
    /// Answers `hello`.
    Hello(Hello),
    /// Answers `status`: one for each service, by name.
    Service(Box<ServiceStatus>),
    /// Answers `history`.
    Life(RunRecord),
    /// Something happened.
    Event(Event),
    /// The end of an answer.
    Done(Done),
    /// The end of an answer that is none.
    Error(Error),
}

impl Line {
    /// As it is sent, with its newline.
    pub fn encode(&self) -> Vec<u8> {
        let (key, value): (_, &dyn json::Write) = match self {
            Line::Hello(hello) => ("hello", hello),
            Line::Service(service) => ("service", &**service),
            Line::Life(life) => ("life", life),
            Line::Event(event) => ("event", event),
            Line::Done(done) => ("done", done),
            Line::Error(error) => ("error", error),
        };
        let mut line = String::new();
        json::object(&mut line, &[(key, value)]);
        line.push('\n');
        line.into_bytes()
    }

    /// What was sent. The error says where it is no line of this protocol.
    pub fn decode(line: &[u8]) -> Result<Line, String> {
        let Value::Object(fields) = Value::parse(line)? else { return Err("no object".into()) };
        let [(key, value)] = &fields[..] else { return Err(format!("{} keys, and not one", fields.len())) };
        match key.as_str() {
            "hello" => Hello::from_json(value).map(Line::Hello),
            "service" => ServiceStatus::from_json(value).map(|service| Line::Service(Box::new(service))),
            "life" => RunRecord::from_json(value).map(Line::Life),
            "event" => Event::from_json(value).map(Line::Event),
            "done" => Done::from_json(value).map(Line::Done),
            "error" => Error::from_json(value).map(Line::Error),
            other => Err(format!("{other:?} is no line of this protocol")),
        }
    }
}

/// The supervisor that answers.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Hello {
    /// Version of the protocol.
    pub api: u32,
    /// Version of onit.
    pub version: String,
    /// Its process.
    pub pid: i32,
    /// The directory of services, absolute.
    pub directory: String,
    /// Where `supervise` of every service is found: that directory, or the runtime mirror.
    pub view: String,
    /// What it is about.
    pub state: Word<SupervisorState>,
    /// You may give orders.
    pub control: bool,
}

/// What the supervisor is about.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum SupervisorState {
    /// It looks after its services.
    Up,
    /// It stops everything, and ends.
    Stopping,
}

words!(SupervisorState, "state of a supervisor", Up = "up", Stopping = "stopping");

/// What is known of a service.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ServiceStatus {
    /// Its name; `web/log` is the logger of `web`. Bytes that are no UTF-8 are replaced.
    pub name: String,
    /// Where it stands.
    pub state: Word<ServiceState>,
    /// What it was told to be.
    pub want: Word<Want>,
    /// It was told to leave.
    pub leaving: bool,
    /// The process of `run`, or of `finish`.
    pub pid: Option<i32>,
    /// Since when it is up or down.
    pub since: f64,
    /// For how long that is.
    pub seconds: f64,
    /// It counts as ready; `null` if only its `check` knows.
    pub ready: Option<bool>,
    /// STOP was sent, and no CONT since.
    pub paused: bool,
    /// There is no file `down`.
    pub enabled: bool,
    /// How often it was started again; the supervisor knows, and the files do not say.
    pub restarts: Option<u64>,
    /// How often it has ended within a minute without being asked, if that is too often.
    pub flapping: Option<u64>,
    /// How `run` ended the last time.
    pub exit: Option<ExitRecord>,
    /// It will be started in so many seconds.
    pub next: Option<f64>,
    /// What its `health` says; `null` if it has none, or that has not said enough in this life of `run`.
    pub health: Option<Word<Health>>,
    /// How many times in a row that has failed; `null` if it was not asked in this life.
    pub health_failures: Option<u64>,
    /// When it was asked the last time.
    pub health_asked: Option<f64>,
    /// It is the logger of another one.
    pub logger: bool,
    /// Why it has not started: what it waits for, or why it was skipped.
    pub reason: Option<String>,
    /// The last trouble that was told.
    pub trouble: Option<String>,
    /// It says by a notification that it reloads; `null` if it is not one that could.
    pub reloading: Option<bool>,
    /// What it says of itself by a notification, one line.
    pub status_text: Option<String>,
    /// The error number that it has told by a notification.
    pub errno: Option<i32>,
    /// A second `run`, which takes the place of the first when it is ready.
    pub successor: Option<i32>,
}

impl ServiceStatus {
    /// A service of which nothing else is known.
    pub fn new(name: impl Into<String>, state: ServiceState, want: Want) -> ServiceStatus {
        ServiceStatus {
            name: name.into(),
            state: state.into(),
            want: want.into(),
            leaving: false,
            pid: None,
            since: 0.0,
            seconds: 0.0,
            ready: None,
            paused: false,
            enabled: true,
            restarts: None,
            flapping: None,
            exit: None,
            next: None,
            health: None,
            health_failures: None,
            health_asked: None,
            logger: false,
            reason: None,
            trouble: None,
            reloading: None,
            status_text: None,
            errno: None,
            successor: None,
        }
    }
}

/// How a process ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ExitRecord {
    /// The code that it returned.
    pub code: Option<u8>,
    /// The number of the signal that ended it.
    pub signal: Option<i32>,
    /// The name of that signal, `SIGKILL`, if it has one.
    pub name: Option<String>,
    /// A core was dumped.
    pub core: bool,
}

/// One life of `run`.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RunRecord {
    /// Its process.
    pub pid: i32,
    /// When it was started.
    pub start: f64,
    /// When it counted as ready; `null` if it never did, or only its `check` knows.
    pub ready: Option<f64>,
    /// When it ended; `null` if it lives.
    pub end: Option<f64>,
    /// How long it took, or has taken.
    pub seconds: f64,
    /// How it ended.
    pub exit: Option<ExitRecord>,
    /// It was told to end.
    pub asked: bool,
}

/// What happens.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum EventKind {
    /// A service has another state, or another process, or is wanted otherwise.
    State,
    /// What is known of how well a service is has changed.
    Health,
    /// A service has come.
    Added,
    /// A service has gone.
    Removed,
    /// Everything stops.
    Stopping,
}

words!(
    EventKind,
    "kind of event",
    State = "state",
    Health = "health",
    Added = "added",
    Removed = "removed",
    Stopping = "stopping",
);

/// Something happened.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Event {
    /// What.
    pub what: Word<EventKind>,
    /// When.
    pub time: f64,
    /// To which service; `null` for `stopping`.
    pub name: Option<String>,
    /// Its state before, for `state`.
    pub old: Option<Word<ServiceState>>,
    /// Its state now.
    pub new: Option<Word<ServiceState>>,
    /// What it was told to be.
    pub want: Option<Word<Want>>,
    /// Its process now.
    pub pid: Option<i32>,
    /// How the process ended that has just ended.
    pub exit: Option<ExitRecord>,
    /// How well it is now, for `health`.
    pub health: Option<Word<Health>>,
}

/// The end of an answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Done {
    /// How many lines there were before this one.
    pub count: u64,
}

/// Why there is no answer, for programs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ErrorCode {
    /// There is no such request.
    Request,
    /// There is no such service.
    Service,
    /// The client may not ask for this.
    Permission,
    /// It takes no more orders for now.
    Busy,
    /// A part of it could not be done.
    Failed,
}

words!(
    ErrorCode,
    "code of an error",
    Request = "request",
    Service = "service",
    Permission = "permission",
    Busy = "busy",
    Failed = "failed",
);

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Error {
    /// For programs.
    pub kind: Word<ErrorCode>,
    /// For people.
    pub text: String,
    /// What was asked, if that is no request.
    pub request: Option<String>,
}

// What is sent of each: the keys, in this order.
record!(Hello { api, version, pid, directory, view, state, control });
record!(ServiceStatus {
    name,
    state,
    want,
    leaving,
    pid,
    since,
    seconds,
    ready,
    paused,
    enabled,
    restarts,
    flapping,
    exit,
    next,
    health,
    health_failures,
    health_asked,
    logger,
    reason,
    trouble,
    reloading,
    status_text,
    errno,
    successor
});
record!(ExitRecord { code, signal, name, core });
record!(RunRecord { pid, start, ready, end, seconds, exit, asked });
record!(Event { what, time, name, old, new, want, pid, exit, health });
record!(Done { count });
record!(Error { kind, text, request });

impl ExitRecord {
    /// The record of an end.
    pub fn of(exit: Exit) -> ExitRecord {
        match exit {
            Exit::Code(code) => ExitRecord { code: Some(code), signal: None, name: None, core: false },
            Exit::Signal { signal, core } => {
                ExitRecord { code: None, signal: Some(signal.0), name: signal.name().map(Into::into), core }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Command;
    use crate::wire::control::{Dialect, decode};
    use proptest::prelude::*;

    #[test]
    fn requests() {
        assert_eq!(Request::parse(b"hello"), Ok(Request::Hello));
        assert_eq!(Request::parse(b"status\r"), Ok(Request::Status(None)));
        assert_eq!(Request::parse(b"status a b "), Ok(Request::Status(Some(b"a b "))));
        assert_eq!(Request::parse(b"history \xff"), Ok(Request::History(b"\xff")));
        assert_eq!(Request::parse(b"restart web"), Ok(Request::Order(Order::Restart, b"web")));
        assert_eq!(Request::parse(b"scale a=b=12"), Ok(Request::Scale(b"a=b", 12)));
        for bad in ["scale", "scale web", "scale web=", "scale =3", "scale web=+3", "scale web=3 ", "scale web=-1"] {
            assert_eq!(Request::parse(bad.as_bytes()), Err(NO_SCALE), "{bad}");
        }
        assert_eq!(
            (Request::parse(b"rescan"), Request::parse(b"subscribe")),
            (Ok(Request::Rescan), Ok(Request::Subscribe))
        );
        for bad in [&b""[..], b"up", b"up ", b"history", b"hello x", b"rescan x", b"nope", b"nope x", b" up x", b"\xff"]
        {
            assert!(Request::parse(bad).is_err(), "{bad:?}");
        }
        for verb in Order::ALL.iter().map(|order| order.word()).chain(["status", "history"]) {
            for end in ["", "\r"] {
                assert_eq!(Request::parse(format!("{verb} {end}").as_bytes()), Err(EMPTY_NAME), "{verb}");
            }
        }
    }

    #[test]
    fn only_orders_change_anything() {
        let orders =
            ["up x", "kill x", "rescan", "scale x=1"].map(|line| Request::parse(line.as_bytes()).map(|r| r.is_order()));
        let others = ["hello", "status", "status x", "history x", "subscribe", "logs"];
        assert_eq!(orders, [Ok(true); 4]);
        assert!(others.iter().all(|line| Request::parse(line.as_bytes()).map(|r| r.is_order()) == Ok(false)));
    }

    #[test]
    fn every_order_is_understood_by_a_service() {
        for verb in Order::ALL.into_iter().filter(|verb| !verb.bytes().is_empty()) {
            assert!(
                !verb.bytes().is_empty() && verb.bytes().iter().all(|byte| !decode(*byte, Dialect::All).is_empty()),
                "{verb}"
            );
        }
        let restart: Vec<_> = Order::Restart.bytes().iter().flat_map(|byte| decode(*byte, Dialect::All)).collect();
        assert!(matches!(restart[..], [Command::StopSignal, Command::Continue(_), Command::Up]));
    }

    #[test]
    fn lines_are_objects_with_one_key() {
        let done = Line::Done(Done { count: 3 });
        assert_eq!(done.encode(), b"{\"done\":{\"count\":3}}\n");
        let error = Line::Error(Error { kind: ErrorCode::Service.into(), text: "no \"x\"\n".into(), request: None });
        assert_eq!(
            error.encode(),
            b"{\"error\":{\"kind\":\"service\",\"text\":\"no \\\"x\\\"\\n\",\"request\":null}}\n"
        );
        assert_eq!(Line::decode(&error.encode()), Ok(error));
        assert!(Line::decode(b"{}").is_err() && Line::decode(b"[").is_err());
    }

    #[test]
    fn what_a_newer_onit_says_is_read_as_far_as_it_is_known_and_told_again() {
        let told = [
            r#"{"hello":{"api":1,"version":"9","pid":7,"directory":"/s","view":"/s","state":"resting","control":true}}"#,
            concat!(
                r#"{"service":{"name":"web","state":"frozen","want":"often","leaving":false,"pid":7,"since":1.5,"#,
                r#""seconds":2.0,"ready":null,"paused":false,"enabled":true,"restarts":3,"flapping":null,"exit":null,"#,
                r#""next":null,"health":null,"health_failures":null,"health_asked":null,"logger":false,"reason":null,"trouble":null,"reloading":null,"status_text":"at work","errno":2,"successor":null}}"#
            ),
            concat!(
                r#"{"event":{"what":"renamed","time":1.5,"name":"web","old":"up","new":"frozen","want":"often","#,
                r#""pid":7,"exit":null,"health":"splendid"}}"#
            ),
            r#"{"error":{"kind":"weather","text":"it rains","request":"sun"}}"#,
        ];
        let lines = told.map(|line| Line::decode(line.as_bytes()).expect("a line"));
        let [Line::Hello(hello), Line::Service(web), Line::Event(event), Line::Error(error)] = &lines else {
            panic!("{lines:?}");
        };
        assert_eq!((hello.state.known(), error.kind.known()), (None, None));
        assert_eq!((web.state.known(), web.want.known(), web.pid, web.restarts), (None, None, Some(7), Some(3)));
        assert_eq!((event.what.known(), event.new.as_ref().map(Word::as_str)), (None, Some("frozen")));
        assert_eq!(event.old, Some(ServiceState::Up.into()));
        assert_eq!(
            lines.map(|line| String::from_utf8(line.encode()).expect("text")),
            told.map(|line| format!("{line}\n"))
        );
    }

    proptest! {
        #[test]
        fn any_line_is_a_request_or_an_error(line in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Request::parse(&line);
        }

        #[test]
        fn what_is_sent_is_one_line_and_is_read_again(name in ".*", pid in any::<Option<i32>>(), eighths in 0..1u64 << 40) {
            let since = eighths as f64 / 8.0;
            let event = Line::Event(Event {
                what: EventKind::State.into(), time: since, name: Some(name), old: None, new: None, want: None, pid,
                exit: Some(ExitRecord::of(Exit::Code(3))), health: Some(Health::Degraded.into()),
            });
            let sent = event.encode();
            prop_assert_eq!(sent.iter().position(|byte| *byte == b'\n'), Some(sent.len() - 1));
            prop_assert_eq!(Line::decode(&sent), Ok(event));
        }
    }
}
