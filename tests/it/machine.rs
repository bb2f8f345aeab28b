//! As PID 1 of a machine: a real kernel under qemu, onit as its `/init` or its `/sbin/init`, and somebody at the serial
//! console. After every shutdown the disk is clean.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::container;
use crate::svdir::InTurn as _;
use crate::svdir::{find_in_path, is_root, missing_tools, onit, poll_until, skip};

mod soak;

/// What a boot may take on a busy machine without hardware to help.
const BOOT: Duration = Duration::from_secs(300);
/// What a disk needs. Which of them needs which differs from kernel to kernel.
const MODULES: [&str; 6] =
    ["virtio", "virtio_ring", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk"];

/// A watchdog for which no hardware is needed; its rules are the kernel's, and its reset is one.
const WATCHDOG: [&str; 2] = ["watchdog", "softdog"];
/// What it says when it resets the machine.
const RESET: &str = "softdog: Initiating system reboot";

/// What stands in the way of such tests.
fn why_not() -> Option<String> {
    let tools =
        ["qemu-system-x86_64", "busybox", "mkfs.ext4", "dumpe2fs", "e2fsck", "apt-get", "dpkg", "xz", "ldd", "perl"];
    let other = (!is_root()).then(|| "needs root to unpack packages".to_owned());
    let strange = (std::env::consts::ARCH != "x86_64").then(|| "needs an x86-64 machine".to_owned());
    missing_tools(&tools).or(other).or(strange).or_else(|| kernel().as_ref().err().cloned())
}

// ---------------------------------------------------------------------------------------------------------------------
// What a machine is made of
// ---------------------------------------------------------------------------------------------------------------------

fn run(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output_in_turn().map_err(|error| format!("{command:?}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        Ok(text)
    } else {
        Err(format!("{command:?}: {text}{}", String::from_utf8_lossy(&output.stderr)))
    }
}

fn sh(script: &str, dir: &Path) -> Result<String, String> {
    run(Command::new("sh").args(["-euc", script]).current_dir(dir))
}

/// The unpacked Debian package, kept for the next time.
fn package(name: &str) -> Result<PathBuf, String> {
    let get = "apt-get download -q NAME >/dev/null 2>&1 || { apt-get update -q && apt-get download -q NAME; } >&2";
    unpacked(name, &get.replace("NAME", name))
}

fn unpacked(name: &str, get: &str) -> Result<PathBuf, String> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
    let place = cache.join(name);
    if !place.exists() {
        let new = cache.join(format!("{name}.new"));
        drop(fs::remove_dir_all(&new));
        fs::create_dir_all(&new).map_err(|error| error.to_string())?;
        sh(&format!("{get}; dpkg -x *.deb . && rm *.deb"), &new)?;
        fs::rename(&new, &place).map_err(|error| error.to_string())?;
    }
    Ok(place)
}

/// Debian's newest kernel for virtual machines, unpacked.
fn kernel() -> &'static Result<PathBuf, String> {
    static KERNEL: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    KERNEL.get_or_init(|| {
        let ask = "apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ { print $2; exit }'";
        let name = sh(ask, Path::new("/"))?;
        package(name.trim()).map_err(|error| format!("no kernel: {error}"))
    })
}

/// A directory tree that becomes a root.
struct Root(TempDir);

impl Root {
    fn new() -> Root {
        Root(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.0.path().join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a parent")).expect("mkdir");
        path
    }

    fn file(&self, path: &str, text: &str) -> &Root {
        fs::write(self.path(path), text).expect(path);
        self
    }

    fn script(&self, path: &str, body: &str) -> &Root {
        self.file(path, &format!("#!/bin/sh\n{body}\n"));
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).expect("chmod");
        self
    }

    fn link(&self, path: &str, target: &str) -> &Root {
        symlink(target, self.path(path)).expect(path);
        self
    }

    /// onit under this name, with the libraries that it needs unless it is static.
    fn onit(&self, path: &str) -> &Root {
        fs::copy(onit(), self.path(path)).expect("copy onit");
        self.libraries_of(&onit())
    }

    fn libraries_of(&self, program: &Path) -> &Root {
        let libraries = run(Command::new("ldd").arg(program)).unwrap_or_default();
        for word in libraries.split_whitespace().filter(|word| word.starts_with('/')) {
            let real = self.path(word);
            if !real.exists() {
                fs::copy(word, real).expect(word);
            }
        }
        self
    }

