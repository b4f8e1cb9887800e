//! Long sessions, a command a line: refusals, and looks at what was made. Their words must be the same, whoever says them.
//!
//! A tilde stands for a blank within a word, `@` for the host's folder.

use fixtures::{Host, Transcript};

use crate::with_both;

#[test]
fn what_does_not_exist_is_told_alike() {
    with_both(|host, session| play(host, session, MISSING));
}

#[test]
fn what_cannot_be_done_now_is_told_alike() {
    with_both(|host, session| play(host, session, UNTIMELY));
}

#[test]
fn bad_wishes_are_told_alike() {
    with_both(|host, session| play(host, session, BAD));
}

#[test]
fn what_was_made_looks_alike() {
    with_both(|host, session| play(host, session, LOOKS));
}

#[test]
fn a_process_finds_the_same_world() {
    with_both(|host, session| play(host, session, INSIDE));
}

fn play(host: &Host, session: &mut Transcript, lines: &[&str]) {
    let folder = host.folder().display().to_string();
    for line in lines {
        let words: Vec<String> =
            line.split_whitespace().map(|word| word.replace('~', " ").replace('@', &folder)).collect();
        session.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    }
    session.replace(&folder, "@");
    session.replace(host.cgroup(), "/cgroup");
}

const MISSING: &[&str] = &[
    "run --pull never nosuch",
    "create --pull never nosuch true",
    "rm nosuch",
    "inspect nosuch",
    "container inspect nosuch",
    "start nosuch",
    "stop nosuch",
    "kill nosuch",
    "pause nosuch",
    "unpause nosuch",
    "restart nosuch",
    "rename nosuch new",
    "logs nosuch",
    "exec nosuch true",
    "cp nosuch:/x @/x",
    "cp /etc/hostname nosuch:/x",
    "top nosuch",
    "diff nosuch",
    "export nosuch",
    "commit nosuch",
    "port nosuch",
    "wait nosuch",
    "attach nosuch",
    "stats --no-stream nosuch",
    "image inspect nosuch",
    "rmi nosuch",
    "tag nosuch x",
    "history nosuch",
    "save nosuch",
    "volume inspect nosuch",
    "volume rm nosuch",
    "network inspect nosuch",
    "run --rm --network nosuch busybox true",
    "run --rm --network container:nosuch busybox true",
    "run --rm --pid container:nosuch busybox true",
    "run --rm --ipc container:nosuch busybox true",
    "run --rm --volumes-from nosuch busybox true",
    "run --rm --log-driver nosuch busybox true",
    "run --rm --runtime nosuch busybox true",
    "run --rm --device /dev/nosuch busybox true",
    "run --rm --mount type=bind,src=/nowhere/at/all,dst=/x busybox true",
    "run --rm -u nosuch busybox true",
    "run --rm -u 0:nosuch busybox true",
    "run --rm --group-add nosuch busybox true",
    "run --rm busybox nosuch",
    "run --rm busybox /etc",
    "run --rm busybox /etc/passwd",
    "run --rm -w /etc/passwd busybox true",
    "ps --filter before=nosuch",
    "images --filter before=nosuch",
];

const UNTIMELY: &[&str] = &[
    "create --name made busybox true",
    "run -d --name box -v kept:/v busybox sleep 1000",
    "run -d --name box busybox sleep 1000",
    "rename box made",
    "rename made made",
    "rm box",
    "volume rm kept",
    "volume rm -f kept",
    "rmi busybox",
    "unpause box",
    "pause box",
    "pause box",
    "exec box true",
    "start box",
    "rm box",
    "kill box",
    "restart -t 0 box",
    "stop -t 0 box",
    "stop -t 0 box",
    "kill box",
    "pause box",
    "unpause box",
    "exec box true",
    "top box",
    "attach box",
    "wait box",
    "start box",
    "kill -s NOSUCH box",
    "kill -s 99 box",
    "kill -s 0 box",
    "exec -w /nowhere box true",
    "exec -u nosuch box true",
    "exec -u 99999999999 box true",
    "exec box nosuch",
    "exec box /etc",
    "exec -e =x box true",
    "cp box:/nosuch @/x",
    "cp /etc/hostname box:/no/such",
    "cp /etc/hostname box:/etc/hosts/x",
    "rmi -f busybox",
    "rm made box",
    "rm -f box",
];

