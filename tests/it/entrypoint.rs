//! As the entrypoint of a container: one table of facts, looked at from outside, for onit and for those it replaces.
//!
//! Every scenario states what onit does. Where another does otherwise, [`DIFFERENCES`] says what and why; a difference that
//! is not listed fails, and so does one that is listed and not there.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::proc::{self, Glimpse};
use crate::svdir::{Ending, SOON, Supervisor, SvDir, UnderTest};
use crate::svdir::{missing_tools, onit, poll_until, skip, wait_for};

// ---------------------------------------------------------------------------------------------------------------------
// Who is looked at
// ---------------------------------------------------------------------------------------------------------------------

/// The program between the container and its command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    Onit,
    OnitBesideServices,
    Tini,
    OnitAsTini,
    DumbInit,
    OnitAsDumbInit,
    Catatonit,
}

use Who::{Catatonit, DumbInit, Onit, OnitAsDumbInit, OnitAsTini, OnitBesideServices, Tini};

impl Who {
    fn tool(self) -> &'static str {
        match self {
            Onit | OnitBesideServices => "onit",
            Tini | OnitAsTini => "tini",
            DumbInit | OnitAsDumbInit => "dumb-init",
            Catatonit => "catatonit",
        }
    }

    pub fn missing(self) -> Option<String> {
        let own = [self.tool()];
        let own = if matches!(self, Tini | DumbInit | Catatonit) { &own[..] } else { &[] };
        missing_tools(&[own, &["perl", "setsid", "kill"]].concat())
    }

    /// The options that make it forward to the command only.
    fn to_command(self) -> &'static [&'static str] {
        if self.tool() == "dumb-init" { &["-c"] } else { &[] }
    }

    /// The options that make it forward to the command's group.
    fn to_group(self) -> &'static [&'static str] {
        if self.tool() == "dumb-init" { &[] } else { &["-g"] }
    }

    /// The options that make it the parent of orphans although it is not PID 1.
    fn adopting(self) -> &'static [&'static str] {
        if self.tool() == "tini" { &["-s"] } else { &[] }
    }
}

/// A place for one scenario with one program.
pub struct World {
    who: Who,
    pub sv: SvDir,
    variables: Mutex<Vec<(&'static str, &'static str)>>,
}

impl World {
    pub fn new(who: Who) -> Self {
        let sv = SvDir::new();
        if matches!(who, OnitAsTini | OnitAsDumbInit) {
            std::os::unix::fs::symlink(onit(), sv.root().join(who.tool())).expect("symlink");
        }
        if who == OnitBesideServices {
            sv.service("web").run("exec sleep 1000").log("exec cat").create_atomically();
        }
        Self { who, sv, variables: Mutex::default() }
    }

    pub fn root(&self) -> &Path {
        self.sv.root()
    }

    /// The program, with options and nothing else.
    fn words(&self, options: &[&str]) -> Vec<OsString> {
        let program = match self.who {
            Onit | OnitBesideServices => onit().into_os_string(),
            OnitAsTini | OnitAsDumbInit => self.root().join(self.who.tool()).into_os_string(),
            Tini | DumbInit | Catatonit => self.who.tool().into(),
        };
        let mut words = vec![program];
        if self.who == OnitBesideServices {
            words.extend(["run".into(), self.sv.path().into_os_string()]);
        }
        words.extend(options.iter().map(OsString::from));
        words
    }

    /// `PROGRAM OPTIONS -- WORDS`.
    pub fn entry<W: AsRef<OsStr>>(&self, options: &[&str], words: &[W]) -> Vec<OsString> {
        let mut all = self.words(options);
        all.push("--".into());
        all.extend(words.iter().map(|word| word.as_ref().to_owned()));
        all
    }

    /// Starts these words in the root of the world.
    fn start<W: AsRef<OsStr>>(&self, words: &[W]) -> Supervisor {
        self.sv.spawn(self.command(words))
    }

    fn command<W: AsRef<OsStr>>(&self, words: &[W]) -> Command {
        let mut command = Command::new("env");
        // A group of its own: who is stopped may stop its group, and the tests are not to be in it.
        command.arg("--default-signal").args(words).current_dir(self.root()).process_group(0);
        for name in [
            "LISTEN_PID",
            "TINI_SUBREAPER",
            "TINI_KILL_PROCESS_GROUP",
            "TINI_VERBOSITY",
            "DUMB_INIT_SETSID",
            "DUMB_INIT_DEBUG",
        ] {
            command.env_remove(name);
        }
        command.envs(self.variables.lock().expect("no panic while locked").iter().copied());
        command
    }

    /// All that is started from now on has this variable.
    fn with(&self, name: &'static str, value: &'static str) {
        self.variables.lock().expect("no panic while locked").push((name, value));
    }

    /// How they end, and what they wrote to stdout.
    fn outcome<W: AsRef<OsStr>>(&self, words: &[W]) -> (String, String) {
        let running = self.start(words);
        (ending(&running, SOON), running.stdout())
    }

    pub fn text(&self, file: &str) -> String {
        fs::read_to_string(self.root().join(file)).unwrap_or_default()
    }

    fn write(&self, file: &str, content: &str, mode: u32) {
        self.sv.service_at(self.root()).file_with_mode(file, content, mode).create();
    }

    /// Waits for a file with a pid and a newline in it.
    pub fn pid(&self, file: &str) -> u32 {
        let text = wait_for(&format!("a pid in {file}"), SOON, || Some(self.text(file)).filter(|t| t.ends_with('\n')));
        text.trim().parse().expect("a pid")
    }

    /// Sends any signal by its number, real-time signals too.
    fn send(&self, pid: u32, number: i32) {
        match Signal::try_from(number) {
            Ok(signal) => crate::svdir::send(pid, signal),
            Err(_) => drop(self.sv.tool("kill", &[&format!("-{number}"), &pid.to_string()])),
        }
    }
}

/// The code as a number, or what happened instead.
fn ending(running: &Supervisor, deadline: Duration) -> String {
    match poll_until(deadline, || running.ended()).map(Ending::from) {
        Some(Ending::Code(code)) => code.to_string(),
        Some(Ending::Signal(signal)) => format!("signal {signal}"),
        None => "hangs".to_owned(),
    }
}

