//! Boots for the soak: many kernels, a watchdog that is waited for, another processor, another distribution.

use super::*;

/// Has the kernel that is on the disk loaded for kexec, to be started with these words. 320 is kexec_file_load(2).
const LOAD_KERNEL: &str = r#"
exec perl -e 'open KERNEL, "<", "/mnt/vmlinuz" or die $!; open INITRD, "<", "/mnt/initrd" or die $!;
my $words = "console=ttyS0 quiet panic=-1 @ARGV\0";
syscall(320, fileno KERNEL, fileno INITRD, length $words, $words, 0) == 0 or die "kexec_file_load: $!\n";
print "loaded\n"' -- "$@"
"#;

/// Stops a process as a debugger does: also one that no signal stops. 101 is ptrace(2), 16 PTRACE_ATTACH.
const HOLD: &str =
    r#"exec perl -e 'syscall(101, 16, $ARGV[0] + 0, 0, 0) == 0 or die "ptrace: $!\n"; sleep 1000' -- "$@""#;

/// An initial root with a watchdog, whose module the `boot` script loads.
fn guarded_root(boot: &str) -> Root {
    let root = initial_root(&format!("{boot}\nfor m in {}; do insmod /lib/$m.ko; done", WATCHDOG.join(" ")));
    root.modules(&WATCHDOG).file("etc/onit/watchdog", "/dev/watchdog 15s\n");
    root
}

/// A Debian package for 64-bit ARM, unpacked, whatever this machine is: apt keeps what it has to know in a place of its
/// own.
fn arm_package(name: &str) -> Result<PathBuf, String> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("apt-arm64");
    fs::create_dir_all(place.join("lists/partial")).map_err(|error| error.to_string())?;
    fs::create_dir_all(place.join("cache/archives/partial")).map_err(|error| error.to_string())?;
    let options = format!(
        "-o APT::Architecture=arm64 -o APT::Architectures::=arm64 -o Dir::State={0} -o Dir::State::status=/dev/null \
        -o Dir::Cache={0}/cache -o APT::Sandbox::User=root -o Acquire::Languages=none \
        -o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
        place.display()
    );
    let real = "apt-cache OPTIONS depends NAME | awk '/Depends: linux-image/ { print $2; exit }'";
    let get = format!(
        "ls {0}/lists/*Packages* >/dev/null 2>&1 || apt-get OPTIONS update -q >&2; real=$({real}); \
        apt-get OPTIONS download -q ${{real:-NAME}} >&2",
        place.display()
    );
    unpacked(&format!("{name}.arm64"), &get.replace("OPTIONS", &options).replace("NAME", name))
}

#[test]
fn every_way_to_ask_for_a_reboot_or_a_halt_is_understood() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let shell = "a shell is here";
    let ways = [
        ("", shell, "busybox poweroff", "reboot: Power down"),
        ("", shell, "/sysv/shutdown -h -H now", "reboot: System halted"),
        ("", shell, "kill -s 49 1", "reboot: Restarting system"), // systemctl --force reboot
        // As PID 1 it stays even if it was given words that it cannot make out.
        ("rdinit=/bin/onit --what", "nothing else is left; a shell", "busybox reboot", "reboot: Restarting system"),
    ];
    for (words, begin, way, end) in ways {
        let root = initial_root(&mount_disk("/mnt"));
        root.sysvinit();
        let mut machine = Machine::boot(&root, &Root::new(), words);
        machine.sees(begin);
        machine.types("exec 9>/mnt/held; echo x >&9");
        machine.types(way);
        let console = machine.ends(end);
        assert!(!words.is_empty() || said(&console) == [""; 0], "{way}: {console}");
    }
}

