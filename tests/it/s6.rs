//! Transcripts of s6's own tools: what `s6-svc`, `s6-svstat`, `s6-svwait` and their kin say of a scan directory must be the
//! same, byte for byte, whether the real `s6-svscan` supervises it, `onit run --s6`, or onit called as `s6-svscan`; and of
//! a single service, whether it is the real `s6-supervise` or onit called so.
//!
//! A scenario is `s6/NAME.txt`, and `s6/NAME.expected` is its transcript under the real ones; `BLESS=1` writes it anew.
//! Names that begin with `svscan_` are played to onit as `s6-svscan` only (options and signals of that program), those
//! that begin with `supervise_` to single services. A scenario has
//!
//! - `# …` and empty lines, which are copied;
//! - `service NAME`, followed by indented lines `PATH CONTENT`: the directory appears all at once. `run`, `finish` and what
//!   is in `.s6-svscan` are scripts, `event/` is a fifodir, other paths that end in `/` are directories;
//! - `start [OPTIONS]`: the supervisor of the directory (or `start NAME`, of this service); `signal NAME`; `end`, until it
//!   has ended, and how it did;
//! - `wait COMMAND`, again and again until this shell command succeeds;
//! - `listen NAME`: a FIFO is added to `NAME/event`; `hear NAME COUNT`: so many letters have come to it since, and which;
//! - `$ COMMAND`, a shell command in the directory: it, what it said and its exit code are written down.
//!
//! Pids are named in the order in which they appear, the directory is SCANDIR, what it is in ABOVE, and times are X where they are possible: a
//! service that is said to be older than the scenario keeps its number.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::libc;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

use crate::scenario::{self, scenarios};
use crate::svdir::{
    Ending, Output, SOON, Service, Supervisor, SvDir, is_starved, missing_tools, onit, poll_until, skip,
};

/// Who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cast {
    /// The real s6-svscan, or s6-supervise.
    Real,
    /// `onit run --s6`.
    Run,
    /// onit, called as the real one.
    Called,
    /// The real one, but `s6-svc` and those tools of its kin that onit has are onit's.
    Tools,
}

/// Those.
const OUR_TOOLS: [&str; 4] = ["s6-svc", "s6-svok", "s6-svstat", "s6-svwait"];

const SCANDIR_TOOLS: &[&str] = &[
    "s6-svscan",
    "s6-supervise",
    "s6-svc",
    "s6-svstat",
    "s6-svwait",
    "s6-svlisten",
    "s6-svok",
    "s6-svdt",
    "s6-svscanctl",
];

/// One scenario being played.
struct Stage<'a> {
    name: &'a str,
    cast: Cast,
    sv: &'a SvDir,
    supervisor: Option<Supervisor>,
    listeners: HashMap<String, Listener>,
    names: Names,
    transcript: String,
}

/// The transcript of a scenario.
fn play(name: &str, script: &str, cast: Cast) -> String {
    let sv = SvDir::new();
    let tools = sv.root().join("tools");
    fs::create_dir(&tools).expect("mkdir");
    OUR_TOOLS.iter().for_each(|tool| std::os::unix::fs::symlink(onit(), tools.join(tool)).expect("a link"));
    let names = Names { pids: Vec::new(), begun: SystemTime::now() };
    let (listeners, transcript) = (HashMap::new(), String::new());
    let mut stage = Stage { name, cast, sv: &sv, supervisor: None, listeners, names, transcript };
    let mut lines = script.lines().peekable();
    while let Some(line) = lines.next() {
        let _ = writeln!(stage.transcript, "{line}");
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "" | "#" => {}
            "service" => {
                let mut files = Vec::new();
                while let Some(file) = lines.next_if(|line| line.starts_with(' ')) {
                    let _ = writeln!(stage.transcript, "{file}");
                    files.push(file.trim());
                }
                stage.create(rest, &files);
            }
            "start" => stage.start(rest),
            "signal" => stage.running().signal(format!("SIG{rest}").parse::<Signal>().expect("the name of a signal")),
            "end" if stage.end() => {}
            "wait" if stage.wait(rest) => {}
            "end" | "wait" => {
                let _ = writeln!(stage.transcript, "{IN_VAIN}");
                break;
            }
            "listen" => _ = stage.listeners.insert(rest.into(), Listener::at(&sv.existing(rest), "abcdef")),
            "hear" => stage.hear(rest),
            "$" => stage.command(rest),
            _ => panic!("no such line in a scenario: {line}"),
        }
    }
    stage.transcript
}

