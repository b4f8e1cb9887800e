//! Waiting for many descriptors at once (epoll), and the descriptors that stand for an event or a signal.
//!
//! A source is known by a `u64` that its owner chose. It does not own the sources: a closed one leaves by itself, as
//! long as nobody else holds its open file (epoll(7), question 6).

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

use fault::{Call, Result};
use rustix::event::{EventfdFlags, epoll};
use rustix::time::Timespec;

/// What to wait for. A hang-up or an error is always told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interest {
    pub read: bool,
    pub write: bool,
    /// Tell each change once instead of as long as it lasts.
    pub edge: bool,
}

impl Interest {
    pub const READ: Self = Self { read: true, write: false, edge: false };
    pub const WRITE: Self = Self { read: false, write: true, edge: false };
    /// Nothing but hang-ups and errors.
    pub const NONE: Self = Self { read: false, write: false, edge: false };

    fn flags(self) -> epoll::EventFlags {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, self.read);
        flags.set(epoll::EventFlags::OUT, self.write);
        flags.set(epoll::EventFlags::ET, self.edge);
        flags
    }
}

/// One source that is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    pub token: u64,
    pub read: bool,
    pub write: bool,
    /// Both directions are over, or the source is broken.
    pub hangup: bool,
}

/// A set of sources to wait for.
#[derive(Debug)]
pub struct Poll {
    epoll: OwnedFd,
}

impl Poll {
    pub fn new() -> Result<Self> {
        Ok(Self { epoll: epoll::create(epoll::CreateFlags::CLOEXEC).call(|| "epoll_create1")? })
    }

    pub fn add(&self, source: impl AsFd, token: u64, interest: Interest) -> Result<()> {
        epoll::add(&self.epoll, source, epoll::EventData::new_u64(token), interest.flags())
            .call(|| "epoll_ctl add")
    }

    pub fn modify(&self, source: impl AsFd, token: u64, interest: Interest) -> Result<()> {
        epoll::modify(&self.epoll, source, epoll::EventData::new_u64(token), interest.flags())
            .call(|| "epoll_ctl modify")
    }

    pub fn remove(&self, source: impl AsFd) -> Result<()> {
        epoll::delete(&self.epoll, source).call(|| "epoll_ctl delete")
    }

    /// Waits for at most `timeout` (`None`: for ever) and replaces the contents of `ready`; more than
    /// 16 are told by the next wait.
    pub fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> Result<()> {
        ready.clear();
        let timeout = timeout.map(timespec);
        let mut events = [const { MaybeUninit::uninit() }; EVENTS_PER_WAIT];
        let (told, _) = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            told => told.call(|| "epoll_wait")?,
        };
        ready.extend(told.iter().map(|event| {
            let (flags, data) = (event.flags, event.data);
            Ready {
                token: data.u64(),
                read: flags.contains(epoll::EventFlags::IN),
                write: flags.contains(epoll::EventFlags::OUT),
                hangup: flags.intersects(epoll::EventFlags::HUP | epoll::EventFlags::ERR),
            }
        }));
        Ok(())
    }
}

impl AsFd for Poll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

/// Waits until one descriptor can be read or has hung up; false when the time was over first.
pub fn wait_readable(fd: impl AsFd, timeout: Option<Duration>) -> Result<bool> {
    use rustix::event::{PollFd, PollFlags};
    let timeout = timeout.map(timespec);
    loop {
        match rustix::event::poll(&mut [PollFd::new(&fd, PollFlags::IN)], timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            answer => return Ok(answer.call(|| "poll")? > 0),
        }
    }
}

/// Waits until one of two descriptors can be read or has hung up; true if it is the first.
pub fn wait_for_either(first: impl AsFd, second: impl AsFd) -> Result<bool> {
    use rustix::event::{PollFd, PollFlags};
    let mut fds = [PollFd::new(&first, PollFlags::IN), PollFd::new(&second, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            answer => {
                answer.call(|| "poll")?;
                return Ok(!fds[0].revents().is_empty());
            }
        }
    }
}

/// How many bytes can be read from a pipe, a socket or a terminal without waiting (FIONREAD).
pub fn bytes_waiting(fd: impl AsFd) -> io::Result<u64> {
    Ok(rustix::io::ioctl_fionread(fd)?)
}

/// A counter that wakes whoever waits for it (eventfd(2)), non-blocking.
pub fn event() -> Result<OwnedFd> {
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).call(|| "eventfd")
}