fn shell(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

/// The first `wanted` that is not as it should be, or nothing.
fn all_or_first_wrong(mut wrong: impl Iterator<Item = String>) -> String {
    wrong.next().unwrap_or_else(|| "all".to_owned())
}

// ---------------------------------------------------------------------------------------------------------------------
// The table
// ---------------------------------------------------------------------------------------------------------------------

struct Scenario {
    name: &'static str,
    /// What is seen with onit.
    expected: &'static str,
    look: fn(&World) -> String,
}

const fn scenario(name: &'static str, expected: &'static str, look: fn(&World) -> String) -> Scenario {
    Scenario { name, expected, look }
}

const SCENARIOS: &[Scenario] = &[
    scenario("exit codes become ours", "all", exit_codes),
    scenario("death by a signal becomes 128+N", "all", deaths_by_signals),
    scenario("a command that is not there", "127, one line", |w| exec_failure(w, "nonsense")),
    scenario("a path that is not there", "127, one line", |w| exec_failure(w, "./no/such/file")),
    scenario("an empty word as the command", "127, one line", |w| exec_failure(w, "")),
    scenario("a file that is not executable", "126, one line", |w| exec_failure(w, "./plain")),
    scenario("a directory", "126, one line", |w| exec_failure(w, "./folder")),
    scenario("a path through a file", "126, one line", |w| exec_failure(w, "./plain/below")),
    scenario("a script whose interpreter is missing", "127, one line", |w| exec_failure(w, "./orphaned")),
    scenario("a script without #!", "7", text_without_shebang),
    scenario("what is not executable is looked for further along PATH", "8", later_in_path),
    scenario("no command", "100, says so", |w| refusal(w, &["--"])),
    scenario("no arguments", "100, says so", |w| refusal(w, &[])),
    scenario("an option nobody knows", "100, says so", |w| refusal(w, &["--nonsense", "--", "true"])),
    scenario("options after the command are the command's", "3", options_after_the_command),
    scenario("-- after the command is the command's", "-- -g", dashes_after_the_command),
    scenario("arguments arrive byte for byte", "as given", odd_arguments),
    scenario("session and group", "our session, a group of its own", session_and_group),
    scenario("signal state, limits, identity", "as without", |w| transparent(w, &[], LOOK_AT_PROCESS)),
    scenario("the same, with signals blocked and ignored", "as without", |w| {
        transparent(w, ODD_SIGNALS, LOOK_AT_PROCESS)
    }),
    scenario("the same, with low limits", "as without", |w| transparent(w, LOW_LIMITS, LOOK_AT_PROCESS)),
    scenario("descriptors", "as without", |w| transparent(w, ODD_FILES, LOOK_AT_FILES)),
    scenario("environment", "as without", |w| transparent(w, ODD_VARIABLES, &["env"])),
    scenario("directory", "as without", |w| transparent(w, &[], &["pwd", "-P"])),
    scenario("LISTEN_PID that names us", "names the command", |w| listen_pid(w, true)),
    scenario("LISTEN_PID that names another", "untouched", |w| listen_pid(w, false)),
    scenario("signals that reach the command", REACHING, signals_that_reach_the_command),
    scenario("a forwarded signal, and the command's children", "command", |w| targets(w, w.who.to_command())),
    scenario("the same when the group is asked for", "child, command", |w| targets(w, w.who.to_group())),
    scenario("a hundred real-time signals", "100", real_time_signals_are_queued),
    scenario("a signal that was there before us", "143", signal_before_us),
    scenario("a command that stops and is continued", "5", stop_and_continue),
    scenario("SIGCHLD ignored on entry", "3", child_signal_ignored),
    scenario("children left by who executed it", "3", inherited_children),
    scenario("orphans while the command lives", "adopted and reaped", orphans_are_reaped),
    scenario("what is left when the command ends", "told TERM, 3", left_that_hears),
    scenario("what is left and deaf", "killed after a second, 3", left_that_is_deaf),
];

struct Difference {
    who: &'static [Who],
    scenario: &'static str,
    instead: &'static str,
    /// For the reader: nothing looks at it.
    _because: &'static str,
}

const fn differs(
    who: &'static [Who],
    scenario: &'static str,
    instead: &'static str,
    because: &'static str,
) -> Difference {
    Difference { who, scenario, instead, _because: because }
}

const TINIS: &[Who] = &[Tini, OnitAsTini];
const DUMBS: &[Who] = &[DumbInit, OnitAsDumbInit];
const OTHERS: &[Who] = &[Tini, OnitAsTini, DumbInit, OnitAsDumbInit, Catatonit];
const NO_TABLE_OF_CODES: &str = "one code for whatever goes wrong";
const ENDS_AT_ONCE: &str = "leaves the rest to the kernel, which kills it where we are PID 1 and nowhere else";

const NOT_LOOKED_AT: &str = "not looked at";
const ENDS_ALL: &str = "some signals are the end of everything beside services, and have tests of their own";
const FINE_WITHOUT: &str = "without a command there are still the services";

const DIFFERENCES: &[Difference] = &[
    differs(&[OnitBesideServices], "no arguments", NOT_LOOKED_AT, FINE_WITHOUT),
    differs(&[OnitBesideServices], "signals that reach the command", NOT_LOOKED_AT, ENDS_ALL),
    differs(
        &[OnitBesideServices],
        "environment",
        "+ONIT_SVDIR=ROOT/service",
        "what the command asks with onit's verbs is about the services beside it",
    ),
    differs(
        &[OnitBesideServices],
        "options after the command are the command's",
        "100",
        "without -- it is a second DIR",
    ),
    differs(DUMBS, "a command that is not there", "2, one line", NO_TABLE_OF_CODES),
    differs(DUMBS, "a path that is not there", "2, one line", NO_TABLE_OF_CODES),
    differs(DUMBS, "an empty word as the command", "2, one line", NO_TABLE_OF_CODES),
    differs(DUMBS, "a file that is not executable", "2, one line", NO_TABLE_OF_CODES),
    differs(DUMBS, "a directory", "2, one line", NO_TABLE_OF_CODES),
    differs(DUMBS, "a path through a file", "2, one line", NO_TABLE_OF_CODES),
    differs(DUMBS, "a script whose interpreter is missing", "2, one line", NO_TABLE_OF_CODES),
    differs(&[Catatonit], "a command that is not there", "1, one line", NO_TABLE_OF_CODES),
    differs(&[Catatonit], "a path that is not there", "1, one line", NO_TABLE_OF_CODES),
    differs(&[Catatonit], "an empty word as the command", "1, one line", NO_TABLE_OF_CODES),
    differs(&[Catatonit], "a file that is not executable", "1, one line", NO_TABLE_OF_CODES),
    differs(&[Catatonit], "a directory", "1, one line", NO_TABLE_OF_CODES),
    differs(&[Catatonit], "a path through a file", "1, one line", NO_TABLE_OF_CODES),
    differs(&[Catatonit], "a script whose interpreter is missing", "1, one line", NO_TABLE_OF_CODES),
    differs(TINIS, "a path through a file", "1, one line", "knows two causes, and this is a third"),
    differs(OTHERS, "no command", "1, says so", "their code for wrong use"),
    differs(OTHERS, "no arguments", "1, says so", "their code for wrong use"),
    differs(OTHERS, "an option nobody knows", "1, says so", "their code for wrong use"),
    differs(&[Onit], "options after the command are the command's", "100", "without -- a verb stands there"),
    differs(&[Tini, Catatonit], "options after the command are the command's", "1", "getopt permutes"),
    differs(DUMBS, "session and group", "a session of its own, a group of its own", "its way to know its children"),
    differs(
        &[Catatonit],
        "signal state, limits, identity",
        "-SigBlk: 0000000000000000, +SigBlk: 0000000000380000",
        "its own TSTP, TTIN and TTOU leak",
    ),
    differs(
        &[Catatonit],
        "the same, with low limits",
        "-SigBlk: 0000000000000000, +SigBlk: 0000000000380000",
        "its own TSTP, TTIN and TTOU leak",
    ),
    differs(
        &[Catatonit],
        "the same, with signals blocked and ignored",
        "-SigBlk: 0000004000194200, +SigBlk: 0000004000394200",
        "its own TTOU leaks; the others were blocked",
    ),
    differs(
        &[DumbInit],
        "the same, with signals blocked and ignored",
        "-SigBlk: 0000004000194200, -SigIgn: 0000008180201801, +SigBlk: 0000000000000000, +SigIgn: 0000008180000000",
        "it sets everything to the default, but for real-time signals and those of the C library",
    ),
    differs(&[Tini, DumbInit], "LISTEN_PID that names us", "names the entrypoint", "knows nothing of it"),
    differs(
        &[Tini],
        "signals that reach the command",
        "reaches it: 1 2 3 10 12 13 14 15 16 18 20 23 24 25 26 27 28 29 30 34 40 64; \
        is kept: 17 21 22; ends us: 4 5 6 7 8 11 31",
        "ABRT is a fault to it; CONT is for the command only, as it never stops with it",
    ),
    differs(
        &[OnitAsTini],
        "signals that reach the command",
        "reaches it: 1 2 3 10 12 13 14 15 16 20 23 24 25 26 27 28 29 30 34 40 64; \
        reaches its group: 18; is kept: 17 21 22; ends us: 4 5 6 7 8 11 31",
        "ABRT is a fault to it, too; it stops with the command, and so CONT is for all that was stopped",
    ),
    differs(
        &[Catatonit],
        "signals that reach the command",
        "reaches it: 1 2 3 10 12 13 14 15 16 18 23 24 25 26 27 28 29 30 34 40 64; \
        is kept: 17 20 21 22; ends us: 4 5 6 7 8 11 31",
        "as tini, and it swallows TSTP",
    ),
    differs(
        DUMBS,
        "signals that reach the command",
        "reaches it: 1 2 3 4 5 6 7 8 10 11 12 13 14 15 16 18 23 24 25 26 27 28 29 30 31 34 40 64; \
        is kept: 17; reaches it and stops us: 20 21 22",
        "faults are signals like others to it, and it stops when it is told to, whatever the command does",
    ),
    differs(&[Tini, Catatonit], "SIGCHLD ignored on entry", "hangs", "the kernel reaps, and they wait for ever"),
    differs(DUMBS, "orphans while the command lives", "not adopted", "adopts as PID 1 only"),
    differs(
        &[DumbInit],
        "a signal that was there before us",
        NOT_LOOKED_AT,
        "what its child gets before exec may be lost",
    ),
    differs(TINIS, "what is left when the command ends", "lives on, 3", ENDS_AT_ONCE),
    differs(TINIS, "what is left and deaf", "lives on, 3", ENDS_AT_ONCE),
    differs(DUMBS, "what is left when the command ends", "lives on, 3", ENDS_AT_ONCE),
    differs(DUMBS, "what is left and deaf", "lives on, 3", ENDS_AT_ONCE),
    differs(&[Catatonit], "what is left when the command ends", "lives on, 3", ENDS_AT_ONCE),
    differs(&[Catatonit], "what is left and deaf", "lives on, 3", ENDS_AT_ONCE),
];

/// Looks at everything before it complains: the whole difference is worth more than its first line.
fn compare(who: Who, scenarios: &[Scenario], differences: &[Difference]) {
    let mut wrong = Vec::new();
    for Scenario { name, expected, look } in scenarios {
        let difference = differences.iter().find(|d| d.scenario == *name && d.who.contains(&who));
        let expected = difference.map_or(*expected, |difference| difference.instead);
        if expected == NOT_LOOKED_AT {
            continue;
        }
        let start = Instant::now();
        let seen = look(&World::new(who));
        if std::env::var_os("TIMES").is_some() {
            println!("{who:?} {name}: {:?}", start.elapsed());
        }
        if seen != expected {
            wrong.push(format!("{name}\n  expected: {expected}\n  seen:     {seen}"));
        }
    }
    assert!(wrong.is_empty(), "{who:?}:\n{}", wrong.join("\n"));
}

fn every_difference_is_one(scenarios: &[Scenario], differences: &[Difference]) {
    for difference in differences {
        let scenario = scenarios.iter().find(|scenario| scenario.name == difference.scenario);
        let scenario = scenario.unwrap_or_else(|| panic!("no such scenario: {}", difference.scenario));
        assert_ne!(difference.instead, scenario.expected, "no difference: {}", difference.scenario);
    }
}

macro_rules! compared {
    ($($name:ident: $who:ident, $scenarios:ident, $differences:ident;)+) => {$(
        #[test]
        fn $name() {
            if let Some(why) = $who.missing() {
                skip!("{why}");
            }
            every_difference_is_one($scenarios, $differences);
            compare($who, $scenarios, $differences);
        }
    )+};
}

compared! {
    onit_is_what_the_table_says: Onit, SCENARIOS, DIFFERENCES;
    onit_beside_services_is_what_the_table_says: OnitBesideServices, SCENARIOS, DIFFERENCES;
    onit_as_tini_is_what_the_table_says: OnitAsTini, SCENARIOS, DIFFERENCES;
    onit_as_dumb_init_is_what_the_table_says: OnitAsDumbInit, SCENARIOS, DIFFERENCES;
    tini_differs_where_the_table_says: Tini, SCENARIOS, DIFFERENCES;
    dumb_init_differs_where_the_table_says: DumbInit, SCENARIOS, DIFFERENCES;
    catatonit_differs_where_the_table_says: Catatonit, SCENARIOS, DIFFERENCES;
}

// ---------------------------------------------------------------------------------------------------------------------
// How the command ends
// ---------------------------------------------------------------------------------------------------------------------

fn exit_codes(world: &World) -> String {
    let some = [0, 1, 2, 7, 77, 100, 111, 125, 126, 127, 128, 129, 143, 254, 255];
    let codes: Vec<i32> = if world.who == Onit { (0..=255).collect() } else { some.to_vec() };
    all_or_first_wrong(codes.into_iter().filter_map(|code| {
        let seen = world.outcome(&world.entry(&[], &shell(&format!("exit {code}")))).0;
        (seen != code.to_string()).then(|| format!("{code} became {seen}"))
    }))
}

/// Every signal that ends a process, and three real-time signals.
const DEADLY: &[i32] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31, 34, 40, 64];