impl Stage<'_> {
    fn create(&self, name: &str, files: &[&str]) {
        let mut service = self.sv.service(name);
        for file in files {
            let (path, content) = file.split_once(' ').unwrap_or((file, ""));
            let is_script = name == ".s6-svscan" || ["run", "finish", "log/run", "log/finish"].contains(&path);
            service = match path.strip_suffix('/') {
                Some(path) => service.dir(path),
                None if is_script => service.script(path, content.trim()),
                None => service.file(path, &format!("{}\n", content.trim())),
            };
        }
        // A fifodir is made so before it is seen.
        let staged = self.sv.root().join("staged");
        let service = service.create_at(&staged);
        let event = service.path().join("event");
        if event.is_dir() {
            fs::set_permissions(&event, fs::Permissions::from_mode(0o3730)).expect("chmod");
        }
        let place = self.sv.path().join(name);
        fs::create_dir_all(place.parent().expect("a directory above")).expect("mkdir");
        fs::rename(&staged, place).expect("rename");
    }

    fn start(&mut self, words: &str) {
        let ours = onit();
        let ours = ours.to_str().expect("a printable path");
        let single = self.name.starts_with("supervise_");
        let path = self.sv.path();
        let mut line: Vec<&str> = match (self.cast, single) {
            (Cast::Real | Cast::Tools, false) => vec!["s6-svscan"],
            (Cast::Real | Cast::Tools, true) => vec!["s6-supervise"],
            (Cast::Run, _) => vec![ours, "run", "--s6"],
            (Cast::Called, false) => vec![ours, "s6-svscan"],
            (Cast::Called, true) => vec![ours, "s6-supervise"],
        };
        line.extend(words.split_ascii_whitespace());
        if !single {
            line.push(path.to_str().expect("a printable path"));
        }
        self.supervisor = Some(self.sv.spawn_words_in(&path, &line));
    }

    fn running(&self) -> &Supervisor {
        self.supervisor.as_ref().expect("a supervisor that was started")
    }

    fn end(&mut self) -> bool {
        let ended = poll_until(SOON, || self.running().ended());
        let _ = ended.map(|status| writeln!(self.transcript, "{:?}", Ending::from(status)));
        ended.is_some()
    }

    fn wait(&self, line: &str) -> bool {
        poll_until(SOON, || (self.shell(line).code == 0).then_some(())).is_some()
    }

    fn hear(&mut self, words: &str) {
        let (name, count) = words.split_once(' ').expect("hear NAME COUNT");
        let count = count.parse().expect("a number");
        let letters = self.listeners.get_mut(name).expect("a listener").letters(count);
        let _ = writeln!(self.transcript, "{letters}");
    }

    fn command(&mut self, line: &str) {
        let Output { code, stdout, stderr } = self.shell(line);
        let fields = fields_asked(line);
        for (mark, text) in [("", stdout), ("2> ", stderr)] {
            for said in text.lines() {
                let said = said.replace(self.sv.path().to_str().expect("a printable path"), "SCANDIR");
                let said = said.replace(self.sv.root().to_str().expect("a printable path"), "ABOVE");
                let _ = writeln!(self.transcript, "{mark}{}", self.names.normalised(&said, &fields));
            }
        }
        let _ = writeln!(self.transcript, "[{code}]");
    }

    /// `$SVSCAN` and `$SUPERVISE` are whoever is asked.
    fn shell(&self, line: &str) -> Output {
        let ours = onit();
        let [svscan, supervise] = ["s6-svscan", "s6-supervise"].map(|name| match self.cast {
            Cast::Real | Cast::Tools => name.to_owned(),
            Cast::Run | Cast::Called => format!("{} {name}", ours.display()),
        });
        let path = std::env::var("PATH").unwrap_or_default();
        let tools = self.sv.root().join("tools");
        let path = if self.cast == Cast::Tools { format!("{}:{path}", tools.display()) } else { path };
        let mut shell = Command::new("timeout");
        shell
            .args(["50", "sh", "-c", line])
            .current_dir(self.sv.path())
            .env("PATH", path)
            .env("SVSCAN", svscan)
            .env("SUPERVISE", supervise);
        self.sv.run(shell)
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// A listener
// ---------------------------------------------------------------------------------------------------------------------

/// A FIFO in a fifodir, as s6's own helper makes it.
pub struct Listener {
    path: PathBuf,
    fifo: File,
    heard: String,
}

impl Listener {
    /// Listens to this service. `name` is six characters that no other listener there has.
    pub fn at(service: &Service, name: &str) -> Self {
        let event = service.path().join("event");
        let name = format!("ftrig1:@4000000000000000{:08x}:{name}", std::process::id());
        let (hidden, path) = (event.join(format!(".{name}")), event.join(name));
        nix::unistd::mkfifo(&hidden, Mode::from_bits_truncate(0o622)).expect("mkfifo");
        let fifo = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&hidden);
        fs::rename(hidden, &path).expect("rename");
        Self { path, fifo: fifo.expect("a FIFO"), heard: String::new() }
    }

    /// What has come so far, and was not taken.
    pub fn heard(&mut self) -> &str {
        let mut bytes = [0; 4096];
        if let Ok(read) = self.fifo.read(&mut bytes) {
            self.heard.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        &self.heard
    }

    /// The next letters, when so many have come; fewer where no more come.
    pub fn letters(&mut self, count: usize) -> String {
        poll_until(SOON, || (self.heard().len() >= count).then_some(()));
        let rest = self.heard.split_off(count.min(self.heard.len()));
        std::mem::replace(&mut self.heard, rest)
    }

    /// Goes away and leaves its FIFO, as one that is killed.
    pub fn die(mut self) {
        self.path = PathBuf::new();
    }

    /// The FIFO, also for writing.
    pub fn fifo(&mut self) -> &mut File {
        &mut self.fifo
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        drop(fs::remove_file(&self.path));
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// What changes from run to run
// ---------------------------------------------------------------------------------------------------------------------

/// The names of pids, and when the scenario began.
struct Names {
    pids: Vec<String>,
    begun: SystemTime,
}

impl Names {
    fn normalised(&mut self, line: &str, fields: &[String]) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        if !fields.is_empty() && words.len() == fields.len() {
            let columns = words.iter().zip(fields).map(|(word, field)| self.field(word, field));
            return columns.collect::<Vec<_>>().join(" ");
        }
        let mut all = Vec::new();
        for (at, word) in words.iter().enumerate() {
            let before = at.checked_sub(1).map_or("", |before| words[before]);
            let after = words.get(at + 1).copied().unwrap_or_default();
            let number = word.trim_end_matches([')', ',']);
            all.push(if before.ends_with("pid") {
                self.pid(number) + &word[number.len()..]
            } else if after.starts_with("seconds") {
                self.age(word)
            } else {
                self.time(word)
            });
        }
        all.join(" ")
    }

    fn field(&mut self, word: &str, field: &str) -> String {
        match field {
            "pid" => self.pid(word),
            "updownfor" | "readyfor" => self.age(word),
            _ => self.time(word),
        }
    }

    fn pid(&mut self, word: &str) -> String {
        if word.parse::<u32>().is_err() {
            return word.into();
        }
        let known = self.pids.iter().position(|pid| pid == word);
        let number = known.unwrap_or_else(|| {
            self.pids.push(word.into());
            self.pids.len() - 1
        });
        format!("P{}", number + 1)
    }

    fn age(&self, word: &str) -> String {
        let passed = self.begun.elapsed().unwrap_or_default().as_secs() + 1;
        if word.parse::<u64>().is_ok_and(|seconds| seconds <= passed) { "X".into() } else { word.into() }
    }

    /// A TAI64N label within the time of the scenario: s6 counts the leap seconds.
    fn time(&self, word: &str) -> String {
        let seconds = |digits: &str| u64::from_str_radix(digits, 16).ok()?.checked_sub((1 << 62) + 37);
        let time = word.strip_prefix('@').filter(|digits| digits.len() == 24).and_then(|digits| seconds(&digits[..16]));
        let [begun, now] = [self.begun, SystemTime::now()].map(since_1970);
        if time.is_some_and(|time| (begun..=now).contains(&time)) { "@T".into() } else { word.into() }
    }
}

fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

/// What a last `s6-svstat -o FIELDS` in a command line asks for.
fn fields_asked(line: &str) -> Vec<String> {
    let asked = line.rsplit_once("s6-svstat -o ").map_or("", |(_, rest)| rest);
    let fields = asked.split(' ').next().unwrap_or_default();
    fields.split(',').filter(|field| !field.is_empty()).map(str::to_owned).collect()
}

// ---------------------------------------------------------------------------------------------------------------------
// The comparison
// ---------------------------------------------------------------------------------------------------------------------

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/s6")
}

/// What was waited for has not come: the end of a transcript.
const IN_VAIN: &str = "in vain";

fn check(name: &str) {
    if let Some(why) = missing_tools(SCANDIR_TOOLS) {
        skip!("{why}");
    }
    let script = fs::read_to_string(directory().join(format!("{name}.txt"))).expect("the scenario");
    let casts: &[Cast] = match name.starts_with("svscan_") || name.starts_with("supervise_") {
        true => &[Cast::Real, Cast::Called, Cast::Tools],
        false => &[Cast::Real, Cast::Run, Cast::Called, Cast::Tools],
    };
    let only = std::env::var("S6_CAST").unwrap_or_default();
    let casts: Vec<Cast> = casts.iter().copied().filter(|cast| format!("{cast:?}").contains(&only)).collect();
    let play_all = |casts: &[Cast]| -> Vec<String> {
        thread::scope(|scope| {
            let play = |cast: Cast| play(name, &script, cast);
            let all: Vec<_> = casts.iter().map(|&cast| scope.spawn(move || play(cast))).collect();
            all.into_iter().map(|it| it.join().expect("no panic")).collect()
        })
    };
    let transcripts = play_all(&casts);
    let expected = directory().join(format!("{name}.expected"));
    if std::env::var("BLESS").is_ok_and(|bless| bless == "1") {
        assert!(!transcripts[0].ends_with(&format!("{IN_VAIN}\n")), "{}", transcripts[0]);
        fs::write(&expected, &transcripts[0]).expect("write the expected transcript");
    }
    let mut wrong = String::new();
    for (&cast, transcript) in casts.iter().zip(&transcripts) {
        // On a machine that stands still for longer than a second the pauses of the scenario are over too soon.
        let mut tries = if is_starved() { 3 } else { 0 };
        let mut difference = scenario::difference(&expected, transcript);
        while tries > 0 && !difference.is_empty() {
            tries -= 1;
            difference = scenario::difference(&expected, &play_all(&[cast])[0]);
        }
        if !difference.is_empty() {
            let _ = writeln!(wrong, "{cast:?} (another version? BLESS=1):\n{difference}");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// What is otherwise than under the real ones, on purpose.
struct Difference {
    why: &'static str,
    /// What makes it so. The last command of these lines shows it.
    scene: &'static str,
    theirs: &'static str,
    ours: &'static str,
    /// Only `onit run --s6` is so; called as s6-svscan, onit is as that.
    only_run: bool,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        why: "a service is there as soon as its directory is; nobody needs to say so",
        scene: "start\nwait s6-svscanctl -z .\nservice new\n  run exec sleep 1000\n\
            $ timeout 5 sh -c 'until s6-svok new; do sleep 0.1; done'",
        theirs: "[124]",
        ours: "[0]",
        only_run: true,
    },
    Difference {
        why: "and it ends when its directory goes",
        scene: "service web\n  run exec sleep 1000\nstart\nwait s6-svok web && s6-svwait -t 40000 -u web\n\
            $ mv web ..; s6-svscanctl -z .; timeout 5 sh -c 'while s6-svok ../web; do sleep 0.1; done'",
        theirs: "[124]",
        ours: "[0]",
        only_run: true,
    },
    Difference {
        why: "finish has the process group as a fourth argument, as since s6 2.13",
        scene: "service web\n  run exec sleep 1000\n  finish test \"$4\" = \"$(cat pid)\"; echo $# $? >said\nstart\n\
            wait s6-svwait -t 40000 -u web\n$ s6-svstat -o pid web >web/pid; s6-svc -wD -T 40000 -d web\n\
            $ cat web/said",
        theirs: "3 1\n[0]",
        ours: "4 0\n[0]",
        only_run: false,
    },
    Difference {
        why: "there is no supervisor of one service that could outlive onit: -b leaves the services alone, and nobody else",
        scene: "service web\n  run exec sleep 1000\nstart\nwait s6-svwait -t 40000 -u web\n\
            $ s6-svstat -o pid web >web/pid; s6-svscanctl -b .\nend\n$ kill -0 $(cat web/pid); echo $?; s6-svok web",
        theirs: "0\n[0]",
        ours: "0\n[1]",
        only_run: false,
    },
];

#[test]
fn what_is_different_is_so_for_a_reason() {
    if let Some(why) = missing_tools(SCANDIR_TOOLS) {
        skip!("{why}");
    }
    thread::scope(|scope| {
        for case in DIFFERENCES {
            for cast in [Cast::Real, Cast::Run, Cast::Called] {
                scope.spawn(move || {
                    let transcript = play("a difference", case.scene, cast);
                    let last = transcript.rsplit_once("\n$ ").and_then(|(_, last)| last.split_once('\n'));
                    let is_ours = cast == Cast::Run || (cast == Cast::Called && !case.only_run);
                    let expected = if is_ours { case.ours } else { case.theirs };
                    assert_eq!(last.map(|(_, said)| said.trim_end()), Some(expected), "{}, {cast:?}", case.why);
                });
            }
        }
    });
}

/// A directory and a service have one supervisor each, whoever was first.
#[test]
fn what_a_real_one_has_is_refused() {
    if let Some(why) = missing_tools(SCANDIR_TOOLS) {
        skip!("{why}");
    }
    let scene = "service web\n  run exec sleep 1000\nstart\nwait s6-svok web && s6-svwait -t 40000 -u web\n\
        $ onit s6-svscan .; echo $?; onit s6-supervise web; echo $?; s6-svscan .; echo $?; s6-supervise web; echo $?";
    let said = [Cast::Real, Cast::Called].map(|cast| play("who was first", scene, cast));
    assert_eq!(said[0], said[1]);
    let refused = "another instance of s6-svscan is already running on the same directory\n";
    assert_eq!(said[0].matches(refused).count(), 2, "{}", said[0]);
    assert_eq!(said[0].matches("another instance of s6-supervise is already running\n").count(), 2, "{}", said[0]);
    assert_eq!(said[0].matches("\n100\n").count(), 2, "{}", said[0]);
}

scenarios! {
    control
    endings
    events
    loggers
    permissions
    scanning
    status
    supervise_single
    svscan_options
    svscan_signals
    waiting
}

#[test]
fn only_what_may_change_is_normalised() {
    let mut names = Names { pids: Vec::new(), begun: SystemTime::now() - Duration::from_secs(10) };
    let label = |unix: u64| format!("@{:016x}00000000", (1u64 << 62) + unix);
    let now = since_1970(SystemTime::now());
    for (line, expected) in [
        ("up (pid 31337) 4 seconds, ready 3 seconds", "up (pid P1) X seconds, ready X seconds"),
        ("up (pid 12) 31 seconds", "up (pid P2) 31 seconds"),
        ("pid 31337 exitcode 12", "pid P1 exitcode 12"),
        (label(now + 37).as_str(), "@T"),
        (label(now + 10).as_str(), label(now + 10).as_str()),
    ] {
        assert_eq!(names.normalised(line, &[]), expected);
    }
    let fields = fields_asked("s6-svc -d x; s6-svstat -o pid,exitcode,readyfor x");
    assert_eq!(names.normalised("12 12 5", &fields), "P2 12 X");
    assert_eq!(names.normalised("-1 12 5", &fields), "-1 12 X");
}