const BAD: &[&str] = &[
    "run --rm --name -bad busybox true",
    "run --rm --name a~b busybox true",
    "run --rm -v v:/v busybox ls -d /v:/v",
    "run --rm --mount type=volume,src=v,dst=/v busybox true",
    "volume create v",
    "run --rm -m 1m busybox true",
    "run --rm -m 10m --memory-swap 5m busybox true",
    "run --rm --memory-swap 5m busybox true",
    "run --rm --memory-reservation 20m -m 10m busybox true",
    "run --rm --memory-swappiness 200 busybox true",
    "run --rm --cpus 1000 busybox true",
    "run --rm --cpus 0.5 --cpu-quota 1000 busybox true",
    "run --rm --cpu-period 10 busybox true",
    "run --rm --cpu-quota 10 busybox true",
    "run --rm --cpuset-cpus 99 busybox true",
    "run --rm --cpuset-cpus x busybox true",
    "run --rm --cpu-shares -1 busybox true",
    "run --rm --pids-limit -5 busybox true",
    "run --rm --oom-score-adj 5000 busybox true",
    "run --rm -v relative/path:/x busybox true",
    "run --rm -v /a:relative busybox true",
    "run --rm -v /a:/ busybox true",
    "run --rm -v a!b:/x busybox true",
    "run --rm -v /a:/b:zz busybox true",
    "run --rm -v /a:/b:ro,rw busybox true",
    "run --rm --mount type=bind,src=/usr,dst=/x,bind-propagation=rslave busybox true",
    "run --rm -v /usr:/x:shared busybox true",
    "run --rm --mount type=bind,src=/tmp,dst=/x --mount type=bind,src=/etc,dst=/x busybox true",
    "run --rm --tmpfs relative busybox true",
    "run --rm --tmpfs /x:bad=option busybox true",
    "run --rm -w relative busybox true",
    "run --rm -u 9999999999 busybox true",
    "run --rm --cap-add NOSUCH busybox true",
    "run --rm --cap-drop NOSUCH busybox true",
    "run --rm --network container: busybox true",
    "run --rm --network host -p 80:80 busybox true",
    "run --rm --ip 1.2.3.4 busybox true",
    "run --rm --mac-address bad busybox true",
    "run --rm --ipc bad busybox true",
    "run --rm --pid bad busybox true",
    "run --rm --uts bad busybox true",
    "run --rm --userns bad busybox true",
    "run --rm --cgroupns bad busybox true",
    "run --rm --hostname a_b busybox true",
    "run --rm --restart bad busybox true",
    "run --rm --restart always busybox true",
    "run --restart always:5 busybox true",
    "run --restart on-failure:-1 busybox true",
    "run --rm --log-opt nosuch=1 busybox true",
    "run --rm --log-opt max-size=x busybox true",
    "run --rm --log-opt max-file=0 busybox true",
    "run --rm --ulimit nosuch=1 busybox true",
    "run --rm --ulimit nofile=5:1 busybox true",
    "run --rm --sysctl nosuch=1 busybox true",
    "run --rm --sysctl kernel.nosuch=1 busybox true",
    "run --rm --sysctl net.ipv4.ip_forward=1 --network host busybox true",
    "run --rm --device /dev/null:/dev/x:q busybox true",
    "run --rm --security-opt bad busybox true",
    "run --rm --security-opt seccomp=/nowhere busybox true",
    "run --rm --volumes-from box:zz busybox true",
    "run --rm --add-host bad busybox true",
    "run --rm --dns bad busybox true",
    "run --rm --stop-signal NOSUCH busybox true",
    "run --rm --isolation hyperv busybox true",
    "run --rm --annotation =x busybox true",
    "run --rm -e =x busybox true",
    "run --rm -l =x busybox true",
    "tag busybox BAD",
    "tag busybox x:y:z",
    "volume create -bad",
    "volume create a/b",
    "volume create a",
    "volume create -d nosuch other",
    "volume create twice",
    "volume create twice",
    "ps --filter bad=1",
    "ps --filter status=bad",
    "ps --filter exited=x",
    "images --filter bad=1",
    "volume ls --filter bad=1",
    "container prune -f --filter bad=1",
    "events --since 1s --until 1s --filter bad=1",
];

