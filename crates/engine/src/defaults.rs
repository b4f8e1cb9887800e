//! What a container gets that asks for nothing else, as the daemon's configuration has it. Pure.
//!
//! As in Docker, some of it is written into the record and so stays as it is (log, shared memory, ipc, cgroup namespace),
//! and some counts anew at each start (init, limits, new privileges, names).

use api::host_config::{HostConfig, LogConfig, Ulimit};
use fault::Result;

use crate::container;

/// All of it.
#[derive(Clone, Debug)]
pub struct Defaults {
    pub log: LogConfig,
    pub shm_size_bytes: i64,
    pub ulimits: Vec<Ulimit>,
    pub init: bool,
    pub no_new_privileges: bool,
    /// `private` or `shareable`.
    pub ipc_mode: String,
    /// `private`, `host`, or empty: as this kernel's cgroups suggest.
    pub cgroupns_mode: String,
    pub runtime: String,
    /// Empty: the host's.
    pub dns_search: Vec<String>,
    /// Empty: the host's.
    pub dns_options: Vec<String>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            log: LogConfig { kind: "json-file".into(), ..LogConfig::default() },
            shm_size_bytes: SHM_SIZE_BYTES,
            ulimits: Vec::new(),
            init: false,
            no_new_privileges: false,
            ipc_mode: "private".into(),
            cgroupns_mode: String::new(),
            runtime: "runc".into(),
            dns_search: Vec::new(),
            dns_options: Vec::new(),
        }
    }
}

/// 64 MiB.
const SHM_SIZE_BYTES: i64 = 64 << 20;

impl Defaults {
    /// What every container would be refused for.
    pub fn check(&self) -> Result<()> {
        container::check_log(&self.log)
    }

    /// What is written into the record.
    pub(crate) fn fill(&self, host: &mut HostConfig) {
        let default = |own: &mut String, text: &str| {
            if own.is_empty() {
                text.clone_into(own);
            }
        };
        default(&mut host.log_config.kind, &self.log.kind);
        if host.log_config.kind == self.log.kind {
            for (key, value) in &self.log.config {
                host.log_config.config.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
        default(&mut host.ipc_mode, &self.ipc_mode);
        default(&mut host.cgroupns_mode, &self.cgroupns_mode);
        default(&mut host.runtime, &self.runtime);
        if host.shm_size == 0 {
            host.shm_size = self.shm_size_bytes;
        }
    }

    /// What counts at a start, in addition to what the record says.
    pub(crate) fn overlay(&self, host: &mut HostConfig) {
        let own_pids = matches!(host.pid_mode.as_str(), "" | "private");
        if host.init.is_none() && self.init && own_pids {
            host.init = Some(true);
        }
        if self.no_new_privileges {
            // In front, so that the container's own word is the last one.
            host.security_opt.get_or_insert_default().insert(0, "no-new-privileges".into());
        }
        let ulimits = host.resources.ulimits.get_or_insert_default();
        for limit in &self.ulimits {
            if !ulimits.iter().any(|own| own.name == limit.name) {
                ulimits.push(limit.clone());
            }
        }
        for (own, texts) in
            [(&mut host.dns_search, &self.dns_search), (&mut host.dns_options, &self.dns_options)]
        {
            if own.as_ref().is_none_or(Vec::is_empty) && !texts.is_empty() {
                *own = Some(texts.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defaults() -> Defaults {
        let log = LogConfig {
            kind: "json-file".into(),
            config: [("max-size".to_owned(), "1m".to_owned()), ("max-file".to_owned(), "3".to_owned())]
                .into(),
        };
        let nofile = Ulimit { name: "nofile".into(), hard: 20, soft: 10 };
        Defaults {
            log,
            shm_size_bytes: 1 << 20,
            ulimits: vec![nofile],
            init: true,
            no_new_privileges: true,
            ipc_mode: "shareable".into(),
            cgroupns_mode: "host".into(),
            dns_search: vec!["lan".into()],
            ..Defaults::default()
        }
    }

    fn host(json: &str) -> HostConfig {
        api::from_slice(json.as_bytes()).unwrap()
    }

    #[test]
    fn who_asks_for_nothing_gets_them_all() {
        let mut asked = host("{}");
        defaults().fill(&mut asked);
        assert_eq!(asked.log_config, defaults().log);
        assert_eq!((asked.shm_size, asked.ipc_mode.as_str()), (1 << 20, "shareable"));
        assert_eq!((asked.cgroupns_mode.as_str(), asked.runtime.as_str()), ("host", "runc"));
        assert_eq!((asked.init, asked.security_opt.clone()), (None, None), "not part of the record");
        defaults().overlay(&mut asked);
        assert_eq!((asked.init, asked.dns_search), (Some(true), Some(vec!["lan".to_owned()])));
        assert_eq!(asked.security_opt, Some(vec!["no-new-privileges".to_owned()]));
        assert_eq!(asked.resources.ulimits.unwrap()[0].soft, 10);
    }

    #[test]
    fn a_container_s_own_wishes_go_first() {
        let mut asked = host(
            r#"{"LogConfig":{"Type":"json-file","Config":{"max-size":"9m"}},"ShmSize":5,"IpcMode":"host",
                "CgroupnsMode":"private","Runtime":"kogge-runtime","Init":false,"DnsSearch":["own"],
                "SecurityOpt":["no-new-privileges=false"],
                "Ulimits":[{"Name":"nofile","Hard":1,"Soft":1}]}"#,
        );
        defaults().fill(&mut asked);
        defaults().overlay(&mut asked);
        assert_eq!(asked.log_config.config["max-size"], "9m");
        assert_eq!(asked.log_config.config["max-file"], "3");
        assert_eq!((asked.shm_size, asked.ipc_mode.as_str(), asked.init), (5, "host", Some(false)));
        assert_eq!((asked.cgroupns_mode.as_str(), asked.runtime.as_str()), ("private", "kogge-runtime"));
        assert_eq!(asked.security_opt.unwrap().last().unwrap(), "no-new-privileges=false");
        assert_eq!(asked.resources.ulimits.unwrap().len(), 1);
        assert_eq!(asked.dns_search, Some(vec!["own".to_owned()]));
    }

    #[test]
    fn options_of_one_log_driver_are_not_another_s_and_init_needs_pids_of_its_own() {
        let mut asked = host(r#"{"LogConfig":{"Type":"none"},"PidMode":"host"}"#);
        defaults().fill(&mut asked);
        defaults().overlay(&mut asked);
        assert!(asked.log_config.config.is_empty());
        assert_eq!(asked.init, None);
    }
}
