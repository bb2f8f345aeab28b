//! As PID 1 of a namespace of its own, and as the parent of orphans anywhere: everything is reaped, and signals mean what
//! they are to mean.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use nix::libc;
use nix::sys::signal::Signal;

use crate::proc;
use crate::svdir::InTurn as _;
use crate::svdir::{Ending, SOON, Service, Supervisor, SvDir, UnderTest};
use crate::svdir::{as_many, is_root, missing_tools, onit, send, skip, wait_for, wrapped};

/// What stands in the way of such tests.
fn why_not() -> Option<String> {
    missing_tools(&["unshare", "perl"]).or_else(|| (!is_root()).then(|| "needs root for namespaces".into()))
}

fn as_pid_1(command: &Command) -> Command {
    wrapped(&["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"], command)
}

/// The supervisor's pid as we see it; `unshare` waits for it and ends as it does.
fn inner(unshare: &Supervisor) -> u32 {
    unshare.wait_for("PID 1", SOON, || proc::children(unshare.pid()).pop())
}

fn sleeper(sv: &SvDir, name: &str) -> Service {
    sv.service(name).run("exec sleep 1000").create_atomically()
}

/// Forks and forks again, so that 20,000 processes lose their parent; half of them before they end, half afterwards.
const STORM: &str = r#"#!/usr/bin/perl
use POSIX '_exit';
for my $family (1 .. 500) {
    my $parent = fork; defined $parent or die "fork: $!";
    if ($parent == 0) {
        for my $n (1 .. 40) {
            my $orphan = fork; defined $orphan or _exit(1);
            if ($orphan == 0) { select(undef, undef, undef, 0.01) if $n % 2; _exit(0) }
        }
        _exit(0);
    }
    waitpid($parent, 0) == $parent && $? == 0 or die "a family failed";
}
open(my $done, '>', 'done'); print $done "done\n"; close $done;
exec 'sleep', '1000';
"#;

#[test]
fn twenty_thousand_orphans_leave_no_zombie_and_the_services_do_not_notice() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let storm = sv.service("storm");
    let storm = storm.exec("run", &STORM.replace("1 .. 500", &format!("1 .. {}", as_many(500)))).create_atomically();
    let unshare = sv.spawn(as_pid_1(&UnderTest::Onit.command(&sv.path())));
    let (onit, pid, mut restarts) = (inner(&unshare), web.wait_up(), 0);
    let mut last = pid;
    wait_for("the end of the storm", 3 * SOON, || {
        web.order(b"t");
        last = web.wait_other(last);
        restarts += 1;
        Some(storm.text("done")).filter(|text| text == "done\n")
    });
    let zombies = || proc::children(onit).into_iter().filter(|&child| !proc::is_alive(child)).count();
    unshare.wait_for("two children and no zombie", SOON, || {
        (proc::children(onit).len() == 2 && zombies() == 0).then_some(())
    });
    assert!(restarts > 0 && unshare.stderr().is_empty(), "{}", unshare.stderr());
}

#[test]
fn orphans_that_died_while_it_could_not_look_are_reaped_however_many_they_are() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let storm = sv.service("storm").run("while [ ! -e go ]; do sleep 0.05; done; exec ./storm");
    let storm = storm.exec("storm", &STORM.replace("1 .. 500", &format!("1 .. {}", as_many(150)))).create_atomically();
    let unshare = sv.spawn(as_pid_1(&UnderTest::Onit.command(&sv.path())));
    let onit = inner(&unshare);
    storm.wait_up();
    send(onit, Signal::SIGSTOP);
    storm.write("go", "");
    storm.wait_text("done", |text| text == "done\n");
    let many = as_many(6_000);
    unshare.wait_for("so many zombies", SOON, || (proc::children(onit).len() > many).then_some(()));
    send(onit, Signal::SIGCONT);
    unshare.wait_for("no zombie", SOON, || (proc::children(onit).len() == 1).then_some(()));
}

