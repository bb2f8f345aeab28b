//! `onit::embed`: a program has its own child processes supervised, and stays master of its children, signals and threads.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use onit::client::{ErrorKind, api::Api};
use onit::embed::{
    Check, Exec, Handle, HealthAction, HealthPolicy, Process, ProcessState, ProcessStatus, Restart, Supervisor, Tcp,
    User,
};

use crate::proc;
use crate::svdir::{Ending, SOON, Supervisor as Running, SvDir, copy_program, is_root, onit, send, wait_for};

/// A program under `examples/`; Cargo builds them with the tests.
fn example(name: &str) -> PathBuf {
    let place = Path::new(env!("CARGO_BIN_EXE_onit")).parent().expect("a directory").join("examples").join(name);
    assert!(place.exists(), "{} is not built", place.display());
    place
}

/// tests/embed/app.rs, doing this.
fn app(sv: &SvDir, program: &Path, mode: &str) -> Running {
    let mut command = Command::new(program);
    command.arg(mode).arg(sv.root());
    sv.spawn(command)
}

/// The number that a process has noted.
fn noted(sv: &SvDir, name: &str) -> u32 {
    let path = sv.root().join(name);
    wait_for(name, SOON, || fs::read_to_string(&path).ok()?.trim().parse().ok())
}

fn other_than(sv: &SvDir, name: &str, pid: u32) -> u32 {
    wait_for("its next life", SOON, || Some(noted(sv, name)).filter(|other| *other != pid))
}

fn wait_said(app: &Running, word: &str) -> String {
    app.wait_for(word, SOON, || Some(app.stdout()).filter(|said| said.contains(word) && said.ends_with('\n')))
}

fn wait_gone(what: &str, pid: u32) {
    wait_for(&format!("the end of {what}"), SOON, || (!proc::is_alive(pid)).then_some(()));
}

fn private_places(sv: &SvDir) -> Vec<PathBuf> {
    let entries = fs::read_dir(sv.root()).expect("the directory").flatten().map(|entry| entry.path());
    entries
        .filter(|path| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"onit-embed-")))
        .collect()
}

fn wait_removed(sv: &SvDir) {
    wait_for("the private directory to be removed", SOON, || private_places(sv).is_empty().then_some(()));
}

/// The process that supervises.
fn supervisor(directory: &Path) -> u32 {
    let api = Api::connect(directory.join(".onit/api")).expect("it answers");
    api.supervisor().expect("it is seen").0.cast_unsigned()
}

/// In this process, which has no hook.
fn starting(sv: &SvDir, processes: impl IntoIterator<Item = Process>) -> Handle {
    let supervisor = Supervisor::new().program(onit()).within(sv.root());
    let processes = processes.into_iter().map(|process| process.directory(sv.root()));
    processes.fold(supervisor, Supervisor::add).start().expect("started")
}

fn shell(name: &str, script: &str) -> Process {
    Process::new(name, ["sh", "-c", script])
}

fn wait_status(handle: &Handle, name: &str, wanted: impl Fn(&ProcessStatus) -> bool) -> ProcessStatus {
    let mut last = None;
    let found = crate::svdir::poll_until(SOON, || {
        last = Some(handle.status_of(name).expect("a status"));
        last.clone().filter(&wanted)
    });
    found.unwrap_or_else(|| panic!("{name} has not become so: {last:?}"))
}

fn wait_state(handle: &Handle, name: &str, state: ProcessState) -> ProcessStatus {
    wait_status(handle, name, |status| status.state == state)
}

const EAGER: HealthPolicy = HealthPolicy {
    every: Duration::from_millis(100),
    timeout: Duration::from_secs(20),
    retries: 2,
    after: Duration::ZERO,
    action: HealthAction::Restart,
};

