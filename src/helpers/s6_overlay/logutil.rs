//! `logutil-service`: the logger that scripts of s6-overlay become.

use super::settings::Settings;
use crate::exit;
use crate::helpers::s6_rc::words::{Line, read};
use crate::helpers::s6_rc::{become_ourselves, our_program};
use crate::sys::say::say;
use crate::sys::{credentials, process};
use std::ffi::OsString;

/// Who it is if it is started as root, where there is such a user.
const USER: &str = "nobody";

/// `logutil-service DIR`: s6-log with the script of the container. Returns only if that cannot be.
pub fn logutil(args: &[OsString]) -> i32 {
    let args = if args.first().is_some_and(|word| word == "-f") { args.get(1..).unwrap_or_default() } else { args };
    let [directory] = args else {
        say("logutil-service: usage: logutil-service dir");
        return exit::USAGE;
    };
    let (Settings { logging_script, .. }, _) = Settings::from_environment();
    let Line::Words(script) = read(&logging_script) else {
        say("logutil-service: fatal: S6_LOGGING_SCRIPT cannot be read");
        return exit::USAGE;
    };
    let drops = process::user() == 0 && credentials::user_of_name(USER.as_bytes()).is_ok_and(|user| user.is_some());
    let program = our_program().into_os_string();
    let front =
        if drops { vec!["onit".into(), "s6-setuidgid".into(), USER.into(), program] } else { vec!["onit".into()] };
    let logger = ["s6-log".into()].into_iter().chain(script.into_iter().map(OsString::from));
    let words: Vec<OsString> = front.into_iter().chain(logger).chain([directory.clone()]).collect();
    let errno = become_ourselves(&words);
    say(format_args!("logutil-service: fatal: cannot execute onit: {}", errno.desc()));
    exit::SYSTEM
}