#[test]
fn an_end_by_a_real_time_signal_is_seen_told_and_followed_by_a_start() {
    let sv = SvDir::new();
    let run = "[ -e shot ] && exec sleep 1000; echo >shot; kill -40 $$; echo survived";
    let web = sv.service("web").run(run).finish("[ -e finished ] || echo $1 $2 >finished").create();
    let onit = sv.start(UnderTest::Onit);
    onit.wait_said(&["onit: web: was killed by signal 40 within a second of its start; trying again"]);
    assert_eq!(web.wait_text("finished", |text| text.ends_with('\n')), "-1 40\n");
    web.wait_for("its second life", |status| status.stat == "run\n" && !web.text("shot").is_empty());
    assert_eq!(onit.stdout(), "");
}

#[test]
fn an_end_by_a_real_time_signal_is_seen_by_pid_1() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let unshare = sv.spawn(as_pid_1(&UnderTest::Onit.command(&sv.path())));
    let (onit, pid) = (inner(&unshare), web.wait_up());
    let real = proc::children(onit)[0];
    assert!(Command::new("kill").args(["-40", &real.to_string()]).status_in_turn().expect("kill").success());
    web.wait_other(pid);
    unshare.wait_said(&["onit: web: was killed by signal 40"]);
}

#[test]
fn term_int_and_quit_to_pid_1_stop_everything_and_end_it_with_0() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let sv = SvDir::new();
        let web = sv.service("web").run("exec sleep 1000").finish("echo $1 $2 >finished").log("cat >>../got");
        let web = web.create_atomically();
        let unshare = sv.spawn(as_pid_1(&UnderTest::Onit.command(&sv.path())));
        web.wait_up();
        send(inner(&unshare), signal);
        assert_eq!(unshare.wait_end(SOON), Ending::Code(0), "{signal}");
        assert_eq!((web.text("finished").as_str(), unshare.stderr().as_str()), ("-1 15\n", ""));
        assert_eq!(web.status().expect("a status").stat, "down\n");
    }
}

#[test]
fn a_second_signal_to_pid_1_hurries() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    for (first, second) in [(Signal::SIGTERM, Signal::SIGTERM), (Signal::SIGTERM, Signal::SIGINT)] {
        let sv = SvDir::new();
        let (web, deaf) = (sleeper(&sv, "web"), sv.service("deaf").run("trap '' TERM; echo >ready; exec sleep 1000"));
        let deaf = deaf.create();
        let unshare = sv.spawn(as_pid_1(&UnderTest::Onit.command(&sv.path())));
        let (onit, _) = (inner(&unshare), web.wait_up());
        deaf.wait_text("ready", |text| !text.is_empty());
        send(onit, first);
        deaf.wait_for("TERM to be sent", |status| status.got_term());
        unshare.wait_for("the end of the other", SOON, || (proc::children(onit).len() == 1).then_some(()));
        send(onit, second);
        assert_eq!(unshare.wait_end(SOON), Ending::Code(0));
        assert_eq!(unshare.said(&["onit: deaf: still running (pid", "killing it"]).len(), 1, "{}", unshare.stderr());
    }
}

#[test]
fn pid_1_ends_with_0_when_told_before_its_directory_exists() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let unshare = sv.spawn(as_pid_1(&UnderTest::Onit.command(&sv.root().join("later"))));
    unshare.wait_said(&["onit: cannot open", "later: No such file or directory; waiting for it"]);
    send(inner(&unshare), Signal::SIGTERM);
    assert_eq!(unshare.wait_end(SOON), Ending::Code(0));
}

#[test]
fn signals_that_mean_nothing_to_it_do_not_end_it() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let onit = sv.start(UnderTest::Onit);
    let pid = web.wait_up();
    for signal in Signal::iterator() {
        use Signal::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
        let faults = [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS];
        let meant = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGKILL, Signal::SIGSTOP];
        if !faults.contains(&signal) && !meant.contains(&signal) {
            onit.signal(signal);
        }
    }
    sleeper(&sv, "after").wait_up();
    assert_eq!((web.wait_up(), onit.ended(), onit.stderr().as_str()), (pid, None, ""));
}

