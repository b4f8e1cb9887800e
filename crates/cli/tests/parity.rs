//! The same words given to `docker` and to `kogge`, against a daemon made of fixed answers: what each sends, prints and
//! returns must be equal. The stock client is needed on PATH.

#![expect(clippy::unwrap_used, reason = "a test that cannot set its scene has failed")]

mod parity {
    pub(crate) mod answers;
    pub(crate) mod daemon;
    pub(crate) mod help;
    pub(crate) mod lines;
}

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use parity::daemon::{Daemon, Request, wait};
use parity::help;
use parity::lines::{ACTIONS, CONTEXTS, CREATES, MISTAKES, VIEWS};
use sys::signal::{SIGINT, SIGTERM};

const KOGGE: &str = env!("CARGO_BIN_EXE_kogge");

/// What a client did.
#[derive(Debug, PartialEq)]
struct Deed {
    code: Option<i32>,
    stdout: String,
    stderr: String,
    requests: Vec<Request>,
}

/// Runs one client against a daemon of its own.
fn run(program: impl AsRef<OsStr>, words: &[String]) -> Deed {
    run_against(&Daemon::start(), program, words)
}

fn run_against(daemon: &Daemon, program: impl AsRef<OsStr>, words: &[String]) -> Deed {
    deed(daemon, command(daemon, program, words).output().unwrap())
}

fn deed(daemon: &Daemon, output: Output) -> Deed {
    Deed {
        code: output.status.code(),
        stdout: normal(&output.stdout, daemon.folder()),
        stderr: normal(&output.stderr, daemon.folder()),
        requests: daemon.requests(),
    }
}

#[expect(clippy::disallowed_methods, reason = "the two command lines are what is tested")]
fn command(daemon: &Daemon, program: impl AsRef<OsStr>, words: &[String]) -> Command {
    let variables: Vec<_> = words.iter().map_while(|word| variable(word)).collect();
    let mut command = Command::new(program);
    command
        .args(&words[variables.len()..])
        .current_dir(daemon.folder())
        .env_clear()
        .env("DOCKER_HOST", format!("unix://{}", daemon.socket().display()))
        .env("DOCKER_CONFIG", daemon.folder())
        .env("HOME", daemon.folder())
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("TAKEN", "from outside")
        .envs(variables)
        .stdin(Stdio::null());
    command
}

/// `NAME=value` in front of a command, as shells have it.
fn variable(word: &str) -> Option<(&str, &str)> {
    word.split_once('=')
        .filter(|(name, _)| name.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'))
}

/// The program's own name is the one difference that is wanted; and Docker misspells `Run` in one place. Each run has a
/// folder of its own.
fn normal(text: &[u8], folder: &Path) -> String {
    let text = String::from_utf8_lossy(text).replace(&folder.display().to_string(), "FOLDER");
    text.replace("\nSRun '", "\nRun '").replace("kogge", "docker").replace("\t\n", "\n")
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(|word| word.replace('~', " ")).collect()
}

/// How often the stock client is asked: what it keeps in Go's maps (binds, variables) comes in a random order.
const ORDERS: usize = 8;

/// Both clients say the same, and ask the daemon for the same.
fn check(lines: &[&str], compare: impl Fn(&str, &mut Vec<Request>)) {
    let mut differences = Vec::new();
    for line in lines {
        let mut ours = run(KOGGE, &words(line));
        compare(line, &mut ours.requests);
        let mut asked = (0..ORDERS).map(|_| {
            let mut theirs = run("docker", &words(line));
            compare(line, &mut theirs.requests);
            theirs
        });
        let mut last = None;
        if !asked.any(|theirs| {
            theirs == ours || {
                last = Some(theirs);
                false
            }
        }) {
            differences.push(format!("--- {line}\ndocker: {last:#?}\nkogge: {ours:#?}"));
        }
    }
    assert!(
        differences.is_empty(),
        "{} of {} differ:\n{}",
        differences.len(),
        lines.len(),
        differences.join("\n")
    );
}

/// Leaves out what means nothing: values that are empty, and a wait that nobody waits for.
fn loosely(line: &str, requests: &mut Vec<Request>) {
    requests.retain(|request| !(line.contains(" -d ") && request.path.ends_with("/wait")));
    for request in requests {
        request.query.retain(|_, values| values.iter().any(|value| !value.is_empty()));
        drop_empty(&mut request.body);
    }
}

fn drop_empty(value: &mut serde_json::Value) {
    use serde_json::Value;

    let is_empty = |value: &Value| match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(drop_empty);
        // The start says it, not the making.
        fields.retain(|name, value| name != "Detach" && !is_empty(value));
    }
}

