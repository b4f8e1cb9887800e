//! `top`, `stats` and `logs`: looking at containers.

use api::container::{Commit, ListOptions, LogOptions, Remove, WaitCondition};
use api::filters::Filters;
use engine::{container, logs, stats, top};
use futures_util::{Stream, StreamExt};

use crate::house::House;
use crate::in_house;

impl House {
    /// Starts a container and waits until its output holds a text.
    pub(crate) async fn start_and_see(&self, id: &str, text: &str) {
        self.start(id).await;
        let options = LogOptions { follow: true, stdout: true, ..LogOptions::default() };
        let mut parts = logs::read(&self.engine, id, options).await.unwrap().parts;
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            seen.extend_from_slice(&parts.next().await.expect("the text comes").unwrap());
        }
    }

    /// The ids of the list, stopped containers included.
    async fn listed(&self, filters: &str) -> Vec<String> {
        let filters = Filters::parse(filters).unwrap();
        let options = ListOptions { all: true, filters, ..ListOptions::default() };
        let rows = container::list(&self.engine, options).await.unwrap();
        rows.into_iter().map(|row| row.id).collect()
    }

    async fn ended(&self, id: &str) {
        container::wait(&self.engine, id, WaitCondition::NotRunning).unwrap().await;
    }

    async fn logs(&self, id: &str, options: LogOptions) -> String {
        let logs = logs::read(&self.engine, id, LogOptions { stdout: true, ..options }).await.unwrap();
        assert!(!logs.tty);
        text(logs.parts).await
    }
}

/// The payloads of all frames.
async fn text(mut parts: impl Stream<Item = fault::Result<bytes::Bytes>> + Unpin) -> String {
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await {
        bytes.extend_from_slice(&part.unwrap());
    }
    let (mut text, mut rest) = (Vec::new(), &bytes[..]);
    while let Some((header, after)) = rest.split_first_chunk::<8>() {
        let (_, length) = api::stdcopy::parse(*header).unwrap();
        let (payload, after) = after.split_at(length as usize);
        text.extend_from_slice(payload);
        rest = after;
    }
    String::from_utf8(text).unwrap()
}

#[test]
fn top_lists_the_processes_of_the_container_only() {
    in_house(async |house| {
        let line = "sleep 1000 & until grep -q sleep /proc/$!/comm; do true; done; echo ready; wait";
        let id = house.create_shell(line).await;
        let refused = top::list(&house.engine, &id, "").await.unwrap_err();
        assert_eq!(refused.to_string(), format!("container {id} is not running"));
        house.start_and_see(&id, "ready").await;
        let full = top::list(&house.engine, &id, "").await.unwrap();
        assert_eq!(full.titles.join(" "), "UID PID PPID C STIME TTY TIME CMD");
        let commands: Vec<&str> = full.processes.iter().map(|row| row[7].as_str()).collect();
        assert!(commands.contains(&"sleep 1000") && commands.len() == 2, "{commands:?}");
        let pid = house.inspect(&id).await.state.pid.to_string();
        assert!(full.processes.iter().any(|row| row[0] == "root" && row[1] == pid), "{full:?}");
        let own = top::list(&house.engine, &id, "-o pid,comm").await.unwrap();
        assert_eq!(own.titles, ["PID", "COMMAND"]);
        let mut names: Vec<&str> = own.processes.iter().map(|row| row[1].as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["sh", "sleep"]);
        let refused = top::list(&house.engine, &id, "-o pid,nope").await.unwrap_err();
        assert_eq!(refused.to_string(), "not supported: ps column \"nope\"");
    });
}

#[test]
fn stats_count_what_a_container_uses() {
    in_house(async |house| {
        let id = house
            .create_shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo ready; exec sleep 1000")
            .await;
        house.start_and_see(&id, "ready").await;
        let mut once = stats::stream(&house.engine, &id, false, true).await.unwrap();
        let sample = once.next().await.unwrap().unwrap();
        assert!(once.next().await.is_none());
        assert_eq!((sample.id.as_str(), sample.name), (id.as_str(), house.inspect(&id).await.name));
        assert!(
            sample.cpu_stats.cpu_usage.total_usage > 0 && sample.cpu_stats.system_cpu_usage > 0,
            "{:?}",
            sample.cpu_stats
        );
        assert!(sample.memory_stats.usage > 0 && sample.memory_stats.limit > 0, "{:?}", sample.memory_stats);
        assert_eq!((sample.pids_stats.current, sample.preread.as_str()), (1, "0001-01-01T00:00:00Z"));
        let mut compared = stats::stream(&house.engine, &id, false, false).await.unwrap();
        let sample = compared.next().await.unwrap().unwrap();
        assert!(sample.precpu_stats.system_cpu_usage < sample.cpu_stats.system_cpu_usage);
        assert!(sample.precpu_stats.system_cpu_usage > 0 && sample.preread < sample.read);
        assert!(compared.next().await.is_none());
    });
}

