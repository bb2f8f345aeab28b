//! Whatever a user can get wrong, and whatever a machine can run out of: one line says what it is, the other services do
//! not notice, and once it is mended all is well again without a restart.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::libc;
use nix::sys::signal::Signal;

use crate::proc;
use crate::svdir::InTurn as _;
use crate::svdir::{Ending, Phase, SOON, Service, Supervisor, SvDir, UnderTest};
use crate::svdir::{given_to, is_root, missing_tools, poll_until, remove_tree, send, skip, wrapped};

fn sleeper(sv: &SvDir, name: &str) -> Service {
    sv.service(name).run("exec sleep 1000").create_atomically()
}

/// The others do not notice: this one is up, and follows orders.
#[track_caller]
fn unaffected(service: &Service) {
    let pid = service.wait_up();
    service.order(b"t");
    service.wait_other(pid);
}

// ---------------------------------------------------------------------------------------------------------------------
// A run that cannot run
// ---------------------------------------------------------------------------------------------------------------------

/// Starts a service that cannot run beside one that can, looks for the line, mends it, and sees it run.
#[track_caller]
fn cannot_run(spoil: impl Fn(&Service), mend: impl Fn(&Service), line: &str) {
    let sv = SvDir::new();
    let other = sleeper(&sv, "other");
    let web = sv.service("web").finish("echo $1 $2 >finished").create();
    spoil(&web);
    let onit = sv.start(UnderTest::Onit);
    onit.wait_said(&[&format!("onit: web: cannot start ./run: {line}; trying again")]);
    assert_eq!(web.wait_text("finished", |text| text.ends_with('\n')), "111 0\n", "as in runit");
    unaffected(&other);
    mend(&web);
    web.wait_up();
    assert_eq!(onit.stderr().lines().count(), 1, "said once: {}", onit.stderr());
}

fn good_run(web: &Service) {
    web.write_script("run", "exec sleep 1000");
}

#[test]
fn a_missing_run_is_told_and_starts_when_it_comes() {
    cannot_run(|_| {}, good_run, "No such file or directory");
}

#[test]
fn a_run_that_is_not_executable_is_told_and_starts_when_it_is() {
    let chmod = |web: &Service| {
        fs::set_permissions(web.path().join("run"), fs::Permissions::from_mode(0o755)).expect("chmod");
    };
    cannot_run(|web| web.write("run", "#!/bin/sh\nexec sleep 1000\n"), chmod, "Permission denied");
}

#[test]
fn a_run_that_is_a_directory_is_told_and_starts_when_it_is_a_program() {
    let run = |web: &Service| web.path().join("run");
    let mend = |web: &Service| {
        fs::remove_dir(run(web)).expect("rmdir");
        good_run(web);
    };
    cannot_run(|web| fs::create_dir(run(web)).expect("mkdir"), mend, "Permission denied");
}

#[test]
fn a_run_whose_interpreter_is_missing_is_told_by_the_name_of_the_interpreter() {
    let spoil = |web: &Service| {
        web.write_script("run", "");
        web.write("run", "#!/no/such/shell -e\nexec sleep 1000\n");
    };
    cannot_run(spoil, good_run, "No such file or directory (its interpreter /no/such/shell is missing)");
}

#[test]
fn a_run_that_was_written_on_windows_is_told_as_such() {
    let spoil = |web: &Service| {
        web.write_script("run", "");
        web.write("run", "#!/bin/sh\r\nexec sleep 1000\r\n");
    };
    let line = "No such file or directory (its lines end in carriage returns, as on Windows)";
    cannot_run(spoil, good_run, line);
}

#[test]
fn a_run_without_an_interpreter_line_is_told() {
    let spoil = |web: &Service| {
        web.write_script("run", "");
        web.write("run", "exec sleep 1000\n");
    };
    let line = "Exec format error (it has no #! line, and is no program for this machine)";
    cannot_run(spoil, good_run, line);
}

// ---------------------------------------------------------------------------------------------------------------------
// Disks
// ---------------------------------------------------------------------------------------------------------------------

