//! A program that says itself which jobs it has: with this in front of its `main`, a link to it in the directory of
//! `onit run --loaders` is all that it takes to run them. It speaks the protocol of watchgod, so that also works there.
//!
//! ```no_run
//! use onit::loader::{Check, Job, Loader};
//! use std::net::TcpStream;
//!
//! fn main() {
//!     Loader::new()
//!         .job(Job::new("db").exec(["postgres", "-D", "/srv/db"]).auto(true).check(|| {
//!             if TcpStream::connect("127.0.0.1:5432").is_ok() { Check::Ok(5000) } else { Check::Degrade(200) }
//!         }))
//!         .job(Job::new("web").run(serve).auto(["db"]).env([("PORT", "80")]).on_exit(|code| eprintln!("web: {code}")))
//!         .init(); // returns at once, unless it is asked for its jobs
//!     std::process::exit(serve());
//! }
//!
//! fn serve() -> i32 {
//!     0 // the program as it is without all that
//! }
//! ```
//!
//! Whatever is not said here has its default: a job does not start by itself, inherits the environment, is ready at once,
//! and is stopped with INT, and with KILL five seconds later. Each closure is called when that is asked, in the process
//! that was started to answer: no job, and none of the program's own. It has to return soon, for everything else about
//! the jobs of this program waits for it; after five seconds that process is killed, and started again.
#![forbid(unsafe_code)]

use crate::wire::godv1::{self, GOD_WORD, ONIT_WORD, Protocol, Reader, VARIABLE};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read, Write};

#[doc(inline)]
pub use crate::wire::godv1::Auto;

/// How a job is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Check {
    /// It is well, and is asked again in so many milliseconds. The first time makes it ready.
    Ok(u64),
    /// It does not work as it should, and is asked again in so many milliseconds.
    Degrade(u64),
    /// It does not work: it is stopped, and started again.
    Fail,
    /// It is to start.
    Start,
    /// It is to stop.
    Stop,
    /// It is to stop, and to start again.
    Restart,
    /// The job of this name is to be started, stopped or restarted, in place of the one that was asked.
    Other(String, Box<Check>),
}

impl Check {
    fn words(&self) -> Vec<String> {
        match self {
            Check::Ok(ms) => vec!["ok".into(), ms.to_string()],
            Check::Degrade(ms) => vec!["degrade".into(), ms.to_string()],
            Check::Fail => vec!["fail".into()],
            Check::Start => vec!["start".into()],
            Check::Stop => vec!["stop".into()],
            Check::Restart => vec!["restart".into()],
            Check::Other(job, check) => [vec![format!("@{job}")], check.words()].concat(),
        }
    }
}

/// What answers: the words behind the name of the property, and the words of the answer.
type Answer = Box<dyn FnMut(&[String]) -> Vec<String>>;

/// A job.
#[must_use]
pub struct Job {
    name: String,
    answers: BTreeMap<&'static str, Answer>,
    run: Option<Box<dyn FnOnce() -> i32>>,
}