    /// busybox under all its names, but for those that a test is about.
    fn busybox(&self) -> &Root {
        self.busybox_from(&find_in_path("busybox").expect("busybox"))
    }

    fn busybox_from(&self, path: &Path) -> &Root {
        fs::copy(path, self.path("bin/busybox")).expect("copy busybox");
        for name in run(Command::new("busybox").arg("--list")).expect("names").lines() {
            let there = self.path(&format!("bin/{name}"));
            if !there.exists() && name != "init" {
                self.link(&format!("bin/{name}"), "busybox");
            }
        }
        self
    }

    /// A program of this machine or of a package, with what it needs.
    fn program(&self, from: &Path, to: &str) -> &Root {
        fs::copy(from, self.path(to)).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
        self.libraries_of(from)
    }

    /// The tools of sysvinit, but for its init, which is also what its telinit is.
    fn sysvinit(&self) -> &Root {
        let package = package("sysvinit-core").expect("a package").join("sbin");
        for (name, to) in [("init", "telinit"), ("shutdown", "shutdown")] {
            self.program(&package.join(name), &format!("sysv/{to}"));
        }
        self.link("sbin/init", "/init")
    }

    /// Somebody at the serial console.
    fn shell(&self, services: &str) -> &Root {
        let run = "exec 2>&1 </dev/ttyS0 >/dev/ttyS0; stty -echo; echo a shell is here; exec sh";
        self.file(&format!("{services}/shell/down-signal"), "HUP"); // it does not heed TERM
        self.script(&format!("{services}/shell/run"), run)
    }

    fn modules(&self, modules: &[&str]) -> &Root {
        let from = kernel().as_ref().expect("a kernel");
        for module in modules {
            let find = format!("find {} -name '{module}.ko*'", from.display());
            let found = sh(&find, Path::new("/")).expect("a module");
            let (found, to) = (found.trim(), self.path(&format!("lib/{module}.ko")));
            if found.ends_with(".xz") {
                sh(&format!("xz -dc {found} >{}", to.display()), Path::new("/")).expect("xz");
            } else {
                fs::copy(found, to).expect("copy a module");
            }
        }
        self
    }

    /// As the kernel takes it.
    fn archive(&self, to: &Path) {
        let pack = format!("find . | busybox cpio -o -H newc 2>/dev/null | gzip -1 >{}", to.display());
        sh(&pack, self.0.path()).expect("an archive");
    }

    /// As the content of a disk.
    fn disk(&self, to: &Path) {
        run(Command::new("mkfs.ext4").args(["-q", "-F", "-d"]).arg(self.0.path()).arg(to).arg("96M")).expect("mkfs");
    }
}

/// The start of every `boot` script that wants the disk.
fn mount_disk(at: &str) -> String {
    let load = format!("for m in {0} {0}; do insmod /lib/$m.ko 2>/dev/null; done", MODULES.join(" "));
    let wait = "until [ -b /dev/vda ]; do sleep 0.1; done";
    format!("{load}\n{wait}\nmkdir -p {at} && mount -t ext4 /dev/vda {at}")
}

/// An initial root with onit as `/init`, busybox, a shell on the console and this `boot` script.
fn initial_root(boot: &str) -> Root {
    let root = Root::new();
    root.onit("init")
        .link("bin/onit", "/init")
        .busybox()
        .modules(&MODULES)
        .shell("etc/service")
        .script("etc/onit/boot", boot);
    root
}

/// At most two at a time: each keeps a processor busy.
static RUNNING: (Mutex<u32>, Condvar) = (Mutex::new(0), Condvar::new());

struct Machine {
    qemu: Child,
    keys: ChildStdin,
    console: Arc<Mutex<String>>,
    dir: TempDir,
    seen: usize,
}

impl Machine {
    /// Switches a machine on that has this initial root and a disk with that content.
    fn boot(initial: &Root, disk: &Root, words: &str) -> Machine {
        Machine::boot_from(|initrd| initial.archive(initrd), disk, words)
    }

