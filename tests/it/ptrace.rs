//! Programs that ask to be traced by whoever is their parent, as those do that want no debugger: their stops are reported
//! to us, and are no ends.

use std::process::Command;

use nix::libc;
use nix::sys::signal::Signal;

use crate::proc::{self, Glimpse};
use crate::svdir::InTurn as _;
use crate::svdir::{Ending, SOON, SvDir, UnderTest};
use crate::svdir::{missing_tools, onit, poll_until, send, skip, wait_for};

/// A line of perl that asks for it.
pub fn trace_me() -> String {
    format!("syscall({}, 0, 0, 0, 0) == 0 or die \"ptrace: $!\";", libc::SYS_ptrace)
}

/// Why a program may not ask for it here.
pub fn why_not() -> Option<String> {
    missing_tools(&["perl"]).or_else(|| {
        let asked = Command::new("perl").args(["-e", &trace_me()]).output_in_turn().expect("perl");
        (!asked.status.success()).then(|| String::from_utf8_lossy(&asked.stderr).into_owned())
    })
}

/// A shell script that becomes this piece of perl.
pub fn perl(code: &str) -> String {
    format!("exec perl -e '$| = 1; {code}'")
}

/// Says that it got USR1, which it sends itself.
pub const SIGNALS_ITSELF: &str = r#"
    sub note { open(my $f, ">>", shift) or die; print $f "$$\n" }
    $SIG{USR1} = sub { note("usr1") };
    kill("USR1", $$);
    note("alive");
    sleep 1 while 1;
"#;

#[test]
fn a_service_that_asks_to_be_traced_gets_its_signals_and_is_one_process() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sv.service("web").run(&perl(&format!("{} {SIGNALS_ITSELF}", trace_me()))).create();
    let onit = sv.start(UnderTest::Onit);
    let pid = web.wait_pid("alive");
    assert_eq!((web.wait_pid("usr1"), web.wait_up()), (pid, pid));
    web.order(b"p");
    wait_for("it to stop", SOON, || Glimpse::of(pid).filter(Glimpse::is_stopped));
    assert_eq!(web.wait_up(), pid, "a stop is no end");
    web.order(b"c");
    web.order(b"1");
    web.wait_text("usr1", |text| text == format!("{pid}\n{pid}\n"));
    web.order(b"d");
    web.wait_down();
    assert_eq!((web.text("alive"), onit.stderr()), (format!("{pid}\n"), String::new()));
}

#[test]
fn a_traced_service_is_killed_in_the_middle_of_everything() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    // Traced again and again: it never runs for long.
    let again = format!("while (1) {{ {} kill(\"USR1\", $$); print(\"again\\n\") }}", trace_me());
    let web = sv.service("web").run(&perl(&format!("$SIG{{USR1}} = sub {{}}; {again}"))).create();
    let other = sv.service("other").run("exec sleep 1000").create();
    let onit = sv.start(UnderTest::Onit);
    let pid = other.wait_up();
    onit.wait_for("it to be let go on again and again", SOON, || (onit.stdout().len() > 100).then_some(()));
    other.order(b"k"); // an end that was ordered is no news
    other.wait_other(pid);
    web.order(b"xk");
    onit.wait_for("the service to be gone", SOON, || (!web.is_supervised()).then_some(()));
    assert_eq!(onit.stderr(), "");
}

#[test]
fn a_command_that_asks_to_be_traced_is_executed_and_its_code_becomes_ours() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let exec = format!("{} exec(qw(sh -c), \"exit 3\")", trace_me()); // an exec under a tracer sends TRAP
    let fault = format!("{} kill(\"SEGV\", $$); sleep 1 while 1", trace_me());
    for (code, ending) in [(exec, 3), (fault, 139)] {
        let onit = sv.spawn_words(&[onit().to_str().expect("a path"), "--", "perl", "-e", &code]);
        assert_eq!(onit.wait_end(SOON), Ending::Code(ending), "{code}: {}", onit.stderr());
    }
    let trap = format!("$| = 1; {} print(\"ready\"); sleep 1 while 1", trace_me());
    let onit = sv.spawn_words(&[onit().to_str().expect("a path"), "--", "perl", "-e", &trap]);
    onit.wait_for("the command", SOON, || (onit.stdout() == "ready").then_some(()));
    proc::children(onit.pid()).into_iter().for_each(|pid| send(pid, Signal::SIGTRAP));
    assert_eq!(onit.wait_end(SOON), Ending::Code(133), "a TRAP that somebody sends is one");
}

#[test]
fn a_command_that_asks_to_be_traced_hears_signals_and_can_be_stopped() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let at = |file: &str| sv.root().join(file);
    let code = format!("chdir(\"{}\"); {} {SIGNALS_ITSELF}", sv.root().display(), trace_me());
    let onit = sv.spawn_words(&[onit().to_str().expect("a path"), "--", "perl", "-e", &code]);
    let read = |file: &str| std::fs::read_to_string(at(file)).ok().filter(|text| text.ends_with('\n'));
    let pid: u32 = wait_for("the command", SOON, || read("alive")).trim().parse().expect("a pid");
    assert_eq!(proc::children(onit.pid()), [pid]);
    for (signal, stopped) in [(Signal::SIGSTOP, true), (Signal::SIGCONT, false), (Signal::SIGSTOP, true)] {
        send(pid, signal);
        wait_for("it to do so", SOON, || Glimpse::of(pid).filter(|seen| seen.is_stopped() == stopped));
    }
    send(pid, Signal::SIGCONT);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(143));
}

#[test]
fn an_orphan_that_asks_to_be_traced_runs_on() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let orphan = format!("fork and exit; sleep 1 while getppid() != $ENV{{ONIT}}; {} {SIGNALS_ITSELF}", trace_me());
    let web = sv.service("web").run(&format!("export ONIT=$PPID\n({})\nexec sleep 1000", perl(&orphan))).create();
    let _onit = sv.start(UnderTest::Onit);
    let pid = web.wait_pid("alive");
    assert_eq!(web.wait_pid("usr1"), pid);
    let traced = || poll_until(SOON, || Glimpse::of(pid).filter(|seen| seen.state == 'S'));
    assert!(traced().is_some(), "it stands still: {:?}", Glimpse::of(pid));
}