#[test]
fn orphans_of_services_become_children_of_onit_at_any_pid_and_are_reaped() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let daemon = r#"#!/usr/bin/perl
        use POSIX '_exit';
        unless (fork) {
            exec 'sh', '-c', 'echo $$ >orphan; exec sleep 1000' unless fork;
            _exit(0);
        }
        wait;
        exec 'sleep', '1000';
    "#;
    let web = sv.service("web").exec("run", daemon).create_atomically();
    let onit = sv.start(UnderTest::Onit);
    let (orphan, pid) = (web.wait_pid("orphan"), web.wait_up());
    onit.wait_for("the adoption", SOON, || proc::children(onit.pid()).contains(&orphan).then_some(()));
    send(orphan, Signal::SIGKILL);
    onit.wait_for("no zombie", SOON, || proc::Glimpse::of(orphan).is_none().then_some(()));
    assert_eq!((web.wait_up(), onit.stderr().as_str()), (pid, ""));
}

#[test]
fn what_podman_lxc_and_a_failing_power_supply_send_ends_a_container_with_0() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    for signal in [37, 38, libc::SIGPWR] {
        let sv = SvDir::new();
        let web = sleeper(&sv, "web");
        let unshare = sv.spawn(as_pid_1(&UnderTest::Onit.command(&sv.path())));
        web.wait_up();
        send_number(inner(&unshare), signal);
        assert_eq!(unshare.wait_end(SOON), Ending::Code(0), "{signal}");
        assert_eq!((web.status().expect("a status").stat.as_str(), unshare.stderr().as_str()), ("down\n", ""));
    }
}

#[test]
fn a_container_that_is_to_reboot_stops_its_services_and_ends_as_the_manager_expects() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let mut init = Command::new("env");
    init.arg(format!("SVDIR={}", sv.path().display())).arg(onit()).args(["init", "unknown"]);
    let unshare = sv.spawn(as_pid_1(&init));
    web.wait_up();
    send_number(inner(&unshare), 39);
    assert_eq!(unshare.wait_end(SOON), Ending::Signal(libc::SIGHUP)); // reboot(2) as seen from outside
    assert_eq!((web.status().expect("a status").stat.as_str(), unshare.stderr().as_str()), ("down\n", ""));
}

#[test]
fn who_is_pid_1_is_asked_only_what_it_listens_to() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let onit = onit();
    // In a shell of its own: one that has just forked may still block every signal.
    let script =
        format!("(for a in 'poweroff' 'init 6' 'shutdown -r now'; do {} $a; echo $?; done); exit 0", onit.display());
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]);
    let output = sv.run(as_pid_1(&shell));
    assert_eq!((output.code, output.stdout.as_str()), (0, "1\n1\n1\n"));
    let deaf =
        |signal, what| format!("onit: PID 1 does not listen to signal {signal}, so it was not asked to {what}\n");
    assert_eq!(output.stderr, [deaf(38, "poweroff"), deaf(39, "reboot"), deaf(39, "reboot")].concat());
    shell = Command::new("sh");
    shell.args(["-c", &format!("{} reboot -f; sleep 100", onit.display())]);
    assert_eq!(sv.spawn(as_pid_1(&shell)).wait_end(SOON), Ending::Signal(libc::SIGHUP));
}

#[test]
fn a_program_without_dashes_in_a_container_is_told_instead_of_taken_for_the_kernel_s_words() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let mut command = Command::new(onit());
    command.args(["nginx", "-g", "daemon off;"]);
    let unshare = sv.spawn(as_pid_1(&command));
    assert_eq!(unshare.wait_end(SOON), Ending::Code(100), "{}", unshare.stderr());
    unshare.wait_said(&["onit: there is no verb nginx (\"onit help\" shows verbs; a program: onit -- nginx)"]);
}

/// Processes that hear nothing, and fork whenever one of them has gone.
pub const BOMB: &str = r"$| = 1; $SIG{TERM} = $SIG{CHLD} = q(IGNORE); my $end = time + 60;
    while (time < $end) { next if defined fork; print qq(full\n); select(undef, undef, undef, 0.001) }";