    /// The same with an initial root that is made at the path that is given.
    fn boot_from(make: impl FnOnce(&Path), disk: &Root, words: &str) -> Machine {
        let dir = tempfile::tempdir().expect("a directory");
        make(&dir.path().join("initrd"));
        disk.disk(&dir.path().join("disk"));
        let kernel = sh("ls $PWD/boot/vmlinuz-*", kernel().as_ref().expect("a kernel")).expect("a kernel");
        let console = if words.contains("console=") { "" } else { "console=ttyS0" };
        let words = format!("{console} quiet panic=-1 {words}");
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args(["-drive", "file=disk,format=raw,if=virtio", "-kernel", kernel.trim(), "-append", &words]);
        Machine::switch_on(qemu, dir)
    }

    /// With what every machine has.
    fn switch_on(mut qemu: Command, dir: TempDir) -> Machine {
        let mut running = RUNNING.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while *running >= 2 {
            running = RUNNING.1.wait(running).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        *running += 1;
        drop(running);
        let mut qemu = qemu
            .args(["-accel", "tcg,thread=multi", "-m", "256", "-display", "none", "-no-reboot", "-serial", "stdio"])
            .args(["-monitor", "unix:monitor,server,nowait", "-nic", "none", "-initrd", "initrd"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn_in_turn()
            .expect("qemu");
        let console = Arc::new(Mutex::new(String::new()));
        let (mut screen, shown) = (qemu.stdout.take().expect("a screen"), Arc::clone(&console));
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = screen.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).replace('\r', "");
                shown.lock().expect("no panic while locked").push_str(&text);
            }
        });
        let keys = qemu.stdin.take().expect("a keyboard");
        Machine { qemu, keys, console, dir, seen: 0 }
    }

    fn console(&self) -> String {
        self.console.lock().expect("no panic while locked").clone()
    }

    /// Waits until this stands on the console, behind what was waited for before.
    #[track_caller]
    fn sees(&mut self, text: &str) {
        let found = poll_until(BOOT, || {
            let console = self.console();
            console[self.seen..].find(text).map(|at| self.seen + at + text.len())
        });
        self.seen = found.unwrap_or_else(|| panic!("waited in vain for {text:?} on the console:\n{}", self.console()));
    }

    fn types(&mut self, line: &str) {
        writeln!(self.keys, "{line}").expect("typing");
    }

    /// Waits for the shell, and what it answers.
    #[track_caller]
    fn asks(&mut self, line: &str, answer: &str) {
        self.types(line);
        self.sees(answer);
    }

    /// Says something to qemu's monitor.
    fn monitor(&self, line: &str) {
        let mut monitor = UnixStream::connect(self.dir.path().join("monitor")).expect("the monitor");
        writeln!(monitor, "{line}").expect("the monitor listens");
        thread::sleep(Duration::from_millis(300)); // it reads as long as we are there
    }

    /// The kernel says this at last, and the disk is as it should be. Returns what was said.
    #[track_caller]
    fn ends(mut self, words: &str) -> String {
        self.is_off(words);
        run(Command::new("e2fsck").args(["-fn", "disk"]).current_dir(self.dir.path())).expect("nothing to mend");
        self.console()
    }

    /// The kernel says this at last, and the disk was given back in order.
    #[track_caller]
    fn is_off(&mut self, words: &str) {
        self.sees(words);
        if words.contains("halted") {
            self.monitor("quit");
        }
        self.is_without_power();
        let state = run(Command::new("dumpe2fs").args(["-h", "disk"]).current_dir(self.dir.path())).expect("dumpe2fs");
        let clean = state.lines().any(|line| line.starts_with("Filesystem state:") && line.ends_with(" clean"));
        assert!(clean && !state.contains("needs_recovery"), "a dirty disk: {state}\n{}", self.console());
        assert!(!self.console().contains("Kernel panic"), "{}", self.console());
    }

    /// qemu has ended.
    #[track_caller]
    fn is_without_power(&mut self) {
        let ended = poll_until(BOOT, || self.qemu.try_wait().expect("wait for qemu"));
        assert!(ended.is_some(), "it is still on:\n{}", self.console());
    }

    /// The watchdog resets it; nobody has asked the kernel for that.
    #[track_caller]
    fn is_reset(&mut self) {
        self.sees(RESET);
        self.is_without_power();
        assert!(!self.console().contains("] reboot: "), "{}", self.console());
    }

    /// What a file on the disk says, once the machine is off.
    fn on_disk(&self, file: &str) -> String {
        let mut debugfs = Command::new("debugfs");
        run(debugfs.args(["-R", &format!("cat {file}"), "disk"]).current_dir(self.dir.path())).unwrap_or_default()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        drop(self.qemu.kill());
        drop(self.qemu.wait());
        *RUNNING.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner) -= 1;
        RUNNING.1.notify_one();
    }
}

