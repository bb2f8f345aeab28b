//! What a process changes in itself before it becomes a program: `chpst`, the tools of daemontools and of s6 do what the
//! stock ones do, in the same words and with the same exit codes; `onit exec` does what it says.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::libc;

use crate::proc;
use crate::svdir::InTurn as _;
use crate::svdir::{SOON, find_in_path, is_root, missing_tools, onit, poll_until, skip, wait_for};

/// Tools that both have.
const TOOLS: [&str; 17] = [
    "chpst",
    "setuidgid",
    "envuidgid",
    "envdir",
    "pgrphack",
    "setlock",
    "softlimit",
    "fghack",
    "tai64n",
    "tai64nlocal",
    "s6-setuidgid",
    "s6-envuidgid",
    "s6-envdir",
    "s6-softlimit",
    "s6-setsid",
    "s6-setlock",
    "s6-notifyoncheck",
];

/// Two directories that are the same but for the tools in `bin/`: the stock ones, and ours.
struct Bench {
    root: tempfile::TempDir,
}

/// What was printed, with standard error among it, and the exit code.
type Told = (String, Option<i32>);

impl Bench {
    fn new() -> Bench {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        open_to_all(root.path());
        let bench = Bench { root };
        // Users to whom the directory of the build is closed have to execute it, too.
        let ours = bench.root.path().join("onit");
        crate::svdir::copy_program(&onit(), &ours);
        for side in ["stock", "ours"] {
            let dir = bench.root.path().join(side);
            for name in ["bin", "work"] {
                fs::create_dir_all(dir.join(name)).expect("mkdir");
                open_to_all(&dir.join(name));
            }
            open_to_all(&dir);
            for tool in TOOLS {
                let target = if side == "ours" { Some(ours.clone()) } else { find_in_path(tool) };
                target.into_iter().for_each(|target| symlink(target, dir.join("bin").join(tool)).expect("symlink"));
            }
        }
        bench
    }

    fn work(&self, side: &str) -> PathBuf {
        self.root.path().join(side).join("work")
    }

    /// A line of shell, with the tools of that side in front of PATH.
    fn shell(&self, side: &str, line: &str) -> Told {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", &format!("exec 2>&1\n{line}")]).current_dir(self.work(side)).env_clear();
        command.envs([("PATH", "../bin:/usr/bin:/bin"), ("FIRST", "1"), ("SECOND", "2"), ("THIRD", "3")]);
        let output = command.stdin(Stdio::null()).output_in_turn().expect("a shell");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    }

    /// Both sides say the same about each line, and end the same.
    #[track_caller]
    fn same(&self, lines: &[&str]) {
        let mut different = Vec::new();
        for line in lines {
            let [stock, ours] = ["stock", "ours"].map(|side| self.shell(side, line));
            if stock != ours {
                different.push(format!("{line}\n  stock: {stock:?}\n  ours:  {ours:?}"));
            }
        }
        assert!(different.is_empty(), "{} of {}:\n{}", different.len(), lines.len(), different.join("\n"));
    }

    /// Runs a line on both sides, to prepare something.
    fn prepare(&self, line: &str) {
        for side in ["stock", "ours"] {
            let told = self.shell(side, line);
            assert_eq!(told.1, Some(0), "{line}: {told:?}");
        }
    }
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("chmod");
}

/// What shows the user of a process.
macro_rules! ids {
    ($words:literal) => {
        concat!($words, " grep -E '^(Uid|Gid|Groups):' /proc/self/status")
    };
}

/// What shows its environment, in its order.
macro_rules! environ {
    ($words:literal) => {
        concat!($words, " tr '\\0' '\\n' </proc/self/environ")
    };
}