// ---------------------------------------------------------------------------------------------------------------------
// The program and its end
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn a_program_that_is_killed_takes_all_with_it_but_what_is_detached() {
    let sv = SvDir::new();
    let app = app(&sv, &example("embed_app"), "wait");
    let said = wait_said(&app, "waits"); // it has waited for a child of its own
    let place = PathBuf::from(said.trim().strip_prefix("waits ").expect("the place"));
    let (tied, kept, supervisor) = (noted(&sv, "tied"), noted(&sv, "kept"), supervisor(&place));
    assert!(!proc::tree(app.pid()).contains(&supervisor), "it is no child of the program");
    assert!(proc::leads_a_session(supervisor) && proc::is_called(supervisor, "onit-embed"));

    app.signal(Signal::SIGKILL);
    let killed = Instant::now();
    wait_gone("what is tied", tied);
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    send(kept, Signal::SIGKILL);
    let again = other_than(&sv, "kept", kept);
    assert!(proc::is_alive(again) && proc::is_alive(supervisor), "it is still supervised");

    Api::connect(place.join(".onit/api"))
        .and_then(|mut api| api.order("down".parse().expect("an order"), "kept"))
        .expect("told");
    wait_gone("what was detached", again);
    wait_gone("the supervisor, which has nothing left to run", supervisor);
    wait_removed(&sv);
}

#[test]
fn a_program_without_detached_processes_leaves_nothing() {
    let sv = SvDir::new();
    let app = app(&sv, &example("embed_app"), "alone");
    wait_said(&app, "waits");
    let tied = noted(&sv, "tied");
    app.signal(Signal::SIGTERM);
    wait_gone("what is tied", tied);
    wait_removed(&sv);
    wait_for("no process to be left", SOON, || sv.processes().is_empty().then_some(()));
}

#[test]
fn a_program_that_executes_another_one_has_let_go_of_all() {
    let sv = SvDir::new();
    let app = app(&sv, &example("embed_app"), "execute");
    wait_said(&app, "executes");
    wait_gone("what is tied", noted(&sv, "tied"));
    wait_removed(&sv);
    assert_eq!(app.ended(), None, "the other program runs");
}

#[test]
fn a_child_that_the_program_has_forked_does_not_stand_for_it_also_after_a_fault() {
    let sv = SvDir::new();
    let app = app(&sv, &example("embed_app"), "fork");
    let said = wait_said(&app, "has forked");
    let socket = PathBuf::from(said.trim().strip_prefix("has forked ").expect("the place")).join(".onit/api");
    let mut before = Api::connect(&socket).expect("it answers");
    send(before.supervisor().expect("it is seen").0.cast_unsigned(), Signal::SIGSEGV);
    wait_for("the end of this connection", SOON, || before.all().is_err().then_some(()));
    wait_for("the supervisor to be there again", SOON, || Api::connect(&socket).ok());
    let (tied, child) = (noted(&sv, "tied"), noted(&sv, "child"));
    app.signal(Signal::SIGKILL);
    wait_gone("what is tied", tied);
    assert!(proc::is_alive(child));
    wait_removed(&sv);
}

#[test]
fn a_program_that_closes_all_its_descriptors_lives_on_without_its_processes() {
    let sv = SvDir::new();
    let app = app(&sv, &example("embed_app"), "close");
    wait_said(&app, "closes");
    wait_gone("what is tied", noted(&sv, "tied"));
    app.wait_for("the next step", SOON, || sv.root().join("closed").exists().then_some(()));
    wait_removed(&sv);
    assert_eq!(app.ended(), None, "{}", app.stderr());
}

#[test]
fn a_program_that_waits_for_any_child_sees_its_own_ones_only() {
    let sv = SvDir::new();
    let app = app(&sv, &example("embed_app"), "reap");
    assert_eq!(app.wait_end(SOON), Ending::Code(0), "{}", app.stderr());
    assert_eq!(app.stdout(), "has reaped its own child only\n");
    assert!(private_places(&sv).is_empty(), "shutdown waits for the end of it");
}

