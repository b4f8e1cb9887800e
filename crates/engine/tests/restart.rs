//! Restart policies and stops when no engine is there in between.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod house;

use std::path::PathBuf;

use api::container::WaitCondition;
use engine::container;
use house::{House, in_house};
use sys::process::PidFd;
use sys::signal::SIGKILL;

/// A container that ends when the test says so: each run lasts until a file with its number is there.
struct Ward {
    id: String,
    shared: PathBuf,
}

impl Ward {
    /// `script` sees the run's number as `$n`, and ends with its code.
    async fn create(house: &House, host_config: serde_json::Value, script: &str) -> Self {
        let shared = house.path().join("shared");
        std::fs::create_dir_all(&shared).unwrap();
        let mut host_config = host_config;
        host_config["Binds"] = serde_json::json!([format!("{}:/shared", shared.display())]);
        let line = format!(
            "echo x >>/shared/runs; n=$(wc -l </shared/runs); \
             while ! test -e /shared/$n; do sleep 0.01; done; {script}"
        );
        let json = serde_json::json!({ "Cmd": ["sh", "-c", line], "HostConfig": host_config });
        Self { id: house.create(&json.to_string()).await, shared }
    }

    async fn with_policy(house: &House, name: &str, most: i64, script: &str) -> Self {
        let policy = serde_json::json!({ "RestartPolicy": { "Name": name, "MaximumRetryCount": most } });
        let ward = Self::create(house, policy, script).await;
        house.start(&ward.id).await;
        ward
    }

    /// Lets this run end.
    fn end_run(&self, number: usize) {
        std::fs::write(self.shared.join(number.to_string()), "").unwrap();
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.shared.join("runs")).map_or(0, |runs| runs.lines().count())
    }

    async fn begins_run(&self, house: &House, number: usize) {
        house::until(async || self.runs() == number).await;
        self.is(house, "running").await;
    }

    async fn is(&self, house: &House, status: &str) {
        house::until(async || house.inspect(&self.id).await.state.status == status).await;
    }

    async fn process(&self, house: &House) -> PidFd {
        PidFd::open(i32::try_from(house.inspect(&self.id).await.state.pid).unwrap()).unwrap()
    }

    /// Without an engine: waits until the monitor has written down how it ended.
    async fn has_ended(&self, house: &House) {
        let exit_file = house.path().join("run/containers").join(&self.id).join("exit.json");
        house::until(async || exit_file.exists()).await;
    }

    async fn remove(self, house: &House) {
        let options = api::container::Remove { force: true, ..Default::default() };
        container::remove(&house.engine, &self.id, options).await.unwrap();
        std::fs::remove_dir_all(&self.shared).unwrap();
    }

    async fn restart_count(&self, house: &House) -> i64 {
        house.inspect(&self.id).await.restart_count
    }
}

#[test]
fn what_ended_while_no_engine_was_there_runs_again() {
    in_house(async |mut house| {
        for (name, count) in [("always", 1), ("unless-stopped", 1), ("on-failure", 1), ("no", 0)] {
            let ward = Ward::with_policy(&house, name, 0, "exit 3").await;
            ward.begins_run(&house, 1).await;
            house.engine.shutdown().await;
            ward.end_run(1);
            ward.has_ended(&house).await;
            house = house.reopen().await;
            if count == 1 {
                ward.begins_run(&house, 2).await;
            } else {
                let state = house.inspect(&ward.id).await.state;
                assert_eq!((state.status.as_str(), state.exit_code), ("exited", 3), "{name}");
                assert_ne!(state.started_at, "0001-01-01T00:00:00Z", "{name}");
            }
            assert_eq!(ward.restart_count(&house).await, count, "{name}");
            ward.remove(&house).await;
        }
        house
    });
}

#[test]
fn restarts_are_counted_on_by_the_next_engine() {
    in_house(async |house| {
        let ward = Ward::with_policy(&house, "on-failure", 3, "exit 1").await;
        ward.end_run(1);
        ward.begins_run(&house, 2).await;
        // Once it ends with an engine that met it again, and once with none.
        let house = house.reopen().await;
        assert_eq!(ward.restart_count(&house).await, 1);
        ward.end_run(2);
        ward.begins_run(&house, 3).await;
        house.engine.shutdown().await;
        ward.end_run(3);
        ward.has_ended(&house).await;
        let house = house.reopen().await;
        ward.begins_run(&house, 4).await;
        assert_eq!(ward.restart_count(&house).await, 3);
        house.engine.shutdown().await;
        ward.end_run(4);
        ward.has_ended(&house).await;
        let house = house.reopen().await;
        let inspect = house.inspect(&ward.id).await;
        assert_eq!((inspect.restart_count, inspect.state.status.as_str()), (3, "exited"), "three are enough");
        house
    });
}

