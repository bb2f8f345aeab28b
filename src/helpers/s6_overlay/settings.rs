//! The variables of s6-overlay that mean something here.

use crate::wire::svdir::excerpt;
use std::time::Duration;

/// What follows when something that brings the container up has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnFailure {
    /// Nothing.
    GoOn,
    /// A line.
    Warn,
    /// The container ends.
    Stop,
}

/// What they say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Settings {
    /// `with-contenv` changes nothing, so nothing is written for it.
    pub keeps_environment: bool,
    /// What follows a failure.
    pub on_failure: OnFailure,
    /// The command also waits for what is in `/etc/services.d`.
    pub waits_for_legacy: bool,
    /// How long the command waits for services. `None`: for ever.
    pub patience: Option<Duration>,
    /// What is in `/etc/services.d` has so long to end.
    pub services_grace: Duration,
    /// A program of `/etc/cont-finish.d` may take so long.
    pub finish_limit: Duration,
    /// And what is left at the end.
    pub kill_grace: Duration,
    /// What the logger `logutil-service` is told.
    pub logging_script: String,
}

impl Settings {
    /// As the environment says; and a line for each variable that says something that cannot be.
    pub fn from_environment() -> (Settings, Vec<String>) {
        Settings::of(|name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned()))
    }

    /// The same with any other variables. An empty one counts as unset.
    fn of(variable: impl Fn(&str) -> Option<String>) -> (Settings, Vec<String>) {
        let mut wrong = Vec::new();
        let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
        let mut number = |name: &str, default: u32| {
            let Some(text) = variable(name) else { return default };
            text.trim().parse().unwrap_or_else(|_| {
                wrong.push(format!("{name} says {:?}, which is no number; going by {default}", excerpt(&text)));
                default
            })
        };
        let mut span = |name: &str, default: u32| Duration::from_millis(number(name, default).into());
        let (services_grace, finish_limit) =
            (span("S6_SERVICES_GRACETIME", 3000), span("S6_KILL_FINISH_MAXTIME", 5000));
        let (kill_grace, patience) = (span("S6_KILL_GRACETIME", 3000), span("S6_CMD_WAIT_FOR_SERVICES_MAXTIME", 0));
        let settings = Settings {
            keeps_environment: number("S6_KEEP_ENV", 0) != 0,
            on_failure: match number("S6_BEHAVIOUR_IF_STAGE2_FAILS", 0) {
                0 => OnFailure::GoOn,
                1 => OnFailure::Warn,
                _ => OnFailure::Stop,
            },
            waits_for_legacy: number("S6_CMD_WAIT_FOR_SERVICES", 0) != 0,
            patience: Some(patience).filter(|patience| !patience.is_zero()),
            services_grace,
            finish_limit,
            kill_grace,
            logging_script: variable("S6_LOGGING_SCRIPT").unwrap_or_else(|| "n20 s1000000 T".into()),
        };
        (settings, wrong)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> (Settings, Vec<String>) {
        let value =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        Settings::of(value)
    }

    #[test]
    fn what_is_not_said_is_as_in_s6_overlay() {
        let (settings, wrong) = of(&[("S6_KEEP_ENV", ""), ("S6_VERBOSITY", "5")]);
        assert_eq!((settings.keeps_environment, settings.on_failure, wrong), (false, OnFailure::GoOn, Vec::new()));
        assert_eq!((settings.waits_for_legacy, settings.patience), (false, None));
        let spans = [settings.services_grace, settings.finish_limit, settings.kill_grace];
        assert_eq!(spans.map(|span| span.as_millis()), [3000, 5000, 3000]);
        assert_eq!(settings.logging_script, "n20 s1000000 T");
    }

    #[test]
    fn numbers_are_read_and_other_words_told() {
        let names = ["S6_KEEP_ENV", "S6_CMD_WAIT_FOR_SERVICES", "S6_SERVICES_GRACETIME", "S6_KILL_FINISH_MAXTIME"];
        let mut variables = names.map(|name| (name, "1")).to_vec();
        variables.extend([("S6_BEHAVIOUR_IF_STAGE2_FAILS", "2"), ("S6_CMD_WAIT_FOR_SERVICES_MAXTIME", "4000")]);
        variables.push(("S6_KILL_GRACETIME", "soon"));
        let (settings, wrong) = of(&variables);
        assert_eq!(wrong, ["S6_KILL_GRACETIME says \"soon\", which is no number; going by 3000"]);
        assert!(settings.keeps_environment && settings.waits_for_legacy);
        assert_eq!((settings.on_failure, settings.patience), (OnFailure::Stop, Some(Duration::from_secs(4))));
        let spans = [settings.services_grace, settings.finish_limit, settings.kill_grace];
        assert_eq!(spans.map(|span| span.as_millis()), [1, 1, 3000]);
        assert_eq!(of(&[("S6_BEHAVIOUR_IF_STAGE2_FAILS", "1")]).0.on_failure, OnFailure::Warn);
    }
}
