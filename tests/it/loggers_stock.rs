//! `svlogd`, `multilog` and `onit logger`: the same input and the same configuration give the files of the real tools,
//! byte for byte; and where the real ones lose lines, these do not.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::Signal;

use crate::differential::rng::Rng;
use crate::svdir::{SOON, SvDir, is_root, missing_tools, onit, output, send, skip, spawn, wait_for};

/// As many random configurations are tried every day; `ONIT_SEED` says where they begin.
const DAILY: u64 = 100;

fn first_seed() -> u64 {
    std::env::var("ONIT_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1)
}

/// A directory's files: name, mode, content. What a time stamp can consist of is masked.
fn files(dir: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut names: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.file_name()).collect();
    names.sort();
    let file = |name: std::ffi::OsString| {
        let path = dir.join(&name);
        let name = name.into_string().expect("a name");
        let name = if name.starts_with('@') { format!("@{}", &name[25..]) } else { name };
        let mode = fs::metadata(&path).expect("a file").mode() & 0o7777;
        (name, mode, masked(&fs::read(&path).expect("a file")))
    };
    names.into_iter().filter(|name| name != "config").map(file).collect()
}

fn masked(text: &[u8]) -> Vec<u8> {
    text.iter().map(|byte| if matches!(byte, b'0'..=b'9' | b'a'..=b'f') { b'0' } else { *byte }).collect()
}

/// Lines of all lengths, of bytes that stand in no time stamp.
fn lines(rng: &mut Rng) -> Vec<u8> {
    let size = rng.pick(&[0, 100, 5_000, 60_000, 200_000]);
    let mut text = Vec::new();
    while text.len() < size {
        let longest = rng.pick(&[1, 120, 120, 120, 120, 1500, 6000]);
        for _ in 0..rng.below(longest) {
            text.push(rng.pick(b"xyz: \x01\xff*"));
        }
        text.push(b'\n');
    }
    text
}

fn pattern(rng: &mut Rng) -> String {
    (0..rng.below(4)).map(|_| rng.pick(&['x', 'y', ':', '*', ' '])).collect::<String>() + "*"
}

fn svlogd_words(rng: &mut Rng) -> (Vec<String>, String) {
    let mut words = Vec::new();
    let mut add = |more: &[&str]| words.extend(more.iter().map(|word| (*word).to_owned()));
    add(rng.pick(&[&[][..], &["-t"], &["-tt"], &["-ttt"]]));
    add(rng.pick(&[&[][..], &[], &["-r", ":"], &["-R", "xy"], &["-r.", "-Rz"]]));
    add(rng.pick(&[&[][..], &["-l5"], &["-l", "20"], &["-l100"], &["-l2000", "-b", "4096"]]));
    let mut config = String::new();
    for _ in 0..rng.below(7) {
        config += &match rng.below(8) {
            0 => format!("s{}\n", rng.pick(&["0", "500", "3000", "20k"])),
            1 => format!("n{}\n", rng.below(6)),
            2 => format!("p{}\n", rng.pick(&["x: ", "pre"])),
            3 => format!("!{}\n", rng.pick(&["cat", "tr xyz XYZ", "cat; echo x >&5"])),
            4 => "# nothing\n".to_owned(),
            _ => format!("{}{}\n", rng.pick(&['+', '-', 'e', 'E']), pattern(rng)),
        };
    }
    words.push("d".to_owned());
    (words, config)
}

fn multilog_words(rng: &mut Rng) -> Vec<String> {
    let mut words = Vec::new();
    if rng.chance(1, 2) {
        words.push("t".to_owned());
    }
    for _ in 0..rng.below(5) {
        words.push(match rng.below(7) {
            0 => format!("s{}", 4000 + rng.below(5000)),
            1 => format!("n{}", rng.below(6)),
            2 => format!("!{}", rng.pick(&["cat", "tr xyz XYZ", "cat; echo x >&5"])),
            3 => "e".to_owned(),
            4 => "=status".to_owned(),
            _ => format!("{}*{}", rng.pick(&['+', '-']), pattern(rng)),
        });
    }
    words.push("./d".to_owned());
    words
}

