//! `onit states`: the diagram of the states of a service.

use super::term::{self, Cell, Colour, Table, Tone};
use crate::machine::ServiceState;
use crate::machine::states::{Cause, Group, changes};
use argh::{ArgsInfo, FromArgs};
use std::collections::{BTreeMap, BTreeSet};

const HEADINGS: &[&str] = &["FROM", "BY", "TO"];

/// The states of a service, and what leads from one to another: an order, the end of its process, that it is ready, time,
/// or what it says of itself. It asks nobody.
#[derive(FromArgs, ArgsInfo, Debug)]
#[argh(help_triggers("-h", "--help"))]
pub struct States {
    /// as a graph for dot(1)
    #[argh(switch)]
    dot: bool,
    /// as a stateDiagram-v2 for Mermaid
    #[argh(switch)]
    mermaid: bool,
    /// auto (on a terminal, unless NO_COLOR is set), always or never
    #[argh(option, default = "Colour::Auto", arg_name = "WHEN")]
    color: Colour,
}

impl States {
    /// Tells. Returns the exit code.
    pub fn run(&self) -> i32 {
        match (self.dot, self.mermaid) {
            (true, _) => term::print(&dot()),
            (false, true) => term::print(&mermaid()),
            (false, false) => term::print_lines(&table().lines(self.color.paint(), term::width())),
        }
    }
}

fn table() -> Table {
    let mut rows = Vec::<(ServiceState, Cause, Vec<&str>)>::new();
    for (from, cause, to) in changes() {
        match rows.last_mut().filter(|row| (row.0, row.1) == (from, cause)) {
            Some((.., all)) => all.push(to.word()),
            None => rows.push((from, cause, vec![to.word()])),
        }
    }
    let mut table = Table::new(HEADINGS);
    for (from, cause, to) in rows {
        table.add(vec![from.word().into(), Cell(Tone::Quiet, cause.to_string()), to.join(", ").into()]);
    }
    table
}

/// Between groups, and between the states of one, each way with everything that leads along it.
fn ways() -> BTreeMap<(&'static str, &'static str), BTreeSet<Cause>> {
    let mut ways = BTreeMap::<_, BTreeSet<Cause>>::new();
    for (from, cause, to) in changes() {
        let way = match (Group::of(from), Group::of(to)) {
            (Some(one), Some(other)) if one != other => (one.word(), other.word()),
            _ => (from.word(), to.word()),
        };
        ways.entry(way).or_default().insert(cause);
    }
    ways
}

fn label(causes: &BTreeSet<Cause>) -> String {
    causes.iter().map(|cause| cause.word()).collect::<Vec<_>>().join(", ")
}

fn mermaid() -> String {
    let mut text = String::from("stateDiagram-v2\n");
    for group in Group::ALL {
        text += &format!("    state {group} {{\n");
        group.states().for_each(|state| text += &format!("        {state}\n"));
        text += "    }\n";
    }
    for ((from, to), causes) in ways() {
        text += &format!("    {from} --> {to} : {}\n", label(&causes));
    }
    text
}

fn dot() -> String {
    let mut text = String::from("digraph states {\n    compound=true;\n");
    for group in Group::ALL {
        let states: Vec<_> = group.states().map(|state| format!("{state};")).collect();
        text += &format!("    subgraph cluster_{group} {{ label=\"{group}\"; {} }}\n", states.join(" "));
    }
    // dot draws no line from a group: from one of its states, cut off at its border.
    let end = |word: &str| match word.parse::<Group>() {
        Ok(group) => (group.states().next().map_or("", ServiceState::word).to_owned(), format!("cluster_{group}")),
        Err(_) => (word.to_owned(), String::new()),
    };
    for ((from, to), causes) in ways() {
        let ((tail, tail_group), (head, head_group)) = (end(from), end(to));
        let mut options = format!("label=\"{}\"", label(&causes));
        if !tail_group.is_empty() {
            options += &format!(", ltail={tail_group}, lhead={head_group}");
        }
        text += &format!("    {tail} -> {head} [{options}];\n");
    }
    text + "}\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_of_the_table_is_in_each_form() {
        let (dot, mermaid) = (dot(), mermaid());
        for (from, _, to) in changes() {
            for state in [from, to] {
                assert!(
                    dot.contains(&format!(" {state};")) && mermaid.contains(&format!("        {state}\n")),
                    "{state}"
                );
            }
        }
        assert!(
            mermaid.contains("    rest --> soon : order, time\n") && mermaid.contains("    starting --> up : ready\n")
        );
        assert!(dot.contains("    starting -> up [label=\"ready\"];\n"));
    }
}
