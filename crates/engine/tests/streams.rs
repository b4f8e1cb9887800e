//! Attach and exec: bytes in, bytes out, codes kept.

mod house;

use api::container::{Attach, WaitCondition};
use api::events::Options;
use api::exec::{Create, Start};
use api::filters::Filters;
use engine::{container, events, exec};
use fault::Kind;
use futures_util::StreamExt;
use house::{House, in_house, read_all, write_all};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const ALL: Attach =
    Attach { stdin: true, stdout: true, stderr: true, logs: false, stream: true, detach_keys: String::new() };

#[test]
fn stdin_goes_in_and_ends() {
    in_house(async |house| {
        let id = house.create(r#"{"Cmd":["cat"],"OpenStdin":true,"StdinOnce":true}"#).await;
        let mut stream = container::attach(&house.engine, &id, ALL).await.unwrap();
        house.start(&id).await;
        write_all(&mut stream, "through and back\n").await;
        assert_eq!(read_all(&mut stream).await, "through and back\n");
        house
    });
}

#[test]
fn a_terminal_is_resized_and_left_by_keys() {
    in_house(async |house| {
        let json = r#"{"Cmd":["sh","-c","read x; stty size; read y"],"Labels":{"a":"b"},"OpenStdin":true,"Tty":true,"HostConfig":{"ConsoleSize":[10,20]}}"#;
        let id = house.create(json).await;
        let mut stream = container::attach(&house.engine, &id, ALL).await.unwrap();
        assert!(stream.tty);
        house.start(&id).await;
        container::resize(&house.engine, &id, 30, 90).await.unwrap();
        stream.io.write_all(b"\n").await.unwrap();
        let mut text = String::new();
        while !text.contains("30 90") {
            let mut buffer = [0; 256];
            let read = stream.io.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{text}");
            text += &String::from_utf8_lossy(&buffer[..read]);
        }
        let filters = Filters::parse(r#"{"label":["a=b"],"event":["detach"]}"#).unwrap();
        let told = events::subscribe(&house.engine, Options { filters, ..Options::default() }).unwrap();
        stream.io.write_all(b"\x10\x11").await.unwrap();
        read_all(&mut stream).await;
        assert_eq!(std::pin::pin!(told).next().await.unwrap().actor.id, id);
        assert!(house.inspect(&id).await.state.running, "it goes on without us");
        house
    });
}

#[test]
fn an_exec_has_streams_and_a_code() {
    in_house(async |house| {
        let id = running(&house).await;
        let engine = &house.engine;
        let wanted = Create {
            cmd: ["sh", "-c", "cat; echo $A; id -un; exit 5"].map(str::to_owned).to_vec(),
            env: vec!["A=1".into()],
            user: "www".into(),
            attach_stdin: true,
            attach_stdout: true,
            attach_stderr: true,
            detach_keys: "ctrl-a".into(),
            ..Create::default()
        };
        let exec = exec::create(engine, &id, wanted).await.unwrap();
        let early = exec::resize(engine, &exec, 10, 10).await.unwrap_err();
        assert_eq!(early.to_string(), "timeout waiting for exec session ready");
        let mut stream = exec::start(engine, &exec, Start::default()).await.unwrap().unwrap();
        write_all(&mut stream, "in\n").await;
        assert_eq!(read_all(&mut stream).await, "in\n1\nwww\n");
        let inspect = exec::inspect(engine, &exec).await.unwrap();
        assert_eq!((inspect.running, inspect.exit_code), (false, Some(5)));
        assert_eq!(inspect.detach_keys, "AQ==");
        let late = exec::resize(engine, &exec, 10, 10).await.unwrap_err();
        assert_eq!(late.to_string(), format!("NotFound: process does not exist {exec}: not found"));
        let again = exec::start(engine, &exec, Start::default()).await.unwrap_err();
        assert_eq!(again.to_string(), format!("exec command {exec} has already run"));
        house
    });
}

#[test]
fn an_exec_of_nothing_is_told_in_the_stream_and_as_an_error_when_detached() {
    in_house(async |house| {
        let id = running(&house).await;
        let engine = &house.engine;
        let wanted = Create { cmd: vec!["foo".into()], attach_stdout: true, ..Create::default() };
        let text = "OCI runtime exec failed: exec failed: unable to start container process: exec: \"foo\": \
                    executable file not found in $PATH";
        let exec = exec::create(engine, &id, wanted.clone()).await.unwrap();
        let mut stream = exec::start(engine, &exec, Start::default()).await.unwrap().unwrap();
        assert_eq!(read_all(&mut stream).await, format!("{text}\r\n"));
        assert_eq!(exec::inspect(engine, &exec).await.unwrap().exit_code, Some(127));
        let exec = exec::create(engine, &id, wanted).await.unwrap();
        let detached = Start { detach: true, ..Start::default() };
        let error = exec::start(engine, &exec, detached).await.unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (Kind::Invalid, text.into()));
        house
    });
}

#[test]
fn execs_need_a_running_container() {
    in_house(async |house| {
        let id = house.create("{}").await;
        let wanted = Create { cmd: vec!["true".into()], ..Create::default() };
        let error = exec::create(&house.engine, &id, wanted).await.unwrap_err();
        assert_eq!(error.to_string(), format!("container {id} is not running"));
        let unknown = exec::inspect(&house.engine, "foo").await.unwrap_err();
        assert_eq!(unknown.to_string(), "No such exec instance: foo");
        house
    });
}

#[test]
fn a_later_client_sees_what_comes_after_it() {
    in_house(async |house| {
        let json = r#"{"Cmd":["sh","-c","echo one; read x; echo two"],"OpenStdin":true}"#;
        let id = house.create(json).await;
        let mut first = container::attach(&house.engine, &id, ALL).await.unwrap();
        house.start(&id).await;
        let mut header = [0; 12];
        first.io.read_exact(&mut header).await.unwrap();
        let mut second = container::attach(&house.engine, &id, ALL).await.unwrap();
        let ended = container::wait(&house.engine, &id, WaitCondition::NotRunning).unwrap();
        second.io.write_all(b"\n").await.unwrap();
        assert_eq!(read_all(&mut second).await, "two\n");
        assert_eq!(read_all(&mut first).await, "two\n");
        assert_eq!(ended.await.status_code, 0);
        house
    });
}

async fn running(house: &House) -> String {
    let id = house.create_shell("exec sleep 1000").await;
    house.start(&id).await;
    id
}

const LOGGED: Attach =
    Attach { stdin: false, stdout: true, stderr: true, logs: true, stream: true, detach_keys: String::new() };

#[test]
fn a_replayed_log_goes_over_into_the_stream_without_a_gap() {
    in_house(async |house| {
        let line = "echo one; echo two >&2; printf th; read x; echo ree; seq 500";
        let json = serde_json::json!({ "Cmd": ["sh", "-c", line], "OpenStdin": true });
        let id = house.create(&json.to_string()).await;
        let mut first = container::attach(&house.engine, &id, ALL).await.unwrap();
        house.start(&id).await;
        // What is read at once comes in one frame, and the two streams in any order.
        let (mut begun, mut buffer) = (Vec::new(), [0; 64]);
        let has = |begun: &[u8], text: &[u8]| begun.windows(text.len()).any(|window| window == text);
        while !(has(&begun, b"th") && has(&begun, b"two")) {
            let read = first.io.read(&mut buffer).await.unwrap();
            assert!(read > 0, "{begun:?}");
            begun.extend_from_slice(&buffer[..read]);
        }
        let stdout = Attach { stderr: false, ..LOGGED };
        let mut logged = container::attach(&house.engine, &id, stdout.clone()).await.unwrap();
        let mut log =
            container::attach(&house.engine, &id, Attach { stream: false, ..stdout }).await.unwrap();
        assert_eq!(read_all(&mut log).await, "one\n", "the log alone has whole lines, and ends");
        first.io.write_all(b"\n").await.unwrap();
        let numbers: String = (1..=500).map(|number| format!("{number}\n")).collect();
        assert_eq!(read_all(&mut logged).await, format!("one\nthree\n{numbers}"));
        let mut after =
            container::attach(&house.engine, &id, Attach { stream: false, ..LOGGED }).await.unwrap();
        let whole = read_all(&mut after).await;
        assert!(whole.contains("two\n") && whole.ends_with(&numbers), "{whole}");
        house
    });
}

#[test]
fn a_log_is_replayed_while_output_goes_on() {
    in_house(async |house| {
        let json = r#"{"Cmd":["sh","-c","seq 100000; sleep 0.1; seq 100000"]}"#;
        let id = house.create(json).await;
        house.start(&id).await;
        let mut logged = container::attach(&house.engine, &id, LOGGED).await.unwrap();
        let numbers: String = (1..=100_000).map(|number| format!("{number}\n")).collect();
        assert!(read_all(&mut logged).await == numbers.repeat(2), "every line once");
        house
    });
}

#[test]
fn the_log_of_the_last_run_comes_before_the_next_one() {
    in_house(async |house| {
        let id = house.create_shell("echo a run").await;
        let mut fresh = container::attach(&house.engine, &id, LOGGED).await.unwrap();
        house.run(&id).await;
        assert_eq!(read_all(&mut fresh).await, "a run\n");
        let mut logged = container::attach(&house.engine, &id, LOGGED).await.unwrap();
        house.run(&id).await;
        assert_eq!(read_all(&mut logged).await, "a run\na run\n");
        let silent = house.create(r#"{"HostConfig":{"LogConfig":{"Type":"none"}}}"#).await;
        let refused = container::attach(&house.engine, &silent, LOGGED).await.unwrap_err();
        assert_eq!(refused.to_string(), "configured logging driver does not support reading");
        house
    });
}

#[test]
fn an_export_that_nobody_reads_ends_with_the_engine() {
    in_house(async |house| {
        let id = house.create_shell("true").await;
        let stalled = engine::archive::export(&house.engine, &id).await.unwrap();
        // The next engine gets the store's lock only when nobody holds the first one's any more.
        let house = house.reopen().await;
        assert!(stalled.collect::<Vec<_>>().await.pop().unwrap().is_err(), "cut short is no end");
        house
    });
}
