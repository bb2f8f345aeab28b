//! In a control group that was given to us, what we start is in one of its own, and ends with cgroup.kill.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use nix::sys::signal::Signal;

use crate::pid1::BOMB;
use crate::proc;
use crate::svdir::InTurn as _;
use crate::svdir::{Ending, SOON, SvDir, UnderTest};
use crate::svdir::{given_to, is_root, missing_tools, onit, poll_until, send, skip, wrapped};

/// A control group of ours; it ends with everything in it.
struct Given {
    dir: PathBuf,
}

impl Given {
    /// Where there is a hierarchy of version 2.
    fn hierarchy() -> Option<PathBuf> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let line = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
        Some(PathBuf::from(line.split(' ').nth(4)?))
    }

    /// What stands in the way of making one. Tried once: tests that run at the same time would find each other's try.
    fn why_not() -> Option<String> {
        static WHY_NOT: OnceLock<Option<String>> = OnceLock::new();
        WHY_NOT.get_or_init(Self::try_to_make_one).clone()
    }

    fn try_to_make_one() -> Option<String> {
        if !is_root() {
            return Some("only root can make a control group".into());
        }
        let Some(hierarchy) = Self::hierarchy() else { return Some("there is no cgroup2 hierarchy".into()) };
        let probe = hierarchy.join(format!("onit-tests-{}", std::process::id()));
        let made = fs::create_dir(&probe).and_then(|()| fs::metadata(probe.join("cgroup.kill")).map(drop));
        drop(fs::remove_dir(&probe));
        made.err().map(|e| format!("cannot make a control group in {}: {e}", hierarchy.display()))
    }

    fn new(name: &str) -> Self {
        let dir = Self::hierarchy().expect("a hierarchy").join(format!("onit-tests-{}-{name}", std::process::id()));
        fs::create_dir(&dir).unwrap_or_else(|e| panic!("mkdir {}: {e}", dir.display()));
        Self { dir }
    }

    /// As systemd does for a unit with `Delegate=`.
    fn marked(self) -> Self {
        let set = "import os, sys; os.setxattr(sys.argv[1], 'user.delegate', b'1')";
        let status = Command::new("python3").args(["-c", set]).arg(&self.dir).status_in_turn();
        assert!(status.expect("python3").success());
        self
    }

    /// A command that runs in it.
    fn inside(&self, command: &Command) -> Command {
        let procs = self.dir.join("cgroup.procs");
        let enter = ["sh", "-c", "echo $$ >\"$0\"; exec \"$@\"", procs.to_str().expect("a printable path")];
        wrapped(&enter, command)
    }

    /// The groups in it.
    fn groups(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path());
        entries.filter(|path| path.is_dir()).collect()
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        let kill = |dir: &Path| fs::OpenOptions::new().write(true).open(dir.join("cgroup.kill"))?.write_all(b"1");
        drop(kill(&self.dir));
        let _ = poll_until(SOON, || {
            self.groups().iter().for_each(|group| drop(fs::remove_dir(group)));
            fs::remove_dir(&self.dir).ok()
        });
    }
}

fn members(group: &Path) -> Vec<u32> {
    let list = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    list.lines().filter_map(|line| line.parse().ok()).collect()
}

fn command<W: AsRef<OsStr>>(words: &[W]) -> Command {
    let mut command = Command::new(words[0].as_ref());
    command.args(&words[1..]);
    command
}

#[test]
fn who_forks_faster_than_it_is_killed_does_not_keep_onit_from_its_end() {
    if let Some(why) = Given::why_not().or_else(|| missing_tools(&["python3", "perl", "setpriv", "prlimit"])) {
        skip!("{why}");
    }
    let (sv, given) = (SvDir::new(), Given::new("bomb").marked());
    let bystander = sv.spawn(given.inside(&command(&["sleep", "1000"])));
    let limited = "setpriv --reuid 54322 --regid 54322 --clear-groups prlimit --nproc=200 perl -e \"$0\" >full &";
    let script = format!("cd {}; {limited} while [ ! -s full ]; do sleep 0.05; done; exit 3", sv.root().display());
    let run = [onit().to_str().expect("text"), "--", "sh", "-c", &script, BOMB].map(String::from);
    let ended = sv.spawn(given.inside(&command(&run)));
    assert_eq!(ended.wait_end(SOON), Ending::Code(3), "{}", ended.stderr());
    assert!(proc::is_alive(bystander.pid()), "it is in the group that was given, but not ours");
    assert_eq!((given.groups(), members(&given.dir)), (vec![], vec![bystander.pid()]));
}

