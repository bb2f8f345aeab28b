//! What was said of each matter of a service, so that it is said once.

/// What a warning is about. Two matters that go wrong at the same time are told apart, or each of them would be told
/// again and again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Matter {
    /// How `run` lives.
    Life,
    /// An end of `run` that is told if the service is started again: `finish` may say that it is not.
    Restart,
    /// This script takes too long.
    Late(&'static str),
    /// This script cannot be executed.
    Script(&'static str),
    /// This small file, or directory, says what makes no sense.
    File(&'static str),
    /// `supervise` cannot be made or opened.
    Supervise,
    /// `kill-mode` cannot be what it is to be.
    KillMode,
    /// What it has left behind.
    Leftovers,
    /// A death cannot be noted.
    DeathTally,
    /// The status cannot be written.
    Status,
    /// A second `run` does not take the place of the first.
    Second,
    /// The logger cannot be started.
    Logger,
    /// What it needs is not there.
    Needs,
    /// Why it was skipped, which is said to who asks.
    Skipped,
}

/// The last warning of each matter. A service that is well has none, and no memory for them.
#[derive(Default)]
pub struct Warnings(Vec<(Matter, String)>);

impl Warnings {
    /// What was said of this.
    pub fn of(&self, matter: Matter) -> Option<&String> {
        self.0.iter().find(|(about, _)| *about == matter).map(|(_, text)| text)
    }

    /// From now on this was said last. Returns what was said before.
    pub fn replace(&mut self, matter: Matter, text: String) -> Option<String> {
        let before = self.take(matter);
        self.0.push((matter, text));
        before
    }

    /// What was said of this is old: it is news again.
    pub fn take(&mut self, matter: Matter) -> Option<String> {
        let place = self.0.iter().position(|(about, _)| *about == matter)?;
        Some(self.0.remove(place).1)
    }

    /// The same for every matter of which this holds.
    pub fn forget(&mut self, is_old: impl Fn(Matter) -> bool) {
        self.0.retain(|(matter, _)| !is_old(*matter));
    }

    /// The one that matters most: that `run` cannot be executed, how it lives, what else cannot be executed, the rest.
    pub fn worst(&self) -> Option<&String> {
        let other_script = || {
            let mut scripts = self.0.iter().rev().filter(|(matter, _)| matches!(matter, Matter::Script(_)));
            scripts.next().map(|(_, text)| text)
        };
        let rest = || {
            [
                Matter::File(super::sockets::FILE),
                Matter::Supervise,
                Matter::Status,
                Matter::Logger,
                Matter::Needs,
                Matter::Second,
            ]
            .into_iter()
            .find_map(|matter| self.of(matter))
        };
        self.of(Matter::Script("./run")).or_else(|| self.of(Matter::Life)).or_else(other_script).or_else(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_matter_has_its_last_warning_and_the_worst_one_is_told() {
        let mut warnings = Warnings::default();
        assert_eq!((warnings.worst(), warnings.of(Matter::Life)), (None, None));
        let say = |warnings: &mut Warnings, matter, text: &str| warnings.replace(matter, text.into());
        for (matter, worst) in [
            (Matter::File("a-file"), None),
            (Matter::Restart, None),
            (Matter::Logger, Some("Logger")),
            (Matter::Status, Some("Status")),
            (Matter::Supervise, Some("Supervise")),
            (Matter::Script("./finish"), Some("Script(\"./finish\")")),
            (Matter::Script("control/t"), Some("Script(\"control/t\")")),
            (Matter::Life, Some("Life")),
            (Matter::Script("./run"), Some("Script(\"./run\")")),
        ] {
            assert_eq!(say(&mut warnings, matter, &format!("{matter:?}")), None);
            assert_eq!(warnings.worst().map(String::as_str), worst);
        }
        assert_eq!(say(&mut warnings, Matter::Life, "again"), Some("Life".into()));
        warnings.forget(|matter| matches!(matter, Matter::Script(_)));
        assert_eq!(warnings.worst().map(String::as_str), Some("again"));
        assert_eq!((warnings.take(Matter::Life), warnings.take(Matter::Life)), (Some("again".into()), None));
        assert_eq!(warnings.of(Matter::File("a-file")).map(String::as_str), Some("File(\"a-file\")"));
    }
}