#[test]
fn swap_is_given_up_and_kernels_start_kernels() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let swap =
        "[ -e /mnt/swap ] || { dd if=/dev/zero of=/mnt/swap bs=1M count=8; mkswap /mnt/swap; }; swapon /mnt/swap";
    let root = initial_root(&format!("{}\n{{ {swap}; }} >/dev/null 2>&1", mount_disk("/mnt")));
    root.script("etc/onit/shutdown", "echo $1 >>/mnt/shutdown");
    root.sysvinit().program(&find_in_path("perl").expect("perl"), "bin/perl").script("bin/load", LOAD_KERNEL);
    // Stopped, and deaf to TERM when it goes on.
    root.script("etc/service/frozen/run", "trap '' TERM; kill -STOP $$; exec sleep 1000");
    root.file("etc/service/frozen/timeout-kill", "300ms");
    let disk = Root::new();
    let kernel = sh("ls $PWD/boot/vmlinuz-*", kernel().as_ref().expect("a kernel")).expect("a kernel");
    fs::copy(kernel.trim(), disk.path("vmlinuz")).expect("copy the kernel");
    root.archive(&disk.path("initrd"));

    let mut machine = Machine::boot(&root, &disk, "emergency");
    machine.sees("onit: asked for at boot; a shell on the console, and when it ends, going on");
    machine.asks("ls /mnt/swap", "No such file");
    machine.types("exit");
    machine.sees("a shell is here");
    machine.asks("cat /proc/swaps", "/mnt/swap");
    machine.asks("ls -l /run/initctl; echo garbage >/run/initctl", "prw-------");
    machine.sees("onit: /run/initctl: passing over 8 bytes that are no request");
    machine.asks(
        "/sysv/telinit 1",
        "onit: somebody asked for run level 1: a shell for one user is to be had at boot only",
    );
    machine.types("rm /run/initctl; kill -HUP 1; until [ -p /run/initctl ]; do sleep 0.1; done; /sysv/telinit 5");
    machine.sees("onit: somebody asked for run level 5: there are none but 0 and 6");
    machine.asks("until grep -q 'T (stopped)' /proc/[0-9]*/status; do sleep 0.1; done; echo it is so", "it is so");

    machine.asks("load rdinit=/bin/onit -b", "loaded");
    machine.types("onit kexec");
    machine.sees("onit: asked for at boot; a shell on the console, and when it ends, going on");
    machine.types("exit");
    machine.sees("a shell is here");
    machine.asks("cat /proc/cmdline /mnt/shutdown", "rdinit=/bin/onit -b\nkexec\n");

    machine.asks("load the third", "loaded");
    machine.types("kill -s 50 1"); // systemctl --force kexec
    machine.sees("a shell is here");
    machine.asks("cat /proc/cmdline /mnt/shutdown", "the third\nkexec\n");
    machine.asks("dmesg | grep -ic recover", "0\n"); // nor was the disk left behind in disorder

    machine.asks("onit upgrade; echo $? was the answer", "0 was the answer"); // who comes after it listens as well
    machine.types("/sysv/telinit 0");
    machine.is_off("reboot: Power down");
    assert_eq!(machine.on_disk("/shutdown"), "kexec\npoweroff\n");
    let console = machine.ends("");
    let expected = ["asked for", "the shell has ended", "passing over", "somebody asked", "frozen: ./run is still"];
    let strange: Vec<_> =
        said(&console).into_iter().filter(|line| !expected.iter().any(|e| line.contains(e))).collect();
    assert_eq!(strange, [""; 0]);
}

#[test]
fn a_pid_1_that_stands_still_is_followed_by_a_reset_and_one_that_starts_again_is_not() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let root = guarded_root("");
    root.program(&find_in_path("perl").expect("perl"), "bin/perl").script("bin/hold", HOLD);
    let mut machine = Machine::boot(&root, &Root::new(), "");
    machine.sees("a shell is here");
    machine.asks("cd /sys/class/watchdog/watchdog0; cat state timeout", "active\n15\n");
    machine.types("kill -SEGV 1");
    machine.sees("onit: SIGSEGV: starting again");
    machine.asks("onit upgrade; echo $? was the answer", "0 was the answer");
    machine.asks("sleep 20; dmesg | grep -c 'did not stop'; echo it is fed", "0\nit is fed\n");
    machine.types("hold 1");
    machine.is_reset();
}

#[test]
fn after_an_essential_service_an_end_that_hangs_is_cut_short_by_a_reset() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let root = guarded_root("");
    root.script("etc/service/web/run", "until [ -e /go ]; do sleep 0.1; done; exit 3");
    root.file("etc/service/web/essential", "always\n");
    root.script("etc/onit/shutdown", "echo shutdown $1; sleep 1000");
    let mut machine = Machine::boot(&root, &Root::new(), "");
    machine.sees("a shell is here");
    machine.types("echo >/go");
    machine.sees("it is essential: stopping everything");
    machine.sees("shutdown reboot");
    machine.is_reset();
}

