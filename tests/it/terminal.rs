//! At a terminal: job control inside of it, and as a job of a shell outside of it.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::fcntl::OFlag;
use nix::libc;
use nix::poll::{PollFd, PollFlags, poll};
use nix::pty::{grantpt, posix_openpt, ptsname_r, unlockpt};
use nix::unistd::tcgetpgrp;

use crate::container::{Bundle, why_no_containers};
use crate::entrypoint::Who::{self, DumbInit, Onit, OnitAsDumbInit, OnitAsTini, Tini};
use crate::entrypoint::World;
use crate::proc::{self, Glimpse};
use crate::svdir::InTurn as _;
use crate::svdir::{Ending, SOON, Supervisor, missing_tools, poll_until, skip, wait_for};

/// Both ends of a new terminal. Nobody inherits them by accident.
pub fn pair() -> (File, File) {
    let (master, name) = open();
    let slave = slave(&name);
    (master, slave)
}

fn open() -> (File, PathBuf) {
    let master = posix_openpt(OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC).expect("a terminal");
    grantpt(&master).and_then(|()| unlockpt(&master)).expect("the terminal's other end");
    let name = ptsname_r(&master).expect("its name").into();
    // PtyMaster has no other way out of itself that keeps the descriptor.
    let master = master.as_fd().try_clone_to_owned().expect("a descriptor");
    (File::from(master), name)
}

fn slave(name: &PathBuf) -> File {
    OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(name).expect("the terminal's other end")
}

/// The person in front of the terminal.
struct Person {
    keyboard: File,
    shown: Arc<Mutex<String>>,
    /// What was read to here has been looked at.
    read: Mutex<usize>,
}

impl Person {
    fn at(master: File) -> Self {
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut screen, text) = (master.try_clone().expect("a descriptor"), shown.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Until the person leaves: then this is the last descriptor, and closing it hangs up.
            while Arc::strong_count(&text) > 1 {
                let mut screens = [PollFd::new(screen.as_fd(), PollFlags::POLLIN)];
                if poll(&mut screens, 20u8).is_ok_and(|ready| ready > 0) {
                    // EIO: nobody has the other end open any more.
                    let Ok(length @ 1..) = screen.read(&mut bytes) else { return };
                    text.lock().expect("no panic while locked").push_str(&String::from_utf8_lossy(&bytes[..length]));
                }
            }
        });
        Self { keyboard: master, shown, read: Mutex::new(0) }
    }

    fn types(&self, text: &str) {
        (&self.keyboard).write_all(text.as_bytes()).expect("typed");
    }

    /// Whether this text stands behind what was seen before, which it then was too.
    fn saw(&self, text: &str) -> bool {
        let mut read = self.read.lock().expect("no panic while locked");
        let found = self.all()[*read..].find(text);
        *read += found.map_or(0, |at| at + text.len());
        found.is_some()
    }

    /// Waits for it. What is typed is shown too: look for something else.
    #[track_caller]
    fn sees(&self, text: &str) {
        let found = poll_until(SOON, || self.saw(text).then_some(()));
        assert!(found.is_some(), "waited in vain for {text:?} at the end of:\n{}", self.all());
    }

    fn all(&self) -> String {
        self.shown.lock().expect("no panic while locked").clone()
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("the terminal shows:\n{}", self.all());
        }
    }
}

/// A session of its own on a terminal.
struct Session {
    person: Person,
    leader: Supervisor,
    name: PathBuf,
}

impl Session {
    fn start(world: &World, words: &[OsString]) -> Self {
        let (master, name) = open();
        let slave = slave(&name);
        let mut command = Command::new("setsid");
        command.args(["-c", "env", "--default-signal", "TERM=dumb", "PS1=$ "]).args(words).current_dir(world.root());
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let leader = world.sv.spawn_between(command, [end(), end(), end()]);
        Self { person: Person::at(master), leader, name }
    }

    /// The process group that the terminal listens to.
    fn group_in_front(&self) -> u32 {
        tcgetpgrp(&self.person.keyboard).map_or(0, |group| group.as_raw().cast_unsigned())
    }