#[test]
fn users_are_those_of_the_stock_tools() {
    if let Some(why) = missing_tools(&TOOLS) {
        skip!("{why}");
    }
    if !is_root() {
        skip!("only root can become another user");
    }
    let bench = Bench::new();
    bench.same(&[
        ids!("chpst -u nobody"),
        ids!("chpst -unobody:daemon"),
        ids!("chpst -u nobody:daemon:bin:sys"),
        ids!("chpst -u games"),
        ids!("chpst -u :1000:2000:3000"),
        ids!("chpst -u :1000"),
        ids!("chpst -u :1000:"),
        ids!("chpst -u ::5"),
        ids!("chpst -u :"),
        ids!("chpst -u ''"),
        ids!("chpst -u :4294967296:1"),
        ids!("chpst -u :1000:2000x"),
        ids!("chpst -u :x:1"),
        ids!("chpst -u :1::3"),
        ids!("chpst -u 1000"),
        ids!("chpst -u nobody:"),
        ids!("chpst -u nobody::bin"),
        ids!("chpst -u nosuch"),
        ids!("chpst -u nobody:nosuch"),
        ids!("chpst -u nobody:daemon:nosuch"),
        ids!("chpst -u nobody chpst -u daemon"),
        ids!("chpst -u nobody chpst -u nobody"),
        "groups=$(seq -s: 1 60); chpst -u :1:$groups grep Groups /proc/self/status",
        "groups=$(seq -s: 1 61); chpst -u :1:$groups grep Groups /proc/self/status",
        environ!("chpst -U nobody sh -c 'exec \"$@\"' -"),
        "chpst -U nobody:daemon:bin env | grep -E '^[UG]ID='; id -u",
        "chpst -U :5:6:7 env | grep -E '^[UG]ID='",
        "chpst -U nosuch true",
        "chpst -U :5 true",
        ids!("setuidgid nobody"),
        ids!("setuidgid games"),
        ids!("setuidgid nobody:daemon"),
        ids!("setuidgid :1:2"),
        ids!("setuidgid 65534"),
        ids!("setuidgid ''"),
        ids!("setuidgid nobody setuidgid daemon"),
        "setuidgid; echo $?; setuidgid nobody; echo $?; setuidgid -x",
        "setuidgid nobody ./nonexistent",
        "envuidgid nobody env | grep -E '^[UG]ID='; id -u",
        "envuidgid nosuch true",
        ids!("s6-setuidgid nobody"),
        ids!("s6-setuidgid games"),
        ids!("s6-setuidgid 1000:2000"),
        ids!("s6-setuidgid 0:2000"),
        ids!("s6-setuidgid 1000:0"),
        ids!("s6-setuidgid 1000:"),
        ids!("s6-setuidgid :1000"),
        ids!("s6-setuidgid nobody:daemon"),
        ids!("s6-setuidgid 1:99999999999"),
        ids!("s6-setuidgid nosuch"),
        ids!("s6-setuidgid 1000"),
        ids!("s6-setuidgid nobody s6-setuidgid daemon"),
        "UID=7 GIDLIST=8 s6-setuidgid nobody env | grep ID",
        "UID=7 s6-setuidgid 1:2 env | grep ID",
        "s6-setuidgid; echo $?; s6-setuidgid nobody",
        "cd /; s6-setuidgid nobody ./nonexistent; echo $?; s6-setuidgid nobody /etc/passwd",
        "s6-envuidgid nobody env | grep ID",
        "s6-envuidgid -B root: env | grep ID; s6-envuidgid -g root env | grep ID; s6-envuidgid -u root env | grep ID",
        "s6-envuidgid -nB 12:13 env | grep ID; s6-envuidgid -ng 13 env | grep ID; s6-envuidgid -B nobody:13 env | grep ID",
        "s6-envuidgid -D 1:2:3,4 nosuch env | grep ID; s6-envuidgid -D 1 nosuch env | grep ID",
        "s6-envuidgid -D 1:2:3 nobody env | grep ID; s6-envuidgid -D x nobody env; s6-envuidgid -B x:y env",
        "s6-envuidgid; echo $?; s6-envuidgid nobody; echo $?; s6-envuidgid -z nobody true",
    ]);
}