#[test]
fn the_watchdog_goes_into_the_real_root_if_that_wants_it_and_a_machine_that_ends_in_order_is_not_reset() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let initial =
        guarded_root(&format!("{}\nmkdir -p /run/onit; echo /new >/run/onit/switch-root", mount_disk("/new")));
    for (wanted, state) in [(Some("20s\n"), "active\n20\n"), (None, "inactive\n")] {
        let real = Root::new();
        for dir in ["proc", "sys", "dev", "run", "tmp"] {
            fs::create_dir_all(real.path(dir)).expect("mkdir");
        }
        real.onit("sbin/init").link("bin/onit", "/sbin/init").busybox().shell("etc/service");
        wanted.iter().for_each(|wanted| _ = real.file("etc/onit/watchdog", wanted));
        real.script("etc/onit/shutdown", "echo until then: $(cat /sys/class/watchdog/watchdog0/state)");
        let mut machine = Machine::boot(&initial, &real, "");
        machine.sees("a shell is here");
        machine.asks("cd /sys/class/watchdog/watchdog0; cat state timeout; cd /", state);
        machine.asks("dmesg | grep -c 'did not stop'; echo of them", "0\nof them\n");
        machine.types("onit poweroff");
        machine.sees(&format!("until then: {}", state.lines().next().expect("a state")));
        machine.is_off("reboot: Power down");
        assert_eq!(said(&machine.console()), [""; 0]);
        assert!(!machine.console().contains(RESET));
    }
}

#[test]
fn the_example_of_a_serial_getty_lets_people_in_again_and_again() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let root = Root::new();
    root.onit("init").link("bin/onit", "/init").busybox().file("etc/passwd", "root::0:0::/:/bin/sh\n");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("svdir-examples/getty");
    for name in ["run", "down-signal", "down"] {
        fs::copy(example.join(name), root.path(&format!("etc/service/getty/{name}"))).expect(name);
    }
    root.script("etc/onit/boot", "rm /etc/service/getty/down");
    let mut machine = Machine::boot(&root, &Root::new(), "");
    for time in ["first", "second"] {
        machine.sees("login: ");
        machine.types("root");
        machine.sees("# ");
        machine.asks(&format!("tty; echo {time} $((40 + 2))"), &format!("{time} 42"));
        machine.types("exit");
    }
    machine.sees("login: ");
    machine.types("root");
    machine.sees("# ");
    machine.types("onit poweroff");
    machine.sees("reboot: Power down");
    // Who logs out at once is the end of a getty that has just begun.
    let console = machine.console();
    let strange = said(&console).into_iter().filter(|line| !line.contains("within a second of its start"));
    assert_eq!(strange.collect::<Vec<_>>(), [""; 0], "nobody had to be killed");
}

/// onit for 64-bit ARM, as it is released.
fn arm_onit() -> Result<PathBuf, String> {
    const TARGET: &str = "aarch64-unknown-linux-musl";
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join("arm");
    let mut make = Command::new("make");
    make.args(["--silent", "static"]).arg(format!("TARGET={TARGET}")).env("CARGO_TARGET_DIR", &place);
    run(make.current_dir(env!("CARGO_MANIFEST_DIR")))?;
    Ok(place.join(TARGET).join("release/onit"))
}