#[test]
fn who_forks_faster_than_it_is_killed_does_not_keep_pid_1_from_its_end() {
    if let Some(why) = why_not().or_else(|| missing_tools(&["setpriv", "prlimit"])) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let limited = "setpriv --reuid 54321 --regid 54321 --clear-groups prlimit --nproc=40 perl -e \"$0\" >full &";
    let script = format!("cd {}; {limited} while [ ! -s full ]; do sleep 0.05; done; exit 3", sv.root().display());
    let mut command = Command::new(onit());
    command.args(["--", "sh", "-c", &script, BOMB]);
    let unshare = sv.spawn(as_pid_1(&command));
    assert_eq!(unshare.wait_end(SOON), Ending::Code(3), "{}", unshare.stderr());
    unshare.wait_said(&["onit: perl (pid", "is still running; killing it"]);
}

/// Leaves a process behind that writes what it is told.
const LEAVER: &str = "setsid sh -c 'trap \"echo told >told; exit\" TERM; echo >ready; while :; do sleep 0.05; done' & \
                      while [ ! -e ready ]; do sleep 0.05; done; exit 5";

#[test]
fn where_proc_is_another_namespace_s_its_numbers_are_not_taken_for_ours() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let start = |command: &Command| {
        let mut unshare = wrapped(&["unshare", "--pid", "--fork", "--kill-child"], command); // with the /proc of outside
        unshare.current_dir(sv.root());
        sv.spawn(unshare)
    };
    let mut command = Command::new(onit());
    command.args(["--", "sh", "-c", LEAVER]);
    let unshare = start(&command);
    assert_eq!(unshare.wait_end(SOON), Ending::Code(5), "{}", unshare.stderr());
    assert_eq!(std::fs::read_to_string(sv.root().join("told")).unwrap_or_default(), "told\n");
    assert!(!unshare.stderr().contains("onit: "), "nobody of outside is named: {}", unshare.stderr());

    // Not PID 1: whom it may signal cannot be seen, so nobody is.
    std::fs::remove_file(sv.root().join("ready")).expect("a file");
    let mut shell = Command::new("sh");
    shell.args(["-c", "\"$@\"; echo $?", "sh"]).arg(onit()).args(["--", "sh", "-c", LEAVER]);
    let unshare = start(&shell);
    assert_eq!(unshare.wait_end(SOON), Ending::Code(0), "{}", unshare.stderr());
    assert_eq!(unshare.stdout(), "5\n");
    unshare.wait_said(&["onit: there is no /proc of ours, so processes that were left behind are left alone"]);
}

/// Its names: a verb, Kubernetes' pause container, and what podman keeps a pod with.
fn idle(sv: &SvDir) -> [Command; 3] {
    let link = |name: &str| {
        let path = sv.root().join(name);
        if !path.exists() {
            symlink(onit(), &path).expect("symlink");
        }
        Command::new(path)
    };
    let (mut verb, pause, mut catatonit) = (Command::new(onit()), link("pause"), link("catatonit"));
    verb.arg("idle");
    catatonit.arg("-P");
    [verb, pause, catatonit]
}

/// Waits until this process is an idle onit that hears signals, and sleeps.
fn wait_idle(started: &Supervisor, pid: impl Fn() -> u32) -> u32 {
    started.wait_for("it to be idle", SOON, || {
        let pid = pid();
        let hears = proc::Glimpse::of(pid).is_some_and(|seen| seen.state == 'S' && seen.blocked & TERM != 0);
        let is_ours =
            fs::canonicalize(format!("/proc/{pid}/exe")).is_ok_and(|path| Some(path) == onit().canonicalize().ok());
        (is_ours && hears && waits_for_ever(pid)).then_some(pid)
    })
}

/// Signal 15, as the kernel shows sets of signals.
const TERM: u64 = 1 << 14;

/// Whether it sleeps in epoll_wait(2), or epoll_pwait(2), without a time limit.
fn waits_for_ever(pid: u32) -> bool {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let in_epoll = proc::syscall(pid).is_some_and(|call| [libc::SYS_epoll_wait, libc::SYS_epoll_pwait].contains(&call));
    in_epoll && words.get(4).is_some_and(|timeout| timeout.ends_with("ffffffff"))
}

/// Orphans that come to an idle onit: `ORPHANS`, for the test that takes long.
fn orphans() -> usize {
    std::env::var("ORPHANS").map_or(as_many(2_000), |number| number.parse().expect("ORPHANS is a number"))
}

