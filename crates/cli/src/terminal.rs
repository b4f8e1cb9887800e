//! The only place that writes to the user: standard output, standard error, questions, and the terminal's size.
//!
//! A reader that went away ends the command as SIGPIPE would, without a message.

use std::fmt::Arguments;
use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::{Exit, Outcome};
use crate::format::human;
use crate::interrupt::INTERRUPTED;

/// What a shell shows for a process that died of SIGPIPE.
const BROKEN_PIPE: u8 = 141;

/// Writes text as it is.
pub(crate) fn print(text: &str) -> Outcome {
    write(text.as_bytes())
}

/// Writes a line.
pub(crate) fn line(text: impl AsRef<str>) -> Outcome {
    print(&format!("{}\n", text.as_ref()))
}

/// Writes bytes and flushes them, so that what a container said is seen at once.
pub(crate) fn write(bytes: &[u8]) -> Outcome {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(unwritable)
}

pub(crate) fn write_error(bytes: &[u8]) -> Outcome {
    io::stderr().lock().write_all(bytes).map_err(unwritable)
}

/// Tells the user something beside the output. If even stderr is gone, nobody is left to tell.
pub(crate) fn warn(text: Arguments<'_>) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// Tells of a problem on the side, in the form of Docker's own log, unless the log is for worse ones.
pub(crate) fn log_error(message: &str) {
    if LOG_IS_QUIET.load(Ordering::Relaxed) {
        return;
    }
    if io::stderr().is_terminal() {
        return warn(format_args!("ERRO[0000] {message}"));
    }
    let time = human::rfc3339(jiff::Timestamp::now().as_second());
    warn(format_args!("time=\"{time}\" level=error msg={}", human::quoted(message)));
}

/// Whether errors on the side are left out; what ends a command is told anyway.
pub(crate) fn quiet_log(quiet: bool) {
    LOG_IS_QUIET.store(quiet, Ordering::Relaxed);
}

static LOG_IS_QUIET: AtomicBool = AtomicBool::new(false);

fn unwritable(error: io::Error) -> Exit {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Exit::new(BROKEN_PIPE, ""),
        _ => Exit::failure(format!("write: {error}")),
    }
}

/// Asks a yes-or-no question; anything but `y` is no, and so is Ctrl-C.
pub(crate) async fn confirm(question: &str) -> Outcome<bool> {
    match ask(&format!("{question} [y/N] ")).await {
        Err(exit) if exit.code == INTERRUPTED => Ok(false),
        answer => Ok(answer?.eq_ignore_ascii_case("y")),
    }
}

/// Asks for a line. Ctrl-C ends the command, but not before the caller has put back what it changed.
pub(crate) async fn ask(question: &str) -> Outcome<String> {
    write(question.as_bytes())?;
    let reading = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line).map(|_| line.trim().to_owned())
    });
    let read = tokio::select! {
        read = reading => read,
        interrupted = tokio::signal::ctrl_c() => {
            write(b"\n")?;
            interrupted.map_err(|error| Exit::failure(format!("signal: {error}")))?;
            return Err(Exit::new(INTERRUPTED, ""));
        }
    };
    let failed = |error: &dyn std::fmt::Display| Exit::failure(format!("read: {error}"));
    read.map_err(|error| failed(&error))?.map_err(|error| failed(&error))
}

/// Asks without showing what is typed.
pub(crate) async fn ask_silently(question: &str) -> Outcome<String> {
    let silent = sys::tty::Raw::enter_silent(io::stdin())?;
    let answer = ask(question).await?;
    drop(silent);
    line("")?;
    Ok(answer)
}

pub(crate) fn input_is_terminal() -> bool {
    io::stdin().is_terminal()
}

pub(crate) fn output_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Height and width of the terminal behind standard output; zeros without one.
pub(crate) fn size() -> (u16, u16) {
    match sys::tty::size(io::stdout()) {
        Ok(size) => (size.height, size.width),
        Err(_) => (0, 0),
    }
}

/// Columns for help pages.
pub(crate) fn width() -> usize {
    match sys::tty::size(io::stdin()) {
        Ok(size) if size.width > 0 => usize::from(size.width),
        _ => 80,
    }
}