#[test]
fn on_64_bit_arm_it_comes_up_starts_services_survives_a_fault_and_is_powered_off() {
    if let Some(why) = why_not().or_else(|| missing_tools(&["rustup", "qemu-system-aarch64"])) {
        skip!("{why}");
    }
    let root = Root::new();
    fs::copy(arm_onit().expect("it builds"), root.path("init")).expect("copy onit");
    root.link("bin/onit", "/init");
    root.busybox_from(&arm_package("busybox-static").expect("busybox").join("bin/busybox"));
    root.script("etc/onit/boot", "echo this is $(uname -m)");
    root.script("etc/service/web/run", "echo $$ >>/web; exec sleep 1000");
    root.script("etc/service/logged/run", "exec echo from $(cat /proc/1/comm)");
    root.script("etc/service/logged/log/run", "exec cat >>/log");
    root.script("etc/service/absent/run", "").file("etc/service/absent/run", "#!/no/such/shell\n");
    root.file("etc/service/shell/down-signal", "HUP");
    let shell = "exec 2>&1 </dev/ttyAMA0 >/dev/ttyAMA0; stty -echo; echo a shell is here; exec sh";
    root.script("etc/service/shell/run", shell);
    let dir = tempfile::tempdir().expect("a directory");
    root.archive(&dir.path().join("initrd"));
    let kernel = arm_package("linux-image-cloud-arm64").expect("a kernel");
    let kernel = sh("ls $PWD/boot/vmlinuz-*", &kernel).expect("a kernel");
    let mut qemu = Command::new("qemu-system-aarch64");
    qemu.args(["-M", "virt", "-cpu", "cortex-a57", "-kernel", kernel.trim()]);
    qemu.args(["-append", "console=ttyAMA0 quiet panic=-1"]);
    let mut machine = Machine::switch_on(qemu, dir);
    machine.sees("this is aarch64");
    machine.sees("a shell is here");
    machine.asks("until grep from /log; do sleep 0.1; done", "from init");
    machine.asks("onit status absent", "./run"); // why it does not run
    machine.asks("kill $(onit pid web); until [ $(wc -l </web) = 2 ]; do sleep 0.1; done; echo again", "again");
    machine.asks("onit pid web >/before; kill -SEGV 1; echo sent", "sent");
    machine.sees("onit: SIGSEGV: starting again; ");
    machine.asks("onit pid web | cmp - /before && echo it is the same", "it is the same");
    machine.asks("onit upgrade; echo $? was the answer", "0 was the answer");
    machine.types("onit poweroff");
    machine.sees("reboot: Power down");
    machine.is_without_power();
}

/// A root with Debian's runit in it, onit in runit-init's place, and busybox for everything else.
fn debian() -> Root {
    let root = Root::new();
    for name in ["runit", "runit-init"] {
        let package = package(name).expect("a package");
        sh(&format!("cp -a {}/. .", package.display()), root.0.path()).expect("cp");
    }
    let programs = ["usr/bin/sv", "lib/runit/runit-init", "lib/runit/shutdown", "lib/runit/async-timeout"];
    for program in programs {
        root.libraries_of(&root.path(program));
    }
    for dir in ["proc", "sys", "dev", "run", "tmp"] {
        fs::create_dir_all(root.path(dir)).expect("mkdir");
    }
    fs::remove_file(root.path("sbin/init")).expect("a link to runit-init");
    root.onit("sbin/init").link("bin/onit", "/sbin/init").busybox();
    let install = Path::new("/usr/bin/install");
    fs::copy(install, root.path("bin/install")).expect("copy install");
    root.libraries_of(install); // the one program that busybox lacks
    root.link("etc/runit/runsvdir/current", "default").shell("etc/runit/runsvdir/default");
    root.script("etc/rcS.d/S01root", "mount -o remount,rw / && echo early: $1");
    root.script("etc/runit/ctrlaltdel", "chmod 100 /run/runit.stopit"); // without the warning that takes 14 s
    for (dir, script) in [("rc2", "S01late"), ("rc0", "K01bye"), ("rc6", "K01bye")] {
        root.script(&format!("etc/{dir}.d/{script}"), &format!("echo {dir}: $1"));
    }
    root
}

#[test]
fn it_takes_the_place_of_runit_init_on_debian() {
    if let Some(why) = why_not() {
        skip!("{why}");
    }
    let ways = [
        ("/lib/runit/runit-init 6", "rc6: stop", "reboot: Restarting system"), // runit's own way, by files
        ("/sbin/poweroff", "rc0: stop", "reboot: Power down"),                 // Debian's, which calls init 0
        ("ctrl-alt-delete", "rc0: stop", "reboot: Power down"),                // as runit's script says
        ("busybox reboot", "rc6: stop", "reboot: Restarting system"),          // which runit does not understand
    ];
    for (way, last, end) in ways {
        let boot = format!("{}\nmkdir -p /run/onit; echo /new >/run/onit/switch-root", mount_disk("/new"));
        let mut machine = Machine::boot(&initial_root(&boot), &debian(), "");
        machine.sees("early: start");
        machine.sees("a shell is here");
        machine.asks("sv status /etc/service/shell", "run: /etc/service/shell: (pid ");
        machine.asks("echo >/written; tr '\\0' ' ' </proc/$PPID/cmdline; echo", "runsv shell");
        match way {
            "ctrl-alt-delete" => machine.monitor("sendkey ctrl-alt-delete"),
            command => machine.types(command),
        }
        machine.sees("Waiting for services to stop...");
        machine.sees("Running shutdown tasks...");
        machine.sees(last);
        assert_eq!(said(&machine.ends(end)), [""; 0], "{way}");
    }
}