const LOOKS: &[&str] = &[
    "image inspect -f {{json~.Config}}~{{.Os}}~{{.Architecture}}~{{.Size}}~{{json~.RepoTags}}~{{json~.RootFS}} busybox",
    "images",
    "volume create --label a=b kept",
    "volume inspect kept",
    "create --name plain busybox",
    "inspect -f {{json~.Config}} plain",
    "inspect -f {{json~.HostConfig}} plain",
    "inspect -f {{json~.State}} plain",
    "inspect -f {{json~.NetworkSettings}} plain",
    "create --name full -h boxed --domainname inside -u 33:33 -w /tmp -e A=b -l k=v -v kept:/kept:ro --tmpfs /t:size=1m \
     -m 64m --memory-reservation 32m --cpus 0.5 --cpuset-cpus 0 --cpu-shares 512 --pids-limit 100 \
     --ulimit nofile=100:200 --cap-add NET_ADMIN --cap-drop MKNOD --security-opt no-new-privileges \
     --device /dev/null:/dev/nothing --add-host a:1.2.3.4 --dns 9.9.9.9 --dns-search inside --dns-option ndots:1 \
     --sysctl net.ipv4.ip_forward=1 --stop-signal INT --stop-timeout 3 --restart on-failure:2 --log-opt max-size=1m \
     --shm-size 8m --read-only --ipc private --group-add 7 --oom-score-adj 100 --expose 99 \
     -p 127.0.0.1:7777:80/udp --annotation a=b --cgroupns private -t -i --entrypoint sh busybox -c true",
    "inspect -f {{json~.Config}} full",
    "inspect -f {{json~.HostConfig}} full",
    "inspect -f {{json~.Mounts}} full",
    "start full",
    "wait full",
    "inspect -f {{.State.Status}}~{{.State.ExitCode}}~{{.RestartCount}}~{{json~.NetworkSettings.Networks}} full",
    "rm full",
    "run -d --name box -l k=v busybox sh -c echo~out;exec~sleep~1000",
    "ps --format {{.Names}}~{{.Image}}~{{.Command}}~{{.State}}~{{.Ports}}~{{.Networks}}~{{.Labels}}~{{.Size}}",
    "ps -a --filter status=created --format {{.Names}}",
    "ps -a --filter label=k=v --format {{.Names}}",
    "ps -a --filter ancestor=busybox --filter network=bridge --format {{.Names}}",
    "logs box",
    "exec box touch /new",
    "diff box",
    "commit -m message -a me -c ENV~X=y -c CMD~[\"a\"] -c EXPOSE~5 -c LABEL~q=r -c WORKDIR~/w -c USER~u -c VOLUME~/vol \
     -c ENTRYPOINT~[\"e\"] -c STOPSIGNAL~INT -c ONBUILD~RUN~x box changed:1",
    "image inspect -f {{json~.Config}}~{{.Comment}}~{{.Author}}~{{json~.RepoTags}} changed:1",
    "history --format {{.CreatedBy}}|{{.Comment}} changed:1",
    "rename box renamed",
    "inspect -f {{.Name}}~{{json~.Config.Labels}} renamed",
    "pause renamed",
    "inspect -f {{.State.Status}}~{{.State.Paused}}~{{.State.Running}} renamed",
    "unpause renamed",
    "kill renamed",
    "inspect -f {{.State.Status}}~{{.State.ExitCode}}~{{.State.Error}} renamed",
    "inspect -f {{json~.NetworkSettings}} renamed",
    "rm renamed",
    "rm plain",
    "network ls --format {{.Name}}~{{.Driver}}~{{.Scope}}",
    "events --since 1h --until -1s --filter type=container --format {{.Action}}~{{json~.Actor.Attributes}}",
    "events --since 1h --until -1s --filter type=image --format {{.Action}}~{{json~.Actor.Attributes}}",
    "volume rm kept",
    "rmi changed:1",
    "images",
    "ps -a",
    "volume ls",
];