#[test]
fn an_idle_pid_1_ends_with_0_at_term_and_at_int_by_each_of_its_names() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    for command in idle(&sv) {
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let unshare = sv.spawn(as_pid_1(&command));
            let pid = inner(&unshare);
            wait_idle(&unshare, || pid);
            assert_eq!(proc::children(pid), [0; 0]);
            send(pid, signal);
            assert_eq!(unshare.wait_end(SOON), Ending::Code(0), "{signal} {command:?}");
            assert_eq!((unshare.stdout() + &unshare.stderr()).as_str(), "");
        }
    }
}

#[test]
fn an_idle_pid_1_reaps_every_orphan_also_of_a_storm_that_it_could_not_look_at() {
    if let Some(why) = why_not().or_else(|| missing_tools(&["nsenter"])) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let unshare = sv.spawn(as_pid_1(&idle(&sv)[0]));
    let pid = inner(&unshare);
    wait_idle(&unshare, || pid);
    // As a program of `kubectl exec` or `docker exec` comes: its parent is outside.
    let families = orphans().div_ceil(40);
    let script = STORM.replace("1 .. 500", &format!("1 .. {families}")).replace("exec 'sleep', '1000';", "");
    let storm = |done: &str| {
        let mut perl = Command::new("perl");
        perl.args(["-e", &script.replace("'done'", &format!("'{}'", sv.root().join(done).display()))]);
        let storm = sv.spawn(wrapped(&["nsenter", "--target", &pid.to_string(), "--pid"], &perl));
        assert_eq!((storm.wait_end(3 * SOON), storm.stderr().as_str()), (Ending::Code(0), ""));
        assert!(sv.root().join(done).exists());
    };
    storm("while it looks");
    unshare.wait_for("no child", SOON, || proc::children(pid).is_empty().then_some(()));

    send(pid, Signal::SIGSTOP);
    storm("while it does not");
    unshare.wait_for("all of them", SOON, || (proc::children(pid).len() == 40 * families).then_some(()));
    send(pid, Signal::SIGCONT);
    unshare.wait_for("no zombie", SOON, || proc::children(pid).is_empty().then_some(()));
    wait_idle(&unshare, || pid);
    assert_eq!((unshare.ended(), unshare.stderr().as_str()), (None, ""));
}

#[test]
fn an_idle_pid_1_ends_at_once_also_while_processes_run_and_leaves_none() {
    if let Some(why) = why_not().or_else(|| missing_tools(&["nsenter"])) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let unshare = sv.spawn(as_pid_1(&idle(&sv)[1]));
    let pid = inner(&unshare);
    wait_idle(&unshare, || pid);
    let mut shell = Command::new("sh");
    shell.args(["-c", "trap '' TERM; sleep 1000 >/dev/null 2>&1 & exit 0"]);
    assert_eq!(sv.run(wrapped(&["nsenter", "--target", &pid.to_string(), "--pid"], &shell)).code, 0);
    let orphan = unshare.wait_for("the orphan", SOON, || proc::children(pid).pop());
    send(pid, Signal::SIGTERM);
    assert_eq!(unshare.wait_end(SOON), Ending::Code(0));
    wait_for("the end of the orphan", SOON, || (!proc::is_alive(orphan)).then_some(()));
}

