//! The daemon killed at random moments under load.

use fixtures::{Client, Host};
use serde_json::json;

use crate::left;
use crate::witness::{self, Witness};

const WITNESSES: usize = 10;
const ROUNDS: u64 = 20;

/// A container and an exec that end while perhaps no daemon is there, each with a code of its own.
struct Ending {
    container: String,
    exec: String,
    code: i64,
}

impl Ending {
    fn start(client: &Client, host: &Witness, round: u64) -> Self {
        let code = i64::try_from(round).unwrap() + 3;
        let name = format!("ends{round}");
        let command = format!("usleep 20000; echo last words; exit {code}");
        client.ok(&["run", "-d", "--name", &name, "busybox", "sh", "-c", &command]);
        let wanted = json!({"Cmd": ["sh", "-c", format!("usleep 20000; exit {code}")]});
        let created = client.post(&format!("/containers/{}/exec", host.id), &wanted);
        let exec = created["Id"].as_str().unwrap().to_owned();
        client.post(&format!("/exec/{exec}/start"), &json!({"Detach": true}));
        Self { container: name, exec, code }
    }

    /// Code and output are known, whoever was there when it ended.
    #[track_caller]
    fn is_known(&self, client: &Client) {
        assert_eq!(client.ok(&["wait", &self.container]), self.code.to_string());
        assert_eq!(client.ok(&["logs", &self.container]), "last words");
        client.ok(&["rm", &self.container]);
        let exec = || client.get(&format!("/exec/{}/json", self.exec));
        assert!(fixtures::remains::comes_true(|| exec()["Running"] == json!(false)), "{}", exec());
        assert_eq!(exec()["ExitCode"], json!(self.code));
    }
}

#[test]
fn killed_at_random_moments_under_load_nothing_is_lost() {
    let host = Host::new();
    let mut daemon = host.start();
    let client = daemon.own();
    witness::image(&client);
    let witnesses: Vec<_> = (0..WITNESSES).map(|_| Witness::start(&client, 2000)).collect();
    for round in 0..ROUNDS {
        let ending = Ending::start(&client, &witnesses[0], round);
        let load = client.clone();
        let noise = std::thread::spawn(move || make_noise(&load));
        // A different moment each round, without a clock that decides.
        for _ in 0..=(round * 7 % 11) {
            client.run(&["ps", "-q"]);
        }
        daemon.kill();
        noise.join().unwrap();
        daemon = host.start();
        ending.is_known(&client);
        witnesses.iter().for_each(|witness| witness.lives(&client));
    }
    witnesses.iter().for_each(|witness| witness.has_lost_nothing(&client));
    left::only(&witnesses.iter().collect::<Vec<_>>(), &host, &daemon);
    for witness in &witnesses {
        client.ok(&["rm", "-f", &witness.id]);
    }
    left::nothing(&host, daemon);
}

/// Until the daemon is gone. What fails fails.
fn make_noise(client: &Client) {
    while client.run(&["run", "--rm", "-v", "/v", "busybox", "true"]).code == 0 {
        client.run(&["run", "-d", "busybox", "sleep", "1000"]);
        client.run(&["exec", "ends0", "true"]);
    }
}
