//! The processes of a container, as `ps` on the host would print them.
//!
//! No `ps` is started: the columns that it is asked for are computed from /proc. What we do not know is refused by name.

mod arguments;
mod column;
mod process;

use api::container::Top;
use fault::{Error, Result};
use runtime::cgroup::Cgroup;

use crate::{Engine, Status, container};
use process::{Machine, Process};

/// Lists the processes in the form that `ps` arguments ask for; none means `-ef`.
pub async fn list(engine: &Engine, id: &str, arguments: &str) -> Result<Top> {
    let container = container::find(engine, id)?;
    let columns = arguments::columns(arguments)?;
    let view = container.view();
    let id = &container.id;
    match view.record.state.status {
        status if status.has_process() => {}
        Status::Restarting => {
            let words = format!("Container {id} is restarting, wait until the container is running");
            return Err(Error::conflict(words));
        }
        _ => return Err(Error::conflict(format!("container {id} is not running"))),
    }
    let cgroup = view.cgroup(engine.config());
    let top = engine
        .blocking(move |_| {
            let machine = Machine::read()?;
            let mut pids = Cgroup::at(&cgroup)?.pids()?;
            pids.sort_unstable();
            let processes: Vec<Process> =
                pids.into_iter().filter_map(|pid| Process::read(pid).transpose()).collect::<Result<_>>()?;
            let row =
                |process: &Process| columns.iter().map(|column| column.show(process, &machine)).collect();
            Ok(Top {
                titles: columns.iter().map(|column| column.title.clone()).collect(),
                processes: processes.iter().map(row).collect(),
            })
        })
        .await?;
    engine.events().publish_container(&view.record, "top", &[]);
    Ok(top)
}