/// What onit said on this console, but for what it always says there: what has come up, and what an end is about.
fn said(console: &str) -> Vec<&str> {
    let lines = console.lines().filter_map(|line| line.find("onit: ").map(|at| &line[at..])); // behind a prompt, perhaps
    let usual = |line: &&str| {
        let counts = line.contains("service up") || line.contains("services up");
        counts || line.contains(": stopping ") || line.starts_with("onit: waiting for ")
    };
    lines.filter(|line| !usual(line)).collect()
}

// ---------------------------------------------------------------------------------------------------------------------
// The promises
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn an_initial_root_comes_up_survives_a_massacre_and_is_powered_off() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let root = initial_root(&format!("{}\nhostname >/mnt/name\nsleep 1000 &\necho booted", mount_disk("/mnt")));
    root.file("etc/hostname", "# mine\nlittle\n");
    root.script("etc/service/web/run", "echo $$ >>/mnt/web; exec sleep 1000");
    root.script("etc/onit/shutdown", "echo shutdown $1: $(ps | grep -c '[s]leep 1000') >/mnt/end; cat /mnt/end");
    // Ignores TERM, and holds the disk.
    root.script(
        "etc/service/deaf/run",
        "trap '' TERM; exec 9>/mnt/held; (setsid sh -c 'while :; do sleep 1; done' &); exec sleep 1000",
    );
    root.file("etc/service/deaf/timeout-kill", "500ms");
    let mut machine = Machine::boot(&root, &Root::new(), "splash some=thing -- odd words");
    machine.sees("booted");
    machine.sees("a shell is here");
    machine.sees("onit: 3 services up");
    machine.asks(
        "echo $PPID of $(cat /proc/1/comm), $(cat /mnt/name), $(umask), $(pwd)",
        "of init, little, 0022, /etc/service/shell",
    );
    for mount in ["proc", "sys", "dev", "dev/pts", "dev/shm", "run", "sys/fs/cgroup"] {
        machine.asks(&format!("grep -c ' /{mount} ' /proc/mounts"), "1\n");
    }
    machine.asks("cat /mnt/web | wc -l", "1\n");
    machine.types("kill -9 -1"); // everybody but this shell, which asks for it
    machine.asks("until [ $(cat /mnt/web | wc -l) = 2 ]; do sleep 0.1; done; echo web is back", "web is back");
    machine.types("onit poweroff");
    machine.sees("onit: poweroff: stopping 3 services");
    machine.sees("shutdown poweroff: ");
    let console = machine.ends("reboot: Power down");
    let lines = said(&console);
    let expected = |line: &&str| line.contains("was killed by SIGKILL") || line.contains("still running");
    assert!(lines.iter().all(expected), "{lines:#?}");
}

#[test]
fn without_a_console_a_boot_that_hangs_is_ended_by_ctrl_alt_del() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let hang = "(ls -l /proc/1/fd; echo it hangs) >/dev/ttyS0; sleep 1000";
    let root = initial_root(&format!("{}\n{hang}", mount_disk("/mnt")));
    root.script("etc/onit/shutdown", "exec 9>/mnt/held; umount -a; echo shutdown: $1 >/dev/ttyS0");
    let mut machine = Machine::boot(&root, &Root::new(), "console=null");
    machine.sees("2 -> /dev/null");
    machine.sees("it hangs");
    machine.monitor("sendkey ctrl-alt-delete");
    machine.sees("shutdown: reboot");
    machine.ends("");
}

#[test]
fn without_proc_sys_run_and_any_device_it_comes_up_and_halts() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let root = initial_root("mknod /dev/ttyS0 c 4 64");
    root.script("etc/onit/shutdown", "echo in order >/dev/ttyS0");
    let lack = "rm -rf /proc /sys /run; : >/proc; : >/sys; : >/run; mount -t tmpfs none /dev";
    root.script("lacking", &format!("{lack}; exec /init <&- >&- 2>&-"));
    let mut machine = Machine::boot(&root, &Root::new(), "rdinit=/lacking");
    for place in ["/proc", "/sys", "/run"] {
        machine.sees(&format!("onit: cannot mount {place}: Not a directory; going on without"));
    }
    machine.sees("onit: cannot listen at /run/initctl: Not a directory; going on without");
    machine.sees("a shell is here");
    machine.asks("ls -l /dev/null /dev/console", "crw-rw-rw-");
    machine.types("kill -s 47 1"); // systemctl --force halt
    machine.sees("onit: cannot see what is mounted without /proc");
    assert!(!machine.ends("reboot: System halted").contains("in order"));
}