/// A small file system of its own. Declare it after its [`SvDir`], so that it goes first.
struct Mount(PathBuf);

impl Mount {
    fn new(place: &Path, options: &str) -> Self {
        fs::create_dir_all(place).expect("mkdir");
        let mount = Self(place.to_owned());
        mount.command("mount", &["-t", "tmpfs", "-o", options, "onit-test"]);
        mount
    }

    fn remount(&self, how: &str) {
        self.command("mount", &["-o", &format!("remount,{how}")]);
    }

    fn command(&self, name: &str, args: &[&str]) {
        let status = Command::new(name).args(args).arg(&self.0).status_in_turn().expect(name);
        assert!(status.success(), "{name} {args:?} {}", self.0.display());
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).expect("create");
        let full = |e: &std::io::Error| e.kind() == ErrorKind::StorageFull;
        while file.write_all(&[b'x'; 512]).map_err(|e| assert!(full(&e), "{e}")).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).expect("rm");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(&self.0).status_in_turn());
    }
}

#[test]
fn on_a_full_disk_a_service_runs_and_its_status_is_right_again_once_there_is_space() {
    if !is_root() {
        skip!("needs root to mount");
    }
    let sv = SvDir::new();
    let other = sleeper(&sv, "other");
    let disk = Mount::new(&sv.path().join("web"), "size=64k");
    let web = sv.service("web").run("exec sleep 1000").create();
    let onit = sv.start(UnderTest::Onit);
    let pid = web.wait_up();
    disk.fill();
    web.order(b"d");
    web.wait_down(); // what was kept has its place on the disk
    onit.wait_for("the end of the service", SOON, || (!proc::is_alive(pid)).then_some(()));
    unaffected(&other);
    assert_eq!(onit.stderr(), "");
    for file in ["pid.new", "stat.new", "status.new"] {
        fs::remove_file(web.path().join("supervise").join(file)).expect("rm");
    }
    disk.fill();
    web.order(b"u");
    let line =
        onit.wait_said(&["onit: web: cannot write supervise/", "No space left on device; its status is out of date"]);
    assert_eq!(web.status().map(|status| status.raw.len()), Some(20), "the old record is still there, and whole");
    disk.empty();
    web.wait_up();
    assert_eq!(onit.stderr().lines().collect::<Vec<_>>(), [line], "said once");
}

#[test]
fn on_a_disk_that_was_full_before_a_service_comes_up_and_can_be_reached_once_there_is_space() {
    if !is_root() {
        skip!("needs root to mount");
    }
    let sv = SvDir::new();
    let other = sleeper(&sv, "other");
    let disk = Mount::new(&sv.path().join("web"), "size=64k,nr_inodes=4");
    let web = sv.service("web").run("echo $$ >/proc/self/fd/1; exec sleep 1000").create();
    disk.fill();
    let extra = web.path().join("last-inode");
    while OpenOptions::new().write(true).create_new(true).open(&extra).is_ok() {}
    let onit = sv.start(UnderTest::Onit);
    onit.wait_said(&["onit: web: cannot create supervise: No space left on device; running, but out of reach"]);
    let pid: u32 = onit.wait_for("the service", SOON, || onit.stdout().lines().next()?.parse().ok());
    unaffected(&other);
    disk.empty();
    fs::remove_file(&extra).unwrap_or_default();
    disk.remount("nr_inodes=100");
    assert_eq!(web.wait_up(), pid);
}

