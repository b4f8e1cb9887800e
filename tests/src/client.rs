//! A client program pointed at a daemon's socket, and what it printed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// `docker` or `kogge`, with the socket it speaks to.
#[derive(Clone, Debug)]
pub struct Client {
    program: PathBuf,
    socket: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    /// 128 + the signal if it was killed by one.
    pub code: i32,
}

impl Client {
    pub fn new(program: impl Into<PathBuf>, socket: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), socket: socket.into() }
    }

    /// The stock client: what KOGGE_STOCK_CLIENT names, else `docker` on PATH.
    pub fn stock(socket: &Path) -> Self {
        Self::new(std::env::var_os("KOGGE_STOCK_CLIENT").unwrap_or_else(|| "docker".into()), socket)
    }

    /// Our own client.
    pub fn own(socket: &Path) -> Self {
        Self::new(crate::daemon::program("kogge"), socket)
    }

    /// The program's name, `docker` or `kogge`.
    pub fn name(&self) -> &str {
        self.program.file_name().and_then(OsStr::to_str).unwrap_or("?")
    }

    pub fn command<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-H").arg(format!("unix://{}", self.socket.display())).args(arguments);
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").env("DOCKER_CLI_HINTS", "false");
        command
    }

    /// Runs to the end without standard input.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Output {
        self.run_with(arguments, b"")
    }

    /// Runs to the end with these bytes as standard input.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn run_with<A: AsRef<OsStr>>(&self, arguments: &[A], input: &[u8]) -> Output {
        Output::of(&mut self.command(arguments), input)
    }

    /// Runs, expects success and returns standard output without its last line end.
    ///
    /// # Panics
    /// If the program fails.
    #[track_caller]
    pub fn ok<A: AsRef<OsStr>>(&self, arguments: &[A]) -> String {
        self.ok_with(arguments, b"")
    }

    /// The same with standard input.
    ///
    /// # Panics
    /// If the program fails.
    #[track_caller]
    pub fn ok_with<A: AsRef<OsStr>>(&self, arguments: &[A], input: &[u8]) -> String {
        let words: Vec<_> = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect();
        let output = self.run_with(arguments, input);
        assert_eq!(output.code, 0, "{} {}\n{}{}", self.name(), words.join(" "), output.stdout, output.stderr);
        output.stdout.trim_end_matches('\n').to_owned()
    }

    /// Asks the API itself, for what no command tells.
    ///
    /// # Panics
    /// If the daemon does not answer, or refuses.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.ask("GET", path, "")
    }

    /// The same with a document.
    ///
    /// # Panics
    /// If the daemon does not answer, or refuses.
    #[track_caller]
    pub fn post(&self, path: &str, document: &Value) -> Value {
        self.ask("POST", path, &document.to_string())
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let mut socket = UnixStream::connect(&self.socket).expect("the daemon listens");
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .expect("the daemon listens");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("the daemon answers");
        assert_eq!(answer.get(9..10), Some("2"), "{method} {path}: {answer}");
        let (_, document) = answer.split_once("\r\n\r\n").unwrap_or_default();
        serde_json::from_str(document).unwrap_or(Value::Null)
    }
}

impl Output {
    /// Runs a command to its end with these bytes as standard input.
    ///
    /// # Panics
    /// If the program cannot be started.
    pub fn of(command: &mut Command, input: &[u8]) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        let mut stdin = child.stdin.take().expect("it is piped");
        let output = std::thread::scope(|scope| {
            scope.spawn(move || {
                // A client that ends early leaves a broken pipe; its output tells why.
                drop(stdin.write_all(input));
            });
            child.wait_with_output().expect("a child can be waited for")
        });
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: exit_code(output.status),
        }
    }

    /// The same without input, for a command that leaves a process behind which keeps its output open: that goes to
    /// files in `folder`.
    ///
    /// # Panics
    /// If the program cannot be started, or the files cannot be written.
    pub fn by_files(command: &mut Command, folder: &Path) -> Self {
        let [stdout, stderr] = ["stdout", "stderr"].map(|name| folder.join(name));
        let create =
            |path: &Path| File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let status = command.stdin(Stdio::null()).stdout(create(&stdout)).stderr(create(&stderr)).status();
        let status = status.unwrap_or_else(|error| panic!("{}: {error}", command.get_program().display()));
        let read =
            |path: &Path| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned();
        Self { stdout: read(&stdout), stderr: read(&stderr), code: exit_code(status) }
    }
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}