#[test]
fn a_hundred_processes_run_beside_sixteen_busy_threads() {
    let sv = SvDir::new();
    let app = app(&sv, &example("embed_app"), "busy");
    assert_eq!(app.wait_end(SOON * 2), Ending::Code(0), "{}", app.stderr());
    assert_eq!((app.stdout().as_str(), sv.processes()), ("100 have run\n", vec![]));
}

#[test]
fn a_program_whose_file_is_gone_is_supervised_all_the_same() {
    let sv = SvDir::new();
    let file = sv.root().join("program");
    copy_program(&example("embed_app"), &file);
    let app = app(&sv, &file, "alone");
    wait_said(&app, "waits");
    let tied = noted(&sv, "tied");
    fs::remove_file(&file).expect("removed");
    send(tied, Signal::SIGKILL);
    other_than(&sv, "tied", tied);
}

#[test]
fn an_asynchronous_program_hears_of_its_processes() {
    let sv = SvDir::new();
    let mut command = Command::new(example("embed_async"));
    command.env("XDG_RUNTIME_DIR", sv.root());
    let run = sv.run(command);
    let mut lines: Vec<_> = run.stdout.lines().collect();
    lines.sort_unstable(); // the first one may have come before it listened
    let wanted = ["flaky: backoff", "flaky: backoff", "flaky: up", "flaky: up"];
    assert_eq!((run.code, &lines[..]), (0, &wanted[..]), "{run:?}");
    assert!(private_places(&sv).is_empty());
}

#[test]
fn the_example_does_what_it_says() {
    let sv = SvDir::new();
    let mut command = Command::new(example("embed"));
    command.env("XDG_RUNTIME_DIR", sv.root());
    let run = sv.run(command);
    assert_eq!(run.code, 0, "{run:?}");
    for wanted in ["flaky: backoff\n", "flaky: up\n", "onit_process_healthy{process=\"server\"} 1\n"] {
        assert!(run.stdout.contains(wanted), "{wanted:?} in {}", run.stdout);
    }
    assert!(run.stderr.contains("onit: flaky: exited with 1 "), "{}", run.stderr);
    assert!(private_places(&sv).is_empty());
}

// ---------------------------------------------------------------------------------------------------------------------
// The handle, in a program that has no hook: this one
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn a_handle_stops_starts_restarts_and_counts() {
    let sv = SvDir::new();
    let work = shell("work", "exec sleep 1000");
    let crash = shell("crash", "exit 3").backoff(Duration::from_millis(50)..Duration::from_millis(60));
    let once = shell("once", "exit 0").restart(Restart::OnFailure);
    let handle = starting(&sv, [work, crash, once]);
    let mut events = handle.events().expect("events");
    let first = wait_state(&handle, "work", ProcessState::Healthy);
    let age = first.started_at.and_then(|start| start.elapsed().ok()).expect("it was started");
    assert!(age < SOON && first.retries == 0 && first.backoff.is_none(), "{first:?}");
    wait_state(&handle, "once", ProcessState::Done);

    handle.restart("work").expect("restarted");
    let second =
        wait_status(&handle, "work", |status| status.pid != first.pid && status.state == ProcessState::Healthy);
    assert!(second.retries == 1 && second.started_at >= first.started_at, "{second:?}");
    handle.stop("work").expect("stopped");
    wait_state(&handle, "work", ProcessState::Stopped);
    handle.start("work").expect("started");
    wait_state(&handle, "work", ProcessState::Healthy);
    let unknown = handle.stop("nosuch").expect_err("there is none");
    assert_eq!(unknown.kind(), ErrorKind::NoService);

    let metrics = wait_for("three crashes", SOON, || {
        let metrics = handle.metrics().expect("metrics");
        metrics.iter().any(|one| one.name == "crash" && one.crashes >= 3).then_some(metrics)
    });
    let of = |name: &str| metrics.iter().find(|one| one.name == name).expect("there");
    assert!(of("crash").restarts >= 3 && !of("once").is_healthy, "{metrics:?}");
    assert_eq!((of("work").crashes, of("once").crashes), (0, 0), "neither an order nor success is a crash");
    assert!(handle.prometheus().expect("a text").contains("onit_process_crashes_total{process=\"work\"} 0\n"));
    let seen = wait_for("the stop among the events", SOON, || {
        let event = events.next_by(SOON).expect("an event").expect("in time");
        (event.name.as_deref() == Some("work") && event.new == Some(onit::client::ServiceState::Down.into()))
            .then_some(event)
    });
    assert!(seen.exit.is_some() || seen.old.is_some(), "{seen:?}");

    let (directory, threads) = (handle.directory().to_owned(), std::thread::spawn(move || handle.shutdown(SOON)));
    assert_eq!(threads.join().expect("another thread may do that"), Ok(()));
    assert!(!directory.exists() && events.any(|event| event.is_err()), "and the events end");
}

