//! What the process of a service was started as, as `/proc` tells it: for `onit status --json`.

use super::connect::Connection;
use crate::machine::Pid;
use crate::sys::{process, scheduling};
use crate::wire::api::ServiceStatus;
use crate::wire::json::{self, Write};

/// What is told of a service, and of its process, if that is to be seen.
pub struct WithProgram<'a> {
    status: &'a ServiceStatus,
    program: Option<Program>,
}

/// What a process is.
struct Program {
    /// Its first word.
    command: String,
    args: Vec<String>,
    uid: u64,
    gid: u64,
    nice: i32,
    /// The class (0 none, 1 realtime, 2 best-effort, 3 idle), and the level in it: `ioprio_get(2)`.
    ionice: [u64; 2],
}

impl<'a> WithProgram<'a> {
    /// The same services, each with its process. One of another PID namespace is not to be seen by its number.
    pub fn of(services: &'a [ServiceStatus], talk: &Connection) -> Vec<WithProgram<'a>> {
        let sees = !talk.is_elsewhere();
        let program = |status: &ServiceStatus| Program::of(Pid(status.pid.filter(|_| sees)?));
        services.iter().map(|status| WithProgram { status, program: program(status) }).collect()
    }
}

impl Program {
    fn of(pid: Pid) -> Option<Program> {
        let mut words = process::words(pid)?.into_iter().map(|word| word.to_string_lossy().into_owned());
        let owner = process::owner(pid)?;
        let (class, level) = scheduling::io_priority_of(pid).unwrap_or_default();
        Some(Program {
            command: words.next()?,
            args: words.collect(),
            uid: owner.user.into(),
            gid: owner.group.into(),
            nice: process::niceness(pid)?,
            ionice: [class.into(), level.into()],
        })
    }
}

impl Write for Program {
    fn write(&self, to: &mut String) {
        let Program { command, args, uid, gid, nice, ionice } = self;
        let fields: [(&str, &dyn Write); 6] = [
            ("command", command),
            ("args", args),
            ("uid", uid),
            ("gid", gid),
            ("nice", nice),
            ("ionice", &&ionice[..]),
        ];
        json::object(to, &fields);
    }
}

impl Write for WithProgram<'_> {
    fn write(&self, to: &mut String) {
        self.status.write(to);
        if to.pop() == Some('}') {
            to.push_str(",\"program\":");
            self.program.write(to);
            to.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{ServiceState, Want};

    #[test]
    fn a_process_is_told_behind_all_else() {
        let status = ServiceStatus::new("web", ServiceState::Up, Want::Up);
        let program =
            Program { command: "a".into(), args: vec!["b \"c\"".into()], uid: 1, gid: 2, nice: -3, ionice: [2, 4] };
        let text = json::text(&WithProgram { status: &status, program: Some(program) });
        let wanted = r#","program":{"command":"a","args":["b \"c\""],"uid":1,"gid":2,"nice":-3,"ionice":[2,4]}}"#;
        assert!(text.starts_with("{\"name\":\"web\"") && text.ends_with(wanted), "{text}");
        assert!(json::text(&WithProgram { status: &status, program: None }).ends_with(",\"program\":null}"));
    }

    #[test]
    fn we_are_what_we_are() {
        let us = Program::of(Pid(std::process::id().cast_signed())).expect("we are to be seen");
        assert_eq!(us.uid, u64::from(crate::sys::process::user()));
        assert_eq!(Some(&*us.command), std::env::args().next().as_deref());
        assert!(Program::of(Pid(i32::MAX)).is_none());
    }
}