/// Adds one to an eventfd.
pub fn notify(event: impl AsFd) -> io::Result<()> {
    rustix::io::write(event, &1u64.to_ne_bytes())?;
    Ok(())
}

/// The count of an eventfd since the last call; 0 if there was none.
pub fn drain(counter: impl AsFd) -> io::Result<u64> {
    let mut count = [0; 8];
    match rustix::io::read(counter, &mut count) {
        Err(rustix::io::Errno::AGAIN) => Ok(0),
        read => read.map(|_| u64::from_ne_bytes(count)).map_err(Into::into),
    }
}

/// A descriptor that tells these signals (signalfd(2)), non-blocking; they are blocked in the calling thread from now
/// on, and in the threads that it starts later.
pub fn signals(signals: &[i32]) -> Result<OwnedFd> {
    let set = signal_set(signals);
    // SAFETY: `set` is an initialised signal set that outlives the call; the old set is not asked for.
    let errno = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
    if errno != 0 {
        return Err(io::Error::from_raw_os_error(errno)).call(|| "pthread_sigmask");
    }
    // SAFETY: `set` is an initialised signal set that outlives the call; -1 asks for a new descriptor.
    let fd = unsafe { libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error()).call(|| "signalfd");
    }
    // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The next signal that a signalfd holds, if there is one.
pub fn next_signal(signals: impl AsFd) -> Result<Option<i32>> {
    let mut record = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the pointer and size describe the whole of `record`, which lives through the call.
    let read = unsafe { libc::read(signals.as_fd().as_raw_fd(), record.as_mut_ptr().cast(), size) };
    if read < 0 {
        let error = io::Error::last_os_error();
        return if error.kind() == io::ErrorKind::WouldBlock {
            Ok(None)
        } else {
            Err(error).call(|| "read signalfd")
        };
    }
    // SAFETY: all bit patterns are valid for this plain C structure, and it began as zeros.
    Ok(Some(unsafe { record.assume_init() }.ssi_signo.cast_signed()))
}

/// Ready sources told by one wait; more are told by the next.
const EVENTS_PER_WAIT: usize = 16;

fn signal_set(signals: &[i32]) -> libc::sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: `sigemptyset` initialises the set that it is given; `sigaddset` gets that initialised set.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        for &signal in signals {
            libc::sigaddset(set.as_mut_ptr(), signal);
        }
        set.assume_init()
    }
}

fn timespec(duration: Duration) -> Timespec {
    // A time beyond what the kernel can count is for ever in practice.
    Timespec::try_from(duration).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(poll: &Poll) -> Vec<Ready> {
        let mut ready = Vec::new();
        poll.wait(&mut ready, Some(Duration::from_secs(10))).unwrap();
        ready
    }

    #[test]
    fn tells_reads_writes_and_hangups() {
        let (reader, writer) = io::pipe().unwrap();
        let poll = Poll::new().unwrap();
        poll.add(&writer, 7, Interest::WRITE).unwrap();
        assert_eq!(ready(&poll), [Ready { token: 7, read: false, write: true, hangup: false }]);

        poll.modify(&writer, 7, Interest::NONE).unwrap();
        poll.add(&reader, 8, Interest::READ).unwrap();
        assert_eq!(bytes_waiting(&reader).unwrap(), 0);
        drop(writer);
        assert_eq!(ready(&poll), [Ready { token: 8, read: false, write: false, hangup: true }]);
    }

    #[test]
    fn events_count() {
        let event = event().unwrap();
        assert_eq!(drain(&event).unwrap(), 0);
        notify(&event).unwrap();
        notify(&event).unwrap();
        assert!(wait_readable(&event, Some(Duration::from_secs(10))).unwrap());
        assert_eq!(drain(&event).unwrap(), 2);
        assert!(!wait_readable(&event, Some(Duration::ZERO)).unwrap());
    }

    #[test]
    fn signals_arrive_as_reads() {
        // A thread of its own, because the mask is the thread's.
        std::thread::spawn(|| {
            let fd = signals(&[libc::SIGUSR1]).unwrap();
            assert_eq!(next_signal(&fd).unwrap(), None);
            // SAFETY: raising a signal that this thread blocks has no effect but to make it pending.
            unsafe { libc::raise(libc::SIGUSR1) };
            assert_eq!(next_signal(&fd).unwrap(), Some(libc::SIGUSR1));
        })
        .join()
        .unwrap();
    }
}
