//! `onit loaded`: what the programs `run` and `stop` of a job are. They ask `onit loaders` by its socket, which stands
//! beside the directory of the job. If that is away a job becomes what it became the last time.

use super::engine::Program;
use super::place::{self, EXEC, JOB, NOTIFY, RESTART, UNLESS_DONE, parse};
use crate::exit;
use crate::sys::program;
use crate::sys::say::say;
use crate::sys::{Errno, clock, socket};
use crate::wire::godv1::{self, Reader};
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

/// Where `onit loaders` listens, from the directory of a job.
const SOCKET: &str = "../.socket";
/// It asks the loader twice, and each time that has five seconds.
const PATIENCE: Duration = Duration::from_secs(12);
/// Where the supervisor hears of a run.
const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// A program that cannot be executed, as a shell has it.
const NOT_EXECUTED: i32 = 126;

/// Runs it, in the directory of a job or of its logger.
pub fn loaded(args: &[OsString]) -> i32 {
    let name = args.first().and_then(|path| Path::new(path).file_name());
    match (name.and_then(OsStr::to_str), std::fs::read_to_string(JOB)) {
        (Some("run"), Ok(job)) => run(&job),
        (Some("run"), Err(_)) if Path::new(EXEC).exists() => become_kept("log"),
        (Some("stop"), Ok(job)) => stop(&job),
        _ => {
            say("onit: loaded is for the directories that onit loaders makes");
            exit::USAGE
        }
    }
}

fn run(job: &str) -> i32 {
    let (pid, address) = (std::process::id().to_string(), std::env::var(NOTIFY_SOCKET).unwrap_or_default());
    // For who comes when the one that we ask has gone.
    let noted = place::write(Path::new("."), NOTIFY, &address);
    if let Err(error) = noted.and_then(|()| place::write(Path::new("."), RESTART, UNLESS_DONE)) {
        say(format_args!("onit: {job}: cannot write in its directory: {error}"));
    }
    match ask(&["run", job, &pid, &address], 3) {
        Some(answer) if answer.first().is_some_and(|words| words.first().is_some_and(|word| word == "error")) => {
            let why = answer.first().and_then(|words| words.get(1)).map_or("", String::as_str);
            say(format_args!("onit: {job}: {why}"));
            exit::FAILED
        }
        Some(answer) => match of_messages(answer) {
            Some((dir, program)) => become_program(job, &dir, program),
            None => become_kept(job),
        },
        None => become_kept(job),
    }
}

/// 0: it was told to stop.
fn stop(job: &str) -> i32 {
    let answer = ask(&["stop", job], 1).and_then(|messages| messages.into_iter().next());
    if answer.is_some_and(|words| words == ["stopped"]) { exit::OK } else { exit::FAILED }
}

/// So many messages are the answer, or one that says why there is none. `None`: nobody answers.
fn ask(words: &[&str], count: usize) -> Option<Vec<Vec<String>>> {
    let until = clock::now().after(PATIENCE);
    let mut stream = socket::call(Path::new(SOCKET), PATIENCE).ok()?;
    stream.write_all(godv1::message(words).as_bytes()).ok()?;
    let (mut reader, mut buffer, mut messages) = (Reader::default(), [0; 4096], Vec::new());
    loop {
        while let Some(message) = reader.message().ok()? {
            let is_error = message.first().is_some_and(|word| word == "error");
            messages.push(message);
            if is_error || messages.len() == count {
                return Some(messages);
            }
        }
        match socket::read_by(&stream, &mut buffer, until) {
            Ok(0) | Err(_) => return None,
            Ok(length) => reader.push(buffer.get(..length)?),
        }
    }
}

fn become_kept(job: &str) -> i32 {
    match std::fs::read(EXEC).ok().and_then(|text| read_program(&text)) {
        Some((dir, program)) => become_program(job, &dir, program),
        None => {
            say(format_args!("onit: {job}: onit loaders does not answer, and what to run is not known"));
            exit::FAILED
        }
    }
}

/// A directory, and what is to run there.
pub fn read_program(text: &[u8]) -> Option<(String, Program)> {
    of_messages(parse(text)?.to_vec())
}

fn of_messages(messages: Vec<Vec<String>>) -> Option<(String, Program)> {
    let mut messages = messages.into_iter();
    let head = messages.next()?;
    let program = Program { argv: messages.next()?, env: messages.next()? };
    let dir = head.get(1).filter(|_| head.first().is_some_and(|word| word == "exec"))?;
    Some((dir.clone(), program)).filter(|(_, program)| !program.argv.is_empty())
}

/// Returns only if that fails.
fn become_program(job: &str, dir: &str, Program { argv, env }: Program) -> i32 {
    let environment = environment(env);
    let words: Vec<OsString> = argv.iter().map(OsString::from).collect();
    let paths = paths(words.first().map_or(&[][..], |word| word.as_bytes()), &environment);
    let entered = std::env::set_current_dir(dir);
    let failed = |errno: Errno| {
        say(format_args!("onit: {job}: cannot execute {}: {}", argv.first().map_or("", String::as_str), errno.desc()));
        NOT_EXECUTED
    };
    if let Err(error) = entered {
        say(format_args!("onit: {job}: cannot change to {dir}: {error}"));
    }
    match program::Program::new(paths, &words, environment) {
        Ok(program) => failed(program.execute(&[Errno::EACCES, Errno::ENOTDIR])),
        Err(errno) => failed(errno),
    }
}

/// What is said, and the sockets that the supervisor hands over; or ours, if nothing is said. How the run speaks to the
/// supervisor is not for the job: its loader says when it is ready.
fn environment(said: Vec<String>) -> Vec<Vec<u8>> {
    let ours = program::environment().into_iter();
    if said.is_empty() {
        return ours.filter(|entry| name_of(entry) != NOTIFY_SOCKET.as_bytes()).collect();
    }
    let handed = ours.filter(|entry| name_of(entry).starts_with(b"LISTEN_"));
    said.into_iter().map(String::into_bytes).chain(handed).collect()
}

fn name_of(entry: &[u8]) -> &[u8] {
    entry.split(|byte| *byte == b'=').next().unwrap_or_default()
}

/// Where the program may be, as execvp(3) has it, by the `PATH` that it gets.
fn paths(program: &[u8], environment: &[Vec<u8>]) -> Vec<Vec<u8>> {
    if program.contains(&b'/') {
        return vec![program.to_vec()];
    }
    let path = environment.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
    let path = path.unwrap_or(b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let dirs = path.split(|byte| *byte == b':').map(|dir| if dir.is_empty() { &b"."[..] } else { dir });
    dirs.map(|dir| [dir, b"/", program].concat()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_where_its_own_path_says() {
        let environment = vec![b"A=b".to_vec(), b"PATH=/x::/y".to_vec()];
        assert_eq!(paths(b"p", &environment), [&b"/x/p"[..], b"./p", b"/y/p"]);
        assert_eq!(paths(b"./p", &environment), [b"./p"]);
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let program = Program { argv: vec!["a b".into(), String::new()], env: vec!["A=\n".into()] };
        let text = [godv1::message(&["exec", "/dir"]), godv1::message(&program.argv), godv1::message(&program.env)];
        assert_eq!(read_program(text.concat().as_bytes()), Some(("/dir".into(), program)));
        assert_eq!(read_program(b"[\"exec\",\"/dir\"][][]"), None);
        assert_eq!(read_program(b"[\"exec\"][\"a\"]"), None);
    }
}
