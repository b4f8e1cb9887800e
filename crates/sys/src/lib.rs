//! Every system call and every line of `unsafe` of the project.
//!
//! Guarantees: errors name the call and its object; file descriptors are owned and close on exec; nothing here
//! knows containers, images, JSON or async.
#![expect(unsafe_code, reason = "this crate is where it lives")]

pub mod cgroup_bpf;
pub mod crash;
pub mod errno;
pub mod family;
pub mod fs;
pub mod identity;
pub mod inherited;
pub mod inotify;
pub mod malloc;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod poll;
pub mod port;
pub mod process;
mod raw;
pub mod scheduling;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod stack;
pub mod time;
pub mod tty;
pub mod writeback;
pub mod xattr;
