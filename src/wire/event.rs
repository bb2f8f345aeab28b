//! An event, as a program hears of it: in its environment.

use super::api::{Event, Word};

/// Its variables. One without a value is not set, whatever it is for us.
pub fn variables(event: &Event) -> [(&'static str, Option<String>); 10] {
    let exit = event.exit.as_ref();
    [
        ("ONIT_EVENT", Some(event.what.to_string())),
        ("ONIT_TIME", Some(format!("{:.3}", event.time))),
        ("ONIT_SERVICE", event.name.clone()),
        ("ONIT_OLD", event.old.as_ref().map(Word::to_string)),
        ("ONIT_NEW", event.new.as_ref().map(Word::to_string)),
        ("ONIT_WANT", event.want.as_ref().map(Word::to_string)),
        ("ONIT_PID", event.pid.map(|pid| pid.to_string())),
        ("ONIT_EXIT", exit.and_then(|exit| exit.code).map(|code| code.to_string())),
        ("ONIT_HEALTH", event.health.as_ref().map(Word::to_string)),
        ("ONIT_SIGNAL", exit.and_then(|exit| exit.signal).map(|signal| signal.to_string())),
    ]
}