#[test]
fn ctrl_alt_del_is_a_reboot_in_order() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let root = initial_root(&mount_disk("/mnt"));
    root.script("etc/onit/shutdown", "echo shutdown: $1");
    let mut machine = Machine::boot(&root, &Root::new(), "");
    machine.sees("a shell is here");
    machine.monitor("sendkey ctrl-alt-delete");
    machine.sees("shutdown: reboot");
    assert_eq!(said(&machine.ends("reboot: Restarting system")), [""; 0]);
}

#[test]
fn the_kernel_s_word_single_the_keyboard_and_a_kexec_without_a_kernel() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let root = initial_root(&mount_disk("/mnt"));
    root.script("etc/onit/keyboard-request", "echo somebody calls");
    let mut machine = Machine::boot(&root, &Root::new(), "single");
    machine.sees("onit: asked for at boot; a shell on the console, and when it ends, going on");
    machine.types("exit");
    machine.sees("a shell is here");
    // The kernel's own keymap has no such key; those of the distributions have Alt-Up.
    let patch = r"printf '\022\002' | dd of=/keys bs=1 seek=2005 conv=notrunc 2>/dev/null";
    machine
        .asks(&format!("dumpkmap </dev/tty0 >/keys; {patch}; loadkmap </keys && echo it has $((1 + 1))"), "it has 2");
    machine.monitor("sendkey alt-up");
    machine.sees("somebody calls");
    machine.types("onit kexec");
    machine.sees("onit: cannot kexec: no kernel is loaded; rebooting instead");
    machine.ends("reboot: Restarting system");
}

#[test]
fn a_boot_that_fails_ends_in_a_shell_and_then_goes_on() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let root = initial_root(&format!("{}\nexit 7", mount_disk("/mnt")));
    root.script("etc/onit/shutdown", "echo so it was >/mnt/in-order");
    let mut machine = Machine::boot(&root, &Root::new(), "");
    machine.sees("onit: /etc/onit/boot exited with 7; a shell on the console, and when it ends, going on");
    machine.asks("tty; echo $((6 * 7))", "/dev/ttyS0");
    machine.sees("42");
    machine.types("exit");
    machine.sees("onit: the shell has ended; going on");
    machine.sees("a shell is here");
    machine.types("kill -s 48 1"); // systemctl --force poweroff
    machine.is_off("reboot: Power down");
    assert_eq!(machine.on_disk("/in-order"), "");
}

#[test]
fn a_machine_that_is_told_to_says_everything_in_objects() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let root = Root::new();
    root.onit("bin/onit").busybox().modules(&MODULES).shell("etc/service");
    root.script("init", "export PATH=/bin; exec onit run --log json /etc/service");
    root.script("etc/onit/boot", &format!("{}\nexit 7", mount_disk("/mnt")));
    root.file("etc/onit/timeout-boot", "long").file("etc/onit/watchdog", "a dog").file("etc/hostname", &"x".repeat(99));
    root.script("etc/service/fails/run", "exit 3");
    root.script("etc/onit/keyboard-request", "").file("etc/onit/keyboard-request", "#!/nonexistent\n");
    root.script("etc/onit/shutdown", "exit 9");
    let mut machine = Machine::boot(&root, &Root::new(), "");
    machine.sees("/etc/onit/boot exited with 7; a shell on the console");
    machine.types("exit");
    machine.sees("the shell has ended; going on");
    machine.sees("a shell is here");
    machine.sees(" up");
    machine.asks("echo garbage >/run/initctl", "passing over 8 bytes");
    machine.types("kill -SEGV 1");
    machine.sees("starting again");
    machine.types("kill -WINCH 1");
    machine.sees("cannot start /etc/onit/keyboard-request");
    machine.types("onit kexec");
    let console = machine.ends("reboot: Restarting system");
    assert_eq!(said(&console), [""; 0]);
    let lines = console.lines().filter_map(|line| line.find("{\"time\":").map(|at| &line[at..]));
    let parsed = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let objects: Vec<serde_json::Value> = lines.map(parsed).collect();
    for words in [
        "cannot set the host name",
        "timeout-boot says",
        "watchdog says",
        "boot exited with 7",
        "the shell has ended",
        "exited with 3",
        "passing over 8 bytes",
        "starting again",
        "cannot start /etc/onit/keyboard-request",
        "kexec: stopping",
        "shutdown exited with 9",
        "cannot kexec: no kernel is loaded",
    ] {
        let is_said = objects.iter().any(|line| line["message"].as_str().is_some_and(|text| text.contains(words)));
        assert!(is_said, "nothing of {words:?}:\n{console}");
    }
}