#[test]
fn on_a_read_only_disk_a_service_runs_and_this_is_told() {
    if !is_root() {
        skip!("needs root to mount");
    }
    for with_supervise in [false, true] {
        let sv = SvDir::new();
        let other = sleeper(&sv, "other");
        let disk = Mount::new(&sv.path().join("web"), "size=64k");
        let web = sv.service("web").run("echo $$; exec sleep 1000").create();
        if with_supervise {
            web.write_script("run", "exec sleep 1000");
            let before = sv.start(UnderTest::Onit);
            web.wait_up();
            before.signal(Signal::SIGTERM);
            assert_eq!(before.wait_end(SOON), Ending::Code(0));
            web.write_script("run", "echo $$; exec sleep 1000");
        }
        disk.remount("ro");
        let nowhere = web.path().join("live");
        let mut command = UnderTest::Onit.command(&sv.path());
        command.env("ONIT_RUN", &nowhere);
        let onit = sv.spawn(command);
        let file = if with_supervise { "open supervise/lock" } else { "create supervise" };
        let why = format!("and cannot create {}: Read-only file system", nowhere.display());
        onit.wait_said(&[&format!(
            "onit: web: cannot {file}: Read-only file system, {why}; running, but out of reach"
        )]);
        let pid: u32 = onit.wait_for("the service", SOON, || onit.stdout().lines().next()?.parse().ok());
        unaffected(&other);
        onit.signal(Signal::SIGTERM);
        assert_eq!(onit.wait_end(SOON), Ending::Code(0));
        assert!(!proc::is_alive(pid));
        // Where there is a place for its `supervise`, all is well.
        let onit = sv.start(UnderTest::Onit);
        unaffected(&Service::at(sv.live().join("service/web")));
        unaffected(&Service::at(sv.live().join("service/other")));
        onit.signal(Signal::SIGTERM);
        assert_eq!((onit.wait_end(SOON), onit.stderr().as_str()), (Ending::Code(0), ""));
    }
}

#[test]
fn where_the_view_has_no_room_a_service_runs_and_can_be_reached_once_there_is() {
    if !is_root() {
        skip!("needs root to mount");
    }
    let sv = SvDir::new();
    let disk = Mount::new(&sv.path().join("web"), "size=64k");
    let web = sv.service("web").run("echo $$; exec sleep 1000").create();
    disk.remount("ro");
    let place = Mount::new(&sv.live(), "size=64k,nr_inodes=4");
    let onit = sv.start(UnderTest::Onit);
    onit.wait_said(&[
        "onit: web: cannot create its runtime mirror: No space left on device; running, but out of reach",
    ]);
    onit.wait_said(&["onit: there is no api socket: ", "No space left on device"]);
    let pid: u32 = onit.wait_for("the service", SOON, || onit.stdout().lines().next()?.parse().ok());
    place.remount("nr_inodes=100");
    assert_eq!(Service::at(sv.live().join("service/web")).wait_up(), pid);
    assert!(!web.path().join("supervise").exists());
    assert_eq!(onit.said(&["onit: web: "]).len(), 1, "{}", onit.stderr());
    assert_eq!(onit.stderr().lines().count(), 2, "{}", onit.stderr());
}

// ---------------------------------------------------------------------------------------------------------------------
// Limits
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn a_fork_that_fails_is_told_and_tried_again_until_it_works() {
    if let Some(why) = missing_tools(&["setpriv", "prlimit"]).or((!is_root()).then(|| "needs root".into())) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    // A user that no other test is, nor this one of another run, since the limit counts all processes of a user. One
    // place: that of onit.
    let mut words = given_to(&sv, 20_000 + std::process::id() % 30_000);
    words.splice(0..0, ["prlimit", "--nproc=1:100"].map(str::to_owned));
    let onit = sv.spawn_words(&words);
    onit.wait_said(&["onit: web: cannot start ./run: no more processes are allowed; trying again"]);
    web.wait_for("its status", |status| status.phase() == Phase::Down && status.want() == b'u');
    // Its own user may raise it, and root of a container perhaps not.
    words.truncate(words.iter().position(|word| word.ends_with("/onit")).expect("onit"));
    words.splice(0..2, []);
    words.extend(["prlimit", "--pid", &onit.pid().to_string(), "--nproc=100:100"].map(str::to_owned));
    assert_eq!(sv.tool(&words[0], &words[1..].iter().map(String::as_str).collect::<Vec<_>>()).code, 0);
    web.wait_up();
    assert_eq!(onit.stderr().lines().count(), 1, "{}", onit.stderr());
}

