//! `kogge info`: what the daemon says of itself and its host.

use std::fmt::{Display, Write};

use api::system::Info;
use fault::Error;
use serde_json::{Value, json};

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::Matches;
use crate::format::{self, Document, Template, human};
use crate::terminal;

pub(crate) const COMMAND: Command =
    Command::new("Display system-wide information", "[OPTIONS]", Args::None, |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .also("kogge system info, kogge info")
    .flags(&[&[super::INSPECT_FORMAT]]);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let format = match matches.text("format") {
        "json" => "{{json .}}",
        given => given,
    };
    if !format.is_empty() {
        Template::parse(format).map_err(|problem| Exit::new(64, problem.to_string()))?;
    }
    let (server, failure) = match asked(cli).await {
        Ok(json) => (Some(json), None),
        Err(error) => (None, Some(error)),
    };
    match format {
        "" => page(cli, server.as_deref())?,
        format => terminal::line(filled(cli, format, server)?)?,
    }
    failure.map_or(Ok(()), |error| Err(error.into()))
}

async fn asked(cli: &Cli) -> Result<Vec<u8>, Error> {
    client::system::info_raw(cli.client()?).await
}

fn page(cli: &Cli, server: Option<&[u8]>) -> Outcome {
    let mut text = format!(
        "Client:\n Version:    {}\n Context:    {}\n Debug Mode: {}\n\nServer:\n",
        env!("CARGO_PKG_VERSION"),
        cli.context(),
        cli.is_debug()
    );
    let Some(json) = server else { return terminal::print(&text) };
    let info: Info = api::from_slice(json)?;
    text.push_str(&server_page(&info));
    terminal::print(&text)?;
    for warning in info.warnings.iter().flatten() {
        terminal::warn(format_args!("{warning}"));
    }
    Ok(())
}

/// The lines of a page.
#[derive(Default)]
struct Page(String);

impl Page {
    fn line(&mut self, label: &str, value: impl Display) {
        writeln!(self.0, " {label}: {value}").expect("strings take all");
    }

    /// Left out if there is nothing to tell.
    fn text(&mut self, label: &str, value: &str) {
        if !value.is_empty() {
            self.line(label, value);
        }
    }

    fn raw(&mut self, line: impl Display) {
        writeln!(self.0, "{line}").expect("strings take all");
    }
}

fn server_page(info: &Info) -> String {
    let mut page = Page::default();
    counts(&mut page, info);
    plugins(&mut page, info);
    runtimes(&mut page, info);
    host(&mut page, info);
    registries(&mut page, info);
    page.line("Live Restore Enabled", info.live_restore_enabled);
    page.raw("");
    page.0
}

fn counts(page: &mut Page, info: &Info) {
    page.line("Containers", info.containers);
    page.line(" Running", info.containers_running);
    page.line(" Paused", info.containers_paused);
    page.line(" Stopped", info.containers_stopped);
    page.line("Images", info.images);
    page.text("Server Version", &info.server_version);
    page.text("Storage Driver", &info.driver);
    for (name, value) in &info.driver_status {
        page.raw(format_args!("  {name}: {value}"));
    }
    page.text("Logging Driver", &info.logging_driver);
    page.text("Cgroup Driver", &info.cgroup_driver);
    page.text("Cgroup Version", &info.cgroup_version);
}

fn plugins(page: &mut Page, info: &Info) {
    page.raw(" Plugins:");
    page.line(" Volume", info.plugins.volume.join(" "));
    page.line(" Network", info.plugins.network.join(" "));
    if let Some(authorization) = info.plugins.authorization.as_ref().filter(|list| !list.is_empty()) {
        page.line(" Authorization", authorization.join(" "));
    }
    page.line(" Log", info.plugins.log.join(" "));
    if !info.cdi_spec_dirs.is_empty() {
        page.raw(" CDI spec directories:");
        for folder in &info.cdi_spec_dirs {
            page.raw(format_args!("  {folder}"));
        }
    }
    page.line("Swarm", &info.swarm.local_node_state);
}