fn deaths_by_signals(world: &World) -> String {
    all_or_first_wrong(DEADLY.iter().filter_map(|signal| {
        let suicide = format!("ulimit -c 0; kill -{signal} $$; sleep 1000");
        let seen = world.outcome(&world.entry(&[], &shell(&suicide))).0;
        (seen != (128 + signal).to_string()).then(|| format!("{signal} became {seen}"))
    }))
}

fn exec_failure(world: &World, command: &str) -> String {
    world.write("plain", "exit 7\n", 0o644);
    world.write("orphaned", "#!/no/such/interpreter\n", 0o755);
    fs::create_dir_all(world.root().join("folder")).expect("mkdir");
    let running = world.start(&world.entry(world.who.adopting(), &[command]));
    let code = ending(&running, SOON);
    match running.stderr().lines().collect::<Vec<_>>().as_slice() {
        [] => format!("{code}, silently"),
        [_] => format!("{code}, one line"),
        lines => format!("{code}, {}", lines.join(" | ")),
    }
}

fn text_without_shebang(world: &World) -> String {
    world.write("plain", "exit 7\n", 0o755);
    world.outcome(&world.entry(&[], &["./plain"])).0
}

fn later_in_path(world: &World) -> String {
    world.write("first/prog", "#!/bin/sh\nexit 7\n", 0o644);
    world.write("second/prog", "#!/bin/sh\nexit 8\n", 0o755);
    let path = format!("PATH={0}/none:{0}/first:{0}/second", world.root().display());
    // `env` looks for its own command along the new PATH: so give it paths.
    let mut words = world.entry(&[], &["prog"]);
    words[0] = absolute(&words[0]);
    let mut all: Vec<OsString> = vec!["env".into(), path.into()];
    all.extend(words);
    world.outcome(&all).0
}

fn absolute(program: &OsStr) -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    found.map_or_else(|| program.to_owned(), Into::into)
}

fn refusal(world: &World, arguments: &[&str]) -> String {
    let running = world.start(&world.words(arguments));
    let code = ending(&running, SOON);
    format!("{code}, {}", if (running.stderr() + &running.stdout()).is_empty() { "silently" } else { "says so" })
}

fn options_after_the_command(world: &World) -> String {
    let mut words = world.words(&[]);
    words.extend(shell("exit 3").map(OsString::from));
    world.outcome(&words).0
}

fn dashes_after_the_command(world: &World) -> String {
    world.outcome(&world.entry(&[], &["echo", "--", "-g"])).1.trim_end().to_owned()
}

fn odd_arguments(world: &World) -> String {
    let odd: [&[u8]; 5] = [b"", b"a b", b"-v", b"\xff\xfe", b"new\nline"];
    let mut words: Vec<&OsStr> = ["perl", "-e", "print join '|', map { unpack 'H*', $_ } @ARGV"].map(OsStr::new).into();
    words.push(OsStr::new("--"));
    words.extend(odd.map(OsStr::from_bytes));
    let expected = odd.map(|word| word.iter().map(|byte| format!("{byte:02x}")).collect::<String>()).join("|");
    let seen = world.outcome(&world.entry(&[], &words)).1;
    if seen == expected { "as given".to_owned() } else { seen }
}