#[test]
fn mistakes_are_told_alike() {
    check(MISTAKES, |_, requests| requests.clear());
}

#[test]
fn containers_are_asked_for_alike() {
    check(CREATES, |_, _| {});
}

#[test]
fn lists_and_objects_look_alike() {
    check(VIEWS, |_, requests| requests.clear());
}

#[test]
fn actions_are_done_alike() {
    check(ACTIONS, loosely);
}

/// The user's settings after a login are the same.
#[test]
fn logins_are_kept_alike() {
    for line in ["login -u me -p secret box:6000", "login -u token -p secret box:6000", "logout box:5000"] {
        let kept = ["docker", KOGGE].map(|program| {
            let daemon = Daemon::start();
            run_against(&daemon, program, &words(line));
            let path = daemon.folder().join("config.json");
            if program == KOGGE {
                // Docker leaves a file open that was so before.
                let mode = std::fs::metadata(&path).unwrap().permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{line}");
            }
            let text = std::fs::read_to_string(path).unwrap();
            // We leave the rest where it stood, Docker sorts it.
            serde_json::from_str::<serde_json::Value>(&text).unwrap()
        });
        assert_eq!(kept[1], kept[0], "{line}");
    }
}

/// A life of contexts, step by step in one folder; what is kept of them is the same to the byte.
#[test]
fn contexts_are_made_and_kept_alike() {
    let [theirs, ours] = ["docker", KOGGE].map(|program| {
        let daemon = Daemon::start();
        let step = |line: &&str| run_against(&daemon, program, &words(line));
        let deeds: Vec<Deed> = CONTEXTS.iter().map(step).collect();
        let config = std::fs::read(daemon.folder().join("config.json")).unwrap();
        let config: serde_json::Value = serde_json::from_slice(&config).unwrap();
        let meta = daemon.folder().join("contexts/meta");
        let kept: Vec<_> = names(&meta)
            .into_iter()
            .map(|name| {
                let text = std::fs::read(meta.join(&name).join("meta.json")).unwrap();
                (name, normal(&text, daemon.folder()))
            })
            .collect();
        (deeds, config, kept)
    });
    for (line, (ours, theirs)) in CONTEXTS.iter().zip(ours.0.iter().zip(&theirs.0)) {
        assert_eq!(ours, theirs, "{line}");
    }
    assert_eq!(ours.1, theirs.1);
    assert_eq!(ours.2, theirs.2);
}

#[test]
fn a_missing_daemon_is_told_alike() {
    let daemon = Daemon::start();
    std::fs::remove_file(daemon.socket()).unwrap();
    for line in [
        "ps",
        "run busybox",
        "create busybox",
        "exec web true",
        "rm -f a b",
        "inspect web",
        "info --format {{.ID}}",
        "logs web",
        "load",
        "system df",
    ] {
        let (theirs, ours) =
            (run_against(&daemon, "docker", &words(line)), run_against(&daemon, KOGGE, &words(line)));
        assert_eq!(ours, theirs, "{line}");
    }
}

