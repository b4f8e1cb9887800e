//! Wishes that a client only hands over: devices of volumes, what is written with the lines of logs, ports on IPv6.

use fixtures::{Host, Transcript};

use crate::{fetch, with_both};

#[test]
fn a_volume_on_a_device_is_there_while_it_is_used() {
    with_both(|host, session| {
        let options = ["-o", "type=tmpfs", "-o", "device=tmpfs", "-o", "o=size=1m,uid=7"];
        session.ok(&[&["volume", "create"], &options[..], &["ram"]].concat());
        session.ok(&["volume", "inspect", "-f", "{{json .Options}}", "ram"]);
        session.ok(&["run", "-d", "--name", "keeper", "-v", "ram:/ram", "busybox", "sleep", "1000"]);
        let look = "stat -c %u /ram; echo kept >/ram/file; grep -o ' /ram tmpfs [^ ]*' /proc/mounts";
        let seen = session.ok(&["run", "--rm", "-v", "ram:/ram", "busybox", "sh", "-c", look]);
        assert!(seen.starts_with("7\n /ram tmpfs rw") && seen.contains("size=1024k"), "{seen}");
        assert_eq!(session.ok(&["exec", "keeper", "cat", "/ram/file"]), "kept");
        session.run(&["volume", "rm", "ram"]);
        session.ok(&["stop", "-t", "0", "keeper"]);
        assert_eq!(session.ok(&["run", "--rm", "-v", "ram:/ram", "busybox", "ls", "/ram"]), "");
        session.ok(&["rm", "keeper"]);
        session.ok(&["volume", "prune", "-af"]);
        session.ok(&["volume", "rm", "ram"]);
        forget_folder(host, session);
    });
}

#[test]
fn a_folder_of_the_host_as_a_volume_outlives_it() {
    with_both(|host, session| {
        let folder = host.folder().join("shared");
        std::fs::create_dir(&folder).unwrap();
        let device = format!("device={}", folder.display());
        session.ok(&["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", &device, "shared"]);
        session.ok(&[
            "run",
            "--rm",
            "-v",
            "shared:/x",
            "busybox",
            "sh",
            "-c",
            "echo kept >/x/file; touch -t 202001010000 /x/file",
        ]);
        // A container that does not run has it, too.
        session.ok(&["create", "--name", "still", "-v", "shared:/x", "busybox", "true"]);
        session.ok(&["cp", "still:/x/file", "-"]);
        session.ok(&["rm", "still"]);
        session.ok(&["volume", "rm", "shared"]);
        assert_eq!(std::fs::read(folder.join("file")).unwrap(), b"kept\n");
        let mount = format!(
            "type=volume,src=long,dst=/x,volume-label=a=b,volume-opt=type=none,volume-opt=o=bind,volume-opt={device}"
        );
        session.ok(&["run", "--rm", "--mount", &mount, "busybox", "cat", "/x/file"]);
        session.ok(&["volume", "inspect", "-f", "{{json .Options}} {{json .Labels}}", "long"]);
        session.ok(&["volume", "rm", "long"]);
        forget_folder(host, session);
    });
}

#[test]
fn bad_devices_are_told_alike() {
    with_both(|host, session| {
        for options in [
            &["-o", "foo=bar"][..],
            &["-o", "type=tmpfs"],
            &["-o", "size=10m"],
            &["-o", "type=cifs", "-o", "device=//files:445/x"],
        ] {
            assert_eq!(session.run(&[&["volume", "create"], options, &["bad"]].concat()).code, 1);
        }
        session.ok(&["volume", "create", "-o", "type=none", "-o", "o=bind", "-o", "device=/no/such", "gone"]);
        let run = session.run(&["run", "--rm", "-v", "gone:/x", "busybox", "true"]);
        // The client's own code for these words.
        assert!(run.code == 127 && run.stderr.contains("no such file or directory"), "{run:?}");
        assert_eq!(session.ok(&["ps", "-aq"]), "");
        session.ok(&["volume", "rm", "gone"]);
        forget_folder(host, session);
    });
}

#[test]
fn lines_of_a_log_carry_labels_variables_and_a_tag() {
    with_both(|_, session| {
        let options = [
            "--log-opt",
            "labels=app,nope",
            "--log-opt",
            "labels-regex=^tier",
            "--log-opt",
            "env=MODE",
            "--log-opt",
            "env-regex=^X_",
            "--log-opt",
            "tag={{.ImageName}}/{{.Name}}",
        ];
        let labels = ["--label", "app=web site", "--label", "tier.one=1", "--label", "other=2"];
        let env = ["-e", "MODE=a,b", "-e", "X_Y=z", "-e", "Y=z"];
        let command = ["--name", "told", "busybox", "echo", "hello"];
        session.ok(&[&["run"], &options[..], &labels, &env, &command].concat());
        assert_eq!(session.ok(&["logs", "told"]), "hello");
        let detailed = session.ok(&["logs", "--details", "told"]);
        assert_eq!(detailed, "MODE=a%2Cb,X_Y=z,app=web+site,tag=busybox%2Ftold,tier.one=1 hello");
        session.run(&["run", "--rm", "--log-opt", "labels-regex=[", "busybox", "true"]);
        session.run(&["run", "--rm", "--log-opt", "tag={{.Nope}}", "busybox", "true"]);
        assert_eq!(session.ok(&["ps", "-q"]), "");
    });
}

#[test]
fn a_published_port_is_on_ipv6_too() {
    with_both(|host, session| {
        let serve =
            ["busybox", "sh", "-c", "echo page >/var/www/index.html; exec httpd -f -p 80 -h /var/www"];
        session.ok(&[&["run", "-d", "--name", "both", "-p", "8080:80"], &serve[..]].concat());
        session.ok(&[&["run", "-d", "--name", "six", "-p", "[::1]:8081:80"], &serve[..]].concat());
        for place in ["127.0.0.1:8080", "[::1]:8080", "[::1]:8081"] {
            assert_eq!(fetch(host, place), "page\n");
        }
        let ports = session.ok(&["ps", "--format", "{{.Names}} {{.Ports}}"]);
        assert_eq!(ports, "six [::1]:8081->80/tcp\nboth 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp");
        assert_eq!(session.ok(&["port", "both"]), "80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080");
        assert_eq!(session.ok(&["port", "six", "80"]), "[::1]:8081");
        session.ok(&[
            "inspect",
            "-f",
            "{{json .NetworkSettings.Ports}} {{json .HostConfig.PortBindings}}",
            "six",
        ]);
        session.ok(&["stop", "-t", "0", "both"]);
        session.ok(&["start", "both"]);
        assert_eq!(fetch(host, "[::1]:8080"), "page\n");
        session.ok(&["ps", "-q", "--filter", "publish=8081"]);
        let taken = session.run(&["run", "--rm", "--name", "late", "-p", "[::1]:8081:80", "busybox", "true"]);
        assert_eq!(taken.code, 125, "{taken:?}");
    });
}

/// Every host has another one.
fn forget_folder(host: &Host, session: &mut Transcript) {
    session.replace(&host.folder().display().to_string(), "@");
}