#[test]
fn limits_are_those_of_the_stock_tools() {
    if let Some(why) = missing_tools(&TOOLS) {
        skip!("{why}");
    }
    let bench = Bench::new();
    let mut lines = Vec::new();
    for tool in ["chpst", "softlimit", "s6-softlimit"] {
        for letter in "acdflmoprst".chars() {
            for value in ["100000000", "99999999999999", "=", "0x", "-1", "1k"] {
                // Some would leave no room for cat, and then which message there is depends on the C library.
                lines.push(format!("{tool} -{letter} '{value}' cat /proc/self/limits"));
            }
        }
        lines.push(format!("ulimit -S -n 30; ulimit -H -n 40; {tool} -o 50 cat /proc/self/limits"));
        lines.push(format!("ulimit -S -n 30; ulimit -H -n 40; {tool} -o = cat /proc/self/limits"));
        lines.push(format!("{tool} -o 20 -o 30 -c 0 -t5 cat /proc/self/limits"));
        lines.push(format!("{tool} -m 300000000 -d 200000000 cat /proc/self/limits"));
        lines.push(format!("{tool} -d 200000000 -m 300000000 cat /proc/self/limits"));
        lines.push(format!("{tool} -o 18446744073709551615 cat /proc/self/limits"));
        lines.push(format!("{tool} -o 18446744073709551617 cat /proc/self/limits"));
        lines.push(format!("{tool} -o 18446744073709551614 cat /proc/self/limits"));
        lines.push(format!("{tool} -c '' cat /proc/self/limits; {tool} -c = -c 0 cat /proc/self/limits"));
        lines.push(format!("{tool} -p0 echo still"));
        lines.push(format!("{tool} -f0 echo still"));
        lines.push(format!("{tool} -x true; echo $?; {tool} -o; echo $?; {tool} -o 5; echo $?; {tool} --bogus true"));
        lines.push(format!(
            "{tool}; echo $?; {tool} ./nonexistent; echo $?; {tool} -- echo -o; {tool} -o20 -c0 echo -x"
        ));
    }
    bench.same(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn environments_are_those_of_the_stock_tools() {
    if let Some(why) = missing_tools(&TOOLS) {
        skip!("{why}");
    }
    let bench = Bench::new();
    bench.prepare(
        "mkdir e dirs loop odd empty && printf one >e/FIRST && printf 'new \\t\\nmore\\n' >e/NEW && : >e/SECOND && \
        printf 'a\\0b \\0\\n' >e/NUL && printf 'v\\r\\n' >e/CR && printf '\\n' >e/THIRD && printf ' lead' >e/lower && \
        printf x >e/.hidden && printf noeq >odd/K=V && : >odd/FIRST=2 && mkdir dirs/sub && printf 1 >dirs/A && \
        ln -s me loop/me && printf 1 >secret && chmod 0 secret && printf x >file",
    );
    bench.same(&[
        environ!("chpst -e e"),
        environ!("chpst -ve e"),
        environ!("chpst -e odd"),
        environ!("chpst -e empty"),
        "chpst -e dirs env | grep ^A=",
        "chpst -v -e dirs env | grep -e ^A= -e warning",
        "chpst -e loop true",
        "chpst -e nosuch true",
        "chpst -e file true",
        "chpst -e ''  true",
        "chpst -e",
        "chpst -e e",
        "mkdir -p p; printf /nowhere >p/PATH; chpst -e p /usr/bin/env | grep PATH; chpst -e p echo found",
        environ!("envdir e"),
        environ!("envdir odd"),
        "envdir dirs true",
        "envdir loop true",
        "envdir nosuch true",
        "envdir file true",
        "envdir; echo $?; envdir e; echo $?",
        "envdir e ./nonexistent",
        environ!("s6-envdir e"),
        environ!("s6-envdir -n e"),
        environ!("s6-envdir -f e"),
        environ!("s6-envdir -fn e"),
        environ!("s6-envdir -c x e"),
        environ!("s6-envdir -L -fc xyz e"),
        environ!("s6-envdir odd"),
        "s6-envdir -c '' e true",
        "s6-envdir dirs true; s6-envdir loop true; s6-envdir nosuch true; echo $?; s6-envdir file true",
        "s6-envdir -I nosuch echo yes; s6-envdir -I file echo yes; s6-envdir -Ii nosuch echo no",
        "s6-envdir; echo $?; s6-envdir e; echo $?; s6-envdir -z e true",
        "PATH=../bin: s6-envdir e nosuch; echo $?; PATH=../bin:/etc/passwd s6-envdir e nosuch; echo $?",
    ]);
    if is_root() {
        bench.same(&[
            "chmod 755 .; mkdir -p s; mv secret s/SECRET; chpst -u nobody chpst -e s true",
            "setuidgid nobody envdir s true",
            "chmod 700 dirs; setuidgid nobody envdir dirs true; setuidgid nobody chpst -e dirs true",
            "chmod 711 dirs; setuidgid nobody envdir dirs true; setuidgid nobody chpst -e dirs true",
            "chmod 744 dirs; setuidgid nobody envdir dirs true; setuidgid nobody chpst -e dirs true",
            "mkdir -p root/e; printf 1 >root/e/A; chpst -e root/e -/ root /bin/nothing",
        ]);
    }
}

#[test]
fn sessions_places_descriptors_and_names_are_those_of_the_stock_tools() {
    if let Some(why) = missing_tools(&TOOLS) {
        skip!("{why}");
    }
    let bench = Bench::new();
    let leads = "sh -c 'set -- $(cat /proc/$$/stat); [ $6 = $$ ] && echo session; [ $5 = $$ ] && echo group'";
    let mut lines: Vec<String> = ["chpst -P", "pgrphack", "s6-setsid", "s6-setsid -b", "s6-setsid -q", "chpst -v"]
        .map(|words| format!("{words} {leads}; {words} {words} {leads}"))
        .to_vec();
    let fixed = [
        "chpst; echo $?",
        "chpst -V; echo $?",
        "chpst -x true; echo $?; chpst -u; echo $?; chpst --help; echo $?",
        "chpst -P; echo $?",
        "chpst ./nonexistent; echo $?; chpst nosuch; echo $?; chpst ''; echo $?; chpst /; echo $?; chpst .; echo $?",
        "chpst /etc/passwd; echo $?; PATH=../bin: chpst nosuch; PATH=../bin:/etc chpst passwd; echo $?",
        "printf 'exit 3' >noexec; chmod 755 noexec; chpst ./noexec; echo $?; PATH=. ../bin/chpst noexec; echo $?",
        "env -u PATH ../bin/chpst sh -c 'echo found'; PATH= ../bin/chpst sh -c 'echo found'; echo $?",
        "chpst -b fake sh -c 'echo $0'; chpst -b fake cat /proc/self/cmdline; chpst -b fake nosuch; echo $?",
        "chpst -n 5 nice; chpst -n +5 nice; chpst -n -0 nice; chpst -n 100 nice; chpst -n '' nice; chpst -n - nice",
        "chpst -n 5x nice; chpst -n --5 nice; chpst -n x nice; echo $?",
        "chpst -0 sh -c 'read x; echo $?'",
        "chpst -1 echo lost; echo $?",
        "chpst -2 sh -c 'echo lost >&2; echo kept'",
        "chpst -012 true; echo $?; chpst -2 ./ENOENT.err; echo $?",
        "chpst -012 sh -c 'ls -l /proc/$$/fd >fds 2>/dev/null'; wc -l <fds; chpst -0 chpst -0 true; echo $?",
        "chpst -1 chpst -1 true; echo $?; chpst -2 chpst -2 true; echo $?; chpst -012 chpst -012 true; echo $?",
        "exec 0<&-; chpst sh -c 'read x || echo closed'; chpst ls -l /proc/self/fd | wc -l",
        "exec 5</dev/null; chpst sh -c 'ls /proc/$$/fd' | sort | tr '\\n' ' '",
        "chpst grep Sig[BIC] /proc/self/status; trap '' PIPE USR1; chpst grep Sig[BIC] /proc/self/status",
        "chpst yes | head -1",
        "chpst -l lock true; echo $?; stat -c %a lock; chpst -L lock sh -c 'ls -l /proc/$$/fd | grep -c lock'",
        "chpst -l lock -L lock true; echo $?; chpst -l nosuch/lock true; chpst -L . true; echo $?",
        "echo kept >lock; chpst -L lock cat lock; chpst -L lock chpst -L lock true; echo $?",
        "chpst -L lock setlock -n lock true; echo $?; setlock lock chpst -L lock true; echo $?",
        "chpst -/ nosuch true; chpst -/ /etc/passwd true; echo $?",
        "pgrphack; echo $?; pgrphack ./nonexistent; echo $?; pgrphack -x; echo $?",
        "setlock; setlock lock; echo $?; setlock -z lock true; echo $?; setlock nosuch/lock echo wrong; echo $?",
        "setlock -x nosuch/lock echo wrong; echo $?; setlock -xX nosuch/lock echo wrong; echo $?",
        "rm -f lock; umask 022; setlock lock stat -c %a lock; echo ok >lock; setlock lock cat lock",
        "setlock lock sh -c 'setlock -n lock echo one && echo two'; echo $?",
        "setlock lock sh -c 'setlock -nx lock echo one && echo two'; echo $?",
        "setlock lock sh -c 'setlock -nNnx lock echo one'; echo $?; setlock -x lock ./nonexistent; echo $?",
        "s6-setlock lock s6-setlock -n lock echo again; s6-setlock lock sh -c 's6-setlock -n lock true; echo $?'",
        "s6-setlock lock sh -c 's6-setlock -rn lock true; echo $?; s6-setlock -t 50 lock true; echo $?'",
        "s6-setlock -r lock sh -c 's6-setlock -r -n lock true; echo $?; s6-setlock -wn lock true; echo $?'",
        "s6-setlock -t 5000 lock echo free; s6-setlock -t x lock true; s6-setlock -t '' lock true; echo $?",
        "umask 022; s6-setlock new stat -c %a new; s6-setlock -r newer stat -c %a newer; s6-setlock nosuch/l true; echo $?",
        "s6-setlock lock ./nonexistent; echo $?; s6-setlock; s6-setlock lock; echo $?; s6-setlock -z lock true; echo $?",
        "s6-setsid -i true; echo $?; s6-setsid s6-setsid -i true; echo $?; s6-setsid s6-setsid true; echo $?",
        "s6-setsid -f -d 9 true; echo $?; s6-setsid -g -i true; echo $?; s6-setsid -gq true; echo $?",
        "s6-setsid; echo $?; s6-setsid -d x true; echo $?; s6-setsid -z true; echo $?; s6-setsid nosuch; echo $?",
        "fghack; echo $?; fghack ./nonexistent; echo $?; fghack sh -c 'echo hi &'; echo $?; fghack sh -c 'exit 3'; echo $?",
        "fghack sh -c 'kill -9 $$'; echo $?; fghack sh -c 'ls /proc/$$/fd' | wc -l",
        "fghack sh -c '(sleep 0.2; echo late) & echo early'; echo $?",
    ];
    lines.extend(fixed.map(String::from));
    bench.same(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    if is_root() {
        bench.same(&[
            "mkdir -p root/bin; cp -L /bin/busybox root/bin; chpst -/ root /bin/busybox pwd; chpst -/ root busybox pwd; echo $?",
            "chpst -/ root -u nobody true; echo $?; chpst -/ root -u :1:2 /bin/busybox id -u",
            "chpst -u nobody -L lk true; echo $?; chpst -u nobody -n -5 true; chpst -n -5 nice",
            "chpst -u nobody chpst -n -5 nice; echo $?; chpst -u nobody chpst -/ / true; echo $?",
            "chpst -u nobody chpst -P -/ / true; cd /; chpst -u nobody setlock lk true; echo $?",
        ]);
    }
}

/// What `chpst.check` of runit checks, and does not stand above.
#[test]
fn the_check_of_runit_sees_no_difference() {
    if let Some(why) = missing_tools(&TOOLS) {
        skip!("{why}");
    }
    let bench = Bench::new();
    bench.same(&[
        "mkdir t; echo 1 >t/test; chpst -et env | sed -ne '/^test=1$/p'; echo $?",
        "chpst -ll true; echo $?; chpst -LL true; echo $?; chpst -P true; echo $?; chpst -012 true; echo $?",
        "chpst -012 ./ENOENT.err 2>&1 | sed -e 's/chpst: fatal: unable to run: .\\/ENOENT\\.err:.*/ENOENT/'",
    ]);
}

/// The tests that daemontools brings along, with all of its names that we have in front of PATH.
#[test]
fn the_tests_of_daemontools_see_no_difference() {
    const NAMES: [&str; 13] = [
        "supervise",
        "svc",
        "svok",
        "svstat",
        "multilog",
        "tai64n",
        "tai64nlocal",
        "softlimit",
        "fghack",
        "pgrphack",
        "envuidgid",
        "envdir",
        "setlock",
    ];
    if let Some(why) = missing_tools(&NAMES).or_else(|| missing_tools(&["readproctitle", "printenv"])) {
        skip!("{why}");
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stock/rts.tests");
    let root = tempfile::tempdir().expect("a directory");
    let run = |side: &str| {
        let dir = root.path().join(side);
        fs::create_dir(&dir).expect("mkdir");
        for name in NAMES {
            let target = if side == "ours" { onit() } else { find_in_path(name).expect("it is there") };
            symlink(target, dir.join(name)).expect("symlink");
        }
        let mut command = Command::new("sh");
        command.args(["-c", "exec sh \"$0\" 2>&1"]).arg(&script).current_dir(&dir).stdin(Stdio::null());
        String::from_utf8_lossy(&command.output_in_turn().expect("a shell").stdout).into_owned()
    };
    let (stock, ours) = std::thread::scope(|scope| {
        let stock = scope.spawn(|| run("stock")); // both wait most of the time
        let ours = run("ours");
        (stock.join().expect("no panic"), ours)
    });
    assert!(stock.contains("--- setlock -nx exits quietly if file is already locked\n"), "it came to its end: {stock}");
    assert!(stock.lines().eq(ours.lines()), "stock:\n{stock}\nours:\n{ours}");
}

#[test]
fn readiness_is_told_as_by_the_stock_tool() {
    if let Some(why) = missing_tools(&TOOLS) {
        skip!("{why}");
    }
    let bench = Bench::new();
    bench.prepare(
        "mkdir supervise event data && : >supervise/lock && echo 3 >notification-fd && : >ok && \
        printf '#!/bin/sh\\necho >>asked\\nexec test -e ok' >data/check && \
        printf '#!/bin/sh\\n: >>asked\\nfor i in $(seq 3000); do if eval \"$1\"; then exit; fi; sleep 0.01; done' >until && chmod 755 data/check until",
    );
    let name = "s6-notifyoncheck";
    // Without a supervisor.
    let mut lines: Vec<String> =
        ["", "-h", "-3", "-3 x true", "-s '' true", "-n 1x true", "-T 4294967296 true", "-z", "-d"]
            .map(|words| format!("{name} {words}; echo $?"))
            .to_vec();
    lines.push(format!("{name} true; echo $?; mkdir e; cd e; ../../bin/{name} -3 1 true; echo $?"));
    // With one. A pipe is read until the process beside has ended, too.
    let supervised = [
        "echo x >notification-fd; NAME true; echo $?; rm notification-fd; NAME true; echo $?; echo 3 >notification-fd",
        "exec 3>&-; NAME true; echo $?; NAME -3 99999999999 true; echo $?; NAME -3 77 true; echo $?",
        "NAME nosuch 3>told | cat; NAME -n 1 ./data 3>told; echo $?; NAME '' 3>told; echo $?",
        "rm -f asked; NAME ./until '[ -s told ]' 3>told | cat; od -c told; wc -l <asked",
        "NAME -d -3 4 ./until '[ -s told ] && wc -w </proc/$$/task/$$/children' 4>told | cat",
        "NAME sh -c 'ls -l /proc/$$/fd 2>/dev/null | grep -c told' 3>told | cat",
        "sh -c 'echo $$; exec NAME sh -c \"echo \\$\\$\"' 3>told | uniq | wc -l",
        "rm -f ok asked; NAME -s 0 -w 10 -n 3 ./until '[ $(wc -l <asked) = 3 ]' 3>told | cat; od -c told; wc -l <asked",
        "rm -f asked; NAME -w 0 -T 2500 -n 2 sleep 3 3>told | cat; wc -l <asked",
        "rm -f asked; NAME -s 60000 -T 50 sleep 0.3 3>told | cat; ls asked; od -c told; : >ok",
        "printf '#!/bin/sh\n[ -e late ] || { : >late; exec sleep 3 >&- 2>&-; }' >data/check; \
            NAME -t 1000 -w 10 -n 2 ./until '[ -s told ]' 3>told | cat; od -c told",
        "chmod 644 data/check; NAME -n 1 sleep 0.3 3>told | cat; rm data/check; NAME -n 1 sleep 0.3 3>told | cat",
    ];
    lines.extend(supervised.map(|line| {
        format!("cat >line <<'END'\n{}\nEND\nexec s6-setlock supervise/lock sh ./line", line.replace("NAME", name))
    }));
    bench.same(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn time_stamps_are_those_of_daemontools() {
    if let Some(why) = missing_tools(&TOOLS) {
        skip!("{why}");
    }
    let bench = Bench::new();
    bench.prepare("seq 1 50000 | tr 0-4 '\\000\\001\\200\\377\\t' >noise");
    let mut lines = vec![
        "printf '' | tai64n | od -c; printf 'no newline' | tai64n | cut -c1,26-".to_owned(),
        "printf '\\n\\n\\0\\n' | tai64n | cut -c1,26- | od -c; tai64n <noise | wc -l".into(),
        "printf 'a\\nb\\n' | tai64n | tai64nlocal | cut -c1-2,11,30-".into(),
        "tai64nlocal <noise | cksum; tai64n ignored words </dev/null; echo $?".into(),
        // Ours say why.
        "(tai64n >/dev/full <noise; echo $? >&3; tai64nlocal >/dev/full <noise; echo $? >&3) 3>&1 2>/dev/null".into(),
        "(tai64n <.; echo $?; tai64nlocal <.; echo $?; tai64n <&-; echo $?; tai64nlocal <&-; echo $?) 2>/dev/null"
            .into(),
        "echo a | (tai64n >&- 2>/dev/null; echo $?)".into(),
        "(echo early; sleep 0.3; echo late) | tai64n | tai64nlocal | while read -r day time word; do echo $word; done"
            .into(),
    ];
    for zone in ["UTC", "Europe/Berlin", "America/St_Johns", "Nowhere", ""] {
        for label in [
            "@4000000065538e1a075bcd15",
            "@400000000000000a00000000",
            "@400000004398d2b23b9ac9ff",
            "@40000000ffffffff00000000",
            "@3fffffff0000000000000000",
            "@4000000065538e1a075bcd15F",
            "@004000000065538e1a075bcd15",
            " @4000000065538e1a075bcd15",
            "@4000000065538e1a075bcd15@4000000065538e1a075bcd15",
        ] {
            lines.push(format!("printf '%s text\\n%s\\n%s' '{label}' '{label}' '{label}' | TZ={zone} tai64nlocal"));
        }
    }
    bench.same(&lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn what_is_otherwise_than_in_the_stock_tools_is_so_on_purpose() {
    if let Some(why) = missing_tools(&TOOLS) {
        skip!("{why}");
    }
    let bench = Bench::new();
    bench.prepare("mkdir env && printf left >env/LEFT && ln -s nowhere env/GONE");
    for (why, line, stock, ours) in [
        ("runit 2.3 has it", "chpst -C / pwd 2>&1 | head -1", "chpst: illegal option -- C\n", "/\n"),
        (
            "a link that leads nowhere is an empty file, and not the file that was read before it",
            "GONE=1 chpst -e env env | grep -c GONE=1; envdir env env | grep -cE 'GONE=(1|left)?$'",
            "",
            "0\n0\n",
        ),
        (
            "a label of no year that there is crashes tai64nlocal",
            "echo '@ffffffffffffffffffffffff text' | (tai64nlocal; echo $?)",
            "Segmentation fault\n139\n",
            " text\n0\n",
        ),
        (
            "Debian has execlineb elsewhere",
            "mkdir supervise event; exec 3>told; echo 3 >notification-fd; printf '#!/bin/sh\\necho $*' >execlineb; \
                chmod 755 execlineb; PATH=.:$PATH; s6-setlock supervise/lock \
                sh -c \"s6-notifyoncheck -n 1 -c 'is up' sleep 3 | cat\" 2>/dev/null",
            "",
            "-Pc is up\n",
        ),
        (
            "the stock tools are silent about why they end",
            "tai64n <. 2>&1; echo $?",
            "111\n",
            "tai64n: fatal: unable to read input: is a directory\n111\n",
        ),
    ] {
        let [theirs, own] = ["stock", "ours"].map(|side| bench.shell(side, line).0);
        assert!(stock.is_empty() || theirs == stock, "{why}: {theirs}");
        assert_eq!(own, ours, "{why}");
    }
}

#[test]
fn who_waits_for_a_lock_gets_it_when_it_is_free() {
    if let Some(why) = missing_tools(&TOOLS) {
        skip!("{why}");
    }
    let bench = Bench::new();
    let work = bench.work("ours");
    let waiters: [(&str, &[&str], i64); 4] = [
        ("chpst", &["-l", "lock"], libc::SYS_flock),
        ("setlock", &["lock"], libc::SYS_flock),
        ("s6-setlock", &["lock"], libc::SYS_fcntl),
        ("s6-setlock", &["-t", "600000", "lock"], libc::SYS_fcntl),
    ];
    for (tool, words, call) in waiters {
        // The stock tool has it, ours waits.
        let holder = if tool == "chpst" { "setlock" } else { tool };
        let mut holder = Command::new(bench.root.path().join("stock/bin").join(holder));
        holder.args(["lock", "sh", "-c", "echo >held; read x"]).current_dir(&work).stdin(Stdio::piped());
        let mut holder = holder.spawn_in_turn().expect("the stock tool");
        wait_for("the lock to be held", SOON, || work.join("held").exists().then_some(()));
        let mut waiter = Command::new(bench.root.path().join("ours/bin").join(tool));
        waiter.args(words).args(["echo", "got"]).current_dir(&work).stdout(Stdio::piped());
        let waiter = waiter.spawn_in_turn().expect("our tool");
        let waits = poll_until(SOON, || (proc::syscall(waiter.id()) == Some(call)).then_some(()));
        drop(holder.stdin.take());
        holder.wait().expect("it ends");
        let output = waiter.wait_with_output().expect("it ends");
        assert_eq!(
            (waits, output.stdout, output.status.code()),
            (Some(()), b"got\n".to_vec(), Some(0)),
            "{tool} {words:?}"
        );
        fs::remove_file(work.join("held")).expect("removed");
    }
}

#[test]
fn with_contenv_becomes_its_program_where_there_is_no_environment_of_a_container() {
    let run = |words: &[&str]| {
        let mut command = Command::new(onit());
        let output = command.arg("with-contenv").args(words).env("KEPT", "1").output_in_turn().expect("onit");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    };
    if !Path::new("/run/s6/container_environment").exists() {
        assert_eq!(run(&["sh", "-c", "echo $KEPT"]), ("1\n".into(), Some(0)));
    }
    assert_eq!(run(&["./nonexistent"]).1, Some(127));
    assert_eq!(run(&[]).1, Some(100));
    if !is_root() || missing_tools(&["unshare", "mount"]).is_some() {
        skip!("only root can give it such an environment");
    }
    let script = "mount -t tmpfs none /run && mkdir -p /run/s6/container_environment && cd /run/s6/container_environment && \
        printf 'two\\nlines\\n' >A && : >KEPT && exec \"$ONIT\" with-contenv sh -c 'echo \"$A\" \"${KEPT-none}\" \"${ONIT-none}\"; \
        S6_KEEP_ENV=1 exec \"$0\" with-contenv sh -c \"echo \\$A\"' \"$ONIT\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script]).env("ONIT", onit()).env("KEPT", "1");
    let output = command.output_in_turn().expect("unshare");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "two\nlines none none\ntwo lines\n", "{output:?}");
}

// ---------------------------------------------------------------------------------------------------------------------
// onit exec
// ---------------------------------------------------------------------------------------------------------------------

/// `onit exec` with these words, and a shell at their end that runs this line.
fn exec(words: &[&str], line: &str) -> Told {
    let mut command = Command::new(onit());
    let command = command.arg("exec").args(words).args(["sh", "-c", line]).env("SHELL", "/bin/before");
    let output = command.output_in_turn().expect("onit");
    let told = [output.stdout, output.stderr].concat();
    (String::from_utf8_lossy(&told).into_owned(), output.status.code())
}

#[track_caller]
fn shows(words: &[&str], line: &str, shown: &str) {
    assert_eq!(exec(words, line), (format!("{shown}\n"), Some(0)), "{words:?} {line}");
}

#[test]
fn onit_exec_changes_what_every_user_may_change() {
    let root = tempfile::tempdir().expect("a directory");
    let path = |name: &str| root.path().join(name).to_str().expect("text").to_owned();
    let [file, dir, lock] = ["file", "dir", "lock"].map(path);
    fs::write(&file, "# comment\nA=\"quoted\" \nB=2\nC\n").expect("written");
    fs::create_dir(&dir).expect("mkdir");
    fs::write(format!("{dir}/B"), "of dir\n").expect("written");
    shows(&["--env-dir", &dir, "--env-file", &file, "--env", "D=4"], "echo \"$A$B$D\"", "\"quoted\" 24");
    shows(&["--env", "A=1", "--env", "A"], "echo ${A-none}", "none");
    shows(&["--clear-env", "--env", "A=1", "--env", "PATH=/usr/bin:/bin"], "env | grep -vc -e PWD -e SHLVL -e _=", "2");
    shows(&["--cd", &dir], "pwd", &dir);
    shows(&["--umask", "027"], "umask", "0027");
    shows(&["--limit", "nofile=100:200", "--limit", "core=0"], "ulimit -Sn; ulimit -Hn; ulimit -c", "100\n200\n0");
    shows(
        &["--limit", "fsize=1K"],
        "grep 'Max file size' /proc/self/limits | tr -s ' '",
        "Max file size 1024 1024 bytes ",
    );
    let lower = format!("'{}' exec --limit nofile=70: sh -c 'ulimit -Sn; ulimit -Hn'", onit().display());
    shows(&["--limit", "nofile=50:60"], &lower, "60\n60");
    shows(&["--limit", "nofile=50:200"], &lower, "70\n200");
    shows(&["--nice", "3"], "nice", &(3 + niceness()).to_string());
    shows(&["--oom-score-adj", "900"], "cat /proc/self/oom_score_adj", "900");
    shows(&["--scheduler", "batch"], "cut -d' ' -f41 /proc/self/stat", &libc::SCHED_BATCH.to_string());
    shows(&["--cpus", "0"], "grep Cpus_allowed_list /proc/self/status", "Cpus_allowed_list:\t0");
    shows(&["--no-new-privs"], "grep NoNewPrivs /proc/self/status", "NoNewPrivs:\t1");
    shows(&["--argv0", "called"], "echo $0", "called");
    shows(&["--session"], "set -- $(cat /proc/$$/stat); [ $6 = $$ ] && echo leads", "leads");
    shows(&["--lock", &lock], "flock -n \"$0\" true; echo $?", "0");
    let locked = exec(&["--lock", &lock], &format!("{} exec --lock-now {lock} true", onit().display()));
    assert_eq!(locked, (format!("onit: exec: {lock} is locked by another process\n"), Some(111)));
    if missing_tools(&["ionice"]).is_none() {
        shows(&["--ionice", "best-effort:6"], "ionice", "best-effort: prio 6");
    }
    shows(&["--", "env", "A=1"], "echo $A", "1");
}

fn niceness() -> i32 {
    let stat = fs::read_to_string("/proc/self/stat").expect("/proc");
    stat.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(16)?.parse().ok()).expect("a number")
}

#[test]
fn onit_exec_becomes_another_user() {
    if !is_root() {
        skip!("only root can become another user");
    }
    let ids = "grep -E '^(Uid|Gid|Groups):' /proc/self/status | cut -f2 | tr '\\n' ' ' | tr -s ' '; echo";
    shows(&["--user", "nobody"], ids, "65534 65534 65534 ");
    shows(&["--user", "nobody:daemon:bin"], ids, "65534 1 1 2 ");
    shows(&["--user", "12345:54321"], ids, "12345 54321 54321 ");
    shows(&["--user", "12345:54321", "--groups", "7,bin"], ids, "12345 54321 2 7 ");
    shows(&["--user", "nobody", "--groups", "none"], ids, "65534 65534 ");
    shows(
        &["--user", "games", "--home"],
        "echo $HOME $USER $LOGNAME $SHELL",
        "/usr/games games games /usr/sbin/nologin",
    );
    shows(&["--user", "12345:1", "--home"], "echo $HOME $USER $LOGNAME $SHELL", "/ 12345 12345 /bin/sh");
    let raising = "exec \"$ONIT\" exec --user nobody --limit nofile=300:400 sh -c 'ulimit -Sn; ulimit -Hn; id -u'";
    let ours = format!("ONIT={}", onit().display());
    let told = exec(&["--limit", "nofile=100:200", "--env", &ours], raising);
    // In some containers root may not raise a limit.
    let status = fs::read_to_string("/proc/self/status").expect("/proc");
    let caps = status.lines().find_map(|line| u64::from_str_radix(line.strip_prefix("CapEff:")?.trim(), 16).ok());
    let shown = match caps.is_some_and(|set| set & 1 << 24 != 0) {
        true => ("300\n400\n65534\n", 0),
        false => ("onit: exec: cannot set a limit: Operation not permitted\n", 111),
    };
    assert_eq!(told, (shown.0.to_owned(), Some(shown.1)));
    let caps = "grep -E '^Cap(Prm|Bnd|Amb)' /proc/self/status | cut -f2 | tr '\\n' ' '; echo";
    let one = "0000000000000400";
    let of_bind = ["--keep-caps", "net_bind_service", "--ambient-caps", "net_bind_service"];
    shows(&[&["--user", "nobody"], &of_bind[..]].concat(), caps, &format!("{one} {one} {one} "));
    shows(&["--keep-caps", "CAP_CHOWN,kill"], caps, "0000000000000021 0000000000000021 0000000000000000 ");
    shows(&["--drop-caps", "all"], caps, &"0000000000000000 ".repeat(3));
    // A lock file is opened as the new user.
    let told = exec(&["--user", "nobody", "--ambient-caps", "chown", "--lock", "/nobody-may-write-here"], "true");
    assert_eq!(told, ("onit: exec: cannot open /nobody-may-write-here: Permission denied\n".into(), Some(111)));
}

#[test]
fn onit_exec_says_in_one_line_why_there_is_no_program() {
    let root = tempfile::tempdir().expect("a directory");
    let bad = root.path().join("bad").to_str().expect("text").to_owned();
    fs::write(&bad, "A=1\nB C=2\n").expect("written");
    let at = format!("onit: exec: {bad}, line 2: there is a blank in the name");
    let cases: [(&[&str], i32, &str); 18] = [
        (&["./nonexistent"], 127, "onit: exec: cannot run ./nonexistent: No such file or directory"),
        (&["/etc/passwd"], 126, "onit: exec: cannot run /etc/passwd: Permission denied"),
        (
            &["--cd", "/nonexistent", "true"],
            111,
            "onit: exec: cannot change to /nonexistent: No such file or directory",
        ),
        (&["--user", "nosuch", "true"], 111, "onit: exec: there is no user \"nosuch\""),
        (&["--user", "0:nosuch", "true"], 111, "onit: exec: there is no group \"nosuch\""),
        (
            &["--user", "4000000", "true"],
            111,
            "onit: exec: no list has user 4000000, so say its group: --user 4000000:GROUP",
        ),
        (
            &["--env-file", "/nonexistent", "true"],
            111,
            "onit: exec: cannot read /nonexistent: No such file or directory",
        ),
        (&["--env-file", &bad, "true"], 111, &at),
        (
            &["--env-dir", "/nonexistent", "true"],
            111,
            "onit: exec: cannot read /nonexistent: No such file or directory",
        ),
        (
            &["--lock", "/nonexistent/lock", "true"],
            111,
            "onit: exec: cannot open /nonexistent/lock: No such file or directory",
        ),
        (&["--lock", "a", "--lock-now", "b", "true"], 100, "onit: exec: there is one lock: --lock or --lock-now"),
        (&["--cpus", "8191", "true"], 111, "onit: exec: cannot set the processors: Invalid argument"),
        (&[], 100, "onit: exec: what is it to become? onit exec [OPTIONS] [--] CMD"),
        (&["--umask", "9", "true"], 100, "write it in octal, as 027"),
        (&["--limit", "nofile=2:1", "true"], 100, "the soft limit is above the hard one"),
        (&["--keep-caps", "fly", "true"], 100, "there is no capability \"fly\""),
        (&["--usr", "0", "true"], 100, "onit: exec: there is no option --usr; did you mean --user?"),
        (&["--user"], 100, "onit: exec: --user needs a value"),
    ];
    for (words, code, line) in cases {
        let output = Command::new(onit()).arg("exec").args(words).output_in_turn().expect("onit");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(line) && told.lines().count() == 1, "{words:?}: {told}");
        assert_eq!(output.status.code(), Some(code), "{words:?}");
    }
}

#[test]
fn words_and_values_of_the_command_are_any_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let mut command = Command::new(onit());
    command.args(["exec", "--nice", "0", "printf", "%s"]).arg(OsStr::from_bytes(b"\xff--user"));
    assert_eq!(command.output_in_turn().expect("onit").stdout, b"\xff--user");
    let mut command = Command::new(onit());
    command.args(["exec", "--cd"]).arg(OsStr::from_bytes(b"\xff")).arg("true");
    assert_eq!(command.output_in_turn().expect("onit").status.code(), Some(100));
}

#[test]
fn install_links_the_names_of_helpers() {
    let root = tempfile::tempdir().expect("a directory");
    let names = |options: &[&str]| {
        let dir = root.path().join(options.concat());
        fs::create_dir(&dir).expect("mkdir");
        let output = Command::new(onit()).arg("install").args(options).arg(&dir).output_in_turn().expect("onit");
        assert!(output.status.success(), "{output:?}");
        let entries = fs::read_dir(&dir).expect("a directory").map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<String> = entries.map(|name| name.into_string().expect("text")).collect();
        names.sort();
        names
    };
    let [tools, s6] = [names(&["--tools"]), names(&["--s6"])];
    assert!(tools.contains(&"chpst".into()) && !tools.contains(&"sv".into()), "{tools:?}");
    let of_overlay = ["with-contenv", "logutil-service"];
    assert!(s6.iter().all(|name| name.starts_with("s6-") || of_overlay.contains(&name.as_str())), "{s6:?}");
    assert!(of_overlay.iter().all(|name| s6.iter().any(|it| it == name)), "{s6:?}");
    assert_eq!(names(&["--tools", "--s6"]).len(), tools.len() + s6.len());
    // Each is known by its name: who is not says that there is no such verb.
    for name in tools.iter().chain(&s6) {
        let dir = if tools.contains(name) { "--tools" } else { "--s6" };
        let mut command = Command::new(root.path().join(dir).join(name));
        command.args((name == "s6-svscan").then_some("nowhere")).current_dir(root.path()); // it would serve this directory
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn_in_turn().expect("a link");
        let _ = child.stdin.take().expect("a pipe").write_all(b"\n");
        let told = String::from_utf8_lossy(&child.wait_with_output().expect("it ends").stderr).into_owned();
        assert!(!told.contains("onit VERB"), "{name}: {told}");
    }
}