/// Runs a logger twice on the same input, and tells what it left and said.
pub fn run(root: &Path, program: &[&str], words: &[String], config: &str, text: &[u8]) -> impl PartialEq + use<> {
    let _ = fs::remove_dir_all(root);
    fs::create_dir_all(root).expect("mkdir");
    if words.last().is_some_and(|word| word == "d") {
        fs::create_dir(root.join("d")).expect("mkdir");
        fs::write(root.join("d/config"), config).expect("written");
    }
    fs::write(root.join("input"), text).expect("written");
    let said = [(); 2].map(|()| {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).args(words).current_dir(root).stdout(Stdio::null()).stderr(Stdio::piped());
        command.stdin(File::open(root.join("input")).expect("the input"));
        let output = spawn(&mut command).wait_with_output().expect("an end");
        (output.status.code(), masked(&output.stderr))
    });
    (files(&root.join("d")), said, fs::read(root.join("status")).ok().map(|text| masked(&text)))
}

fn compare(tool: &str, seeds: std::ops::Range<u64>) {
    let sv = SvDir::new();
    let onit = onit();
    let ours = [onit.to_str().expect("a path"), tool];
    for seed in seeds {
        let mut rng = Rng::new(seed);
        let (words, config) =
            if tool == "svlogd" { svlogd_words(&mut rng) } else { (multilog_words(&mut rng), String::new()) };
        let text = lines(&mut rng);
        let theirs = run(&sv.root().join("theirs"), &[tool], &words, &config, &text);
        let ours = run(&sv.root().join("ours"), &ours, &words, &config, &text);
        assert!(ours == theirs, "ONIT_SEED={seed} {tool} {words:?} {config:?}: what they left is in {:?}", sv.root());
    }
}

#[test]
fn svlogd_leaves_the_files_that_the_real_one_leaves() {
    if let Some(why) = missing_tools(&["svlogd"]) {
        skip!("{why}");
    }
    compare("svlogd", first_seed()..first_seed() + DAILY);
}

#[test]
fn multilog_leaves_the_files_that_the_real_one_leaves() {
    if let Some(why) = missing_tools(&["multilog"]) {
        skip!("{why}");
    }
    compare("multilog", first_seed()..first_seed() + DAILY);
}