/// A wait that the engine's end cut short is over at once.
#[test]
fn a_restart_that_was_due_is_made_by_the_next_engine() {
    in_house(async |house| {
        let ward = Ward::with_policy(&house, "always", 0, "exit 0").await;
        ward.end_run(1);
        ward.is(&house, "restarting").await;
        assert_eq!(ward.restart_count(&house).await, 1, "counted when it ends, as with Docker");
        let house = house.reopen().await;
        ward.begins_run(&house, 2).await;
        assert_eq!(ward.restart_count(&house).await, 1);
        house
    });
}

#[test]
fn a_stop_is_remembered_though_the_engine_died_before_the_exit() {
    in_house(async |mut house| {
        for name in ["always", "unless-stopped"] {
            let ward = Ward::with_policy(&house, name, 0, "exit 0").await;
            ward.begins_run(&house, 1).await;
            let engine = house.engine.clone();
            let id = ward.id.clone();
            // It has no handler, so as the first process of its namespace it does not even notice.
            let mut stops = tokio::task::JoinSet::new();
            stops.spawn(async move { container::stop(&engine, &id, Some(-1), None).await });
            let record = house.path().join("data/containers").join(&ward.id).join("record.json");
            let noted = "\"manually_stopped\":true";
            house::until(async || std::fs::read_to_string(&record).unwrap().contains(noted)).await;
            house = house.reopen().await;
            assert!(stops.join_next().await.unwrap().unwrap().is_err());
            let ended = container::wait(&house.engine, &ward.id, WaitCondition::NextExit).unwrap();
            ward.process(&house).await.send_signal(SIGKILL).unwrap();
            ended.await;
            assert_eq!(house.inspect(&ward.id).await.state.status, "exited", "{name}");
            // An engine's start is what starts an `always` again, as with Docker.
            house = house.reopen().await;
            if name == "always" {
                ward.begins_run(&house, 2).await;
                container::kill(&house.engine, &ward.id, "KILL").await.unwrap();
            }
            ward.is(&house, "exited").await;
            ward.remove(&house).await;
        }
        house
    });
}

#[test]
fn a_start_takes_the_stop_back_though_the_engine_died_after_it() {
    in_house(async |house| {
        let ward = Ward::with_policy(&house, "unless-stopped", 0, "exit 0").await;
        ward.begins_run(&house, 1).await;
        container::kill(&house.engine, &ward.id, "KILL").await.unwrap();
        house.start(&ward.id).await;
        ward.begins_run(&house, 2).await;
        let house = house.reopen().await;
        ward.process(&house).await.send_signal(SIGKILL).unwrap();
        ward.begins_run(&house, 3).await;
        assert_eq!(ward.restart_count(&house).await, 1);
        house
    });
}

#[test]
fn what_was_to_be_removed_after_its_run_is_removed_though_nobody_saw_its_end() {
    in_house(async |house| {
        let mut wards = Vec::new();
        for _ in 0..5 {
            let ward = Ward::create(&house, serde_json::json!({ "AutoRemove": true }), "exit 0").await;
            house.start(&ward.id).await;
            wards.push(ward);
        }
        house.engine.shutdown().await;
        (1..=wards.len()).for_each(|number| wards[0].end_run(number));
        for ward in &wards {
            ward.has_ended(&house).await;
        }
        let house = house.reopen().await;
        // At once: nobody who asks the new engine sees them.
        assert!(house.engine.containers().all().is_empty());
        house
    });
}

/// Without a signal of its own to stop, any signal counts as a wish to end; with one, only `unless-stopped` minds.
#[test]
fn signals_count_as_docker_counts_them() {
    in_house(async |house| {
        let restarts = async |policy: &str, stop_signal: &str| {
            let json = serde_json::json!({
                "Cmd": ["sh", "-c", "trap 'exit 5' USR1; while :; do sleep 0.01; done"],
                "StopSignal": stop_signal,
                "HostConfig": { "RestartPolicy": { "Name": policy } },
            });
            let id = house.create(&json.to_string()).await;
            house.start(&id).await;
            let first = house.inspect(&id).await.state.pid;
            // Until there is a trap the signal is not noticed.
            let state = async || house.inspect(&id).await.state;
            house::until(async || {
                container::kill(&house.engine, &id, "USR1").await.ok();
                let now = state().await;
                now.pid != first
            })
            .await;
            let restarts = state().await.status != "exited";
            container::kill(&house.engine, &id, "KILL").await.ok();
            restarts
        };
        assert!(!restarts("always", "").await);
        assert!(restarts("always", "TERM").await);
        assert!(!restarts("unless-stopped", "TERM").await);
        house
    });
}
