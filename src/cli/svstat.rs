//! `svstat`: one line for each service directory.
//!
//! Source: `svstat.c` of daemontools 0.76.

use super::svc;
use crate::machine::Want;
use crate::sys::{Errno, clock, fs};
use crate::tool::print;
use crate::wire::status::{DAEMONTOOLS_LEN, Status};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

/// `svstat DIR...`. Ends with 0 whatever the lines say.
pub fn svstat(args: &[OsString]) -> i32 {
    svc::in_each(b"svstat", args, |dir| {
        let text = line(dir).unwrap_or_else(|trouble| trouble);
        print::stdout(&[dir.as_bytes(), b": ", &text, b"\n"]);
    })
}

fn line(dir: &OsStr) -> Result<Vec<u8>, Vec<u8>> {
    let because = |what: &'static str| move |errno| [what.as_bytes(), b": ", print::why(errno)].concat();
    fs::enter(dir).map_err(because("unable to chdir"))?;
    let normally_up = !fs::look_up(fs::HERE, "down").map_err(because("unable to stat down"))?;
    fs::open_writer("supervise/ok").map_err(|errno| match errno {
        Errno::ENXIO => b"supervise not running".to_vec(),
        errno => because("unable to open supervise/ok")(errno),
    })?;
    let file = fs::open_reader(fs::HERE, "supervise/status").map_err(because("unable to open supervise/status"))?;
    let mut record = [0; DAEMONTOOLS_LEN]; // of a longer record, only this part
    let read = fs::read_once(file, &mut record).map_err(because("unable to read supervise/status"))?;
    let status = Status::unpack(read).map_err(|_| b"unable to read supervise/status: bad format".to_vec())?;
    Ok(text(&status, normally_up).into_bytes())
}

fn text(status: &Status, normally_up: bool) -> String {
    let seconds = clock::wall().as_secs().cast_signed().saturating_sub(status.since.unix).max(0);
    match status.pid {
        Some(pid) => {
            let normally = if normally_up { "" } else { ", normally down" };
            let paused = if status.paused { ", paused" } else { "" };
            let want = if status.want == Want::Down { ", want down" } else { "" };
            format!("up (pid {pid}) {seconds} seconds{normally}{paused}{want}")
        }
        None => {
            let normally = if normally_up { ", normally up" } else { "" };
            let want = if status.want == Want::Up { ", want up" } else { "" };
            format!("down {seconds} seconds{normally}{want}")
        }
    }
}