// ---------------------------------------------------------------------------------------------------------------------
// What the command finds
// ---------------------------------------------------------------------------------------------------------------------

const LOOK_AT_PROCESS: &[&str] = &["cat", "/proc/self/status", "/proc/self/limits", "/proc/self/oom_score_adj"];
const LOOK_AT_FILES: &[&str] =
    &["perl", "-e", r#"for (0, 3 .. 30) { my $to = readlink "/proc/self/fd/$_"; print "$_ $to\n" if defined $to }"#];

const ODD_SIGNALS: &[&str] =
    &["env", "--ignore-signal=HUP,PIPE,USR2,TTOU,RTMIN+6", "--block-signal=USR1,TTIN,TSTP,TERM,CHLD,RTMIN+5"];
const LOW_LIMITS: &[&str] = &["sh", "-c", r#"ulimit -Sn 256; ulimit -Hn 4000; ulimit -c 0; umask 27; exec "$@""#, "sh"];
const ODD_FILES: &[&str] = &["sh", "-c", r#"exec <"$0" 3</etc/passwd 5>/dev/null 9</; exec "$@""#, "/etc/hostname"];
const ODD_VARIABLES: &[&str] =
    &["env", "-i", "PATH=/usr/bin:/bin:/usr/sbin", "A=", "B=a b", "=odd", "LISTEN_PID=x", "A2=2"];

/// What differs between a look from inside the entrypoint, prepared by `before`, and the same look without one.
fn transparent(world: &World, before: &[&str], look: &[&str]) -> String {
    let before: Vec<OsString> = before.iter().map(OsString::from).collect();
    let direct: Vec<OsString> = look.iter().map(OsString::from).collect();
    let looked = |words: Vec<OsString>| {
        let (code, text) = world.outcome(&[before.clone(), words].concat());
        assert_eq!(code, "0", "{look:?}");
        text
    };
    let (without, with) = (looked(direct), looked(world.entry(&[], look)));
    // These name the process, or count what it has done.
    let alike = [
        "Name",
        "SigQ",
        "Pid",
        "Tgid",
        "Ngid",
        "PPid",
        "NStgid",
        "NSpid",
        "NSpgid",
        "NSsid",
        "voluntary_ctxt",
        "nonvoluntary",
    ];
    let alike = |line: &str| {
        alike.iter().any(|name| line.starts_with(name)) || line.starts_with("Vm") || line.starts_with("Rss")
    };
    let lines = |text: &str| text.lines().filter(|line| !alike(line)).map(str::to_owned).collect::<Vec<_>>();
    let (without, with) = (lines(&without), lines(&with));
    assert!(without.len() > 3 || look[0] == "pwd", "something was seen: {without:?}");
    let missing = without.iter().filter(|line| !with.contains(line)).map(|line| format!("-{line}"));
    let added = with.iter().filter(|line| !without.contains(line)).map(|line| format!("+{line}"));
    let difference: Vec<String> =
        missing.chain(added).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    match (difference.is_empty(), without == with) {
        (true, true) => "as without".to_owned(),
        (true, false) => "in another order".to_owned(),
        _ => difference.join(", ").replace(&*world.root().to_string_lossy(), "ROOT"),
    }
}

fn session_and_group(world: &World) -> String {
    let text = world.outcome(&world.entry(&[], &["cat", "/proc/self/stat"])).1;
    let own = fs::read_to_string("/proc/self/stat").expect("our own stat");
    let field =
        |text: &str, number: usize| text.rsplit(')').next().and_then(|t| t.split(' ').nth(number)).map(str::to_owned);
    let pid = text.split(' ').next().map(str::to_owned);
    let session = if field(&text, 4) == field(&own, 4) { "our session" } else { "a session of its own" };
    let group = if field(&text, 3) == pid { "a group of its own" } else { "our group" };
    format!("{session}, {group}")
}

fn listen_pid(world: &World, ours: bool) -> String {
    // exec keeps the pid: what this shell calls itself is what the entrypoint will be.
    let named = if ours { "$$" } else { "1234567" };
    let set = format!("echo $$ >entry; export LISTEN_FDS=1 LISTEN_PID={named}; exec \"$@\"");
    let mut words: Vec<OsString> = ["sh", "-c", &set, "sh"].map(OsString::from).into();
    words.extend(
        world.entry(&[], &["perl", "-e", "print $ENV{LISTEN_PID} == $$ ? 'names the command' : $ENV{LISTEN_PID}"]),
    );
    let seen = world.outcome(&words).1;
    match () {
        () if seen == world.text("entry").trim() => "names the entrypoint".to_owned(),
        () if seen == "1234567" => "untouched".to_owned(),
        () => seen,
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Signals
// ---------------------------------------------------------------------------------------------------------------------

/// Notes every signal it gets, and so does its child. At once: perl's own `%SIG` may leave one for later and sleep.
const LISTENER: &str = r#"
use Fcntl; use POSIX ();
sysopen(my $log, 'heard', O_WRONLY | O_APPEND | O_CREAT) or die;
my $who = 'command';
my $all = POSIX::SigSet->new; $all->fillset;
for my $number (1 .. 31, 34, 40, 64) {
    next if $number == 9 || $number == 19;
    POSIX::sigaction($number, POSIX::SigAction->new(sub { syswrite $log, "$who $number\n" }, $all)) or die "$number";
}
pipe(my $ready, my $tell);
my $child = fork;
if ($child == 0) {
    $who = 'child'; close $ready;
    open(my $f, '>', 'child'); print $f "$$\n"; close $f;
    close $tell;
    sleep 1 while 1;
}
close $tell; <$ready>; # ends when the child hears
open(my $f, '>', 'command'); print $f "$$\n"; close $f;
sleep 1 while 1;
"#;

struct Listener<'w> {
    world: &'w World,
    running: Supervisor,
    command: u32,
}

fn wait_until_it_has_noted_all(pid: u32) {
    let quiet = || Glimpse::of(pid).is_none_or(|glimpse| glimpse.pending == 0 && glimpse.state == 'S');
    wait_for("all signals to be noted", SOON, || quiet().then_some(()));
}

impl<'w> Listener<'w> {
    fn start(world: &'w World, options: &[&str]) -> Self {
        for file in ["heard", "child", "command"] {
            drop(fs::remove_file(world.root().join(file)));
        }
        let running = world.start(&world.entry(options, &["perl", "-e", LISTENER]));
        let command = world.pid("command");
        world.pid("child");
        Self { world, running, command }
    }

    /// What happened after this signal: who heard what, who stopped, who ended.
    fn after(&self, number: i32) -> String {
        let heard = || self.world.text("heard");
        let before = heard().lines().count();
        let new = || heard().lines().skip(before).map(str::to_owned).collect::<Vec<String>>();
        let is_stopped = |pid| Glimpse::of(pid).is_some_and(|glimpse| glimpse.is_stopped());
        self.world.send(self.running.pid(), number);
        // The fences: when one that was sent later has come, then a forwarded signal would have come as well. Two of them,
        // because of signals that wait together the lower number is taken first.
        for (fence, count) in [(Signal::SIGURG, 1), (Signal::SIGWINCH, 1)] {
            let fence = fence as i32;
            if fence == number {
                continue;
            }
            let passed = format!("command {fence}");
            self.world.send(self.running.pid(), fence);
            let event = poll_until(SOON, || match () {
                () if self.running.ended().is_some() => Some("ends us"),
                () if new().iter().filter(|line| **line == passed).count() >= count => Some("heard"),
                () if is_stopped(self.command) || is_stopped(self.running.pid()) => {
                    let both = || is_stopped(self.command) && is_stopped(self.running.pid());
                    match poll_until(Duration::from_millis(1500), || both().then_some(())) {
                        Some(()) => Some("stops both"),
                        None if is_stopped(self.command) => Some("stops the command"),
                        None => Some("reaches it and stops us"),
                    }
                }
                () => None,
            });
            match event {
                Some("heard") => continue,
                Some(event) => {
                    for pid in [self.running.pid(), self.command] {
                        self.world.send(pid, Signal::SIGCONT as i32);
                    }
                    if self.running.ended().is_none() {
                        wait_for("the fence", SOON, || new().contains(&passed).then_some(()));
                        // With it come the fence and what continues them, whichever is taken first.
                        [self.running.pid(), self.command].into_iter().for_each(wait_until_it_has_noted_all);
                    }
                    return event.to_owned();
                }
                None => return "makes it deaf".to_owned(),
            }
        }
        wait_until_it_has_noted_all(self.world.pid("child")); // it is told in the same call or not at all
        let fences = [Signal::SIGURG, Signal::SIGWINCH].map(|fence| fence as i32).into_iter().filter(|&f| f != number);
        let fences: Vec<String> = fences.flat_map(|f| [format!("command {f}"), format!("child {f}")]).collect();
        let mut heard: Vec<String> = new().into_iter().filter(|line| !fences.contains(line)).collect();
        heard.sort();
        match heard.join(", ") {
            text if text.is_empty() => "is kept".to_owned(),
            text if text == format!("command {number}") => "reaches it".to_owned(),
            text if text == format!("child {number}, command {number}") => "reaches its group".to_owned(),
            text => text,
        }
    }
}

const REACHING: &str = "reaches it: 1 2 3 6 10 12 13 14 15 16 20 23 24 25 26 27 28 29 30 34 40 64; \
                        reaches its group: 18; is kept: 17 21 22; ends us: 4 5 7 8 11 31";

fn signals_that_reach_the_command(world: &World) -> String {
    let mut outcomes: Vec<(String, Vec<String>)> = Vec::new();
    let mut listener = Listener::start(world, world.who.to_command());
    for number in (1..=31).chain([34, 40, 64]).filter(|number| ![9, 19].contains(number)) {
        let outcome = listener.after(number);
        if listener.running.ended().is_some() {
            world.send(listener.command, 9);
            listener = Listener::start(world, world.who.to_command());
        }
        match outcomes.iter_mut().find(|(name, _)| *name == outcome) {
            Some((_, numbers)) => numbers.push(number.to_string()),
            None => outcomes.push((outcome, vec![number.to_string()])),
        }
    }
    outcomes.sort_by_key(|(name, _)| {
        ["reaches it", "reaches its group", "is kept", "ends us"].iter().position(|n| n == name).unwrap_or(9)
    });
    outcomes.iter().map(|(name, numbers)| format!("{name}: {}", numbers.join(" "))).collect::<Vec<_>>().join("; ")
}

fn targets(world: &World, options: &[&str]) -> String {
    let listener = Listener::start(world, options);
    world.send(listener.running.pid(), 15);
    wait_for("TERM", SOON, || world.text("heard").contains("command 15").then_some(()));
    wait_until_it_has_noted_all(world.pid("child"));
    let heard = world.text("heard");
    let mut who: Vec<&str> = heard.lines().filter_map(|line| line.strip_suffix(" 15")).collect();
    who.sort_unstable();
    who.join(", ")
}

fn real_time_signals_are_queued(world: &World) -> String {
    // An action of sigaction(2) runs at once and each time; those of %SIG are gathered.
    let count = r#"use POSIX; my ($n, $last) = (0, 0);
        my $all = POSIX::SigSet->new; $all->fillset;
        POSIX::sigaction(40, POSIX::SigAction->new(sub { $n++ }, $all)); $SIG{TERM} = sub { $last = 1 };
        open(my $f, '>', 'command'); print $f "$$\n"; close $f;
        select(undef, undef, undef, 0.02) until $last || $n >= 100; print $n"#;
    let running = world.start(&world.entry(&[], &["perl", "-e", count]));
    world.pid("command");
    let pid = running.pid();
    world.sv.tool("sh", &["-c", &format!("i=0; while [ $i -lt 100 ]; do kill -40 {pid}; i=$((i+1)); done")]);
    if poll_until(Duration::from_secs(3), || running.ended()).is_none() {
        world.send(pid, 15);
        ending(&running, SOON);
    }
    running.stdout()
}

/// It waits, blocked, while we are executed; the command inherits the mask and lets it in.
fn signal_before_us(world: &World) -> String {
    let before = "use POSIX; sigprocmask(SIG_BLOCK, POSIX::SigSet->new(SIGTERM)); kill 'TERM', $$; exec @ARGV";
    let command =
        "use POSIX; sigprocmask(SIG_UNBLOCK, POSIX::SigSet->new(SIGTERM)); select(undef, undef, undef, 5); exit 3";
    let mut words: Vec<OsString> = ["perl", "-e", before, "--"].map(OsString::from).into();
    words.extend(world.entry(world.who.to_command(), &["perl", "-e", command]));
    world.outcome(&words).0
}

fn stop_and_continue(world: &World) -> String {
    let running = world.start(&world.entry(&[], &shell("echo $$ >command; kill -STOP $$; exit 5")));
    let command = world.pid("command");
    wait_for("the stop", SOON, || Glimpse::of(command).filter(Glimpse::is_stopped));
    let stopped = || Glimpse::of(running.pid()).filter(Glimpse::is_stopped);
    let stops_too = poll_until(Duration::from_millis(100), stopped).map_or("", |_| "stops too, ");
    world.send(running.pid(), Signal::SIGCONT as i32);
    format!("{stops_too}{}", ending(&running, SOON))
}

/// Somebody stops the command where no terminal is; a sibling of the entrypoint must not hear of it.
#[test]
fn where_no_terminal_is_a_stopped_command_stops_nobody_else() {
    if let Some(why) = missing_tools(&["perl", "setsid"]) {
        skip!("{why}");
    }
    for who in [Onit, OnitAsTini] {
        let world = World::new(who);
        // The leader of the session lets nobody be an orphaned group, which the kernel would not stop.
        let outer = "setpgrp(0, 0); my $child = fork; if ($child) { waitpid($child, 0); exit $? >> 8 }
            setpgrp(0, 0); my $sibling = fork;
            unless ($sibling) { $SIG{TSTP} = sub { open(my $hit, '>', 'hit') }; sleep 1 while 1 }
            my $status = system(@ARGV) >> 8; kill 'KILL', $sibling; exit $status";
        let mut words: Vec<OsString> = ["setsid", "-w", "perl", "-e", outer].map(OsString::from).into();
        words.extend(world.entry(&[], &shell("echo $$ >command; kill -TSTP $$; exit 5")));
        let running = world.start(&words);
        let command = world.pid("command");
        wait_for("the stop", SOON, || Glimpse::of(command).filter(Glimpse::is_stopped));
        assert!(poll_until(Duration::from_millis(300), || world.root().join("hit").exists().then_some(())).is_none());
        world.send(command, Signal::SIGCONT as i32);
        assert_eq!(ending(&running, SOON), "5", "{who:?}");
    }
}

fn child_signal_ignored(world: &World) -> String {
    let mut words: Vec<OsString> = ["env", "--ignore-signal=CHLD"].map(OsString::from).into();
    words.extend(world.entry(&[], &shell("sleep 0.1; exit 3")));
    let running = world.start(&words);
    let hangs = matches!(world.who, Tini | Catatonit);
    ending(&running, if hangs { Duration::from_millis(1_500) } else { SOON })
}

// ---------------------------------------------------------------------------------------------------------------------
// Orphans
// ---------------------------------------------------------------------------------------------------------------------

/// One that ends before, one that ends after the command: neither is the command.
fn inherited_children(world: &World) -> String {
    let mut words: Vec<OsString> =
        ["sh", "-c", r#"sh -c 'exit 9' & sh -c 'sleep 0.2; exit 8' & exec "$@""#, "sh"].map(OsString::from).into();
    words.extend(world.entry(&[], &shell("sleep 0.4; exit 3")));
    world.outcome(&words).0
}

fn parent_of(pid: u32) -> Option<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    text.rsplit(')').next()?.split(' ').nth(2)?.parse().ok()
}

fn orphans_are_reaped(world: &World) -> String {
    orphans_with(world, world.who.adopting())
}

fn orphans_with(world: &World, options: &[&str]) -> String {
    let script = "(sh -c 'echo $$ >orphan; exec sleep 1000' &); echo $$ >command; exec sleep 1000";
    let running = world.start(&world.entry(options, &shell(script)));
    let (orphan, command) = (world.pid("orphan"), world.pid("command"));
    let adopted = poll_until(SOON, || {
        let parent = parent_of(orphan)?;
        // The shell in between may not have ended yet.
        (parent == running.pid() || parent == std::process::id() || parent == 1).then_some(parent)
    });
    if adopted != Some(running.pid()) {
        return "not adopted".to_owned();
    }
    world.send(orphan, 9);
    let reaped = poll_until(SOON, || Glimpse::of(orphan).is_none().then_some(()));
    assert!(proc::is_alive(command));
    if reaped.is_some() { "adopted and reaped" } else { "adopted and left a zombie" }.to_owned()
}

fn left_that_hears(world: &World) -> String {
    left_over(world, "trap 'echo TERM >told; exit' TERM; echo $$ >left; while :; do sleep 0.01; done")
}

fn left_that_is_deaf(world: &World) -> String {
    left_over(world, "trap '' TERM; echo $$ >left; exec sleep 1000")
}

/// What becomes of a process in a session of its own after the command has ended.
fn left_over(world: &World, script: &str) -> String {
    world.write("stay", &format!("#!/bin/sh\n{script}\n"), 0o755);
    let command = "setsid ./stay & until [ -s left ]; do sleep 0.01; done; exit 3";
    let start = Instant::now();
    let running = world.start(&world.entry(world.who.adopting(), &shell(command)));
    let left = world.pid("left");
    let code = ending(&running, SOON);
    let took = start.elapsed();
    let fate = match (proc::is_alive(left), world.text("told").is_empty(), took.as_secs_f32()) {
        (true, ..) => "lives on".to_owned(),
        (false, false, _) => "told TERM".to_owned(),
        (false, true, 0.9..) => "killed after a second".to_owned(),
        (_, _, seconds) => format!("gone after {seconds} s"),
    };
    format!("{fate}, {code}")
}

// ---------------------------------------------------------------------------------------------------------------------
// tini's words
// ---------------------------------------------------------------------------------------------------------------------

const TINI_SCENARIOS: &[Scenario] = &[
    scenario("--version", "0, stdout: tini version 0.19.0", |w| first_words(w, &["--version"], 3)),
    scenario("-h", "0, stdout", |w| first_words(w, &["-h"], 0)),
    scenario("-l", "0, stdout", |w| first_words(w, &["-l"], 0)),
    scenario("-e takes a code", "0", |w| code_of(w, &["-e", "143"], "kill -TERM $$")),
    scenario("-e more than once", "0 0 5", |w| {
        [3, 4, 5].map(|code| code_of(w, &["-e", "3", "-e4"], &format!("exit {code}"))).join(" ")
    }),
    scenario("-e takes no more than 255", "1, says so", |w| refusal(w, &["-e", "256", "--", "true"])),
    scenario("options in one word", "0", |w| code_of(w, &["-sge7"], "exit 7")),
    scenario("-v, often", "7", |w| code_of(w, &["-vvv", "-v"], "exit 7")),
    scenario("-g", "child, command", |w| targets(w, &["-s", "-g"])),
    scenario("TINI_KILL_PROCESS_GROUP", "child, command", |w| {
        w.with("TINI_KILL_PROCESS_GROUP", "");
        targets(w, &["-s"])
    }),
    scenario("TINI_SUBREAPER", "adopted and reaped", |w| {
        w.with("TINI_SUBREAPER", "");
        orphans_with(w, &[])
    }),
    scenario("without either, not PID 1", "not adopted", |w| orphans_with(w, &[])),
    scenario("-w says what it reaps", "1", |w| reaped_lines(w, &["-s", "-w"])),
    scenario("without -w it does not", "0", |w| reaped_lines(w, &["-s"])),
    scenario("-p SIGTERM", "told", |w| parent_ends(w, &["-s", "-p", "SIGTERM"])),
    scenario("without -p", "lives on", |w| parent_ends(w, &["-s"])),
    scenario("-p takes whole names", "1, says so", |w| refusal(w, &["-s", "-p", "TERM", "--", "true"])),
    scenario("-p takes no other names", "1, says so", |w| refusal(w, &["-s", "-p", "SIGFOO", "--", "true"])),
    scenario("a code that is none", "1 [FATAL tini (N)] Not a valid option for -e: 256", |w| {
        lines_with(w, &["-e", "256", "true"], "FATAL")
    }),
    scenario("an option nobody knows", "1 TINI: invalid option -- 'x'", |w| lines_with(w, &["-x", "true"], "invalid")),
    scenario("a command that is not there", "127 [FATAL tini (N)] exec ./no failed: No such file or directory", |w| {
        lines_with(w, &["-s", "./no"], "FATAL")
    }),
    scenario(
        "not adopting is told",
        "0 [WARN  tini (N)] Tini is not running as PID N and isn't registered as a child \
        subreaper.",
        |w| lines_with(w, &["true"], "WARN "),
    ),
    scenario("what -vvv says", TINI_SAYS, |w| lines_with(w, &["-svvv", "--", "sh", "-c", "kill -KILL $$"], "[")),
    scenario("TINI_VERBOSITY", "3 [DEBUG tini (N)] Received SIGCHLD", |w| {
        w.with("TINI_VERBOSITY", "3");
        lines_with(w, &["-s", "--", "sh", "-c", "exit 3"], "SIGCHLD")
    }),
];

const TINI_SAYS: &str = "137 \
    [DEBUG tini (N)] Reaped child with pid: 'N' | \
    [INFO  tini (N)] Main child exited with signal (with signal 'Killed') | \
    [INFO  tini (N)] Spawned child process 'sh' with pid 'N' | \
    [TRACE tini (N)] Registered as child subreaper";

/// The code, and the lines with this in them, in order and without repetition. Numbers of processes are N.
fn lines_with(world: &World, arguments: &[&str], part: &str) -> String {
    let running = world.start(&world.words(arguments));
    let code = ending(&running, SOON);
    let text = running.stdout() + &running.stderr();
    let tool = world.words(&[])[0].to_string_lossy().into_owned();
    let name = world.who.tool().to_uppercase();
    // How often somebody looks for children, and when a signal is taken, is left to each.
    let varies = ["No child to", "SIGCHLD", "Exiting: "].into_iter().filter(|varies| *varies != part);
    let varies: Vec<&str> = varies.collect();
    let shown = |line: &str| {
        let line = line.strip_prefix(&format!("{tool}:")).map_or(line.to_owned(), |rest| format!("{name}:{rest}"));
        without_pids(&line)
    };
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| line.contains(part) && !varies.iter().any(|varies| line.contains(varies)))
        .map(shown)
        .collect();
    lines.sort();
    lines.dedup();
    format!("{code} {}", lines.join(" | "))
}

/// Numbers in brackets, in quotes behind `pid`, and behind `PID`.
fn without_pids(line: &str) -> String {
    let mut text = line.to_owned();
    for before in ["tini (", "pid '", "pid: '", "PID "] {
        if let Some(at) = text.find(before).map(|at| at + before.len()) {
            let digits = text[at..].chars().take_while(char::is_ascii_digit).count();
            if digits > 0 {
                text.replace_range(at..at + digits, "N");
            }
        }
    }
    text
}

const TINI_DIFFERENCES: &[Difference] = NONE;

compared! {
    tini_is_what_we_take_it_for: Tini, TINI_SCENARIOS, TINI_DIFFERENCES;
    onit_as_tini_understands_tinis_words: OnitAsTini, TINI_SCENARIOS, TINI_DIFFERENCES;
}

/// The code, where something was said, and its first words.
fn first_words(world: &World, arguments: &[&str], count: usize) -> String {
    let running = world.start(&world.words(arguments));
    let code = ending(&running, SOON);
    let (stdout, stderr) = (running.stdout(), running.stderr());
    let (place, text) = if stdout.is_empty() { ("stderr", stderr) } else { ("stdout", stdout) };
    let words: Vec<&str> = text.split_whitespace().take(count).collect();
    if words.is_empty() { format!("{code}, {place}") } else { format!("{code}, {place}: {}", words.join(" ")) }
}

fn code_of(world: &World, options: &[&str], script: &str) -> String {
    world.outcome(&world.entry(options, &shell(script))).0
}

fn reaped_lines(world: &World, options: &[&str]) -> String {
    let script = "(sh -c 'echo $$ >orphan; read x <go' &); until [ -s orphan ]; do sleep 0.01; done; read x <over";
    for fifo in ["go", "over"] {
        nix::unistd::mkfifo(&world.root().join(fifo), nix::sys::stat::Mode::S_IRWXU).expect("a fifo");
    }
    let running = world.start(&world.entry(options, &shell(script)));
    let orphan = world.pid("orphan");
    fs::write(world.root().join("go"), "\n").expect("written");
    wait_for("the orphan's end", SOON, || Glimpse::of(orphan).is_none().then_some(()));
    fs::write(world.root().join("over"), "\n").expect("written");
    ending(&running, SOON);
    let pid = orphan.to_string();
    running.stderr().lines().filter(|line| line.contains("eaped") && line.contains(&pid)).count().to_string()
}

fn parent_ends(world: &World, options: &[&str]) -> String {
    let command = "trap 'echo told >told; exit' TERM; echo $$ >command; while :; do sleep 0.01; done";
    let script = "\"$@\" & echo $! >entry; until [ -s command ]; do sleep 0.01; done; exit 0";
    let mut words: Vec<OsString> = ["sh", "-c", script, "sh"].map(OsString::from).into();
    words.extend(world.entry(options, &shell(command)));
    let running = world.start(&words);
    assert_eq!(ending(&running, SOON), "0");
    let (entry, command) = (world.pid("entry"), world.pid("command"));
    // The signal is sent in the moment of the parent's end; who did not get one by now is at rest.
    let fate = poll_until(Duration::from_secs(2), || Some(world.text("told")).filter(|told| !told.is_empty()));
    assert!(fate.is_some() || proc::is_alive(entry) && proc::is_alive(command));
    if fate.is_some() { "told" } else { "lives on" }.to_owned()
}

// ---------------------------------------------------------------------------------------------------------------------
// dumb-init's words
// ---------------------------------------------------------------------------------------------------------------------

const DUMB_SCENARIOS: &[Scenario] = &[
    scenario("-V", "0, stderr: dumb-init v1.2.5", |w| first_words(w, &["-V"], 2)),
    scenario("--version", "0, stderr: dumb-init v1.2.5", |w| first_words(w, &["--version"], 2)),
    scenario("--help", "0, stderr", |w| first_words(w, &["--help"], 0)),
    scenario("-v", "7", |w| code_of(w, &["-v"], "exit 7")),
    scenario("--verbose --single-child", "7", |w| code_of(w, &["--verbose", "--single-child"], "exit 7")),
    scenario("by default, the group", "child, command", |w| targets(w, &[])),
    scenario("--single-child", "command", |w| targets(w, &["--single-child"])),
    scenario("DUMB_INIT_SETSID=0", "command, our session, our group", |w| {
        w.with("DUMB_INIT_SETSID", "0");
        format!("{}, {}", targets(w, &[]), session_and_group(w))
    }),
    scenario("-r 15:2", "command 2", |w| Listener::start(w, &["-c", "-r", "15:2"]).after(15)),
    scenario("--rewrite=15:2", "command 2", |w| Listener::start(w, &["-c", "--rewrite=15:2"]).after(15)),
    scenario("--rewrite 15:2 of another", "reaches it", |w| Listener::start(w, &["-c", "--rewrite", "15:2"]).after(1)),
    scenario("-r 15:0", "is kept", |w| Listener::start(w, &["-c", "-r", "15:0"]).after(15)),
    scenario("-r twice", "command 2, command 3", |w| {
        let listener = Listener::start(w, &["-c", "-r", "15:2", "-r", "1:3"]);
        [listener.after(15), listener.after(1)].join(", ")
    }),
    scenario("TSTP, TTIN and TTOU by default", "stops both, stops both, stops both", |w| {
        let listener = Listener::start(w, &[]);
        [20, 21, 22].map(|signal| listener.after(signal)).join(", ")
    }),
    scenario("TSTP rewritten", "child 15, command 15", |w| {
        let listener = Listener::start(w, &["-r", "20:15"]);
        w.send(listener.running.pid(), 20);
        wait_for("TERM", SOON, || w.text("heard").contains("command 15").then_some(()));
        w.send(listener.running.pid(), Signal::SIGCONT as i32);
        wait_until_it_has_noted_all(w.pid("child"));
        let heard = w.text("heard");
        let mut heard: Vec<&str> = heard.lines().filter(|line| !line.ends_with(" 18")).collect();
        heard.sort_unstable();
        heard.join(", ")
    }),
    scenario("-r without a colon", "1, says so", |w| refusal(w, &["-r", "15", "true"])),
    scenario("-r of no signal", "1, says so", |w| refusal(w, &["-r", "15:99", "true"])),
    scenario("-r by name", "1, says so", |w| refusal(w, &["-r", "TERM:INT", "true"])),
    scenario("what is left in the session", "told TERM, 3", |w| {
        // As left_over, but in the command's session.
        let stay = "trap 'echo TERM >told; exit' TERM; echo $$ >left; while :; do sleep 0.01; done";
        w.write("stay", &format!("#!/bin/sh\n{stay}\n"), 0o755);
        let script = "./stay & until [ -s left ]; do sleep 0.01; done; exit 3";
        let code = code_of(w, &[], script);
        let told = poll_until(SOON, || Some(w.text("told")).filter(|told| !told.is_empty()));
        format!("told {}, {code}", told.unwrap_or_default().trim_end())
    }),
    scenario("what is left in the session and deaf", "lives on, 3", |w| {
        w.write("stay", "#!/bin/sh\ntrap '' TERM; echo $$ >left; exec sleep 1000\n", 0o755);
        let code = code_of(w, &[], "./stay & until [ -s left ]; do sleep 0.01; done; exit 3");
        format!("{}, {code}", if proc::is_alive(w.pid("left")) { "lives on" } else { "is ended" })
    }),
    scenario("where it stands, and where the command does", "/, here", |w| {
        let look = "readlink /proc/$PPID/cwd; readlink /proc/$$/cwd";
        // The real one goes there beside its command.
        let wait =
            "n=0; until [ \"$(readlink /proc/$PPID/cwd)\" = / ] || [ $n = 1000 ]; do sleep 0.02; n=$((n + 1)); done";
        let script = if w.who == DumbInit { format!("{wait}; {look}") } else { look.into() };
        let text = w.outcome(&w.entry(&[], &shell(&script))).1;
        let here = fs::canonicalize(w.root()).expect("our directory").display().to_string();
        text.lines().map(|line| if line == here { "here" } else { line }).collect::<Vec<_>>().join(", ")
    }),
    scenario("a signal that was sent as by a fault, in a session", "reaches its group", |w| {
        Listener::start(w, &[]).after(11)
    }),
    scenario("a command that is not there", "2 [dumb-init] ./no: No such file or directory", |w| {
        lines_with(w, &["./no"], "[dumb-init]")
    }),
    scenario("an option nobody knows", "1 DUMB-INIT: unrecognized option '--yolo'", |w| lines_with(w, &["--yolo"], "")),
    scenario("no command", "1 Try DUMB-INIT --help for full usage. | Usage: DUMB-INIT [option] program [args]", |w| {
        let tool = w.words(&[])[0].to_string_lossy().into_owned();
        lines_with(w, &[], "").replace(&tool, "DUMB-INIT")
    }),
    scenario("what -r takes", "1 Usage: -r option takes <signum>:<signum>, where <signum> is between 1 and 31.", |w| {
        lines_with(w, &["-r", "1:32", "true"], "Usage: -r")
    }),
    scenario("what -v says", DUMB_INIT_SAYS, |w| lines_with(w, &["-v", "sh", "-c", "exit 3"], "[")),
    scenario("what -v -c says", DUMB_INIT_SAYS_ALONE, |w| lines_with(w, &["-v", "-c", "sh", "-c", "exit 3"], "[")),
];

const DUMB_INIT_SAYS: &str = "3 [dumb-init] A child with PID N exited with exit status 3. | \
    [dumb-init] Child exited with status 3. Goodbye. | [dumb-init] Child spawned with PID N. | \
    [dumb-init] Forwarded signal 15 to children. | [dumb-init] Received signal 17. | \
    [dumb-init] Unable to attach to controlling tty (errno=25 Inappropriate ioctl for device). | \
    [dumb-init] Unable to detach from controlling tty (errno=25 Inappropriate ioctl for device). | \
    [dumb-init] setsid complete.";
const DUMB_INIT_SAYS_ALONE: &str = "3 [dumb-init] A child with PID N exited with exit status 3. | \
    [dumb-init] Child exited with status 3. Goodbye. | [dumb-init] Child spawned with PID N. | \
    [dumb-init] Forwarded signal 15 to children. | [dumb-init] Received signal 17.";

const DUMB_DIFFERENCES: &[Difference] = NONE;

compared! {
    dumb_init_is_what_we_take_it_for: DumbInit, DUMB_SCENARIOS, DUMB_DIFFERENCES;
    onit_as_dumb_init_understands_its_words: OnitAsDumbInit, DUMB_SCENARIOS, DUMB_DIFFERENCES;
}

// ---------------------------------------------------------------------------------------------------------------------
// onit's own words
// ---------------------------------------------------------------------------------------------------------------------

const ONIT_SCENARIOS: &[Scenario] = &[
    scenario("--rewrite TERM=QUIT", "command 3", |w| Listener::start(w, &["--rewrite", "TERM=QUIT"]).after(15)),
    scenario("--rewrite=15=SIGQUIT", "command 3", |w| Listener::start(w, &["--rewrite=15=SIGQUIT"]).after(15)),
    scenario("--rewrite TERM=", "is kept", |w| Listener::start(w, &["--rewrite", "TERM="]).after(15)),
    scenario("--rewrite TERM=0", "is kept", |w| Listener::start(w, &["--rewrite", "TERM=0"]).after(15)),
    scenario("--rewrite to the group", "child 40, command 40", |w| {
        Listener::start(w, &["-g", "--rewrite", "TERM=40"]).after(15)
    }),
    scenario("--rewrite of a real-time signal", "command 15", |w| {
        Listener::start(w, &["--rewrite", "40=TERM"]).after(40)
    }),
    scenario("--rewrite twice", "command 2, is kept", |w| {
        let listener = Listener::start(w, &["--rewrite", "TERM=INT", "--rewrite", "HUP="]);
        [listener.after(15), listener.after(1)].join(", ")
    }),
    scenario("--exit-map 143=0", "0", |w| code_of(w, &["--exit-map", "143=0"], "kill -TERM $$")),
    scenario("--exit-map twice", "1 2 5", |w| {
        let maps = ["--exit-map", "3=1", "--exit-map=4=2"];
        [3, 4, 5].map(|code| code_of(w, &maps, &format!("exit {code}"))).join(" ")
    }),
    scenario("--exit-map of a failed exec", "0", |w| w.outcome(&w.entry(&["--exit-map", "127=0"], &["./nothing"])).0),
    scenario("three deaf generations are left", "gone, 3", |w| {
        let deep = "trap '' TERM; if [ $1 -gt 0 ]; then setsid sh ./stay $(($1-1)) & fi; echo $$ >left$1; while :; do sleep 1; done";
        w.write("stay", deep, 0o755);
        let script =
            "setsid sh ./stay 2 & until [ -s left0 ] && [ -s left1 ] && [ -s left2 ]; do sleep 0.01; done; exit 3";
        let running = w.start(&w.entry(&[], &shell(script)));
        let left = ["left0", "left1", "left2"].map(|file| w.pid(file));
        let code = ending(&running, SOON);
        let alive = left.into_iter().filter(|&pid| proc::is_alive(pid)).count();
        if alive == 0 { format!("gone, {code}") } else { format!("{alive} live, {code}") }
    }),
];

compared! {
    onit_understands_its_own_words: Onit, ONIT_SCENARIOS, NONE;
}

const NONE: &[Difference] = &[];

// ---------------------------------------------------------------------------------------------------------------------
// Beside services
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn services_get_their_own_signal_and_their_own_time_at_the_end() {
    let sv = SvDir::new();
    let graceful = "trap 'echo INT >told; exit' INT; trap 'echo TERM >told; exit' TERM; echo $$ >up; \
                    while :; do sleep 0.01; done";
    let polite = sv.service("polite").run(graceful).file("down-signal", "INT\n").create_atomically();
    let deaf = sv.service("deaf").run("trap '' TERM; echo $$ >up; exec sleep 1000").file("timeout-kill", "300");
    deaf.create_atomically();
    let mut command = UnderTest::Onit.command(&sv.path());
    let script = "until [ -s polite/up ] && [ -s deaf/up ]; do sleep 0.01; done; exit 3";
    command.args(["--", "sh", "-c", script]).current_dir(sv.path());
    let start = Instant::now();
    let onit = sv.spawn(command);
    assert_eq!(ending(&onit, SOON), "3");
    let took = start.elapsed().as_secs_f32();
    assert_eq!(polite.text("told"), "INT\n");
    assert!(took >= 0.3, "{took}");
    assert_eq!(
        onit.said(&["onit: deaf: ", "still running past its time limit; killing it"]).len(),
        1,
        "{}",
        onit.stderr()
    );
}

#[test]
fn services_get_no_descriptor_of_the_commands() {
    let sv = SvDir::new();
    let look = "readlink /proc/self/fd/9 >seen || echo none >seen; exec sleep 1000";
    let web = sv.service("web").run(look).create_atomically();
    let script =
        "exec 9</etc/passwd; exec \"$0\" run service -- sh -c 'readlink /proc/self/fd/9 >seen; exec sleep 1000'";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(onit()).current_dir(sv.root());
    let onit = sv.spawn(command);
    assert_eq!(web.wait_text("seen", |text| !text.is_empty()), "none\n");
    let seen = || Some(fs::read_to_string(sv.root().join("seen")).unwrap_or_default()).filter(|text| !text.is_empty());
    assert_eq!(onit.wait_for("the command's look", SOON, seen), "/etc/passwd\n");
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(143));
}