#[test]
fn wrong_use_is_answered_as_by_the_real_ones() {
    if let Some(why) = missing_tools(&["svlogd", "multilog", "s6-log"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    for words in [
        &["svlogd"][..],
        &["svlogd", "-x", "d"],
        &["svlogd", "-l"],
        &["svlogd", "-l2000", "d"],
        &["svlogd", "-r", "ab", "d"],
        &["svlogd", "missing"],
        &["multilog", "/missing/d"],
        &["multilog"],
        &["s6-log"],
        &["s6-log", "-x", "1"],
        &["s6-log", "n5"],
        &["s6-log", "zz"],
        &["s6-log", "s5000", "l4000", "1"],
    ] {
        let theirs = sv.tool(words[0], &words[1..]);
        assert_eq!(sv.onit(words), theirs, "{words:?}");
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// What the real ones lose
// ---------------------------------------------------------------------------------------------------------------------

/// A logger with a pipe. It ends with its [`SvDir`].
pub struct Running {
    pub child: Child,
    pipe: Option<ChildStdin>,
}

pub fn start(sv: &SvDir, words: &[&str]) -> Running {
    start_to(sv, words, Stdio::null())
}

fn start_to(sv: &SvDir, words: &[&str], output: Stdio) -> Running {
    let mut command = Command::new(onit());
    command.args(words).current_dir(sv.root());
    command.stderr(File::options().append(true).create(true).open(sv.root().join("said")).expect("a file"));
    Running::to(command, output)
}

impl Running {
    /// Runs a logger that is no other than this.
    pub fn of(command: Command) -> Running {
        Running::to(command, Stdio::null())
    }

    fn to(mut command: Command, output: Stdio) -> Running {
        let mut child = spawn(command.stdin(Stdio::piped()).stdout(output));
        let pipe = child.stdin.take();
        Running { child, pipe }
    }

    /// Writes as long as somebody reads it.
    pub fn write_soon(&mut self, text: &[u8]) {
        let pipe = self.pipe.as_mut().expect("a pipe");
        fcntl(&*pipe, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).expect("a pipe that does not wait");
        let mut rest = text;
        wait_for("room in the pipe", SOON, || {
            match pipe.write(rest) {
                Ok(count) => rest = &rest[count..],
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            rest.is_empty().then_some(())
        });
    }

    pub fn write(&mut self, text: &[u8]) {
        self.pipe.as_mut().expect("a pipe").write_all(text).expect("written");
    }

    pub fn signal(&self, signal: Signal) {
        send(self.child.id(), signal);
    }

    /// Closes the pipe, and returns the exit code.
    pub fn end(mut self) -> Option<i32> {
        drop(self.pipe.take());
        self.ended()
    }

    pub fn ended(&mut self) -> Option<i32> {
        wait_for("the end of the logger", SOON, || self.child.try_wait().expect("our child")).code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn log_dir(sv: &SvDir, config: &str) {
    fs::create_dir(sv.root().join("d")).expect("mkdir");
    fs::write(sv.root().join("d/config"), config).expect("written");
}

/// All that is in a log directory, oldest first. While a logger runs, a file may go before it is read.
pub fn content(dir: &Path) -> Vec<u8> {
    let mut names: Vec<_> = fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.path()).collect();
    names.sort();
    let is_log = |path: &&std::path::PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        name == "current" || (name.starts_with('@') && !name.ends_with('t'))
    };
    names.iter().filter(is_log).flat_map(|path| fs::read(path).unwrap_or_default()).collect()
}

pub fn text(path: &Path) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}

fn wait_content(sv: &SvDir, wanted: &str) {
    wait_for("the lines in the log", SOON, || (content(&sv.root().join("d")) == wanted.as_bytes()).then_some(()));
}

#[test]
fn a_last_line_without_a_newline_gets_one_at_the_end_and_at_term() {
    let sv = SvDir::new();
    log_dir(&sv, "");
    let mut svlogd = start(&sv, &["svlogd", "d"]);
    svlogd.write(b"a\nb");
    assert_eq!(svlogd.end(), Some(0));
    assert_eq!(content(&sv.root().join("d")), b"a\nb\n");
    let mut svlogd = start(&sv, &["svlogd", "d"]);
    svlogd.write(b"c\nd");
    wait_content(&sv, "a\nb\nc\n");
    svlogd.signal(Signal::SIGTERM);
    assert_eq!(svlogd.ended(), Some(0));
    assert_eq!(content(&sv.root().join("d")), b"a\nb\nc\nd\n");
}

fn closed(dir: &Path) -> usize {
    let names = fs::read_dir(dir).expect("a directory").flatten().map(|entry| entry.file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".s")).count()
}

#[test]
fn a_file_is_closed_at_its_age_and_at_alrm_unless_it_is_empty() {
    let sv = SvDir::new();
    log_dir(&sv, "t1\n");
    let dir = sv.root().join("d");
    let mut svlogd = start(&sv, &["svlogd", "d"]);
    svlogd.write(b"a\n");
    wait_for("a file that is too old to be closed", SOON, || (closed(&dir) == 1).then_some(()));
    fs::write(dir.join("config"), "").expect("written");
    svlogd.signal(Signal::SIGHUP);
    svlogd.write(b"b\n");
    wait_for("the line", SOON, || (text(&dir.join("current")) == "b\n").then_some(()));
    for _ in 0..3 {
        svlogd.signal(Signal::SIGALRM); // those that come when it is empty change nothing
        wait_for("a file that is closed", SOON, || (closed(&dir) == 2).then_some(()));
    }
    assert_eq!(svlogd.end(), Some(0));
    assert_eq!((closed(&dir), content(&dir)), (2, b"a\nb\n".to_vec()));
}

#[test]
fn lines_are_sent_by_udp_as_by_the_real_one() {
    if let Some(why) = missing_tools(&["svlogd"]) {
        skip!("{why}");
    }
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(SOON)).expect("a time");
    let port = socket.local_addr().expect("an address").port();
    let onit = onit();
    let sent = [&["svlogd"][..], &[onit.to_str().expect("a path"), "svlogd"]].map(|program| {
        let words = ["-l", "5", "d"].map(str::to_owned);
        let root = SvDir::new();
        let config = format!("U127.0.0.1:{port}\npx: \n-c*\n");
        let left = run(&root.root().join("udp"), program, &words, &config, b"a\nc\nlonger\n");
        let mut sent = Vec::new();
        for _ in 0..4 {
            let mut room = [0; 100];
            let length = socket.recv(&mut room).expect("a line");
            sent.push(room[..length].to_vec());
        }
        (left, sent)
    });
    assert_eq!(sent[1].1, [&b"x: a\n"[..], b"x: longe...\n", b"x: a\n", b"x: longe...\n"]);
    assert!(sent[0] == sent[1]);
}

#[test]
fn a_processor_that_is_killed_has_not_succeeded() {
    let sv = SvDir::new();
    log_dir(&sv, "s2000\n!test -e ../ready || kill -9 $$; tr x y\n");
    let mut svlogd = start(&sv, &["svlogd", "d"]);
    svlogd.write(&[&b"x".repeat(1500)[..], b"\n"].concat());
    let said = || text(&sv.root().join("said")).contains("processor failed, restart: d").then_some(());
    wait_for("the processor to fail", SOON, said);
    File::create(sv.root().join("ready")).expect("a file");
    assert_eq!(svlogd.end(), Some(0));
    assert_eq!(content(&sv.root().join("d")), [&b"y".repeat(1500)[..], b"\n"].concat());
}

#[test]
fn hup_does_not_forget_a_processor_and_reads_config_anew() {
    let sv = SvDir::new();
    log_dir(&sv, "s2000\n!while ! test -e ../ready; do sleep 0.1; done; tr x y\n");
    let mut svlogd = start(&sv, &["svlogd", "d"]);
    svlogd.write(&[&b"x".repeat(1500)[..], b"\n"].concat());
    let dir = sv.root().join("d");
    let names =
        || fs::read_dir(&dir).expect("d").flatten().map(|entry| entry.file_name().into_string().expect("a name"));
    wait_for("the processor to run", SOON, || names().any(|name| name.ends_with(".t")).then_some(()));
    fs::write(dir.join("config"), "pz\n").expect("written");
    svlogd.signal(Signal::SIGHUP);
    wait_for("the lines with the new prefix", SOON, || {
        svlogd.write(b"l\n");
        text(&dir.join("current")).contains("zl\n").then_some(())
    });
    File::create(sv.root().join("ready")).expect("a file");
    assert_eq!(svlogd.end(), Some(0));
    assert!(names().any(|name| name.ends_with(".s")) && !names().any(|name| name.ends_with(".u")));
    assert!(content(&dir).starts_with(&b"y".repeat(1500)));
}

#[test]
fn term_does_not_wait_for_ever_for_a_processor_and_its_file_is_processed_at_the_next_start() {
    let sv = SvDir::new();
    log_dir(&sv, "s2000\n!test -e ../ready || exec sleep 1000; tr x y\n");
    let mut svlogd = start(&sv, &["svlogd", "d"]);
    svlogd.write(&[&b"x".repeat(1500)[..], b"\nlast\n"].concat());
    wait_for("the processor to run", SOON, || text(&sv.root().join("d/current")).contains("last").then_some(()));
    svlogd.signal(Signal::SIGTERM);
    assert_eq!(svlogd.ended(), Some(0));
    assert!(text(&sv.root().join("said")).contains("its file stays for the next start: d"));
    File::create(sv.root().join("ready")).expect("a file");
    assert_eq!(start(&sv, &["svlogd", "d"]).end(), Some(0));
    assert_eq!(content(&sv.root().join("d")), [&b"y".repeat(1500)[..], b"\nlast\n"].concat());
}

#[test]
fn what_a_killed_logger_had_written_stays_and_the_pipe_keeps_the_rest() {
    const LINES: u64 = 200_000;
    let sv = SvDir::new();
    log_dir(&sv, "s100000\nn0\n");
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).expect("a pipe");
    let writer = std::thread::spawn(move || {
        let mut pipe = File::from(write);
        (0..LINES).for_each(|number| pipe.write_all(format!("{number}\n").as_bytes()).expect("written"));
    });
    let mut kills = 0;
    let begin = || {
        let mut command = Command::new(onit());
        command.args(["svlogd", "d"]).current_dir(sv.root()).stdin(read.try_clone().expect("a copy"));
        Running { child: spawn(&mut command), pipe: None }
    };
    let mut svlogd = begin();
    let mut size = 0;
    while !writer.is_finished() {
        wait_for("more in the log", SOON, || {
            let now = content(&sv.root().join("d")).len();
            (now > size || writer.is_finished()).then(|| size = now)
        });
        svlogd.signal(Signal::SIGKILL);
        let _ = svlogd.child.wait();
        kills += 1;
        svlogd = begin();
    }
    writer.join().expect("all written");
    drop(read);
    assert_eq!(svlogd.ended(), Some(0));
    // Each kill may cost what was read and not written, and tear the line that was being written.
    let text = String::from_utf8(content(&sv.root().join("d"))).expect("text");
    let numbers: Vec<u64> = text.lines().filter_map(|line| line.parse().ok()).collect();
    let bytes_lost = (0..LINES).map(|number| number.to_string().len() + 1).sum::<usize>() - text.len();
    assert!(kills > 0 && bytes_lost <= kills * 65_536, "{kills} kills, {bytes_lost} bytes lost");
    let repeated = numbers.windows(2).filter(|pair| pair[1] <= pair[0]).count();
    assert!(repeated <= kills, "a torn line may look like a smaller number: {repeated} of {kills}");
}

/// A file system of so many bytes at `full`, in a name space of its own.
fn on_small_disk(sv: &SvDir, script: &str) -> Command {
    let mount = "mkdir full && mount -t tmpfs -o size=256k none full && mkdir full/d";
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", &format!("{mount} || exit 99\n{script}"), "sh"]).arg(onit()).current_dir(sv.root());
    command
}

#[test]
fn on_a_full_file_system_lines_wait_and_none_is_lost() {
    if !is_root() {
        skip!("only root may mount");
    }
    let sv = SvDir::new();
    for logger in
        ["svlogd full/d", "multilog s16777215 ./full/d", "s6-log s16777215 ./full/d", "logger --file full/d/current"]
    {
        let takes_hup = logger.starts_with("svlogd") || logger.starts_with("logger");
        let hup = if takes_hup { "kill -HUP $logger" } else { "" };
        let script = format!(
            "rm -f said; head -c 200000 /dev/zero >full/fill; seq 100000 | head -c 150000 >input; echo >>input\n\
             \"$1\" {logger} <input 2>said & logger=$!\n\
             until grep -q 'space' said; do kill -0 $logger || exit 1; sleep 0.05; done\n\
             rm full/fill; {hup}\n\
             wait $logger || exit 2; cmp full/d/current input && [ $(grep -c space said) = 1 ]"
        );
        let _ = fs::remove_dir(sv.root().join("full"));
        let got = output(on_small_disk(&sv, &script));
        assert_eq!(
            (got.code, got.stdout),
            (0, String::new()),
            "{logger}: {} {}",
            got.stderr,
            text(&sv.root().join("said"))
        );
    }
}

#[test]
fn on_a_full_file_system_term_is_heard_and_what_is_lost_is_counted() {
    if !is_root() {
        skip!("only root may mount");
    }
    let sv = SvDir::new();
    let script = "head -c 200000 /dev/zero >full/fill; seq 100000 | head -c 150000 >input\n\
         \"$1\" svlogd full/d <input 2>said & logger=$!\n\
         until grep -q 'space' said; do kill -0 $logger || exit 1; sleep 0.05; done\n\
         kill $logger; wait $logger; [ $? = 111 ] && grep -q 'bytes could not be written: full/d' said";
    let got = output(on_small_disk(&sv, script));
    assert_eq!((got.code, got.stdout), (0, String::new()), "{} {}", got.stderr, text(&sv.root().join("said")));
}

#[test]
fn svlogd_removes_old_files_when_the_file_system_is_full_if_it_may() {
    if !is_root() {
        skip!("only root may mount");
    }
    let sv = SvDir::new();
    let script = "printf 's20000\\nn100\\nN2\\n' >full/d/config; seq 100000 | \"$1\" svlogd full/d 2>said || exit 1\n\
         grep -q 'out of disk space, delete: full/d/@' said && [ \"$(tail -n1 full/d/current)\" = 100000 ]";
    let got = output(on_small_disk(&sv, script));
    assert_eq!(got.code, 0, "{} {}", got.stderr, text(&sv.root().join("said")));
}

/// A line of so many bytes. What the logger had in memory at most, in KiB.
fn one_long_line(words: &[&str], size: usize) -> u64 {
    let sv = SvDir::new();
    log_dir(&sv, "s0\n");
    let mut logger = start(&sv, words);
    let part = b"\0long".repeat(1 << 14);
    for _ in 0..size / part.len() {
        logger.write(&part);
    }
    let status = fs::read_to_string(format!("/proc/{}/status", logger.child.id())).expect("a status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    let peak = peak.trim().trim_end_matches(" kB").parse().expect("a number");
    assert_eq!(logger.end(), Some(0));
    let files = fs::read_dir(sv.root().join("d")).expect("a directory").flatten().map(|entry| entry.path());
    let is_log = |path: &std::path::PathBuf| path.ends_with("current") || path.to_string_lossy().contains("/@");
    let lengths = files.filter(is_log).map(|path| fs::metadata(path).expect("a file").len() as usize);
    let (length, read) = (lengths.sum::<usize>(), size / part.len() * part.len());
    assert!(length == read + 1 || words.contains(&"--json") && length > read, "{words:?}: {length} of {read}");
    peak
}

/// multilog ends a file, but not the line, where it is full.
const LONG_LINES: [&[&str]; 6] = [
    &["svlogd", "-r", "_", "d"],
    &["svlogd", "d"],
    &["multilog", "s16777215", "n1000", "./d"],
    &["s6-log", "s268435455", "./d"],
    &["logger", "--size", "0", "--file", "d/current"],
    &["logger", "--size", "0", "--json", "--file", "d/current"],
];

#[test]
fn a_line_without_end_takes_little_memory() {
    for words in LONG_LINES {
        let peak = one_long_line(words, 64 << 20);
        assert!(peak < 24 << 10, "{words:?}: {peak} KiB");
    }
    let peak = one_long_line(&["logger", "--tee", "--dir", "d"], 64 << 20);
    assert!(peak < 24 << 10, "logger --tee: {peak} KiB");
}

#[test]
fn a_directory_that_goes_ends_nothing_and_lines_go_on_where_it_comes_back() {
    let sv = SvDir::new();
    log_dir(&sv, "");
    let mut svlogd = start(&sv, &["svlogd", "d"]);
    svlogd.write(b"a\n");
    wait_content(&sv, "a\n");
    fs::remove_dir_all(sv.root().join("d")).expect("removed");
    svlogd.write(b"b\n");
    fs::create_dir(sv.root().join("d")).expect("mkdir");
    svlogd.signal(Signal::SIGHUP);
    wait_for("a new current file", SOON, || sv.root().join("d/current").exists().then_some(()));
    svlogd.write(b"c\n");
    wait_for("the line in it", SOON, || text(&sv.root().join("d/current")).ends_with("c\n").then_some(()));
    assert_eq!(svlogd.end(), Some(0));
}

// ---------------------------------------------------------------------------------------------------------------------
// onit logger
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn a_named_file_is_opened_anew_when_it_was_moved() {
    let sv = SvDir::new();
    let log = sv.root().join("log");
    let mut logger = start(&sv, &["logger", "--file", "log"]);
    for (number, signal) in [Signal::SIGHUP, Signal::SIGUSR1].into_iter().enumerate() {
        logger.write(format!("{number}\n").as_bytes());
        wait_for("the line", SOON, || (text(&log) == format!("{number}\n")).then_some(()));
        fs::rename(&log, sv.root().join(format!("moved{number}"))).expect("moved");
        logger.signal(signal);
        wait_for("a new file", SOON, || log.exists().then_some(()));
    }
    assert_eq!(logger.end(), Some(0));
    assert_eq!(text(&sv.root().join("moved1")), "1\n");
}

/// The kernel ends a write(2) of a process that is killed at any byte.
#[test]
fn what_a_killed_logger_has_left_of_a_line_is_not_merged_with_the_next_one() {
    let sv = SvDir::new();
    let log = sv.root().join("log");
    fs::write(&log, "whole\nthe begi").expect("written");
    let mut logger = start(&sv, &["logger", "--file", "log"]);
    logger.write(b"next\n");
    wait_for("the next line", SOON, || (text(&log) == "whole\nthe begi\nnext\n").then_some(()));
    // But a line that this one has begun goes on, whatever is opened anew.
    let begun = "x".repeat(2000);
    logger.write(begun.as_bytes());
    wait_for("its beginning", SOON, || text(&log).ends_with(&begun).then_some(()));
    logger.signal(Signal::SIGHUP);
    logger.write(b"end\n");
    assert_eq!(logger.end(), Some(0));
    assert!(text(&log).ends_with(&format!("\nnext\n{begun}end\n")), "{}", text(&log));
}

/// The copy is as it came; only whole lines are in it while a line has no end.
#[test]
fn lines_go_to_standard_output_as_well() {
    for words in [&["--timestamp", "tai64n", "--dir", "d"][..], &["--json", "--file", "log", "--dir", "d"]] {
        let sv = SvDir::new();
        log_dir(&sv, "-no*\n");
        let copy = sv.root().join("copy");
        let output = File::create(&copy).expect("a file");
        let mut logger = start_to(&sv, &[&["logger", "--tee"], words].concat(), output.into());
        logger.write(b"one\nno \xff\0\nhal");
        wait_for("whole lines", SOON, || (fs::read(&copy).ok()? == b"one\nno \xff\0\n").then_some(()));
        let log = || Some(text(&sv.root().join("d/current"))).filter(|log| log.ends_with('\n'));
        let log = wait_for("the log", SOON, log);
        assert!(log.contains("one") && !log.starts_with("one") && !log.contains("no "), "{log}");
        logger.write(b"f\nend");
        wait_for("the next line", SOON, || (fs::read(&copy).ok()? == b"one\nno \xff\0\nhalf\n").then_some(()));
        assert_eq!(logger.end(), Some(0));
        assert_eq!(fs::read(&copy).expect("the copy"), b"one\nno \xff\0\nhalf\nend\n");
    }
    let sv = SvDir::new();
    let told = sv.onit(&["logger", "--tee"]);
    assert!(told.code == 100 && told.stderr.contains("--tee is for --file and --dir"), "{told:?}");
}

#[test]
fn a_copy_that_nobody_reads_is_told_once_and_ends_no_logger() {
    let sv = SvDir::new();
    let (read, write) = std::io::pipe().expect("a pipe");
    let mut logger = start_to(&sv, &["logger", "--tee", "--dir", "d"], write.into());
    drop(read);
    log_dir_is_there(&sv);
    for number in 0..3 {
        logger.write(format!("{number}\n").as_bytes());
        wait_content(&sv, &(0..=number).map(|number| format!("{number}\n")).collect::<String>());
    }
    assert_eq!(logger.end(), Some(0));
    let line = "onit: logger: cannot write to standard output, lines go to the log alone: broken pipe\n";
    assert_eq!(text(&sv.root().join("said")), line);
}

fn log_dir_is_there(sv: &SvDir) {
    wait_for("its directory", SOON, || sv.root().join("d").exists().then_some(()));
}

/// What has no room waits, in the log's pipe as well, and arrives whole.
#[test]
fn a_copy_that_is_not_read_holds_up_the_logger_and_loses_nothing() {
    let sv = SvDir::new();
    let (mut read, write) = std::io::pipe().expect("a pipe");
    let mut logger = start_to(&sv, &["logger", "--tee", "--dir", "d", "--size", "0"], write.into());
    log_dir_is_there(&sv);
    let lines: String = (0..50_000).map(|number| format!("{number}\n")).collect();
    let (told, written) = std::sync::mpsc::channel();
    let text = lines.clone();
    let writer = std::thread::spawn(move || {
        logger.write(text.as_bytes());
        told.send(()).expect("a listener");
        logger.end()
    });
    let log = sv.root().join("d/current");
    wait_for("what there is room for", SOON, || fs::metadata(&log).is_ok_and(|it| it.len() >= 65_536).then_some(()));
    assert!(written.recv_timeout(std::time::Duration::from_millis(300)).is_err(), "it read on");
    let mut copy = String::new();
    std::io::Read::read_to_string(&mut read, &mut copy).expect("the copy");
    assert_eq!(writer.join().expect("no panic"), Some(0));
    assert!(copy == lines && fs::read_to_string(&log).expect("the log") == lines);
}

#[test]
fn a_copy_that_is_not_read_keeps_no_logger_from_its_end() {
    for (signal, ends) in [(Signal::SIGTERM, Some(0)), (Signal::SIGINT, None)] {
        let sv = SvDir::new();
        let (_read, write) = std::io::pipe().expect("a pipe");
        let mut logger = start_to(&sv, &["logger", "--tee", "--dir", "d", "--size", "0"], write.into());
        log_dir_is_there(&sv);
        logger.write_soon("line\n".repeat(30_000).as_bytes());
        let log = sv.root().join("d/current");
        wait_for("what there is room for", SOON, || {
            fs::metadata(&log).is_ok_and(|it| it.len() >= 100_000).then_some(())
        });
        logger.signal(signal);
        assert_eq!(logger.ended(), ends);
        let said = text(&sv.root().join("said"));
        assert_eq!(said.contains("cannot write to standard output"), signal == Signal::SIGTERM, "{said}");
    }
}

#[test]
fn closed_files_are_numbered_compressed_and_whole() {
    if let Some(why) = missing_tools(&["gzip", "seq"]) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let script = "seq 20000 | \"$1\" logger --file log --size 20k --keep 20 --compress gzip || exit 1\n\
         [ -e log.5.gz ] && ! [ -e log.5 ] || exit 2\n\
         { for n in 20 19 18 17 16 15 14 13 12 11 10 9 8 7 6 5 4 3 2 1; do [ -e log.$n.gz ] && gzip -dc log.$n.gz; done; cat log; } >all\n\
         seq 20000 | cmp - all";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(onit()).current_dir(sv.root());
    let got = output(command);
    assert_eq!((got.code, got.stdout), (0, String::new()), "{}", got.stderr);
}

#[test]
fn lines_become_json_whatever_is_in_them() {
    let sv = SvDir::new();
    let mut logger = start(&sv, &["logger", "--json", "--file", "log"]);
    logger.write(b"plain\n\"q\"\xff\0\nlast");
    assert_eq!(logger.end(), Some(0));
    let told = text(&sv.root().join("log"));
    let told: Vec<serde_json::Value> = told.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let messages: Vec<_> = told.iter().map(|line| line["msg"].as_str().expect("text")).collect();
    assert_eq!(messages, ["plain", "\"q\"\\xff\0", "last"]);
}

mod soak {
    use super::*;

    #[test]
    fn a_thousand_configurations_give_the_files_of_the_real_ones() {
        for tool in ["svlogd", "multilog"] {
            if let Some(why) = missing_tools(&[tool]) {
                skip!("{why}");
            }
            compare(tool, first_seed()..first_seed() + 1000);
        }
    }

    #[test]
    fn a_line_of_a_gigabyte_takes_little_memory() {
        for words in LONG_LINES {
            let peak = one_long_line(words, 1 << 30);
            assert!(peak < 24 << 10, "{words:?}: {peak} KiB");
        }
    }
}
