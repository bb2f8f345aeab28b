//! `onit history`: the last lives of a service.

use super::connect::{CliError, Connection, Via};
use super::format;
use super::term::{self, Cell, Colour, Table, Tone};
use crate::exit;
use crate::wire::api::RunRecord;
use argh::{ArgsInfo, FromArgs};

const HEADINGS: &[&str] = &["STARTED", ">PID", ">READY AFTER", ">LIVED", "END"];

/// The last lives of SVC, oldest first. Only the supervisor's memory has them: there are none where it is reached
/// through files.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct History {
    /// the service
    #[argh(positional, arg_name = "SVC")]
    service: String,
    /// for programs: an array of objects
    #[argh(switch)]
    json: bool,
    /// auto (on a terminal, unless NO_COLOR is set), always or never
    #[argh(option, default = "Colour::Auto", arg_name = "WHEN")]
    color: Colour,
}

impl History {
    /// Tells. Returns the exit code.
    pub fn run(&self) -> i32 {
        let mut talk = Connection::open();
        match self.lives(&mut talk) {
            Ok(lives) if self.json => term::print(&term::json(&lives)),
            Ok(lives) if lives.is_empty() => term::print(&format!("{}: has not been started\n", self.service)),
            Ok(lives) => term::print_lines(&table(&lives).lines(self.color.paint(), term::width())),
            Err(trouble) => trouble.report(),
        }
    }

    fn lives(&self, talk: &mut Connection) -> Result<Vec<RunRecord>, CliError> {
        let target = talk.only(&self.service)?;
        if target.way != Via::Api {
            return Err(match talk.api {
                Some(_) if self.service.contains('\n') => CliError::new(
                    exit::FAILED,
                    format!(
                        "{}: a name of several lines cannot be told on the socket, which knows the history",
                        target.name
                    ),
                ),
                Some(_) => CliError::new(exit::FAILED, format!("{}: its files do not tell its history", target.name)),
                None => talk.unreachable(),
            });
        }
        talk.insist(None, |talk| {
            let directory = talk.directory.clone();
            talk.api()?.history(&target.name).map_err(|error| CliError::of(&target.name, &error, &directory))
        })
    }
}

fn table(lives: &[RunRecord]) -> Table {
    let mut table = Table::new(HEADINGS);
    for life in lives {
        let ready = life.ready.map_or(Cell(Tone::Quiet, "-".into()), |ready| format::span(ready - life.start).into());
        let (start, pid) = (format::moment(life.start).into(), life.pid.to_string().into());
        table.add(vec![start, pid, ready, format::span(life.seconds).into(), end(life)]);
    }
    table
}

fn end(life: &RunRecord) -> Cell {
    match (&life.exit, life.asked) {
        (None, _) if life.end.is_none() => Cell(Tone::Good, "runs".into()),
        (None, _) => "unknown".into(),
        (Some(exit), true) => format!("{}, as it was told", format::exit(exit)).into(),
        (Some(exit), false) => {
            let hint = format::hint(exit).map_or(String::new(), |hint| format!(" ({hint})"));
            let tone = if exit.code == Some(0) { Tone::Plain } else { Tone::Bad };
            Cell(tone, format!("{}{hint}", format::exit(exit)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::api::ExitRecord;

    #[test]
    fn each_life_is_a_row() {
        let exit = |code| Some(ExitRecord { code: Some(code), signal: None, name: None, core: false });
        let life = RunRecord {
            pid: 7,
            start: 1_700_000_000.0,
            ready: Some(1_700_000_002.0),
            end: Some(1_700_000_075.0),
            seconds: 75.0,
            exit: exit(3),
            asked: false,
        };
        let unready = RunRecord { ready: None, exit: exit(127), ..life.clone() };
        let asked = RunRecord { asked: true, exit: exit(0), ..life.clone() };
        let lives = [life.clone(), unready, asked, RunRecord { end: None, exit: None, ..life }];
        let lines = table(&lives).lines(Colour::Never.paint(), None);
        let tails: Vec<String> = lines.iter().map(|line| line.chars().skip(19).collect()).collect();
        assert_eq!(
            tails,
            [
                "  PID  READY AFTER  LIVED  END",
                "    7           2s  1m15s  exit 3",
                "    7            -  1m15s  exit 127 (a command was not found?)",
                "    7           2s  1m15s  exit 0, as it was told",
                "    7           2s  1m15s  runs",
            ]
        );
    }
}
