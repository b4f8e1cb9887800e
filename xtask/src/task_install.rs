//! `cargo xtask install [--prefix DIR]`: the programs and a systemd unit in place, `/usr/local` by default.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::build::{PROGRAMS, Profile, programs, replace};
use crate::run::create_folder;

pub(crate) fn run(arguments: Vec<String>) -> Result {
    let prefix = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => PathBuf::from("/usr/local"),
        ["--prefix", folder] => PathBuf::from(folder),
        _ => return Err("usage: cargo xtask install [--prefix DIR]".into()),
    };
    let built = programs(Profile::Release)?;
    let bin = prefix.join("bin");
    let units = prefix.join("lib/systemd/system");
    for folder in [&bin, &units] {
        create_folder(folder)?;
    }
    for program in PROGRAMS {
        replace(&built.join(program), &bin.join(program))?;
        println!("{}", bin.join(program).display());
    }
    let unit = units.join("kogge.service");
    std::fs::write(&unit, unit_text(&bin)).map_err(|error| format!("{}: {error}", unit.display()))?;
    println!("{}\n\nStart it with: systemctl enable --now kogge", unit.display());
    Ok(())
}

/// Containers outlive the daemon: systemd must end nothing but the daemon itself, and leave the cgroups below alone.
fn unit_text(bin: &Path) -> String {
    format!(
        "[Unit]\nDescription=Kogge container engine\nAfter=network-online.target\nWants=network-online.target\n\n\
         [Service]\nExecStart={}/kogged\nKillMode=process\nDelegate=yes\nRestart=always\nRestartSec=1\n\
         LimitNOFILE=infinity\nTasksMax=infinity\nOOMScoreAdjust=-500\n\n[Install]\nWantedBy=multi-user.target\n",
        bin.display()
    )
}