const INSIDE: &[&str] = &[
    "run -d --name box --hostname boxed busybox sleep 1000",
    "exec box env",
    "exec box id",
    "exec -u 33 box id",
    "exec -t box tty",
    "exec box cat /proc/self/limits",
    "exec box grep -E Cap|Seccomp:|NoNewPrivs|Groups|Umask /proc/self/status",
    "exec --privileged box grep -E Cap|Seccomp:|NoNewPrivs /proc/self/status",
    "exec box ls / /dev /sys/fs/cgroup",
    "exec box cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/ipv4/ping_group_range",
    "exec box ip route",
    "exec box sh -c ip~-o~-4~address~show~eth0|awk~'{print~$4}'",
    "exec box sh -c awk~'{print~$5}'~/proc/self/mountinfo|sort",
    "exec box sh -c echo~x>/proc/sys/kernel/domainname",
    "exec box hostname renamed",
    "exec box mknod /dev/x b 8 0",
    "cp /etc/passwd box:/tmp/copied",
    "exec box ls -l /tmp/copied",
    "rm -f box",
    "run --rm busybox grep -E Cap|Seccomp:|NoNewPrivs /proc/self/status",
    "run --rm --privileged busybox grep -E Cap|Seccomp:|NoNewPrivs /proc/self/status",
    "run --rm --privileged busybox sh -c awk~'{print~$5}'~/proc/self/mountinfo|sort",
    "run --rm --privileged --cap-drop NET_ADMIN busybox grep CapEff /proc/self/status",
    "run --rm --cap-add ALL busybox grep Cap /proc/self/status",
    "run --rm --cap-drop ALL --cap-add CHOWN busybox grep Cap /proc/self/status",
    "run --rm -u 33:500 --hostname boxed busybox sh -c grep~-E~Cap|Groups~/proc/self/status;env",
    "run --rm --security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status",
    "run --rm -m 64m --cpus 0.5 --cpu-shares 512 --cpuset-cpus 0 --pids-limit 10 --memory-reservation 32m busybox sh -c \
     cd~/sys/fs/cgroup;cat~memory/memory.limit_in_bytes~memory/memory.memsw.limit_in_bytes~memory/memory.soft_limit_in_bytes~cpu/cpu.cfs_quota_us~cpu/cpu.cfs_period_us~cpu/cpu.shares~cpuset/cpuset.cpus~pids/pids.max;sort~devices/devices.list",
    "run --rm --blkio-weight 100 busybox true",
    "run --rm --read-only busybox sh -c touch~/x;touch~/dev/x;touch~/dev/shm/x;touch~/tmp/x;touch~/proc/x;touch~/sys/x",
    "run --rm --tmpfs /t busybox sh -c awk~'$5==\"/t\"{print~$4,$6}'~/proc/self/mountinfo",
    "run --rm -v @:/b:ro busybox sh -c touch~/b/x",
    "run --rm --ipc none busybox touch /dev/shm/x",
    "run --rm --uts host --network none busybox ls /sys/class/net",
    "run --rm --hostname boxed -e TERM=x -t busybox sh -c echo~$TERM~$HOME~$HOSTNAME;stty~size",
    "run --rm -a stdout busybox sh -c echo~out;echo~err~>&2",
    "run --rm --ulimit nofile=100:200 busybox sh -c ulimit~-Sn;ulimit~-Hn",
    "run --rm --sysctl net.ipv4.ip_forward=1 busybox cat /proc/sys/net/ipv4/ip_forward",
    "run --rm --device /dev/null:/dev/nothing:r busybox stat -c %A~%t~%T /dev/nothing",
    "run --rm --add-host a:1.2.3.4 --network none busybox tail -n 1 /etc/hosts",
    "run --rm --dns 9.9.9.9 --dns-search inside --dns-option ndots:1 busybox grep ^[a-z] /etc/resolv.conf",
    "run --rm --cgroupns private busybox cat /proc/self/cgroup",
    "run --rm --init busybox cat /proc/1/cmdline",
    "run --rm --network none busybox ip -o address",
    "run --rm --stop-signal INT --stop-timeout 1 --shm-size 1m busybox df -k /dev/shm",
];
