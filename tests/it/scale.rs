//! A thousand services: each as if it were alone, and nothing happens while nothing happens.

use crate::proc;
use crate::svdir::{Ending, Phase, Service, SvDir, UnderTest, as_many, wait_for};
use nix::sys::signal::Signal;
use std::time::Duration;

/// Time enough for a thousand shells on a busy machine.
const LONG: Duration = Duration::from_secs(60);
/// A supervisor that wakes up now and then is caught in this.
const IDLE: Duration = Duration::from_secs(3);

#[test]
fn a_thousand_services_run_answer_idle_and_end() {
    let sv = SvDir::new();
    let all: Vec<Service> =
        (0..as_many(1000)).map(|n| sv.service(&format!("s{n}")).run("exec sleep 10000").create()).collect();
    let onit = sv.start(UnderTest::Onit);
    let up = |service: &Service| service.status().is_some_and(|s| s.phase() == Phase::Run && s.pid().is_some());
    wait_for("all to be up", LONG, || all.iter().all(up).then_some(()));

    wait_for("three seconds without a context switch", LONG, || {
        let before = proc::naps(onit.pid());
        std::thread::sleep(IDLE);
        (proc::naps(onit.pid()) == before).then_some(())
    });

    let last = all.last().expect("a service");
    let old = last.status().and_then(|status| status.pid()).expect("a process");
    assert_eq!(sv.sv(&["-w60", "restart", last.name()]).code, 0);
    assert_ne!(last.status().and_then(|status| status.pid()), Some(old));
    assert!(up(&all[0]) && up(&all[1]), "the others go on");

    onit.signal(Signal::SIGTERM);
    assert_eq!((onit.wait_end(LONG), onit.stderr().as_str()), (Ending::Code(0), ""));
    assert_eq!(sv.processes(), [0u32; 0]);
    assert!(all.iter().all(|service| service.status().is_some_and(|status| status.stat == "down\n")));
    assert!(!proc::is_alive(old));
}