    #[track_caller]
    fn wait_in_front(&self, group: u32) {
        self.leader.wait_for("the group in front", SOON, || (self.group_in_front() == group).then_some(()));
    }
}

/// A number of `/proc/PID/stat` behind the name: 0 the state, 2 the group, 5 the group in front of its terminal.
fn field(pid: u32, number: usize) -> u32 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit(") ").next().and_then(|fields| fields.split(' ').nth(number)?.parse().ok()).unwrap_or(0)
}

fn group(pid: u32) -> u32 {
    field(pid, 2)
}

/// Waits until it and all below it are stopped. Who reads and has yet to notice takes the first letter of what is typed.
fn wait_stopped(pid: u32) {
    let is_stopped = |pid: u32| Glimpse::of(pid).is_some_and(|glimpse| glimpse.is_stopped());
    wait_for("the stop", SOON, || proc::tree(pid).into_iter().all(is_stopped).then_some(()));
}

fn wait_continued(pid: u32) {
    wait_for("the continuation", SOON, || Glimpse::of(pid).filter(|glimpse| !glimpse.is_stopped()));
}

fn shell() -> Vec<OsString> {
    ["bash", "--norc", "--noprofile", "--noediting", "-i"].map(OsString::from).into()
}

/// The words as they are typed.
fn typed(words: &[OsString]) -> String {
    let quoted = |word: &OsString| format!("'{}'", word.display().to_string().replace('\'', r"'\''"));
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn why_not(who: Who) -> Option<String> {
    who.missing().or_else(|| missing_tools(&["bash", "stty"]))
}

// ---------------------------------------------------------------------------------------------------------------------
// A shell as the command
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn an_interactive_shell_as_the_command_has_its_job_control() {
    for who in [Onit, OnitAsTini, OnitAsDumbInit, Tini, DumbInit] {
        if let Some(why) = why_not(who) {
            skip!("{why}");
        }
        let world = World::new(who);
        let session = Session::start(&world, &world.entry(&[], &shell()));
        let person = &session.person;
        person.types("sh -c 'echo $$ >back; exec sleep 1000' &\n");
        let back = world.pid("back");

        person.types("sh -c 'echo $$ >front; exec sleep 1000'\n");
        let front = world.pid("front");
        session.wait_in_front(front);
        person.types("\x03");
        wait_for("the end of the job in front", SOON, || (!proc::is_alive(front)).then_some(()));
        person.types("echo still$((6*7))\n");
        person.sees("still42");
        assert!(proc::is_alive(back), "{who:?}: ^C is for the job in front only");

        person.types("sh -c 'echo $$ >job; read x; echo got$x; exec sleep 1000'\n");
        let job = world.pid("job");
        session.wait_in_front(job);
        person.types("\x1a");
        wait_stopped(job);
        person.sees("Stopped");
        assert!(!Glimpse::of(session.leader.pid()).expect("alive").is_stopped(), "{who:?}");
        person.types("fg\n");
        session.wait_in_front(job);
        wait_continued(job);
        person.types("word\n");
        person.sees("gotword");
        person.types("\x03");

        person.types("sh -c 'trap \"stty size\" WINCH; echo ready$((6*7)); while :; do sleep 0.02; done'\n");
        person.sees("ready42");
        let resized =
            Command::new("stty").arg("-F").arg(&session.name).args(["rows", "50", "cols", "132"]).status_in_turn();
        assert!(resized.expect("stty").success());
        person.sees("50 132");
        person.types("\x03");
        person.types("kill %1; exit 6\n");
        assert_eq!(session.leader.wait_end(SOON), Ending::Code(6), "{who:?}");
    }
}

/// Who gives its terminal away is told that it hung up, by itself as it were.
#[test]
fn giving_the_terminal_to_the_commands_session_is_no_hangup_for_the_command() {
    for who in [OnitAsDumbInit, DumbInit] {
        if let Some(why) = why_not(who) {
            skip!("{why}");
        }
        let world = World::new(who);
        for _ in 0..20 {
            let script = "trap 'exit 9' HUP; sleep 0.02; read word </dev/tty; exit 6";
            let session = Session::start(&world, &world.entry(&[], &["sh", "-c", script]));
            session.person.types("word\n");
            assert_eq!(session.leader.wait_end(SOON), Ending::Code(6), "{who:?}");
        }
    }
}

#[test]
fn when_the_terminal_goes_everything_ends() {
    if let Some(why) = why_not(Onit) {
        skip!("{why}");
    }
    let world = World::new(Onit);
    let session = Session::start(&world, &world.entry(&[], &shell()));
    session.person.types("sh -c 'echo $$ >job; exec sleep 1000'\n");
    let job = world.pid("job");
    let Session { person, leader, .. } = session;
    drop(person);
    assert_eq!(leader.wait_end(SOON), Ending::Code(129));
    wait_for("the end of the job", SOON, || (!proc::is_alive(job)).then_some(()));
}

/// Elsewhere silence is kept.
#[test]
fn who_ends_it_at_a_terminal_is_told_what_it_waits_for() {
    if let Some(why) = missing_tools(&["setsid"]) {
        skip!("{why}");
    }
    let world = World::new(Onit);
    let deaf = world.sv.service("deaf").run("trap '' TERM; echo $$ >pid; while :; do sleep .1; done").create();
    let run = format!("ONIT_RUN={}", world.sv.live().display());
    let words = [run.into(), crate::svdir::onit(), "run".into(), world.sv.path()].map(OsString::from);
    let session = Session::start(&world, &words);
    let pid = deaf.wait_pid("pid");
    session.person.types("\x03");
    session.person.sees(&format!("onit: waiting for deaf (pid {pid}); what still runs in "));
    session.person.sees(", or at once with another ^C");
    session.person.types("\x03");
    assert_eq!(session.leader.wait_end(SOON), Ending::Code(0));
}

// ---------------------------------------------------------------------------------------------------------------------
// As a job of a shell
// ---------------------------------------------------------------------------------------------------------------------

const TALKER: &[&str] = &["sh", "-c", "echo $$ >command; sed -u s/^/got:/; exit 4"];

#[test]
fn as_a_job_it_stops_with_its_command_and_fg_and_bg_continue_both() {
    for who in [Onit, OnitAsTini, OnitAsDumbInit] {
        if let Some(why) = why_not(who) {
            skip!("{why}");
        }
        // With a session of its own the command leaves the shell's terminal: dumb-init's -c keeps it here.
        let options: &[&str] = if who == OnitAsDumbInit { &["-c"] } else { &[] };
        let world = World::new(who);
        let session = Session::start(&world, &shell());
        let person = &session.person;
        person.types(&format!("{}\n", typed(&world.entry(options, TALKER))));
        let command = world.pid("command");
        let outer = group(session.leader.pid());
        session.wait_in_front(group(command));
        let entry = parent(command);
        person.types("one\n");
        person.sees("got:one");
        for word in ["two", "three"] {
            person.types("\x1a");
            person.sees("Stopped");
            wait_stopped(entry);
            session.wait_in_front(outer);
            person.types("fg\n");
            session.wait_in_front(group(command));
            wait_continued(command);
            person.types(&format!("{word}\n"));
            person.sees(&format!("got:{word}"));
        }
        // In the background it goes on until it reads.
        person.types("\x1a");
        person.sees("Stopped");
        wait_stopped(entry);
        person.types("bg\n");
        // The shell tells what became of its jobs with the next prompt.
        let told = poll_until(SOON, || {
            person.types("\n");
            person.saw("Stopped").then_some(())
        });
        assert!(told.is_some(), "{who:?}: it has to stop when it reads");
        wait_stopped(entry);
        session.wait_in_front(outer);
        person.types("fg\n");
        session.wait_in_front(group(command));
        person.types("four\n");
        person.sees("got:four");
        person.types("\x04");
        session.wait_in_front(outer);
        person.types("echo code$?\n");
        person.sees("code4");
    }
}

/// A pager, a password prompt: what reads the terminal although its input is something else.
#[test]
fn a_command_in_a_pipe_may_read_the_terminal() {
    if let Some(why) = why_not(Onit) {
        skip!("{why}");
    }
    let world = World::new(Onit);
    let session = Session::start(&world, &shell());
    let talker = ["sh", "-c", "echo $$ >command; read word </dev/tty; echo got$word"];
    session.person.types(&format!("echo x | {}\n", typed(&world.entry(&[], &talker))));
    session.wait_in_front(world.pid("command"));
    session.person.types("word\n");
    session.person.sees("gotword");
}

fn parent(pid: u32) -> u32 {
    field(pid, 1)
}

#[test]
fn in_the_background_it_leaves_the_terminal_to_the_shell() {
    // tini takes the terminal wherever it is: the difference that makes this a test.
    for (who, takes_it) in
        [(Onit, false), (OnitAsTini, false), (OnitAsDumbInit, false), (DumbInit, false), (Tini, true)]
    {
        if let Some(why) = why_not(who) {
            skip!("{why}");
        }
        // Who takes it may have it taken back by the shell, when that comes to its prompt.
        let tries = if takes_it { 20 } else { 1 };
        let taken = (0..tries).any(|_| is_taken_in_the_background(who));
        assert_eq!(taken, takes_it, "{who:?}");
    }
}

/// Whether a job in the background becomes the one that the terminal listens to.
fn is_taken_in_the_background(who: Who) -> bool {
    let world = World::new(who);
    let session = Session::start(&world, &shell());
    let talker = ["sh", "-c", "echo $$ >command; exec sleep 1000"];
    session.person.types(&format!("{} &\n", typed(&world.entry(&[], &talker))));
    let command = world.pid("command");
    if who == Tini {
        return poll_until(Duration::from_secs(1), || (session.group_in_front() == group(command)).then_some(()))
            .is_some();
    }
    session.person.types("echo there$((6*7))\n");
    session.person.sees("there42");
    session.group_in_front() != group(session.leader.pid())
}

#[test]
fn the_terminal_is_given_back_to_who_does_not_look_after_it() {
    if let Some(why) = why_not(Onit) {
        skip!("{why}");
    }
    let world = World::new(Onit);
    let script = format!("{}; read x; echo got$x", typed(&world.entry(&[], &["sh", "-c", "exit 3"])));
    let session = Session::start(&world, &["sh", "-c", &script].map(OsString::from));
    session.person.types("word\n");
    session.person.sees("gotword");
    assert_eq!(session.leader.wait_end(SOON), Ending::Code(0));
}

// ---------------------------------------------------------------------------------------------------------------------
// In a container
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn a_shell_at_a_containers_terminal_has_its_job_control() {
    if let Some(why) = why_no_containers() {
        skip!("{why}");
    }
    let bundle = Bundle::new().terminal().args(["onit", "--", "sh", "-i"]);
    let container = bundle.start();
    let person = Person::at(container.terminal().try_clone().expect("a descriptor"));
    let named = |words: &str| {
        let found = || proc::tree(container.pid()).into_iter().find(|&pid| proc::command_line(pid) == words);
        container.wait_for(words, SOON, found)
    };
    person.types("sleep 1001 &\n");
    let back = named("sleep 1001");
    person.types("sleep 1002\n");
    let front = named("sleep 1002");
    container.wait_for("the job in front", SOON, || (field(front, 5) == group(front)).then_some(()));
    person.types("\x1a");
    wait_stopped(front);
    person.sees("Stopped");
    person.types("fg\n");
    wait_continued(front);
    container.wait_for("the job in front", SOON, || (field(front, 5) == group(front)).then_some(()));
    person.types("\x03");
    container.wait_for("the end of the job in front", SOON, || (!proc::is_alive(front)).then_some(()));
    person.types("echo still$((6*7))\n");
    person.sees("still42");
    assert!(proc::is_alive(back) && !Glimpse::of(container.pid()).expect("alive").is_stopped());
    person.types("exit 6\n");
    // The shell may first say that there are jobs; what is left is ended by onit.
    assert_eq!(container.wait_end(SOON), Ending::Code(6));
}
