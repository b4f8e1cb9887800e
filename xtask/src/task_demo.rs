//! `cargo xtask demo`: from nothing to a page served by a container, and `--down` to take everything away.
//!
//! The daemon has a socket, data folder, bridge and cgroup parent of its own, so that it stands beside an installed one.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fixtures::{Client, image};

use crate::build::{Profile, built, programs};
use crate::run::{create_folder, run as run_program};
use crate::{Result, debian};

const DATA: &str = "/var/lib/kogge-demo";
const RUN: &str = "/run/kogge-demo";
const BRIDGE: &str = "koggedemo0";
const PORT: u16 = 8080;
const PAGE: &str = "<h1>A page from a Kogge container</h1>";
/// How long the daemon may take to open its socket, and the web server to answer.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Wish {
    debian: bool,
    down: bool,
}

pub(crate) fn run(arguments: Vec<String>) -> Result {
    let mut wish = Wish::default();
    for argument in &arguments {
        match argument.as_str() {
            "--debian" => wish.debian = true,
            "--down" => wish.down = true,
            other => return Err(format!("unknown flag `{other}`; there are --debian and --down")),
        }
    }
    if wish.down { down() } else { up(&wish) }
}

fn up(wish: &Wish) -> Result {
    debian::install(&[("/bin/busybox", "busybox-static")])?;
    let folder = programs(Profile::Release)?;
    let client = Client::new(folder.join("kogge"), socket());
    if UnixStream::connect(socket()).is_err() {
        start_daemon(&folder)?;
    }
    let busybox = image::busybox_root().map_err(|error| format!("making the busybox root: {error}"))?;
    show(&client, &["import", "-c", "CMD [\"sh\"]", "-", "busybox"], &busybox)?;
    if wish.debian {
        debian::install(&[("/usr/sbin/debootstrap", "debootstrap")])?;
        let root = image::debian_root(&debian::cache())
            .map_err(|error| format!("making the Debian root: {error}"))?;
        show(&client, &["import", "-c", "CMD [\"bash\"]", &root.to_string_lossy(), "debian"], b"")?;
    }
    client.run(&["rm", "-f", "web"]);
    let publish = format!("{PORT}:80");
    let script =
        format!("echo '{PAGE}' >/var/www/index.html; echo serving; exec httpd -f -v -p 80 -h /var/www");
    show(&client, &["run", "-d", "--name", "web", "-p", &publish, "busybox", "sh", "-c", &script], b"")?;
    println!("$ curl http://127.0.0.1:{PORT}/\n{}", page()?);
    show(&client, &["ps"], b"")?;
    show(&client, &["logs", "web"], b"")?;
    println!("{}", farewell(&folder));
    Ok(())
}

fn farewell(folder: &Path) -> String {
    format!(
        "It works. Go on with\n\n  export DOCKER_HOST=unix://{}\n  export PATH={}:$PATH\n  kogge run -it --rm busybox\n  \
         kogge exec web ps\n  docker ps            # the stock client does the same\n\nand take everything away with\n\n  \
         cargo xtask demo --down",
        socket().display(),
        folder.display()
    )
}

fn start_daemon(folder: &Path) -> Result {
    create_folder(Path::new(RUN))?;
    let log = Path::new(RUN).join("kogged.log");
    let file = std::fs::File::create(&log).map_err(|error| format!("{}: {error}", log.display()))?;
    let again = file.try_clone().map_err(|error| format!("{}: {error}", log.display()))?;
    let mut daemon = Command::new("setsid");
    daemon.arg(folder.join("kogged")).args(daemon_flags()).stdin(Stdio::null()).stdout(file).stderr(again);
    let mut daemon = daemon.spawn().map_err(|error| format!("kogged: {error}"))?;
    let ended = || std::fs::read_to_string(&log).unwrap_or_default();
    until(|| match daemon.try_wait() {
        Ok(None) => UnixStream::connect(socket()).map_err(|_| "the daemon opens no socket".to_owned()),
        _ => Err(format!("kogged ended:\n{}", ended())),
    })?;
    println!("kogged listens on {}; its log is {}", socket().display(), log.display());
    Ok(())
}

fn daemon_flags() -> Vec<String> {
    [
        ("--host", format!("unix://{}", socket().display())),
        ("--data-root", DATA.to_owned()),
        ("--exec-root", RUN.to_owned()),
        ("--pidfile", format!("{RUN}/kogged.pid")),
        ("--bridge", BRIDGE.to_owned()),
        ("--cgroup-parent", "/kogge-demo".to_owned()),
    ]
    .into_iter()
    .flat_map(|(flag, value)| [flag.to_owned(), value])
    .collect()
}

fn page() -> Result<String> {
    let text = until(|| {
        let mut stream =
            TcpStream::connect(("127.0.0.1", PORT)).map_err(|error| format!("port {PORT}: {error}"))?;
        let mut answer = String::new();
        stream
            .write_all(b"GET / HTTP/1.0\r\n\r\n")
            .and_then(|()| stream.read_to_string(&mut answer))
            .map_err(|error| format!("port {PORT}: {error}"))?;
        Ok(answer)
    })?;
    let body = text.split_once("\r\n\r\n").map(|(_, body)| body.trim_end().to_owned()).unwrap_or_default();
    if body == PAGE { Ok(body) } else { Err(format!("port {PORT} answers with something else:\n{text}")) }
}

/// Tries again until it works or patience ends; then the last error.
fn until<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match attempt() {
            Err(error) if Instant::now() >= end => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
            done => return done,
        }
    }
}

/// Prints the command as a person would type it, then its output.
fn show(client: &Client, words: &[&str], input: &[u8]) -> Result {
    let typed: Vec<String> = words
        .iter()
        .map(|word| {
            if word.contains([' ', '"']) {
                format!("'{}'", word.replace('\'', "'\\''"))
            } else {
                (*word).to_owned()
            }
        })
        .collect();
    println!("$ kogge {}", typed.join(" "));
    let output = client.run_with(words, input);
    print!("{}{}", output.stdout, output.stderr);
    println!();
    if output.code == 0 {
        Ok(())
    } else {
        Err(format!("`kogge {}` ended with {}", typed.join(" "), output.code))
    }
}

fn down() -> Result {
    // The programs that made it take it away; they are built only if somebody cleaned up before.
    let folder = match built(Profile::Release) {
        folder if folder.join("kogged").exists() => folder,
        _ => programs(Profile::Release)?,
    };
    run_program(Command::new(folder.join("kogged")).arg("teardown").args(daemon_flags()))?;
    for folder in [DATA, RUN] {
        match std::fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{folder}: {error}"));
            }
            _ => println!("removed {folder}"),
        }
    }
    let is_left = Path::new("/sys/class/net").join(BRIDGE).exists();
    if is_left { Err(format!("{BRIDGE} is still there")) } else { Ok(()) }
}

fn socket() -> PathBuf {
    Path::new(RUN).join("kogge.sock")
}