macro_rules! changes {
    ($($(#[$doc:meta])* $method:ident: $word:literal),+ $(,)?) => {$(
        $(#[$doc])*
        pub fn $method(self, mut told: impl FnMut() + 'static) -> Job {
            self.answer($word, move |_| {
                told();
                Vec::new()
            })
        }
    )+};
}

impl Job {
    /// A job of this name, which is that of its service.
    pub fn new(name: impl Into<String>) -> Job {
        Job { name: name.into(), answers: BTreeMap::new(), run: None }
    }

    fn answer(mut self, property: &'static str, answer: impl FnMut(&[String]) -> Vec<String> + 'static) -> Job {
        self.answers.insert(property, Box::new(answer));
        self
    }

    /// It is this program, with these words.
    pub fn exec<W: Into<String>>(self, argv: impl IntoIterator<Item = W>) -> Job {
        let argv: Vec<String> = argv.into_iter().map(Into::into).collect();
        self.exec_with(move || argv.clone())
    }

    /// The same, asked anew before each start.
    pub fn exec_with(self, mut argv: impl FnMut() -> Vec<String> + 'static) -> Job {
        self.answer("exec", move |_| argv())
    }

    /// It is this function, in a process of its own, and its exit code.
    pub fn run(self, run: impl FnOnce() -> i32 + 'static) -> Job {
        let name = self.name.clone();
        let program = || std::env::current_exe().map(|path| path.to_string_lossy().into_owned()).unwrap_or_default();
        let job = self.exec_with(move || vec![program(), GOD_WORD.into(), name.clone()]);
        Job { run: Some(Box::new(run)), ..job }
    }

    /// It starts by itself, or does not, or does when other jobs are ready or done: `true`, `false`, `["db"]`.
    pub fn auto(self, auto: impl Into<Auto>) -> Job {
        let auto = auto.into();
        self.answer("auto", move |_| auto.words())
    }

    /// These variables, and no others.
    pub fn env<N: Into<String>, V: Into<String>>(self, variables: impl IntoIterator<Item = (N, V)>) -> Job {
        let entry = |(name, value): (N, V)| format!("{}={}", name.into(), value.into());
        let entries: Vec<String> = variables.into_iter().map(entry).collect();
        self.answer("env", move |_| entries.clone())
    }

    /// The same, asked anew before each start, each as `NAME=VALUE`.
    pub fn env_with(self, mut entries: impl FnMut() -> Vec<String> + 'static) -> Job {
        self.answer("env", move |_| entries())
    }

    /// Says how it is. It is asked when it has started, and then as its answers say.
    pub fn check(self, mut check: impl FnMut() -> Check + 'static) -> Job {
        self.answer("check", move |_| check().words())
    }

    /// Stops it: this process of it is to end. It gets KILL after so many milliseconds; `None`: INT now, and KILL after
    /// five seconds.
    pub fn stop(self, mut stop: impl FnMut(i32) -> Option<u64> + 'static) -> Job {
        self.answer("stop", move |words| {
            let pid = words.first().and_then(|word| word.parse().ok()).unwrap_or_default();
            stop(pid).map(|ms| ms.to_string()).into_iter().collect()
        })
    }

    /// This program reads its output. (Only with `onit run`.)
    pub fn log<W: Into<String>>(self, argv: impl IntoIterator<Item = W>) -> Job {
        let argv: Vec<String> = argv.into_iter().map(Into::into).collect();
        self.answer("log", move |_| argv.clone())
    }

    /// Its listening sockets, as the lines of the file `sockets` of a service. (Only with `onit run`.)
    pub fn sockets<W: Into<String>>(self, lines: impl IntoIterator<Item = W>) -> Job {
        let lines: Vec<String> = lines.into_iter().map(Into::into).collect();
        self.answer("sockets", move |_| lines.clone())
    }

    /// Is told how it has ended when nobody had asked for that: its exit code, or -1 for a signal.
    pub fn on_exit(self, mut told: impl FnMut(i32) + 'static) -> Job {
        self.answer("onExit", move |words| {
            told(words.first().and_then(|word| word.parse().ok()).unwrap_or(-1));
            Vec::new()
        })
    }

    changes! {
        /// Is told that it has started.
        on_start: "onStart",
        /// Is told that it is well.
        on_run: "onRun",
        /// Is told that it does not work as it should.
        on_degrade: "onDegrade",
        /// Is told that it has done its work.
        on_done: "onDone",
        /// Is told that it is being stopped.
        on_stop: "onStop",
        /// Is told that it has stopped.
        on_stopped: "onStopped",
    }
}

/// The jobs of a program.
#[derive(Default)]
#[must_use]
pub struct Loader {
    jobs: Vec<Job>,
}

impl Loader {
    /// Without any yet.
    pub fn new() -> Loader {
        Loader::default()
    }

    /// With this one.
    pub fn job(mut self, job: Job) -> Loader {
        self.jobs.push(job);
        self
    }

    /// Returns at once, unless the command line is exactly `PROGRAM godv1` (or `onitv1`), which asks for the jobs, or
    /// `PROGRAM godv1 JOB`, which is a job. Then the process ends in here.
    pub fn init(self) {
        let args: Vec<OsString> = std::env::args_os().collect();
        let word = args.get(1).and_then(|word| word.to_str());
        let code = match (word, &args[..]) {
            (Some(word @ (GOD_WORD | ONIT_WORD)), [_, _]) => {
                let knows_more = std::env::var(VARIABLE).is_ok_and(|value| value == ONIT_WORD);
                let protocol = if knows_more || word == ONIT_WORD { Protocol::Onit } else { Protocol::God };
                // Whoever has asked has gone, or asks what there is not: both are the end.
                let _ = self.serve(protocol, io::stdin().lock(), io::stdout().lock());
                0
            }
            (Some(GOD_WORD), [_, _, name]) => {
                let mut jobs = self.jobs.into_iter().filter(|job| name == job.name.as_str());
                let Some(run) = jobs.next().and_then(|job| job.run) else { return };
                run()
            }
            _ => return,
        };
        std::process::exit(code);
    }

    /// Answers until the end of the input, or until something is asked that no manager asks.
    fn serve(mut self, protocol: Protocol, mut input: impl Read, mut output: impl Write) -> io::Result<()> {
        let word = if protocol == Protocol::Onit { ONIT_WORD } else { GOD_WORD };
        let names = self.jobs.iter().map(|job| job.name.as_str());
        let mut say = |words: &[&str]| {
            output.write_all(godv1::message(words).as_bytes())?;
            output.flush()
        };
        say(&[word].into_iter().chain(names).collect::<Vec<_>>())?;
        let (mut reader, mut piece) = (Reader::default(), [0; 4096]);
        loop {
            while let Some(request) = reader.message().map_err(|broken| io::Error::other(broken.to_string()))? {
                let (number, request) = request.split_at(usize::from(protocol == Protocol::Onit).min(request.len()));
                let Some(answer) = self.answer(request) else { return Ok(()) };
                say(&number.iter().chain(&answer).map(String::as_str).collect::<Vec<_>>())?;
            }
            match input.read(&mut piece) {
                Ok(0) => return Ok(()),
                Ok(length) => reader.push(piece.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// `None`: there is no such job, or it is no request.
    fn answer(&mut self, request: &[String]) -> Option<Vec<String>> {
        let [name, property, words @ ..] = request else { return None };
        let job = self.jobs.iter_mut().find(|job| job.name == *name)?;
        let answer = job.answers.get_mut(property.as_str());
        Some(answer.map(|answer| answer(words)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::godv1::Command;
    use std::cell::Cell;
    use std::rc::Rc;
    use std::time::Duration;

    impl From<Command> for Check {
        fn from(command: Command) -> Check {
            let ms = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            match command {
                Command::Ok(span) => Check::Ok(ms(span)),
                Command::Degrade(span) => Check::Degrade(ms(span)),
                Command::Fail => Check::Fail,
                Command::Start => Check::Start,
                Command::Stop => Check::Stop,
                Command::Restart => Check::Restart,
            }
        }
    }

    fn served(loader: Loader, protocol: Protocol, input: &str) -> String {
        let mut output = Vec::new();
        loader.serve(protocol, input.as_bytes(), &mut output).expect("the end of the input");
        String::from_utf8(output).expect("JSON")
    }

    #[test]
    fn values_and_closures_are_answered_and_what_is_not_there_is_empty() {
        let told = Rc::new(Cell::new(0));
        let (at_exit, mut asked) = (told.clone(), 0);
        let web = Job::new("web").exec(["httpd", "-f"]).auto(["db"]).env([("A", "b")]).check(move || {
            asked += 1;
            if asked == 1 { Check::Degrade(5) } else { Check::Other("db".into(), Box::new(Check::Restart)) }
        });
        let web = web.stop(|pid| (pid == 7).then_some(30)).on_exit(move |code| at_exit.set(code));
        let loader = Loader::new().job(web).job(Job::new("db").auto(true));
        let asked = r#"["web","exec"]["web","auto"] ["web","env"]["web","check"]["web","check"]
            ["web","stop","7"]["web","stop","8"]["web","onExit","3"]["web","log"]["db","auto"]["db","exec"]"#;
        let answers = r#"["godv1","web","db"]
["httpd","-f"]
["db"]
["A=b"]
["degrade","5"]
["@db","restart"]
["30"]
[]
[]
[]
["true"]
[]
"#;
        assert_eq!(served(loader, Protocol::God, asked), answers);
        assert_eq!(told.get(), 3);
    }

    #[test]
    fn requests_with_numbers_are_answered_with_them() {
        let loader = Loader::new().job(Job::new("web").log(["logger"]).sockets(["tcp 0.0.0.0:80"]));
        let asked = r#"["1","web","log"]["9","web","sockets"]["10","web","auto"]"#;
        let answers = "[\"onitv1\",\"web\"]\n[\"1\",\"logger\"]\n[\"9\",\"tcp 0.0.0.0:80\"]\n[\"10\"]\n";
        assert_eq!(served(loader, Protocol::Onit, asked), answers);
    }

    #[test]
    fn what_no_manager_asks_is_the_end() {
        for asked in [r#"["other","auto"]["web","auto"]"#, r#"["web"]["web","auto"]"#, r#"[]["web","auto"]"#] {
            let loader = Loader::new().job(Job::new("web").auto(true));
            assert_eq!(served(loader, Protocol::God, asked), "[\"godv1\",\"web\"]\n", "{asked}");
        }
    }

    #[test]
    fn what_is_said_is_understood() {
        for check in [Check::Ok(3), Check::Degrade(4), Check::Fail, Check::Start, Check::Stop, Check::Restart] {
            let other = Check::Other("db".into(), Box::new(check.clone()));
            for said in [&check, &other] {
                let read = godv1::Check::parse(&said.words()).expect("an answer").expect("a check");
                assert_eq!((read.other.is_some(), Check::from(read.command)), (*said == other, check.clone()));
            }
        }
    }
}