#[test]
fn what_does_not_end_in_time_is_killed() {
    let sv = SvDir::new();
    let handle = starting(&sv, [shell("deaf", "trap '' TERM; echo $$ >deaf; while :; do sleep 1; done")]);
    let pid = noted(&sv, "deaf");
    let begun = Instant::now();
    let error = handle.shutdown(Duration::from_millis(300)).expect_err("it was killed");
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "not after the nine seconds that it has else: {:?}",
        begun.elapsed()
    );
    assert!(!proc::is_alive(pid) && private_places(&sv).is_empty());
}

#[test]
fn a_handle_that_is_dropped_stops_all_and_one_that_is_asked_goes_on_after_a_fault() {
    let sv = SvDir::new();
    let handle = starting(&sv, [shell("work", "echo $$ >work; exec sleep 1000")]);
    let (pid, supervisor) = (noted(&sv, "work"), supervisor(handle.directory()));
    send(supervisor, Signal::SIGSEGV);
    let after = wait_for("the supervisor to be there again", SOON, || handle.status_of("work").ok());
    assert_eq!((after.pid, proc::is_alive(supervisor)), (Some(pid.cast_signed()), true));
    drop(handle);
    wait_gone("the process", pid);
    wait_removed(&sv);
}

#[test]
fn a_process_has_its_words_environment_directory_and_user() {
    let sv = SvDir::new();
    let script = "printf '%s|' \"$A\" \"${PATH:+path}\" \"$1\" \"$(pwd)\" \"$(id -u):$(id -g):$(id -G)\" >out.new && mv out.new out; exec sleep 1000";
    let mut process =
        Process::new("odd name", ["sh", "-c", script, "x", "one\ntwo 'words'"]).env("A", "b=c \n").clear_env();
    process = process.env("PATH", std::env::var_os("PATH").expect("a path"));
    let ids = if is_root() {
        fs::set_permissions(sv.root(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("chmod");
        process = process.user(User::Id { user: 12345, group: 23456 });
        "12345:23456:23456".to_owned()
    } else {
        format!("{}:{}", nix::unistd::getuid(), nix::unistd::getgid())
    };
    let _handle = starting(&sv, [process]);
    let said = wait_for("what it says", SOON, || fs::read_to_string(sv.root().join("out")).ok());
    let wanted = format!("b=c \n|path|one\ntwo 'words'|{}|{ids}", sv.root().display());
    assert!(said.starts_with(&wanted), "{said:?} begins with {wanted:?}");
}

#[test]
fn a_program_that_is_not_there_is_told_and_tried_again() {
    let sv = SvDir::new();
    let handle = starting(&sv, [Process::new("none", ["/nowhere/at/all"])]);
    let status = wait_state(&handle, "none", ProcessState::Restarting);
    assert_eq!(status.exit.and_then(|exit| exit.code), Some(111));
}

/// Keeps the records of `onit::embed`: level, words and fields.
#[cfg(feature = "log")]
struct Records;

#[cfg(feature = "log")]
type Record = (log::Level, String, std::collections::BTreeMap<String, String>);

#[cfg(feature = "log")]
static RECORDS: std::sync::Mutex<Vec<Record>> = std::sync::Mutex::new(Vec::new());

#[cfg(feature = "log")]
impl log::Log for Records {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        metadata.target() == "onit::embed"
    }

    fn log(&self, record: &log::Record) {
        struct Fields(std::collections::BTreeMap<String, String>);
        impl<'kvs> log::kv::VisitSource<'kvs> for Fields {
            fn visit_pair(
                &mut self,
                key: log::kv::Key<'kvs>,
                value: log::kv::Value<'kvs>,
            ) -> Result<(), log::kv::Error> {
                self.0.insert(key.to_string(), value.to_string());
                Ok(())
            }
        }
        if self.enabled(record.metadata()) {
            let mut fields = Fields(std::collections::BTreeMap::new());
            record.key_values().visit(&mut fields).expect("fields");
            RECORDS.lock().expect("a list").push((record.level(), record.args().to_string(), fields.0));
        }
    }

    fn flush(&self) {}
}

#[cfg(feature = "log")]
#[test]
fn what_happens_is_told_to_the_log_crate_with_fields() {
    let sv = SvDir::new();
    log::set_boxed_logger(Box::new(Records)).expect("the only one");
    log::set_max_level(log::LevelFilter::Info);
    let crash = shell("logged crash", "exit 3").backoff(Duration::from_millis(50)..Duration::from_millis(60));
    let _handle = starting(&sv, [crash]);
    let (words, fields) = wait_for("a record of a crash", SOON, || {
        let records = RECORDS.lock().expect("a list");
        let mut records =
            records.iter().filter(|(level, words, _)| *level == log::Level::Warn && words.contains("logged crash"));
        records.next().map(|(_, words, fields)| (words.clone(), fields.clone()))
    });
    assert_eq!(words, "logged crash: state backoff");
    let of = |key: &str| fields.get(key).map_or("", String::as_str);
    assert_eq!(["process", "what", "old", "new", "code"].map(of), ["logged crash", "state", "up", "backoff", "3"]);
}

// ---------------------------------------------------------------------------------------------------------------------
// Checks
// ---------------------------------------------------------------------------------------------------------------------

/// A check of the program's own.
struct Own {
    is_well: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
}

impl Check for Own {
    fn is_well(&self) -> bool {
        let blocked = nix::sys::signal::SigSet::thread_get_mask().expect("a mask");
        assert!(blocked.contains(Signal::SIGCHLD) && blocked.contains(Signal::SIGTERM), "it gets no signals");
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.is_well.load(Ordering::Relaxed)
    }
}

#[test]
fn a_check_of_the_programs_own_says_when_a_process_is_ready_and_when_it_is_not_well() {
    let sv = SvDir::new();
    let (is_well, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU32::new(0)));
    let own = Own { is_well: Arc::clone(&is_well), asked: Arc::clone(&asked) };
    let work = shell("work", "exec sleep 1000").check(own).health_policy(EAGER);
    let handle = starting(&sv, [work, shell("later", "exec sleep 1000").depends_on("work")]);
    wait_for("two questions", SOON, || (asked.load(Ordering::Relaxed) >= 2).then_some(()));
    let [first, later] = ["work", "later"].map(|name| handle.status_of(name).expect("a status"));
    assert_eq!((first.state, later.state), (ProcessState::Starting, ProcessState::Waiting));
    is_well.store(true, Ordering::Relaxed);
    let first = wait_state(&handle, "work", ProcessState::Healthy);
    wait_state(&handle, "later", ProcessState::Healthy);
    is_well.store(false, Ordering::Relaxed);
    wait_status(&handle, "work", |status| status.retries == 1 && status.pid != first.pid);
    is_well.store(true, Ordering::Relaxed);
    wait_state(&handle, "work", ProcessState::Healthy);
}

