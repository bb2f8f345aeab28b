//! What has become of processes, in numbers.

use super::{ProcessState, ProcessStatus};
use std::fmt::Write as _;
use std::time::Duration;

/// What has become of a process since the supervisor was started.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// Its name.
    pub name: String,
    /// How often it has ended without being told to, and not with 0.
    pub crashes: u64,
    /// How often it was started again.
    pub restarts: u64,
    /// For how long it has run since it was started the last time.
    pub uptime: Duration,
    /// It runs, is ready, and its check has nothing against it.
    pub is_healthy: bool,
}

impl Metrics {
    pub(super) fn of(status: ProcessStatus, crashes: u64) -> Metrics {
        Metrics {
            uptime: status.uptime(),
            restarts: status.retries,
            is_healthy: status.state == ProcessState::Healthy,
            name: status.name,
            crashes,
        }
    }
}

/// The text that Prometheus reads.
pub(super) fn prometheus(all: &[Metrics]) -> String {
    let mut text = String::new();
    let mut family = |name: &str, kind: &str, help: &str, value: &dyn Fn(&Metrics) -> String| {
        let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
        for one in all {
            let label = one.name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = writeln!(text, "{name}{{process=\"{label}\"}} {}", value(one));
        }
    };
    family("onit_process_crashes_total", "counter", "Ends without an order, and not with 0.", &|one| {
        one.crashes.to_string()
    });
    family("onit_process_restarts_total", "counter", "Starts after the first.", &|one| one.restarts.to_string());
    family("onit_process_uptime_seconds", "gauge", "Time since the last start.", &|one| {
        format!("{:.3}", one.uptime.as_secs_f64())
    });
    family("onit_process_healthy", "gauge", "1 if it runs, is ready and well.", &|one| {
        u8::from(one.is_healthy).to_string()
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_has_a_line() {
        let one = Metrics {
            name: "a\"b".into(),
            crashes: 3,
            restarts: 4,
            uptime: Duration::from_millis(1500),
            is_healthy: true,
        };
        let text = prometheus(&[one]);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                "onit_process_crashes_total{process=\"a\\\"b\"} 3",
                "onit_process_restarts_total{process=\"a\\\"b\"} 4",
                "onit_process_uptime_seconds{process=\"a\\\"b\"} 1.500",
                "onit_process_healthy{process=\"a\\\"b\"} 1",
            ]
        );
        assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE ")).count(), 4);
    }
}