fn runtimes(page: &mut Page, info: &Info) {
    if !info.runtimes.is_empty() {
        let names: Vec<&str> = info.runtimes.keys().map(String::as_str).collect();
        page.line("Runtimes", names.join(" "));
        page.line("Default Runtime", &info.default_runtime);
    }
    page.line("Init Binary", &info.init_binary);
    page.line("containerd version", &info.containerd_commit.id);
    page.line("runc version", &info.runc_commit.id);
    page.line("init version", &info.init_commit.id);
    if !info.security_options.is_empty() {
        page.raw(" Security Options:");
    }
    for option in &info.security_options {
        security_option(page, option);
    }
}

/// `name=seccomp,profile=builtin`
fn security_option(page: &mut Page, option: &str) {
    for part in option.split(',') {
        match part.split_once('=') {
            Some(("name", name)) => page.raw(format_args!("  {name}")),
            Some(("profile", profile)) => page.raw(format_args!("   Profile: {profile}")),
            _ => {}
        }
    }
}

fn host(page: &mut Page, info: &Info) {
    page.text("Kernel Version", &info.kernel_version);
    page.text("Operating System", &info.operating_system);
    page.text("OSType", &info.os_type);
    page.text("Architecture", &info.architecture);
    page.line("CPUs", info.n_cpu);
    page.line("Total Memory", human::size_binary(info.mem_total as f64));
    page.text("Name", &info.name);
    page.text("ID", &info.id);
    page.line("Docker Root Dir", &info.docker_root_dir);
    page.line("Debug Mode", info.debug);
    if info.debug {
        page.line(" File Descriptors", info.n_fd);
        page.line(" Goroutines", info.n_goroutines);
        page.line(" System Time", &info.system_time);
        page.line(" EventsListeners", info.n_events_listener);
    }
    page.text("HTTP Proxy", &info.http_proxy);
    page.text("HTTPS Proxy", &info.https_proxy);
    page.text("No Proxy", &info.no_proxy);
    if !info.labels.is_empty() {
        page.raw(" Labels:");
    }
    for label in &info.labels {
        page.raw(format_args!("  {label}"));
    }
    page.line("Experimental", info.experimental_build);
}

fn registries(page: &mut Page, info: &Info) {
    let config = &info.registry_config;
    if !config.insecure_registry_cidrs.is_empty() || !config.index_configs.is_empty() {
        page.raw(" Insecure Registries:");
        for index in config.index_configs.values().filter(|index| !index.secure) {
            page.raw(format_args!("  {}", index.name));
        }
        for network in &config.insecure_registry_cidrs {
            page.raw(format_args!("  {network}"));
        }
    }
    if !config.mirrors.is_empty() {
        page.raw(" Registry Mirrors:");
        for mirror in &config.mirrors {
            page.raw(format_args!("  {mirror}"));
        }
    }
}

/// A template over the daemon's words, with ours as `ClientInfo`.
fn filled(cli: &Cli, format: &str, server: Option<Vec<u8>>) -> Outcome<String> {
    let client = json!({
        "Debug": cli.is_debug(),
        "Version": env!("CARGO_PKG_VERSION"),
        "DefaultAPIVersion": api::VERSION,
        "GitCommit": super::version::commit(),
        "Os": std::env::consts::OS,
        "Context": cli.context(),
        "Plugins": [],
        "Warnings": Value::Null,
    });
    // Without an answer, Go's template works on an empty one.
    let server = server.unwrap_or_else(|| serde_json::to_vec(&Info::default()).expect("the type is JSON"));
    let server = String::from_utf8_lossy(&server).trim().to_owned();
    let body = server.strip_suffix('}').unwrap_or(&server);
    let comma = if body.trim_end().ends_with('{') { "" } else { "," };
    let json = format!("{body}{comma}\"ClientInfo\":{client}}}");
    let document = Document::parse(json.as_bytes(), &[])?;
    format::or_blank(Template::over(format, document.orders)?.execute(&document.value, "system.dockerInfo"))
}