#[test]
fn a_check_that_hangs_or_panics_is_not_well_and_keeps_no_other_from_its_answer() {
    let sv = SvDir::new();
    let policy = HealthPolicy { timeout: Duration::from_secs(2), action: HealthAction::Report, ..EAGER };
    let (hangs, panics) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let (will_hang, will_panic) = (Arc::clone(&hangs), Arc::clone(&panics));
    let hanging = move || {
        while will_hang.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(10));
        }
        true
    };
    let panicking = move || {
        assert!(!will_panic.load(Ordering::Relaxed), "as it is to be in this test");
        true
    };
    let names = ["hangs", "panics", "well"];
    let [one, two, three] = names.map(|name| shell(name, "exec sleep 1000").health_policy(policy));
    let handle = starting(&sv, [one.check(hanging), two.check(panicking), three.check(|| true)]);
    names.iter().for_each(|name| _ = wait_state(&handle, name, ProcessState::Healthy));
    hangs.store(true, Ordering::Relaxed);
    panics.store(true, Ordering::Relaxed);
    ["hangs", "panics"].iter().for_each(|name| _ = wait_state(&handle, name, ProcessState::Unhealthy));
    assert_eq!(handle.status_of("well").expect("a status").state, ProcessState::Healthy);
    hangs.store(false, Ordering::Relaxed);
    panics.store(false, Ordering::Relaxed);
    names.iter().for_each(|name| _ = wait_state(&handle, name, ProcessState::Healthy));
}