#[test]
fn a_boot_that_hangs_is_ended_by_its_limit_and_a_shutdown_that_hangs_by_its_own() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let root = initial_root(&format!("{}\nsleep 1000", mount_disk("/mnt")));
    root.file("etc/onit/timeout-boot", "10s").script("etc/onit/shutdown", "sleep 1000");
    root.file("etc/onit/timeout-shutdown", "1s");
    let mut machine = Machine::boot(&root, &Root::new(), "");
    machine.sees("onit: /etc/onit/boot was still running past its time limit and was killed; a shell on the console");
    machine.types("onit reboot"); // from the rescue shell, which is in its way
    machine.sees("onit: /etc/onit/shutdown was still running past its time limit and was killed; going on");
    machine.ends("reboot: Restarting system");
}

#[test]
fn it_moves_from_the_initial_root_into_the_real_one() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let initial =
        initial_root(&format!("{}\nmkdir -p /run/onit; echo /new >/run/onit/switch-root", mount_disk("/new")));
    let real = Root::new();
    for dir in ["proc", "sys", "dev", "run", "mnt", "tmp"] {
        fs::create_dir_all(real.path(dir)).expect("mkdir");
    }
    real.onit("sbin/init").link("bin/onit", "/sbin/init").busybox().shell("etc/service");
    real.script("etc/onit/boot", "mount -o remount,rw /; echo words: $(tr '\\0' ' ' </proc/1/cmdline)");
    // Its own program is replaced while it runs: that keeps a root from being made read-only the usual way.
    real.script(
        "etc/service/self/run",
        "cp /sbin/init /sbin/new && mv /sbin/new /sbin/init && echo >/self; exec sleep 1000",
    );
    let mut machine = Machine::boot(&initial, &real, "single-minded");
    machine.sees("words: /sbin/init single-minded");
    machine.sees("a shell is here");
    machine.asks("grep -c ' / ext4 ' /proc/mounts; ls /sbin", "1\n");
    machine.asks("until [ -e /self ]; do sleep 0.1; done; ls /sbin", "init\n");
    machine.asks("grep SigBlk /proc/self/status", "0000000000000000");
    machine.types("echo done >/done; onit poweroff");
    machine.is_off("reboot: Power down"); // the kernel keeps the old program on its list of things to remove
    assert_eq!(machine.on_disk("/done"), "done\n");
    assert_eq!(said(&machine.console()), [""; 0]);
}

#[test]
fn the_example_of_an_initial_root_is_a_machine_with_one_shell() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("svdir-examples/initramfs.sh");
    let make = |initrd: &Path| {
        let dir = initrd.parent().expect("a directory");
        run(Command::new(&example).arg(container::onit()).current_dir(dir)).expect("the example");
        fs::rename(dir.join("initramfs.gz"), initrd).expect("an initial root");
    };
    let mut machine = Machine::boot_from(make, &Root::new(), "");
    machine.sees("# ");
    machine.asks("tty; PS1='first: '", "/dev/ttyS0");
    machine.asks("sleep 3; [ $(onit pid shell) = $$ ] && echo it is $((1 + 1))", "it is 2");
    machine.asks("echo there is $(cat /proc/[0-9]*/status | grep -cx 'PPid:.1')", "there is 1");
    machine.types("sh -c 'echo sleeping; exec sleep 1000'"); // it has the terminal when it says so
    machine.sees("\nsleeping");
    machine.types("\x03");
    machine.asks("echo on with $((40 + 2))", "on with 42");
    machine.types("exit");
    machine.sees("# ");
    machine.asks("[ $(onit pid shell) = $$ ] && echo the next is $((1 + 1))", "the next is 2");
    machine.types("poweroff");
    machine.is_off("reboot: Power down");
    assert_eq!(said(&machine.console()), [""; 0], "nobody had to be killed");
}
