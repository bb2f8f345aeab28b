//! What the files of a service say of each other.

use super::{Reader, Role};
use crate::machine::policy::Essential;
use crate::service_dir::ServiceDir;
use crate::service_dir::names;
use crate::service_dir::program::{examine_writers, shown};
use crate::wire::settings::Kind;
use crate::wire::svdir::{Readiness, Restart};
use std::os::unix::ffi::OsStrExt as _;

impl Reader<'_> {
    pub(super) fn whole(&mut self, service: &ServiceDir) {
        if let Ok(metadata) = std::fs::metadata(self.path) {
            examine_writers(self.path, &metadata, &mut self.findings);
        }
        self.has_something_to_run();
        if self.role == Role::Logger {
            for name in ["stop", "finish", "control", "check"] {
                if self.has(name) {
                    self.warn("log-unused", name, "that of a logger is not used", "remove it");
                }
            }
            return;
        }
        self.readiness(service);
        self.ends(service);
        self.without_effect(service);
    }

    fn has_something_to_run(&mut self) {
        if self.has("run") || self.has("setup") && self.role == Role::Main {
            return;
        }
        let (problem, kind) = match self.role {
            Role::Main => ("there is no run: nothing can be started", "run-missing"),
            Role::Logger => {
                ("a logger without run: the service soon waits for somebody to read its output", "log-without-run")
            }
        };
        let near = self
            .names
            .iter()
            .filter_map(|name| names::meant(name.to_str()?, &[Kind::Program]).map(|near| (name, near)));
        let mend = near.into_iter().find(|(_, near)| *near == "run");
        let mend = mend.map_or("write one".to_owned(), |(name, _)| format!("did you mean {}?", shown(name)));
        self.error(kind, "run", problem, mend);
    }

    fn readiness(&mut self, service: &ServiceDir) {
        let settings = &service.settings;
        match (settings.readiness, settings.notification_fd) {
            (Some(Readiness::Check(_)), _) if service.check.is_none() => {
                self.error(
                    "readiness-without-check",
                    "readiness",
                    "asks check, which is not there",
                    "write check, or another readiness",
                );
            }
            (Some(Readiness::Descriptor(one)), Some(other)) if one != other => {
                let problem = format!("names descriptor {one}, and notification-fd {other}");
                self.error("readiness-contradiction", "readiness", problem, "remove one of the two files");
            }
            (Some(Readiness::None | Readiness::Notify | Readiness::Check(_)), Some(_)) => {
                let problem = "says something else than notification-fd";
                self.warn("readiness-contradiction", "readiness", problem, "remove one of the two files");
            }
            _ => {}
        }
    }

    fn ends(&mut self, service: &ServiceDir) {
        let settings = &service.settings;
        if settings.down && settings.essential.is_some() {
            let problem = "everything ends with this service, and it is not even started by itself";
            self.warn("down-essential", "down", problem, "remove down, or essential");
        }
        let gives_up = service.finish.is_some() || settings.max_restarts.is_some() || settings.restart.is_some();
        if settings.essential == Some(Essential::OnGiveup) && !gives_up {
            let problem = "on-giveup never comes about: nothing ends the restarts";
            self.warn("essential-never", "essential", problem, "let finish exit with 125");
        }
    }

    fn instances(&mut self, service: &ServiceDir) {
        let Some(instances) = &service.settings.instances else { return };
        match instances.names(|_| Some("0".into())) {
            Err(problem) => self.error("value-bad", "instances", problem, "write fewer"),
            Ok(names) if names.iter().any(|name| name == "all") => {
                let problem = "names an instance all, which means every instance to the verbs of onit";
                self.warn("name-odd", "instances", problem, "rename it, or give its path to the verbs");
            }
            Ok(_) => {}
        }
    }

    fn without_effect(&mut self, service: &ServiceDir) {
        let settings = &service.settings;
        self.instances(service);
        let never = settings.restart == Some(Restart::Never);
        let template = service.name.as_bytes().ends_with(b"@");
        let cases = [
            ("backoff", never && settings.backoff.is_some(), "restart says never"),
            ("max-restarts", never && settings.max_restarts.is_some(), "restart says never"),
            ("health-policy", settings.health_policy.is_some() && service.health.is_none(), "there is no health"),
            ("timeout-finish", settings.timeout_finish.is_some() && service.finish.is_none(), "there is no finish"),
            (
                "instances",
                settings.instances.is_some() && !template,
                "only a directory whose name ends in @ is a template",
            ),
        ];
        for (name, _, why) in cases.into_iter().filter(|(_, is, _)| *is) {
            self.warn("without-effect", name, format!("has no effect: {why}"), "remove it, or mend that");
        }
    }
}