#[test]
fn where_descriptors_are_short_as_many_as_fit_run_and_can_be_controlled_and_the_rest_say_why() {
    if let Some(why) = missing_tools(&["setpriv", "prlimit"]).or((!is_root()).then(|| "needs root".into())) {
        skip!("{why}");
    }
    // A service takes a few of them: so whatever that number is, one of these limits leaves nothing over.
    (61..=64).for_each(short_of_descriptors);
}

fn short_of_descriptors(limit: u32) {
    let sv = SvDir::new();
    let all: Vec<_> = (10..40).map(|number| sleeper(&sv, &format!("s{number}"))).collect();
    let mut words = given_to(&sv, 54_322);
    words.splice(0..0, ["prlimit".to_owned(), format!("--nofile={limit}:{limit}")]);
    let onit = sv.spawn_words(&words);
    let refused = |service: &&Service| {
        let line = format!("onit: {}: cannot open supervise", service.name());
        onit.said(&[&line, "Too many open files; not supervised until that is mended"]).len()
    };
    onit.wait_for("each to run or to be refused", SOON, || {
        all.iter().all(|service| service.is_supervised() || refused(&service) == 1).then_some(())
    });
    let (running, rest): (Vec<_>, Vec<_>) = all.iter().partition(|service| service.is_supervised());
    assert!(running.len() >= 8 && rest.len() >= 8, "{} run", running.len());
    running.iter().for_each(|service| unaffected(service));
    let expected = running.len() + 1;
    onit.wait_for("no process of the rest", SOON, || (sv.processes().len() == expected).then_some(()));
    // Room for others, who in time try again by themselves, and at once if asked: some of the rest take the places.
    running.iter().for_each(|service| fs::rename(service.path(), sv.root().join(service.name())).expect("rename"));
    onit.wait_for("room", SOON, || (sv.processes().len() < expected / 2).then_some(()));
    onit.signal(Signal::SIGHUP);
    onit.wait_for("some of the rest", SOON, || (rest.iter().filter(|s| s.is_supervised()).count() >= 8).then_some(()));
    let others = onit.said(&["onit: there is no api socket: ", "Too many open files"]).len();
    assert!(others <= 1, "{}", onit.stderr());
    assert_eq!(onit.stderr().lines().count(), rest.len() + others, "each once, and nothing else: {}", onit.stderr());
}

// ---------------------------------------------------------------------------------------------------------------------
// Under supervise/
// ---------------------------------------------------------------------------------------------------------------------

/// Something stands where the control FIFO belongs.
#[track_caller]
fn no_fifo(spoil: impl Fn(&Path)) {
    let sv = SvDir::new();
    let other = sleeper(&sv, "other");
    let web = sv.service("web").run("echo $$; exec sleep 1000").dir("supervise").create();
    let control = web.path().join("supervise/control");
    spoil(&control);
    let onit = sv.start(UnderTest::Onit);
    onit.wait_said(&["onit: web: supervise/control is not a FIFO of ours; running, but out of reach"]);
    let pid: u32 = onit.wait_for("the service", SOON, || onit.stdout().lines().next()?.parse().ok());
    unaffected(&other);
    assert!(!web.is_supervised());
    fs::remove_file(&control).expect("rm");
    assert_eq!(web.wait_up(), pid);
    unaffected(&web);
}

#[test]
fn a_control_that_is_a_regular_file_is_told_and_replaced_once_it_is_gone() {
    no_fifo(|control| fs::write(control, "d").expect("write"));
}

#[test]
fn a_control_that_is_a_link_is_not_followed() {
    let sv = SvDir::new();
    let elsewhere = sv.service("elsewhere").fifo("fifo").create();
    let target = elsewhere.path().join("fifo");
    no_fifo(|control| symlink(&target, control).expect("symlink"));
}