#[test]
fn a_stopped_container_uses_nothing_and_a_removed_one_ends_the_stream() {
    in_house(async |house| {
        let id = house.create_shell("true").await;
        let mut once = stats::stream(&house.engine, &id, false, false).await.unwrap();
        let sample = once.next().await.unwrap().unwrap();
        assert_eq!((sample.cpu_stats.system_cpu_usage, sample.memory_stats.limit), (0, 0));
        assert_eq!(sample.read, "0001-01-01T00:00:00Z");
        let mut follow = stats::stream(&house.engine, &id, true, false).await.unwrap();
        assert!(follow.next().await.is_some());
        container::remove(&house.engine, &id, Remove::default()).await.unwrap();
        assert!(follow.next().await.is_none());
        let refused = stats::stream(&house.engine, &id, true, true).await.map(|_| ()).unwrap_err();
        assert_eq!(refused.to_string(), "cannot have stream=true and one-shot=true");
    });
}

#[test]
fn logs_are_read_whole_from_the_end_and_while_they_grow() {
    in_house(async |house| {
        let id =
            house.create_shell("for i in $(seq 1 500); do echo line $i; done; echo oops >&2; read x").await;
        let stdin = house.create(r#"{"Cmd":["sh","-c","echo a; read x; echo $x"],"OpenStdin":true}"#).await;
        house.run(&id).await;
        let all = house.logs(&id, LogOptions::default()).await;
        assert_eq!(all.lines().count(), 500);
        assert!(all.ends_with("line 500\n"));
        let tail = LogOptions { tail: Some(3), stderr: true, ..LogOptions::default() };
        assert_eq!(house.logs(&id, tail).await, "line 499\nline 500\noops\n");
        let stamped = LogOptions { tail: Some(2), timestamps: true, ..LogOptions::default() };
        let stamped = house.logs(&id, stamped).await;
        let (time, rest) = stamped.split_once(' ').unwrap();
        assert_eq!((time.len(), rest), ("2025-01-31T23:59:59.000000001Z".len(), "line 500\n"));

        let attach = api::container::Attach { stdin: true, stream: true, ..Default::default() };
        let mut stream = container::attach(&house.engine, &stdin, attach).await.unwrap();
        house.start_and_see(&stdin, "a").await;
        let follow = LogOptions { follow: true, stdout: true, ..LogOptions::default() };
        let followed = logs::read(&house.engine, &stdin, follow).await.unwrap();
        crate::house::write_all(&mut stream, "grown\n").await;
        assert_eq!(text(followed.parts).await, "a\ngrown\n");
        house.ended(&stdin).await;
    });
}

#[test]
fn logs_that_rotate_are_read_in_order() {
    in_house(async |house| {
        let json = r#"{"Cmd":["sh","-c","for i in $(seq 1 3000); do echo line $i; done"],
            "HostConfig":{"LogConfig":{"Type":"json-file","Config":{"max-size":"64k","max-file":"20"}}}}"#;
        let id = house.create(json).await;
        house.run(&id).await;
        let all = house.logs(&id, LogOptions::default()).await;
        let expected: String = (1..=3000).map(|number| format!("line {number}\n")).collect();
        assert!(all == expected, "{} lines", all.lines().count());
        let tail = LogOptions { tail: Some(2000), ..LogOptions::default() };
        assert_eq!(house.logs(&id, tail).await.lines().next(), Some("line 1001"));
    });
}

#[test]
fn a_container_without_a_log_says_so() {
    in_house(async |house| {
        let id = house.create(r#"{"Cmd":["true"],"HostConfig":{"LogConfig":{"Type":"none"}}}"#).await;
        let options = LogOptions { stdout: true, ..LogOptions::default() };
        let refused = logs::read(&house.engine, &id, options).await.unwrap_err();
        assert!(
            refused.to_string().contains("configured logging driver does not support reading"),
            "{refused}"
        );
        let refused = logs::read(&house.engine, &id, LogOptions::default()).await.unwrap_err();
        assert_eq!(refused.to_string(), "Bad parameters: you must choose at least one stream");
    });
}

#[test]
fn the_list_is_filtered_by_ports_that_it_shows() {
    in_house(async |house| {
        let json = r#"{"Cmd":["sleep","1000"],"ExposedPorts":{"80/tcp":{}},
            "HostConfig":{"NetworkMode":"bridge","PortBindings":{"81/tcp":[{"HostPort":"8081"}]}}}"#;
        let running = house.create(json).await;
        house.start(&running).await;
        house.create(json).await;
        for (filters, is_shown) in [
            (r#"{"expose":["80"]}"#, true),
            (r#"{"expose":["81"]}"#, true),
            (r#"{"publish":["8081/tcp"]}"#, true),
            (r#"{"publish":["8081"],"expose":["7"]}"#, true),
            (r#"{"publish":["81"]}"#, false),
            (r#"{"expose":["8081"]}"#, false),
            (r#"{"expose":["80/udp"]}"#, false),
        ] {
            let expected = if is_shown { vec![running.clone()] } else { Vec::new() };
            assert_eq!(house.listed(filters).await, expected, "{filters}");
        }
    });
}

#[test]
fn ancestors_are_those_of_the_image_too() {
    in_house(async |house| {
        let parent = house.create_shell("true").await;
        let commit = Commit { container: parent.clone(), repo: "child".into(), ..Commit::default() };
        engine::image::commit(&house.engine, commit).await.unwrap();
        let child = house.create(r#"{"Image":"child","Cmd":["true"]}"#).await;
        assert_eq!(house.listed(r#"{"ancestor":["busybox"]}"#).await, [child.clone(), parent]);
        assert_eq!(house.listed(r#"{"ancestor":["child"]}"#).await, [child]);
        assert_eq!(house.listed(r#"{"ancestor":["nope"]}"#).await, Vec::<String>::new());
    });
}
