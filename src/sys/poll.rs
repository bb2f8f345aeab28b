//! The one place that waits.

use super::{Errno, clock};
use crate::machine::Mono;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::{AsFd, BorrowedFd};

/// How many descriptors one turn looks at.
const BATCH: usize = 64;

/// Descriptors, each with a number that its owner knows it by; level-triggered,
/// unless they are said to be [awaited](Poller::await_more).
pub struct Poller {
    epoll: Epoll,
    ready: [EpollEvent; BATCH],
}

/// Waits this long, also if it is interrupted. For short-lived verbs, and for a supervisor that is not ready yet.
pub fn pause(span: std::time::Duration) -> Result<(), Errno> {
    let until = clock::now().after(span);
    let mut poller = Poller::new()?;
    while let now = clock::now()
        && now < until
    {
        poller.wait(now, Some(until)).for_each(drop);
    }
    Ok(())
}

impl AsFd for Poller {
    /// Has input whenever a descriptor in it has.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

/// Waits until this descriptor has input, or `deadline` has come.
pub fn input(fd: impl AsFd, deadline: Mono) -> Result<(), Errno> {
    let mut poller = Poller::new()?;
    poller.add(&fd, 0)?;
    loop {
        let now = clock::now();
        if poller.wait(now, Some(deadline)).next().is_some() || now >= deadline {
            return Ok(());
        }
    }
}

/// Waits until there is room for output.
pub fn output(fd: impl AsFd) -> Result<(), Errno> {
    let mut poller = Poller::new()?;
    poller.add(&fd, 0)?;
    poller.look_for(&fd, 0, false, true)?;
    while poller.wait(Mono::default(), None).next().is_none() {}
    Ok(())
}

impl Poller {
    /// A poller of nothing yet.
    pub fn new() -> Result<Poller, Errno> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Poller { epoll, ready: [EpollEvent::empty(); BATCH] })
    }

    /// From now on this descriptor's input is reported as `token`, until it is closed.
    pub fn add(&self, fd: impl AsFd, token: u64) -> Result<(), Errno> {
        self.epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))
    }

    /// No longer reports this descriptor.
    pub fn remove(&self, fd: impl AsFd) -> Result<(), Errno> {
        self.epoll.delete(fd)
    }

    /// Whether this descriptor's input is reported.
    pub fn listen(&self, fd: impl AsFd, token: u64, listen: bool) -> Result<(), Errno> {
        self.look_for(fd, token, listen, false)
    }

    /// From now on this descriptor is reported when it has input, or has room for output.
    pub fn look_for(&self, fd: impl AsFd, token: u64, input: bool, output: bool) -> Result<(), Errno> {
        let mut flags = EpollFlags::empty();
        flags.set(EpollFlags::EPOLLIN, input);
        flags.set(EpollFlags::EPOLLOUT, output);
        self.epoll.modify(fd, &mut EpollEvent::new(flags, token))
    }

    /// From now on this descriptor is reported when it has more input than it had: once now, if there is any, and then
    /// with each byte that comes. (Some kernels do so for a pipe only when it was empty.)
    pub fn await_more(&self, fd: impl AsFd, token: u64) -> Result<(), Errno> {
        self.epoll.modify(fd, &mut EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, token))
    }

    /// Waits until a descriptor has input or `deadline` has come (never, if `None`). Returns the tokens of those
    /// with input; the rest comes with the next call. Who is stopped and continued returns earlier, perhaps with none,
    /// but never without those that have input by then: the deadline may have passed meanwhile, and they came before.
    pub fn wait(&mut self, now: Mono, deadline: Option<Mono>) -> impl Iterator<Item = u64> {
        let timeout = deadline.map_or(EpollTimeout::NONE, |at| {
            let millis = at.since(now).as_nanos().div_ceil(1_000_000);
            EpollTimeout::try_from(i32::try_from(millis).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::ZERO)
        });
        let waited = self.epoll.wait(&mut self.ready, timeout);
        let looked = waited.or_else(|_| self.epoll.wait(&mut self.ready, EpollTimeout::ZERO)); // EINTR
        let count = looked.unwrap_or(0);
        self.ready.iter().take(count).map(EpollEvent::data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::thread::JoinHandleExt as _;
    use std::time::Duration;

    #[test]
    fn a_pause_is_as_long_as_it_is_to_be_whatever_interrupts_it() {
        extern "C" fn nothing(_: libc::c_int) {}
        // SAFETY: a handler that does nothing. Whoever waits is interrupted by it, whatever it says of restarts.
        unsafe { libc::signal(libc::SIGWINCH, nothing as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        let (begin, span) = (clock::now(), Duration::from_millis(200));
        let waiter = std::thread::Builder::new().spawn(move || pause(span)).expect("a thread");
        while !waiter.is_finished() {
            // SAFETY: it was not joined yet.
            unsafe { libc::pthread_kill(waiter.as_pthread_t(), libc::SIGWINCH) };
            std::thread::yield_now();
        }
        assert!(clock::now().since(begin) >= span);
        assert_eq!(waiter.join().expect("no panic"), Ok(()));
    }
}