#[test]
fn a_control_of_another_user_is_told_and_the_service_runs() {
    if let Some(why) = missing_tools(&["setpriv"]).or((!is_root()).then(|| "needs root".into())) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let other = sleeper(&sv, "other");
    let web = sv.service("web").run("echo $$; exec sleep 1000").dir("supervise").fifo("supervise/control").create();
    let words = given_to(&sv, 54_323);
    std::os::unix::fs::chown(web.path().join("supervise/control"), Some(0), Some(0)).expect("chown");
    let onit = sv.spawn_words(&words);
    onit.wait_said(&["onit: web: cannot open supervise/control: Permission denied; running, but out of reach"]);
    let pid: u32 = onit.wait_for("the service", SOON, || onit.stdout().lines().next()?.parse().ok());
    unaffected(&other);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert!(!proc::is_alive(pid));
}

#[test]
fn a_supervise_that_is_a_link_to_nothing_is_made_where_the_link_leads() {
    let sv = SvDir::new();
    let state = sv.root().join("state");
    let web = sv.service("web").run("exec sleep 1000").symlink("supervise", &state).create_atomically();
    let deep = sv.service("deep").run("echo $$; exec sleep 1000").symlink("supervise", state.join("no/such")).create();
    let onit = sv.start(UnderTest::Onit);
    web.wait_up();
    assert_eq!(fs::metadata(&state).expect("made").permissions().mode() & 0o777, 0o700);
    Service::at(sv.live().join("service/deep")).wait_up();
    assert_eq!((deep.is_supervised(), onit.stderr().as_str()), (false, ""));
}

#[test]
fn the_trouble_of_a_service_and_of_its_logger_is_told_once_with_where_the_link_leads() {
    let sv = SvDir::new();
    let other = sleeper(&sv, "other");
    let nowhere = sv.root().join("no/such");
    let web = sv.service("web").run("exec sleep 1000").log("exec cat");
    web.symlink("supervise", nowhere.join("web")).symlink("log/supervise", nowhere.join("log")).create();
    fs::write(sv.live(), "in the way").expect("write");
    let onit = sv.start(UnderTest::Onit);
    onit.wait_said(&["onit: web: ", &nowhere.join("web").display().to_string(), "like all services of that kind"]);
    onit.wait_for("both", SOON, || (proc::children(onit.pid()).len() == 3).then_some(()));
    let said = onit.said(&["onit: web"]);
    assert_eq!(said.len(), 1, "{said:?}");
    for _ in 0..3 {
        onit.signal(Signal::SIGHUP); // all that was in vain is tried again
        unaffected(&other);
    }
    assert_eq!(onit.said(&["onit: web"]), said);
}

#[test]
fn a_supervise_that_is_removed_under_a_running_service_is_told_and_the_service_goes_on() {
    let sv = SvDir::new();
    let (other, web) = (sleeper(&sv, "other"), sleeper(&sv, "web"));
    let onit = sv.start(UnderTest::Onit);
    let pid = web.wait_up();
    remove_tree(&web.path().join("supervise"));
    send(pid, Signal::SIGKILL);
    onit.wait_said(&["onit: web: cannot write supervise/", "No such file or directory; its status is out of date"]);
    unaffected(&other);
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
    assert_eq!(sv.processes(), [0u32; 0]);
}

/// A real supervisor holds the service: onit leaves it alone, says so, and takes it up afterwards.
#[track_caller]
fn held_by(theirs: UnderTest, leave: impl Fn(&SvDir, &Service)) {
    if let Some(why) = missing_tools(theirs.needs()).or_else(|| missing_tools(&["sv", "s6-svc"])) {
        skip!("{why}");
    }
    let sv = SvDir::new();
    let (other, web) = (sleeper(&sv, "other"), sleeper(&sv, "web"));
    let their = sv.start_on(theirs, &web);
    their.wait_for("their service", SOON, || proc::children(their.pid()).pop());
    let onit = sv.start(UnderTest::Onit);
    onit.wait_said(&["onit: web: supervise/lock is held by another supervisor; not supervised until that is mended"]);
    unaffected(&other);
    assert_eq!(proc::children(onit.pid()).len(), 1, "web is theirs");
    leave(&sv, &web);
    their.wait_end(SOON);
    if theirs != UnderTest::Runsv {
        onit.signal(Signal::SIGHUP); // in time it comes by itself, and for those who ask at once
    }
    onit.wait_for("both to be ours", SOON, || (proc::children(onit.pid()).len() == 2).then_some(()));
    unaffected(&web);
    assert_eq!(onit.stderr().lines().count(), 1, "said once: {}", onit.stderr());
}