#[test]
fn a_port_and_a_command_say_whether_a_process_is_well() {
    let sv = SvDir::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let policy = HealthPolicy { action: HealthAction::Report, ..EAGER };
    let by_port = shell("port", "exec sleep 1000").check(Tcp(address)).health_policy(policy);
    let by_command = shell("command", "exec sleep 1000").env("FILE", "yes").check(Exec(["sh", "-c", "test -e $FILE"]));
    let handle = starting(&sv, [by_port, by_command.health_policy(policy)]);
    wait_state(&handle, "port", ProcessState::Healthy);
    assert_eq!(handle.status_of("command").expect("a status").state, ProcessState::Starting);
    fs::write(sv.root().join("yes"), "").expect("written");
    wait_state(&handle, "command", ProcessState::Healthy);
    drop(listener);
    fs::remove_file(sv.root().join("yes")).expect("removed");
    ["port", "command"].iter().for_each(|name| _ = wait_state(&handle, name, ProcessState::Unhealthy));
}

// ---------------------------------------------------------------------------------------------------------------------
// What cannot be
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn what_cannot_be_is_refused_before_anything_runs() {
    let sv = SvDir::new();
    let work = || shell("work", "exec sleep 1000");
    let none = || Supervisor::new().within(sv.root());
    let refused = |supervisor: Supervisor| supervisor.start().expect_err("refused").to_string();
    let no_hook = refused(none().add(work()));
    assert!(no_hook.contains("does not call onit::embed::hook()"), "{no_hook}");
    let with = |process| none().program(onit()).add(work()).add(process);
    assert_eq!(refused(with(work())), "there are two processes \"work\"");
    assert_eq!(refused(with(shell("x", "").depends_on("y"))), "x depends on y, which there is not");
    let tied = refused(with(shell("x", "").depends_on("work").detached()));
    assert_eq!(tied, "x is detached, and work, which it depends on, is not");
    for name in ["", ".x", "a/b", "a\nb"] {
        assert_eq!(refused(with(shell(name, ""))), format!("no process can be called {name:?}"));
    }
    assert!(refused(with(Process::new("x", [""; 0]))).contains("x: "));
    let no_supervisor = refused(none().program("/bin/true").add(work()));
    assert_eq!(no_supervisor, "/bin/true: it has ended, and is no supervisor");
    assert!(refused(none().program("/nowhere").add(work())).starts_with("/nowhere: "));
    let no_place = refused(with(shell("x", "")).within("/nowhere"));
    assert_eq!(no_place, "/nowhere: No such file or directory");
    assert!(private_places(&sv).is_empty() && sv.processes().is_empty());
}