#[test]
fn an_idle_onit_at_any_pid_adopts_and_reaps_and_keeps_nothing_open() {
    if let Some(why) = missing_tools(&["perl"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let pids = |name: &str| {
        let text = fs::read_to_string(sv.root().join(name)).unwrap_or_default();
        text.ends_with('\n').then(|| text.trim().parse::<u32>().expect("a pid"))
    };
    // One child is dead before it is onit, one lives and has a child of its own.
    let script = r#"use POSIX '_exit';
        sub note { my ($name, $pid) = @_; open(my $file, '>', $name); print $file "$pid\n"; close $file }
        sub state { open(my $stat, '<', "/proc/$_[0]/stat"); <$stat> =~ /\) (.)/; $1 }
        my $dead = fork; _exit(0) unless $dead;
        unless (fork) {
            my $orphan = fork; exec 'sleep', '1000' unless $orphan;
            note('orphan', $orphan); note('parent', $$); sleep 1000;
        }
        select(undef, undef, undef, 0.01) until -s 'parent' && state($dead) eq 'Z';
        note('dead', $dead);
        open(my $others, '<', '.') or die; POSIX::dup2(fileno($others), 7);
        exec @ARGV;"#;
    for command in idle(&sv) {
        for name in ["dead", "orphan", "parent"] {
            let _ = fs::remove_file(sv.root().join(name));
        }
        let mut shell = wrapped(&["perl", "-e", script], &command);
        shell.current_dir(sv.root());
        let onit = sv.spawn(shell);
        let pid = wait_idle(&onit, || onit.pid());
        let [dead, parent, orphan] = ["dead", "parent", "orphan"].map(|name| pids(name).expect("a pid"));
        assert!(proc::Glimpse::of(dead).is_none(), "a zombie that it was executed with");
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).ok(), Some("/".into()));
        assert!(!fs::exists(format!("/proc/{pid}/fd/7")).expect("/proc"), "a descriptor of others");
        send(parent, Signal::SIGKILL);
        onit.wait_for("the adoption", SOON, || (proc::children(pid) == [orphan]).then_some(()));
        send(orphan, Signal::SIGKILL);
        onit.wait_for("no zombie", SOON, || proc::children(pid).is_empty().then_some(()));
        onit.signal(Signal::SIGTERM);
        assert_eq!((onit.wait_end(SOON), onit.stderr().as_str()), (Ending::Code(0), ""));
    }
}

#[test]
fn other_signals_do_not_end_an_idle_onit() {
    if let Some(why) = missing_tools(&["prlimit"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    for command in idle(&sv) {
        let onit = sv.spawn(command);
        let pid = wait_idle(&onit, || onit.pid());
        for signal in Signal::iterator() {
            use Signal::{SIGABRT, SIGBUS, SIGFPE, SIGILL, SIGSEGV, SIGSYS, SIGTRAP};
            let faults = [SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS];
            let meant = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGKILL, Signal::SIGSTOP];
            if !faults.contains(&signal) && !meant.contains(&signal) {
                onit.signal(signal);
            }
        }
        send_number(pid, 37);
        let has_read = |seen: proc::Glimpse| seen.pending == 0;
        onit.wait_for("all to be read", SOON, || proc::Glimpse::of(pid).is_some_and(has_read).then_some(()));
        wait_idle(&onit, || pid);
        onit.signal(Signal::SIGINT);
        assert_eq!((onit.wait_end(SOON), onit.stderr().as_str()), (Ending::Code(0), ""));
    }
    // But as catatonit's, its own faults do.
    for signal in [Signal::SIGABRT, Signal::SIGSEGV] {
        let [command, ..] = idle(&sv);
        let onit = sv.spawn(wrapped(&["prlimit", "--core=0"], &command));
        wait_idle(&onit, || onit.pid());
        onit.signal(signal);
        assert_eq!(onit.wait_end(SOON), Ending::Signal(signal as i32));
    }
}

#[test]
fn idle_takes_no_words_and_its_other_names_leave_verbs_and_commands_alone() {
    let sv = SvDir::new();
    let usage = "usage: onit idle\n";
    for command in idle(&sv) {
        let with = |word: &str| {
            let mut longer = Command::new(command.get_program());
            longer.args(command.get_args()).arg(word);
            sv.run(longer)
        };
        let wrong = with("web");
        assert_eq!((wrong.code, wrong.stdout.as_str()), (100, ""));
        assert_eq!(wrong.stderr, format!("onit: idle: web is one word too many\n{usage}"));
        for word in ["-h", "--help"] {
            let help = with(word);
            assert!(help.code == 0 && help.stdout.starts_with(usage) && help.stderr.is_empty(), "{help:?}");
        }
    }
    let order = sv.onit(&["pause"]);
    assert_eq!((order.code, order.stderr.contains("which service?")), (100, true), "{}", order.stderr);
    let mut catatonit = Command::new(sv.root().join("catatonit"));
    catatonit.args(["--", "sh", "-c", "exit 3"]);
    assert_eq!(sv.run(catatonit).code, 3);
}

fn send_number(pid: u32, signal: i32) {
    let kill = Command::new("kill").args([format!("-{signal}"), pid.to_string()]).status_in_turn();
    assert!(kill.expect("kill").success());
}