#[test]
fn a_service_of_a_real_runsv_is_left_alone_until_that_has_gone() {
    held_by(UnderTest::Runsv, |_, web| web.order(b"x"));
}

#[test]
fn a_service_of_a_real_supervise_is_left_alone_until_that_has_gone() {
    held_by(UnderTest::Supervise, |_, web| web.order(b"dx"));
}

#[test]
fn a_service_of_a_real_s6_supervise_is_left_alone_until_that_has_gone() {
    held_by(UnderTest::S6Supervise, |sv, web| {
        assert_eq!(sv.s6_svc(&["-dx", web.path().to_str().expect("a printable path")]).code, 0);
    });
}

#[test]
fn no_real_supervisor_starts_a_service_beside_onit() {
    for theirs in [UnderTest::Runsv, UnderTest::Supervise, UnderTest::S6Supervise] {
        if let Some(why) = missing_tools(theirs.needs()) {
            skip!("{why}");
        }
        let sv = SvDir::new();
        let web = sleeper(&sv, "web");
        let onit = sv.start(UnderTest::Onit);
        let pid = web.wait_up();
        let their = sv.start_on(theirs, &web);
        let end = their.wait_end(SOON);
        let code = if theirs == UnderTest::S6Supervise { 100 } else { 111 };
        assert_eq!(end, Ending::Code(code), "{theirs:?}: {}", their.stderr());
        assert_eq!((web.wait_up(), proc::children(onit.pid())), (pid, vec![pid]));
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// Nobody listens
// ---------------------------------------------------------------------------------------------------------------------

fn speaks_and_serves(sv: &SvDir, onit: &Supervisor, web: &Service) {
    sv.service("broken").file("run", "").create();
    for _ in 0..3 {
        unaffected(web);
    }
    onit.signal(Signal::SIGTERM);
    assert_eq!(onit.wait_end(SOON), Ending::Code(0));
}

#[test]
fn onit_serves_with_its_standard_descriptors_closed_and_its_files_do_not_take_their_places() {
    let sv = SvDir::new();
    let web = sv.service("web").run("readlink /proc/self/fd/[012] >links; exec sleep 1000").create();
    let closing = ["sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"];
    let onit = sv.spawn(wrapped(&closing, &UnderTest::Onit.command(&sv.path())));
    assert_eq!(web.wait_text("links", |text| text.lines().count() == 3).lines().nth(2), Some("/dev/null"));
    speaks_and_serves(&sv, &onit, &web);
}

#[test]
fn onit_serves_although_nobody_reads_what_it_says() {
    let sv = SvDir::new();
    let web = sleeper(&sv, "web");
    let fifo = sv.service_at(sv.root().join("errors")).fifo("fifo").create().path().join("fifo");
    let open = |flags| OpenOptions::new().read(true).write(true).custom_flags(flags).open(&fifo).expect("open");
    let mut pipe = open(libc::O_NONBLOCK);
    while pipe.write(&[b'x'; 4096]).is_ok() {}
    let redirect = format!("exec \"$@\" -v 2>{}", fifo.display());
    let command = wrapped(&["sh", "-c", &redirect, "sh"], &UnderTest::Onit.program());
    let mut command = command;
    command.env("SVDIR", sv.path());
    let onit = sv.spawn(command);
    speaks_and_serves(&sv, &onit, &web);
    let mut all = vec![0; 1 << 20];
    let length = poll_until(SOON, || pipe.read(&mut all).ok()).expect("the pipe is full");
    assert!(all[..length].iter().all(|&byte| byte == b'x'), "nothing of it fitted");
}