/// Signals go to the process, but nobody has to wait for it.
#[test]
fn the_third_signal_ends_a_stay() {
    for (line, ready, forwards) in [
        ("run endless", "/start", true),
        ("run --sig-proxy=false endless", "/start", false),
        ("run -t endless", "/start", true),
        ("attach --no-stdin endless", "/attach", true),
        ("start -a endless", "/start", true),
    ] {
        for signals in [[SIGINT; 3], [SIGTERM, SIGINT, SIGTERM]] {
            let daemon = Daemon::start();
            let mut command = command(&daemon, KOGGE, &words(line));
            let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            daemon.wait_for(1, ready);
            for (count, signal) in signals.into_iter().enumerate() {
                // The one before has been seen.
                match forwards {
                    true => daemon.wait_for(count, "/kill"),
                    false => std::thread::sleep(Duration::from_millis(100)),
                }
                sys::process::kill(child.id().cast_signed(), signal).unwrap();
            }
            let deed = deed(&daemon, child.wait_with_output().unwrap());
            let words = "\ngot 3 SIGTERM/SIGINTs, forcefully exiting\n";
            assert_eq!((deed.code, deed.stderr.as_str()), (Some(1), words), "{line}");
        }
    }
}

#[test]
fn an_archive_is_its_owners_and_appears_whole_or_not_at_all() {
    for line in ["save -o x.tar", "export -o x.tar"] {
        for program in ["docker", KOGGE] {
            let daemon = Daemon::start();
            let done = run_against(&daemon, program, &words(&format!("{line} web")));
            assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{program} {line}");
            let stat = std::fs::metadata(daemon.folder().join("x.tar")).unwrap();
            assert_eq!(stat.permissions().mode() & 0o777, 0o600, "{program} {line}");
        }
        for (signal, code) in [(SIGINT, 130), (SIGTERM, 143)] {
            let daemon = Daemon::start();
            let before = names(daemon.folder());
            let child = command(&daemon, KOGGE, &words(&format!("{line} endless"))).spawn().unwrap();
            wait(|| names(daemon.folder()).iter().any(|name| name.starts_with(".tmp-x.tar")));
            daemon.wait_for(1, if line.starts_with("save") { "/get" } else { "/export" });
            sys::process::kill(child.id().cast_signed(), signal).unwrap();
            assert_eq!(child.wait_with_output().unwrap().status.code(), Some(code), "{line}");
            assert_eq!(names(daemon.folder()), before, "{line}");
        }
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn questions_are_asked_and_answered_alike() {
    for line in [
        "container prune",
        "image prune",
        "image prune -a",
        "volume prune",
        "volume prune -a --filter label=x",
        "network prune",
        "system prune",
        "system prune -a --volumes",
    ] {
        for answer in ["", "n\n", "no\n", "y\n", "Y\n", "yes\n", "y"] {
            let deeds = ["docker", KOGGE].map(|program| {
                let daemon = Daemon::start();
                let mut command = command(&daemon, program, &words(line));
                command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
                let mut child = command.spawn().unwrap();
                // Whoever does not ask does not read.
                child.stdin.take().unwrap().write_all(answer.as_bytes()).ok();
                let mut deed = deed(&daemon, child.wait_with_output().unwrap());
                loosely(line, &mut deed.requests);
                deed
            });
            let [theirs, ours] = &deeds;
            assert_eq!(ours, theirs, "{line} answered {answer:?}");
        }
    }
}

#[test]
fn an_interrupted_question_is_answered_no() {
    let deeds = ["docker", KOGGE].map(|program| {
        let daemon = Daemon::start();
        let mut command = command(&daemon, program, &words("volume prune"));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let held = child.stdin.take();
        let mut question = [0; 32];
        child.stdout.as_mut().unwrap().read_exact(&mut question).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        sys::process::kill(child.id().cast_signed(), SIGINT).unwrap();
        let deed = deed(&daemon, child.wait_with_output().unwrap());
        drop(held);
        deed
    });
    assert_eq!(deeds[1], deeds[0]);
}

#[test]
fn help_pages_have_the_same_shape() {
    let daemon = Daemon::start();
    let mut differences = Vec::new();
    for command in help::commands(|line| run_against(&daemon, KOGGE, &words(line)).stdout) {
        let words = words(&format!("{command} --help"));
        let (theirs, ours) = (run_against(&daemon, "docker", &words), run_against(&daemon, KOGGE, &words));
        let (theirs, ours) = (help::shape(&theirs.stdout), help::shape(&ours.stdout));
        if theirs != ours {
            differences.push(format!("--- {command}\ndocker:\n{theirs}\nkogge:\n{ours}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn pages_of_commands_come_when_and_where_dockers_do() {
    let daemon = Daemon::start();
    for line in
        ["", "-D", "help", "--help", "-h", "foo --help", "foo -h", "volume", "system", "network --help"]
    {
        let deeds = ["docker", KOGGE].map(|program| run_against(&daemon, program, &words(line)));
        let [theirs, ours] = &deeds;
        assert_eq!(ours.code, theirs.code, "{line}");
        for (ours, theirs) in [(&ours.stdout, &theirs.stdout), (&ours.stderr, &theirs.stderr)] {
            let (ours, theirs) = (help::listed(ours), help::listed(theirs));
            let known: Vec<_> = theirs.iter().filter(|name| ours.contains(name)).collect();
            assert!(ours.iter().eq(known), "{line}: {ours:?} of {theirs:?}");
            assert_eq!(ours.is_empty(), theirs.is_empty(), "{line}");
        }
    }
}

/// Each tells its own version; all else that the page of the daemon says is the daemon's.
#[test]
fn the_daemon_is_described_alike() {
    let page = |program: &str| {
        let deed = run(program, &words("info"));
        let lines: Vec<String> =
            deed.stdout.lines().filter(|line| !line.starts_with(" Version:")).map(str::to_owned).collect();
        (lines.join("\n"), deed.stderr, deed.code)
    };
    assert_eq!(page(KOGGE), page("docker"));
    let server = |program: &str| {
        let deed = run(program, &words("version"));
        let at = deed.stdout.find("\nServer:").unwrap();
        (deed.stdout[at..].to_owned(), deed.stderr, deed.code)
    };
    assert_eq!(server(KOGGE), server("docker"));
}

/// Docker has no such command.
#[test]
fn a_check_of_the_store_shows_problems_and_fails() {
    let deed = |line: &str| run(KOGGE, &words(line));
    let table = deed("system check");
    assert_eq!(
        table.stdout,
        "PROBLEM        DIGEST         OBJECT    IMAGE ID\n\
         damaged blob   001122334455             aa1122334455\n\
         damaged blob   221122334455             \n"
    );
    // `run` calls both programs `docker`.
    let words = "2 problems found\nhint: `docker system check --repair` mends what can be made anew\n";
    assert_eq!((table.stderr.as_str(), table.code), (words, Some(1)));
    let whole = deed("system check --no-trunc --format {{.Digest}}|{{.Image}}");
    assert!(whole.stdout.starts_with("sha256:00112233445566778899aabb"), "{}", whole.stdout);
    let repair = deed("system check --repair");
    assert_eq!(
        repair.stdout,
        "PROBLEM          DIGEST         OBJECT         IMAGE ID       MENDED    OUTCOME\n\
         missing layer    001122334455                  aa1122334455   true      unpacked again\n\
         stray snapshot                  0123456789ab                  false     it holds files\n"
    );
    assert_eq!((repair.stderr.as_str(), repair.code), ("1 problem left\n", Some(1)));
    let forced = deed("system check --repair --force --format json");
    assert_eq!(forced.code, Some(0), "{}", forced.stderr);
    assert!(forced.stdout.contains(r#""Mended":"true""#), "{}", forced.stdout);
    assert_eq!(deed("system check --force").stderr, "--force is of use with --repair only\n");
}

/// Docker's client has no such commands.
#[test]
fn images_are_adopted_and_pinned() {
    let deed = |line: &str| run(KOGGE, &words(line));
    let adopted = deed("image adopt --from podman --image a --image b:1 --volumes --dry-run /data");
    assert_eq!((adopted.stdout.as_str(), adopted.code), ("Would adopt: a:latest\n", Some(0)));
    let failed = deed("image adopt");
    assert_eq!((failed.stderr.as_str(), failed.code), ("No such image there: x:latest\n", Some(1)));
    let wrong = deed("image adopt --from lxc").stderr;
    assert_eq!(wrong, "--from is docker or podman, not \"lxc\"\n");
    let pinned = deed("image pin a b");
    assert_eq!((pinned.stdout.as_str(), pinned.code), ("a\nb\n", Some(0)));
    assert_eq!(deed("image unpin a").stdout, "a\n");
}

/// Docker has no such commands.
#[test]
fn a_key_signs_here_and_never_travels() {
    let daemon = Daemon::start();
    let deed = |line: &str| run_against(&daemon, KOGGE, &words(line));
    let made = deed("COSIGN_PASSWORD=pw trust key generate release");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let key = std::fs::read_to_string(daemon.folder().join("release.key")).unwrap();
    assert!(key.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));
    let again = deed("COSIGN_PASSWORD=pw trust key generate release");
    assert_eq!((again.stderr.as_str(), again.code), ("release.key is there already\n", Some(1)));
    let signed = deed("COSIGN_PASSWORD=pw sign --key release.key a.example/app:1");
    let digest = format!("sha256:{}", "ab".repeat(32));
    assert_eq!(signed.stdout, format!("Signed a.example/app@{digest}\n"), "{}", signed.stderr);
    let [request] = signed.requests.as_slice() else { panic!("{:?}", signed.requests) };
    let body = request.body.as_object().unwrap();
    assert_eq!(body.keys().collect::<Vec<_>>(), ["Digest", "Signatures"]);
    for signature in body["Signatures"].as_array().unwrap() {
        let fields: Vec<&String> = signature.as_object().unwrap().keys().collect();
        assert!(
            fields.iter().all(|name| ["form", "key_hint", "payload", "signature"].contains(&name.as_str()))
        );
    }
    for (line, words) in [
        (
            "KOGGE_KEY_PASSWORD=no sign --key release.key a",
            "release.key: the private key does not open with this password",
        ),
        (
            "sign --key release.key a",
            "no password for release.key: set KOGGE_KEY_PASSWORD or run in a terminal",
        ),
        ("sign a", "a private key is needed: --key FILE"),
        ("verify a", "a public key is needed: --key FILE"),
        ("verify --key release.pub a", &format!("a@{digest} is not signed")),
        ("trust key generate -x", "unknown shorthand flag: 'x' in -x"),
        ("trust key load x", "not supported: docker trust key load"),
        ("trust sign x", "not supported: docker trust sign"),
        ("trust policy check a", "no"),
    ] {
        let deed = deed(line);
        assert!(deed.stderr.starts_with(words), "{line}: {}", deed.stderr);
        assert_ne!(deed.code, Some(0), "{line}");
    }
    assert_eq!(
        deed("trust policy show").stdout,
        "PREFIX      REQUIRE   KEYS      REASON\na.example   digest              \n"
    );
}

/// What a shell asks for a word behind a line, and gets.
#[test]
fn things_are_proposed_alike() {
    for line in ["rm", "rm -f", "start", "stop", "logs", "rmi", "volume rm", "network rm"] {
        let asked = [&words("__complete"), &words(line)[..], &[String::new()]].concat();
        let [theirs, ours] = ["docker", KOGGE].map(|program| {
            let deed = run(program, &asked);
            let names: Vec<_> =
                deed.stdout.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect();
            (names, deed.stderr, deed.code)
        });
        assert_eq!(theirs, ours, "{line}");
    }
}

/// The script in a real bash, with words that bash itself would take apart.
#[test]
#[expect(clippy::disallowed_methods, reason = "the script is for a shell")]
fn bash_completes_words() {
    let daemon = Daemon::start();
    let script = r#"source <("$KOGGE" completion bash)
        complete -p kogge
        for COMP_LINE in "$@"; do
            COMP_POINT=${#COMP_LINE}
            read -ra COMP_WORDS <<<"${COMP_LINE//:/ : }"
            [[ $COMP_LINE == *' ' ]] && COMP_WORDS+=("")
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _kogge kogge
            echo "$COMP_LINE| ${COMPREPLY[*]}"
        done"#;
    let folder = Path::new(KOGGE).parent().unwrap();
    let lines = [
        "kogge im",
        "kogge volume ",
        "kogge rm --f",
        "kogge run --restart un",
        "nick im",
        "kogge completion ",
    ];
    let output = Command::new("bash")
        .args(["--norc", "-c", script, "bash"])
        .args(lines)
        .env("PATH", format!("{}:{}", folder.display(), std::env::var("PATH").unwrap()))
        .env("DOCKER_HOST", format!("unix://{}", daemon.socket().display()))
        .env("KOGGE", KOGGE)
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        "complete -o default -F _kogge kogge\n\
         kogge im| images import image\n\
         kogge volume | create inspect ls prune rm\n\
         kogge rm --f| --force\n\
         kogge run --restart un| unless-stopped\n\
         nick im| images import image\n\
         kogge completion | bash fish powershell zsh\n",
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// A program of the user's that becomes a command, as it is and under Docker's one alias.
#[test]
fn plugins_are_called_alike() {
    let plugin = r#"#!/bin/sh
        if [ "$1" = docker-cli-plugin-metadata ]; then
            echo '{"SchemaVersion":"0.1.0","Vendor":"us","Version":"1","ShortDescription":"Greet"}'
            exit
        fi
        echo "$* at $DOCKER_HOST"
        exit 7"#;
    let settings =
        |aliases: &str| format!(r#"{{"cliPluginsExtraDirs":["FOLDER/more"],"aliases":{aliases}}}"#);
    for (line, folder, aliases) in [
        ("hello a --b", "cli-plugins", "{}"),
        ("-D hello -x", "more", "{}"),
        ("builder prune -f", "more", r#"{"builder":"hello"}"#),
        ("hello", "cli-plugins", r#"{"greet":"hello"}"#),
        ("hello", "cli-plugins", r#"{"builder":"ps"}"#),
    ] {
        let [theirs, ours] = ["docker", KOGGE].map(|program| {
            let daemon = Daemon::start();
            let (own, place) = (daemon.folder().display().to_string(), daemon.folder().join(folder));
            std::fs::write(daemon.folder().join("config.json"), settings(aliases).replace("FOLDER", &own))
                .unwrap();
            std::fs::create_dir(&place).unwrap();
            std::fs::write(place.join("docker-hello"), plugin).unwrap();
            std::fs::set_permissions(place.join("docker-hello"), PermissionsExt::from_mode(0o755)).unwrap();
            let deed = run_against(&daemon, program, &words(line));
            (deed.stdout, deed.stderr, deed.code)
        });
        assert_eq!(ours, theirs, "{line} {aliases}");
    }
}

/// What is known and not built is refused before the daemon is asked for anything.
#[test]
fn what_is_not_built_is_refused() {
    for (line, wanted) in [
        ("--tls ps", "Failed to initialize: unable to resolve docker endpoint: not supported: TLS"),
        ("DOCKER_TLS=1 ps", "Failed to initialize: unable to resolve docker endpoint: not supported: TLS"),
        (
            "-H ssh://x ps",
            "Failed to initialize: unable to resolve docker endpoint: not supported: ssh:// hosts",
        ),
        ("start --checkpoint x web", "not supported: --checkpoint"),
        ("start --checkpoint-dir x web", "not supported: --checkpoint-dir"),
        ("system df -v --format json", "not supported: --verbose with --format"),
        ("create --use-api-socket busybox", "not supported: --use-api-socket"),
        ("create --disable-content-trust=false busybox", "not supported: content trust"),
        ("DOCKER_CONTENT_TRUST=1 create busybox", "not supported: content trust"),
        ("context create xx --docker host=tcp://x,ca=/x", "not supported: TLS, which --docker ca asks for"),
        ("build .", "not supported: docker build"),
        ("image build .", "not supported: docker image build"),
    ] {
        let deed = run(KOGGE, &words(line));
        assert_eq!((deed.stderr.trim_end(), deed.code), (wanted, Some(1)), "{line}");
        assert_eq!((deed.stdout.as_str(), deed.requests), ("", Vec::new()), "{line}");
    }
}