#[test]
fn all_that_is_started_is_in_a_group_of_its_own_also_after_a_fault() {
    if let Some(why) = Given::why_not().or_else(|| missing_tools(&["python3"])) {
        skip!("{why}");
    }
    let (sv, given) = (SvDir::new(), Given::new("fault").marked());
    let web = sv.service("web").run("exec sleep 1000").log("exec cat").create();
    let mut command = UnderTest::Onit.command(&sv.path());
    command.args(["--", "sleep", "1000"]);
    let onit = sv.spawn(given.inside(&command));
    web.wait_up();
    web.logger().wait_up();
    let all = |count| {
        onit.wait_for("processes", SOON, || {
            given.groups().first().filter(|group| members(group).len() == count).cloned()
        })
    };
    let group = all(3);
    assert_eq!(members(&given.dir), [onit.pid()]);
    onit.signal(Signal::SIGSEGV);
    onit.wait_said(&["onit: SIGSEGV: starting again; the main process and 1 service keep running"]);
    sv.service("later").run("exec sleep 1000").create_atomically().wait_up();
    assert_eq!(all(4), group);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(143), "{}", onit.stderr());
    assert_eq!((given.groups(), members(&given.dir)), (vec![], vec![]));
}

#[test]
fn without_its_group_all_goes_on() {
    if let Some(why) = Given::why_not().or_else(|| missing_tools(&["python3"])) {
        skip!("{why}");
    }
    let (sv, given) = (SvDir::new(), Given::new("removed").marked());
    let onit = sv.spawn(given.inside(&UnderTest::Onit.command(&sv.path())));
    let group = onit.wait_for("its group", SOON, || given.groups().pop());
    fs::remove_dir(group).expect("nobody is in it");
    let pid = sv.service("web").run("exec sleep 1000").create_atomically().wait_up();
    let mut both = [onit.pid(), pid];
    both.sort_unstable();
    assert_eq!(members(&given.dir), both);
    onit.signal(Signal::SIGTERM);
    assert_eq!((onit.wait_end(SOON), onit.stderr().as_str()), (Ending::Code(0), ""));
}

#[test]
fn a_group_that_belongs_to_our_user_is_given_to_us_and_another_is_not() {
    if let Some(why) = Given::why_not().or_else(|| missing_tools(&["setpriv"])) {
        skip!("{why}");
    }
    for (uid, owner, is_given) in [(54_323, 54_323, true), (54_323, 0, false), (0, 0, false)] {
        let (sv, given) = (SvDir::new(), Given::new(&format!("{uid}-{owner}")));
        let web = sv.service("web").run("exec sleep 1000").create();
        let words = given_to(&sv, uid);
        for path in [given.dir.clone(), given.dir.join("cgroup.procs")] {
            std::os::unix::fs::chown(path, Some(owner), Some(owner)).expect("chown");
        }
        let onit = sv.spawn(given.inside(&command(&words)));
        let pid = web.wait_up();
        let group = onit.wait_for("a process", SOON, || {
            let mut all = given.groups();
            all.push(given.dir.clone());
            all.into_iter().find(|group| members(group).contains(&pid))
        });
        assert_eq!(group != given.dir, is_given, "{uid} {owner}");
        onit.signal(Signal::SIGTERM);
        assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
        assert_eq!((onit.stderr().as_str(), given.groups()), ("", vec![]));
    }
}

/// A `run` with a child that has left its process group.
const RUNAWAY: &str = "setsid sleep 1000 & echo $! >.child; mv .child child; exec sleep 1000";

#[test]
fn what_a_service_with_kill_mode_cgroup_leaves_behind_is_killed_wherever_it_went() {
    if let Some(why) = Given::why_not().or_else(|| missing_tools(&["python3", "setsid"])) {
        skip!("{why}");
    }
    let (sv, given) = (SvDir::new(), Given::new("services").marked());
    let name = "a b%\n;";
    let web = sv.service(name).run(RUNAWAY).file("kill-mode", "cgroup").file("backoff", "10ms 10ms 1h");
    let web = web.finish("cat /proc/self/cgroup >finished").create();
    let other = sv.service("other").run("exec sleep 1000").create();
    let onit = sv.spawn(given.inside(&UnderTest::Onit.command(&sv.path())));
    let child = || -> u32 {
        let file = web.path().join("child");
        let pid = onit.wait_for("its child", SOON, || fs::read_to_string(&file).ok()?.trim().parse().ok());
        fs::remove_file(file).expect("removed");
        pid
    };
    let wait_gone = |pid| onit.wait_for("its end", SOON, || (!proc::is_alive(pid)).then_some(()));
    let own = |dir: &Path| fs::read_dir(dir).expect("a group").flatten().map(|e| e.path()).find(|p| p.is_dir());
    let (first, all) = (child(), given.groups().pop().expect("that of all"));
    let group = own(&all).expect("its own");
    let called = group.file_name().and_then(OsStr::to_str).expect("text");
    assert!(called.starts_with("a%20b%25%0A%3B."), "{called}");
    let pid = web.wait_up();
    onit.wait_for("its two processes", SOON, || (members(&group).len() == 2).then_some(())); // mv(1) may still live
    assert_eq!(members(&all), [other.wait_up()]);
    send(pid, Signal::SIGKILL);
    web.wait_other(pid);
    wait_gone(first);
    let finished = || fs::read_to_string(web.path().join("finished")).unwrap_or_default().contains(called);
    onit.wait_for("finish, in the same group", SOON, || finished().then_some(()));
    onit.wait_said(&["onit: a b%?;: ./run left 1 process behind; killed it"]);
    let second = child();
    onit.signal(Signal::SIGSEGV);
    onit.wait_said(&["SIGSEGV: starting again"]);
    web.control(b"d").expect("an order");
    web.wait_down();
    wait_gone(second);
    onit.wait_for("the group to be removed", SOON, || own(&all).is_none().then_some(()));
    web.control(b"u").expect("an order");
    let third = child();
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0), "{}", onit.stderr());
    assert!(!proc::is_alive(third));
    assert_eq!((given.groups(), members(&given.dir)), (vec![], vec![]));
}

