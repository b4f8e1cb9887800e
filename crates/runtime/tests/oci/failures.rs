//! What goes wrong is said in Docker's words, and leaves nothing.

use oci::runtime::{DeviceRule, Hook, Hooks, Memory, Mount, NamespaceKind, Resources};

use crate::bundle::Bundle;

fn check(bundle: &Bundle, message: &str) {
    bundle.run().failed_with(message);
    bundle.assert_nothing_left();
    bundle.create().failed_with(message);
    bundle.assert_nothing_left();
}

#[test]
fn a_program_that_cannot_be_executed() {
    let cases = [
        ("foo", r#"exec: \"foo\": executable file not found in $PATH"#),
        ("/nope", r#"exec: \"/nope\": stat /nope: no such file or directory"#),
        ("/etc", r#"exec: \"/etc\": is a directory"#),
        ("/etc/passwd", r#"exec: \"/etc/passwd\": permission denied"#),
    ];
    for (program, message) in cases {
        check(&Bundle::program(&[program]), message);
    }
}

#[test]
fn a_file_that_is_no_program_fails_as_the_container() {
    let bundle = Bundle::program(&["/bin/garbage"]);
    std::fs::write(bundle.path("rootfs/bin/garbage"), "\0\0\0\0").unwrap();
    std::fs::set_permissions(
        bundle.path("rootfs/bin/garbage"),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let answer = bundle.run();
    assert_eq!(answer.code, 255);
    assert_eq!(answer.stderr, "exec /bin/garbage: exec format error\n");
    bundle.assert_nothing_left();
}

#[test]
fn a_mount_that_cannot_be_made() {
    let with_mount = |source: &str, destination: &str| {
        Bundle::script("true").with(|spec| {
            spec.mounts.push(Mount {
                source: source.into(),
                destination: destination.into(),
                kind: "bind".into(),
                options: vec!["rbind".into()],
                ..Mount::default()
            });
        })
    };
    check(&with_mount("/no/such/source", "/x"), "/no/such/source");
    check(&with_mount("/etc", "/etc/passwd"), "ot a directory");
    check(&with_mount("/etc", "a/../x"), "is no place beneath the root");
    check(&with_mount("/etc", "/../x"), "is no place beneath the root");
    let unknown = Bundle::script("true").with(|spec| {
        spec.mounts.push(Mount {
            destination: "/x".into(),
            kind: "nofs".into(),
            source: "x".into(),
            ..Mount::default()
        });
    });
    check(&unknown, "no such device");
}

#[test]
fn a_bad_specification_is_refused_before_anything_is_made() {
    check(&Bundle::script("true").with_process(|process| process.args.clear()), "args must not be empty");
    check(
        &Bundle::script("true").with_process(|process| process.cwd = "relative".into()),
        "Cwd must be an absolute path",
    );
    check(
        &Bundle::script("true")
            .with_linux(|linux| drop(linux.sysctl.insert("kernel.panic".into(), "1".into()))),
        r#"sysctl \"kernel.panic\" is not in a separate kernel namespace"#,
    );
    check(
        &Bundle::script("true").with_process(|process| process.apparmor_profile = "x".into()),
        "not supported: process.apparmorProfile",
    );
    check(
        &Bundle::script("true").with_linux(|linux| {
            linux.namespaces.push(NamespaceKind::Pid.into());
        }),
        "duplicated ns",
    );
}

#[test]
fn a_limit_that_the_kernel_refuses() {
    let bundle = Bundle::script("true").with_linux(|linux| {
        linux.resources = Some(Resources {
            memory: Some(Memory { limit: Some(64 << 20), swap: Some(32 << 20), ..Memory::default() }),
            ..Resources::default()
        });
    });
    check(&bundle, "memory+swap limit should be >= memory limit");
    let bundle = Bundle::script("true").with_linux(|linux| {
        linux.resources.as_mut().unwrap().devices.push(DeviceRule {
            allow: true,
            kind: Some("x".into()),
            ..DeviceRule::default()
        });
    });
    check(&bundle, "devices.allow");
}

#[test]
fn too_little_memory_to_begin_with() {
    let bundle = Bundle::script("true").with_linux(|linux| {
        linux.resources = Some(Resources {
            memory: Some(Memory { limit: Some(64 << 10), swap: Some(64 << 10), ..Memory::default() }),
            ..Resources::default()
        });
    });
    let answer = bundle.run();
    assert_ne!(answer.code, 0);
    bundle.assert_nothing_left();
}

/// The child dies without a word; the parent cleans up.
#[test]
fn a_death_at_any_step_of_the_child_leaves_nothing() {
    let bundle = Bundle::script("true").with(|spec| {
        spec.hooks = Some(Hooks { create_runtime: vec![hook("/bin/true")], ..Hooks::default() });
    });
    for step in [
        "cgroup", "oom", "parent", "loopback", "sysctl", "hostname", "rootfs", "mounts", "devices",
        "protect", "folder", "hooks", "pivot", "session", "limits", "cwd", "home", "user", "program",
    ] {
        let point = format!("runtime.init.{step}");
        let answer =
            bundle.command_with_env(&["run", "--bundle", "BUNDLE", "ID"], &[("KOGGE_CRASH", &point)]);
        assert_eq!(answer.code, 1, "{point}: {}{}", answer.stdout, answer.stderr);
        assert!(answer.stderr.contains("container init died"), "{point}: {}", answer.stderr);
        bundle.assert_nothing_left();
    }
}

/// The runtime itself dies; a forced delete finds all that is left.
#[test]
fn a_death_of_the_parent_is_cleaned_up_by_delete() {
    let bundle = Bundle::program(&["sleep", "600"]);
    for point in [
        "runtime.create.folder",
        "runtime.create.recorded",
        "runtime.start.planned",
        "runtime.cgroup.created",
        "runtime.create.started",
    ] {
        let answer =
            bundle.detached_with_env(&["create", "--bundle", "BUNDLE", "ID"], &[("KOGGE_CRASH", point)]);
        assert_eq!(answer.code, -1, "{point} is not passed: {}", answer.stderr);
        bundle.command(&["delete", "--force", "ID"]).succeeded();
        bundle.assert_nothing_left();
    }
}

#[test]
fn a_delete_that_dies_is_finished_by_the_next() {
    let bundle = Bundle::program(&["sleep", "600"]);
    bundle.create().succeeded();
    let answer = bundle.command_with_env(&["delete", "ID"], &[("KOGGE_CRASH", "runtime.delete.cgroup")]);
    assert_eq!(answer.code, -1);
    bundle.command(&["delete", "ID"]).succeeded();
    bundle.assert_nothing_left();
}

fn hook(path: &str) -> Hook {
    Hook { path: path.into(), args: vec![path.into()], ..Hook::default() }
}

fn shell_hook(script: &str) -> Hook {
    Hook { path: "/bin/sh".into(), args: vec!["sh".into(), "-c".into(), script.into()], ..Hook::default() }
}

#[test]
fn a_failing_hook_ends_the_start() {
    let failing = shell_hook("exit 3");
    let message = "hook #0: exit status 3";
    check(
        &Bundle::script("true")
            .with(|spec| spec.hooks = Some(Hooks { prestart: vec![failing.clone()], ..Hooks::default() })),
        message,
    );
    check(
        &Bundle::script("true").with(|spec| {
            spec.hooks = Some(Hooks { create_runtime: vec![failing.clone()], ..Hooks::default() });
        }),
        message,
    );
    check(
        &Bundle::script("true")
            .with(|spec| spec.hooks = Some(Hooks { create_container: vec![failing], ..Hooks::default() })),
        message,
    );
}

#[test]
fn a_hook_that_takes_too_long_is_ended() {
    let slow = Hook { timeout: Some(1), ..shell_hook("exec sleep 600") };
    let bundle = Bundle::script("true")
        .with(|spec| spec.hooks = Some(Hooks { create_runtime: vec![slow], ..Hooks::default() }));
    bundle.run().failed_with("hook ran past specified timeout of 1.0s");
    bundle.assert_nothing_left();
}

#[test]
fn hooks_run_in_order_with_the_state_on_stdin() {
    let bundle = Bundle::script("echo container >> /log/order");
    std::fs::create_dir(bundle.path("log")).unwrap();
    let log = bundle.path("log/order").display().to_string();
    let note = |name: &str| {
        shell_hook(&format!(
            "read state; echo {name} $(echo $state | grep -o '\"status\": *\"[a-z]*\"') >> {log}"
        ))
    };
    let inside = Hook {
        env: vec!["PATH=/bin".into()],
        ..shell_hook("cat > /dev/null; echo startContainer >> /log/order")
    };
    let mount = Mount {
        source: bundle.path("log"),
        destination: "/log".into(),
        kind: "bind".into(),
        options: vec!["rbind".into()],
        ..Mount::default()
    };
    let bundle = bundle.with(|spec| {
        spec.mounts.push(mount);
        spec.hooks = Some(Hooks {
            prestart: vec![note("prestart")],
            create_runtime: vec![note("createRuntime")],
            create_container: vec![note("createContainer")],
            start_container: vec![inside],
            poststart: vec![],
            poststop: vec![note("poststop")],
        });
    });
    bundle.run().succeeded();
    insta::assert_snapshot!(std::fs::read_to_string(bundle.path("log/order")).unwrap(), @r#"
    prestart "status":"creating"
    createRuntime "status":"creating"
    createContainer "status":"creating"
    startContainer
    container
    poststop "status":"stopped"
    "#);
}

#[test]
fn a_failing_hook_says_what_it_wrote() {
    let loud = shell_hook("echo one; echo two >&2; exit 3");
    let bundle = Bundle::script("true")
        .with(|spec| spec.hooks = Some(Hooks { create_runtime: vec![loud], ..Hooks::default() }));
    bundle.run().failed_with("exit status 3, stdout: one, stderr: two");
}

#[test]
fn a_hook_of_the_container_has_its_environment_and_its_filter() {
    let hooks = |script| Hooks { start_container: vec![shell_hook(script)], ..Hooks::default() };
    let bundle = Bundle::script("true").with_process(|process| process.env.push("ONE=two".into()));
    let bundle = bundle.with(|spec| spec.hooks = Some(hooks("test $ONE = two && test $HOME = /root")));
    bundle.run().succeeded();
    let killing = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_KILL"}]}"#;
    let bundle = bundle
        .with(|spec| spec.hooks = Some(hooks("exec mkdir /x")))
        .with_linux(|linux| linux.seccomp = serde_json::from_str(killing).unwrap());
    bundle.run().failed_with("signal: bad system call");
}

#[test]
fn failing_hooks_at_the_end_are_told_and_no_more() {
    let fails = || shell_hook("exit 1");
    let bundle = Bundle::script("true")
        .with(|spec| spec.hooks = Some(Hooks { poststop: vec![fails(), fails()], ..Hooks::default() }));
    let answer = bundle.run();
    assert_eq!(answer.code, 0);
    assert!(
        answer.stderr.contains("level=warning msg=\"error running poststop hook #1"),
        "{}",
        answer.stderr
    );
    bundle.assert_nothing_left();
}

#[test]
fn a_failing_hook_after_the_start_ends_the_container() {
    let bundle = Bundle::program(&["sleep", "600"])
        .with(|spec| spec.hooks = Some(Hooks { poststart: vec![shell_hook("exit 1")], ..Hooks::default() }));
    bundle.create().succeeded();
    bundle.command(&["start", "ID"]).failed_with("error running poststart hook #0");
    bundle.assert_nothing_left();
}

#[test]
fn two_names_for_one_machine_are_refused() {
    let bundle = Bundle::script("true")
        .with_linux(|linux| drop(linux.sysctl.insert("kernel.hostname".into(), "other".into())));
    check(&bundle, "conflicts with the OCI");
}
