//! Exit codes and lines of those who ask for health: Docker's HEALTHCHECK, Consul's script checks, Nagios' plugins.

use std::str::FromStr;

/// Whose exit codes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStyle {
    /// 0 or 1 (Dockerfile reference, HEALTHCHECK).
    Docker,
    /// 0, 1 is a warning, anything else is critical (Consul, script checks).
    Consul,
    /// 0 to 3 (Nagios plugin development guidelines).
    Nagios,
}

impl FromStr for ExitStyle {
    type Err = String;

    fn from_str(word: &str) -> Result<ExitStyle, String> {
        match word {
            "docker" => Ok(ExitStyle::Docker),
            "consul" => Ok(ExitStyle::Consul),
            "nagios" => Ok(ExitStyle::Nagios),
            _ => Err("it is docker, consul or nagios".into()),
        }
    }
}

/// How well services are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// All as wanted.
    Healthy,
    /// All work, and one not as it should.
    Degraded,
    /// One does not work.
    Unhealthy,
    /// Nobody knows.
    Unknown,
}

/// What is told of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outcome {
    /// In a word.
    pub verdict: Verdict,
    /// In a line.
    pub text: String,
    /// How many services there are, are unhealthy, and are degraded.
    pub counts: [usize; 3],
}

impl Outcome {
    /// It cannot be found out, for this reason.
    pub fn unknown(text: &str) -> Outcome {
        Outcome { verdict: Verdict::Unknown, text: text.to_owned(), counts: [0; 3] }
    }

    /// The line of a plugin, with its performance data.
    pub fn nagios(&self) -> String {
        let word = match self.verdict {
            Verdict::Healthy => "OK",
            Verdict::Degraded => "WARNING",
            Verdict::Unhealthy => "CRITICAL",
            Verdict::Unknown => "UNKNOWN",
        };
        let text = self.text.replace(['\n', '|'], "/"); // a bar begins the performance data
        let [services, unhealthy, degraded] = self.counts;
        match self.verdict {
            Verdict::Unknown => format!("ONIT {word} - {text}\n"),
            _ => format!(
                "ONIT {word} - {text} | services={services};;;0 unhealthy={unhealthy};;0;0 degraded={degraded};0;;0\n"
            ),
        }
    }
}

impl ExitStyle {
    /// The exit code for it.
    pub fn code(self, outcome: &Outcome) -> i32 {
        match (self, outcome.verdict) {
            (_, Verdict::Healthy) | (ExitStyle::Docker, Verdict::Degraded) => 0,
            (ExitStyle::Docker, _) | (_, Verdict::Degraded) => 1,
            (ExitStyle::Nagios, Verdict::Unknown) => 3,
            (_, Verdict::Unhealthy | Verdict::Unknown) => 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_the_codes_that_it_knows() {
        let all = [Verdict::Healthy, Verdict::Degraded, Verdict::Unhealthy, Verdict::Unknown];
        let codes = |style: ExitStyle| all.map(|verdict| style.code(&Outcome { verdict, ..Outcome::unknown("") }));
        assert_eq!(codes(ExitStyle::Docker), [0, 0, 1, 1]);
        assert_eq!(codes(ExitStyle::Consul), [0, 1, 2, 2]);
        assert_eq!(codes(ExitStyle::Nagios), [0, 1, 2, 3]);
    }

    #[test]
    fn a_plugin_says_one_line_with_its_numbers() {
        let outcome = Outcome { verdict: Verdict::Unhealthy, text: "web: a|b\nc".into(), counts: [5, 1, 2] };
        assert_eq!(outcome.nagios(), "ONIT CRITICAL - web: a/b/c | services=5;;;0 unhealthy=1;;0;0 degraded=2;0;;0\n");
        assert_eq!(Outcome::unknown("nobody answers").nagios(), "ONIT UNKNOWN - nobody answers\n");
    }
}
