//! How a command ends when it does not simply succeed: a message and a code.

use std::process::ExitCode;

use fault::Error;

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) code: u8,
    /// What stderr gets; nothing if empty.
    pub(crate) message: String,
}

pub(crate) type Outcome<T = ()> = Result<T, Exit>;

impl Exit {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The common failure.
    pub(crate) fn failure(message: impl Into<String>) -> Self {
        Self::new(1, message)
    }

    /// Ends with the code of a container's process, without words of our own.
    pub(crate) fn status(code: i64) -> Outcome {
        match code {
            0 => Ok(()),
            // Only the low byte reaches the parent (wait(2)).
            code => Err(Self::new((code & 0xff) as u8, "")),
        }
    }

    /// Many failures become one, each on its line; none is success.
    pub(crate) fn join(errors: Vec<Error>) -> Outcome {
        if errors.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = errors.iter().map(Error::to_string).collect();
        Err(Self::failure(lines.join("\n")))
    }

    pub(crate) fn report(self) -> ExitCode {
        if !self.message.is_empty() {
            crate::terminal::warn(format_args!("{}", self.message));
        }
        ExitCode::from(self.code)
    }
}

impl From<Error> for Exit {
    fn from(error: Error) -> Self {
        Self::failure(error.to_string())
    }
}

impl From<String> for Exit {
    fn from(message: String) -> Self {
        Self::failure(message)
    }
}