// ---------------------------------------------------------------------------------------------------------------------
// onit exec --memory, --cpu, --pids
// ---------------------------------------------------------------------------------------------------------------------

/// What `onit exec` with these words says in this group, standard error included, and its exit code.
fn exec_in(sv: &SvDir, given: &Given, before: &str, words: &[&str]) -> (String, i32) {
    let script = format!("exec 2>&1; {before} exec \"$0\" exec \"$@\"");
    let mut command = command(&["sh", "-c", &script]);
    command.arg(onit()).args(words);
    let output = sv.run(given.inside(&command));
    (output.stdout, output.code)
}

/// The files of a group whose controllers another hierarchy has, as a file system that looks like it.
#[test]
fn limits_are_written_to_the_files_of_the_group() {
    if let Some(why) = Given::why_not().or_else(|| missing_tools(&["unshare", "mount"])) {
        skip!("{why}");
    }
    let (sv, given) = (SvDir::new(), Given::new("limits"));
    let dir = given.dir.display();
    let shows = "cd \"$0\"; cat memory.max; echo; cat cpu.max; echo; cat pids.max";
    let looks_like = format!(
        "mount -t tmpfs none {dir} || exit 1; cd {dir}; : >cgroup.type; : >memory.max; : >cpu.max; : >pids.max; echo $$ >cgroup.procs; cd /;"
    );
    for (values, files) in
        [(["512M", "1.5", "100"], "536870912\n150000 100000\n100"), (["max", "max", "max"], "max\nmax 100000\nmax")]
    {
        let [memory, cpu, pids] = values;
        let words = ["--memory", memory, "--cpu", cpu, "--pids", pids, "sh", "-c", shows, &dir.to_string()];
        let script = format!("exec unshare -m sh -c '{looks_like} exec \"$0\" exec \"$@\"' \"$0\" \"$@\";");
        assert_eq!(exec_in(&sv, &given, &script, &words), (files.to_owned(), 0), "{values:?}");
    }
}

#[test]
fn limits_hold_or_it_is_told_why_they_cannot() {
    if let Some(why) = Given::why_not() {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let given = Given::new("pids");
    let dir = given.dir.display();
    let forks = "for i in 1 2 3 4 5 6 7 8; do sleep 3 & done; echo all";
    let told = exec_in(&sv, &given, "", &["--pids", "4", "sh", "-c", forks]);
    if given.dir.join("pids.max").exists() {
        assert!(told.1 != 0 && !told.0.contains("all"), "{told:?}");
        assert_eq!(fs::read_to_string(given.dir.join("pids.max")).expect("a limit"), "4\n");
    } else {
        let line = format!(
            "onit: exec: there is no {dir}/pids.max: no cgroup.subtree_control above it names that controller\n"
        );
        assert_eq!(told, (line, 111));
    }
    // Others would be limited, too.
    let given = Given::new("shared");
    let _bystander = sv.spawn(given.inside(&command(&["sleep", "1000"])));
    assert!(poll_until(SOON, || (members(&given.dir).len() == 1).then_some(())).is_some());
    for option in ["--memory", "--cpu", "--pids"] {
        let (line, code) = exec_in(&sv, &given, "", &[option, "max", "true"]);
        let why = format!(
            "onit: exec: --memory, --cpu and --pids would limit others: the control group {} is that of another \
             process, too (kill-mode cgroup gives a service one of its own)\n",
            given.dir.display()
        );
        assert_eq!((line, code), (why, 111), "{option}");
    }
    let (line, code) = exec_in(&sv, &given, "", &["--memory", "much", "true"]);
    assert!(code == 100 && line.contains("\"much\" is no number"), "{line}");
}
