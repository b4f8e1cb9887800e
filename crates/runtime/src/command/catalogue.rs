//! The commands with what their help says.

use super::{Command, container, create, events, exec, features, list, spec, update};

pub(super) const COMMANDS: &[Command] = &[
    Command {
        name: "create",
        run: create::create,
        about: "create a container",
        operands: "<container-id>",
        options: CREATE_OPTIONS,
    },
    Command {
        name: "delete",
        run: container::delete,
        about: "delete any resources held by the container",
        operands: "<container-id>",
        options: "--force, -f   end the container first, if it still runs",
    },
    Command {
        name: "events",
        run: events::events,
        about: "display what a container uses, and when its memory runs out",
        operands: "<container-id>",
        options: "--interval TIME   between two reports (default: 5s)
--stats           report once",
    },
    Command {
        name: "exec",
        run: exec::exec,
        about: "execute new process inside the container",
        operands: "<container-id> <command> [command options]",
        options: EXEC_OPTIONS,
    },
    Command {
        name: "features",
        run: features::features,
        about: "show the enabled features",
        operands: "",
        options: "",
    },
    Command {
        name: "kill",
        run: container::kill,
        about: "send the specified signal (default: SIGTERM) to the container's init process",
        operands: "<container-id> [signal]",
        options: "--all, -a   to all processes of the container",
    },
    Command {
        name: "list",
        run: list::list,
        about: "list containers started by this runtime with the given root",
        operands: "",
        options: "--format FORMAT, -f FORMAT   table or json (default: table)
--quiet, -q                  ids only",
    },
    Command {
        name: "pause",
        run: container::pause,
        about: "suspend all processes inside the container",
        operands: "<container-id>",
        options: "",
    },
    Command {
        name: "ps",
        run: list::ps,
        about: "display the processes running inside a container",
        operands: "<container-id> [ps options]",
        options: "--format FORMAT, -f FORMAT   table or json (default: table)",
    },
    Command {
        name: "resume",
        run: container::resume,
        about: "resume all processes that have been previously paused",
        operands: "<container-id>",
        options: "",
    },
    Command {
        name: "run",
        run: create::run,
        about: "create and run a container",
        operands: "<container-id>",
        options: RUN_OPTIONS,
    },
    Command {
        name: "spec",
        run: spec::spec,
        about: "create a new specification file",
        operands: "",
        options: "--bundle DIR, -b DIR   where to (default: .)
--rootless             for a user without rights",
    },
    Command {
        name: "start",
        run: create::start,
        about: "execute the user defined process in a created container",
        operands: "<container-id>",
        options: "",
    },
    Command {
        name: "state",
        run: list::state,
        about: "output the state of a container",
        operands: "<container-id>",
        options: "",
    },
    Command {
        name: "update",
        run: update::update,
        about: "update container resource constraints",
        operands: "<container-id>",
        options: UPDATE_OPTIONS,
    },
];

const CREATE_OPTIONS: &str = "--bundle DIR, -b DIR    with the file config.json (default: .)
--config FILE, -f FILE  in the bundle, another one than config.json
--console-socket PATH   who listens there gets the terminal
--pid-file FILE         gets the number of the first process
--pidfd-socket PATH     who listens there gets a handle to the first process
--preserve-fds N        descriptors that the container inherits, from number 3 on
--no-pivot              leave the host's root beneath the container's
--no-new-keyring        without effect: none is made";

const RUN_OPTIONS: &str = "--bundle DIR, -b DIR    with the file config.json (default: .)
--config FILE, -f FILE  in the bundle, another one than config.json
--console-socket PATH   who listens there gets the terminal
--detach, -d            do not wait for the container
--keep                  do not delete the container when it ends
--pid-file FILE         gets the number of the first process
--pidfd-socket PATH     who listens there gets a handle to the first process
--preserve-fds N        descriptors that the container inherits, from number 3 on
--no-pivot              leave the host's root beneath the container's
--no-new-keyring        without effect: none is made
--no-subreaper          without effect: nobody's orphans are adopted";

const EXEC_OPTIONS: &str = "--additional-gids GID, -g GID   further groups
--cap NAME, -c NAME             further capabilities
--cgroup [CONTROLLERS:]PATH     beneath the container's cgroup
--console-socket PATH           who listens there gets the terminal
--cwd DIR                       where the process begins
--detach, -d                    do not wait for the process
--env NAME=VALUE, -e NAME=VALUE
--ignore-paused                 in a paused container too
--no-new-privs                  it cannot gain privileges
--pid-file FILE                 gets the number of the process
--pidfd-socket PATH             who listens there gets a handle to the process
--preserve-fds N                descriptors that it inherits, from number 3 on
--process FILE, -p FILE         the process as JSON, `-` for standard input
--tty, -t                       with a terminal
--user UID[:GID], -u UID[:GID]";

const UPDATE_OPTIONS: &str = "--blkio-weight N           from 10 to 1000
--cpu-burst TIME           in microseconds
--cpu-idle N               1 for idle
--cpu-period TIME          in microseconds
--cpu-quota TIME           in microseconds for each period
--cpu-rt-period TIME       in microseconds
--cpu-rt-runtime TIME      in microseconds
--cpu-share N              relative to others
--cpuset-cpus LIST         such as 0-3,7
--cpuset-mems LIST         such as 0-3,7
--memory BYTES             -1 for no bound, or with a letter k, m, g
--memory-reservation BYTES
--memory-swap BYTES        memory and swap together
--pids-limit N             -1 for no bound
--resources FILE, -r FILE  all of it as JSON, `-` for standard input";
