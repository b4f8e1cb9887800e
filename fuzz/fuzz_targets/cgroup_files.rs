//! Any text as the files of a cgroup, of version 1 and 2.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::cgroup::{Hierarchy, Layout, Stats};

fuzz_target!(|text: &str| {
    let v1 = ["cpuacct", "memory", "blkio"]
        .map(|name| Hierarchy { controllers: vec![name.to_owned()], mount: name.into() });
    for layout in [Layout { v1: v1.into(), v2: None }, Layout::default()] {
        let stats = Stats::from_files(&layout, &|_, _| Ok(text.to_owned()));
        drop(stats.expect("text is never refused"));
    }
});
