//! `kogge version`: ours and the daemon's.

use api::system::Version;
use client::Client;
use fault::Error;
use gotmpl::Value;
use serde_json::json;

use super::{Args, Command};
use crate::cli::Cli;
use crate::exit::{Exit, Outcome};
use crate::flags::Matches;
use crate::format::{self, Document, Skeleton, Tabs, Template, human};
use crate::terminal;

pub(crate) const COMMAND: Command =
    Command::new("Show the version information", "[OPTIONS]", Args::None, |cli, matches| {
        Box::pin(run(cli, matches))
    })
    .flags(&[&[super::INSPECT_FORMAT]]);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let source = match matches.text("format") {
        "" => LAYOUT,
        "json" => "{{json .}}",
        given => given,
    };
    Template::named("version", source).map_err(|problem| Exit::new(64, problem.to_string()))?;
    let (server, failure) = match asked(cli).await {
        Ok(version) => (Some(completed(version)), None),
        Err(error) => (None, Some(error)),
    };
    let spoken = cli.client().map_or_else(|_| api::VERSION.to_owned(), Client::version);
    let versions = json!({ "Client": client(cli, &spoken), "Server": server });
    let document = Document::parse(versions.to_string().as_bytes(), GO_NAMES)?;
    let text = match source == LAYOUT {
        true => page(&document.value)?,
        false => {
            let template = Template::over(source, document.orders)?.called("version");
            format::or_blank(template.execute(&document.value, "system.versionInfo"))?
        }
    };
    terminal::print(&Tabs::VERSION.align(&(text + "\n")))?;
    failure.map_or(Ok(()), |error| Err(error.into()))
}

async fn asked(cli: &Cli) -> Result<Version, Error> {
    client::system::version(cli.client()?).await
}

/// `Kogge version 0.1.0, build abc`.
pub(super) fn short() -> String {
    format!("Kogge version {}, build {}", env!("CARGO_PKG_VERSION"), commit())
}

pub(super) fn commit() -> &'static str {
    option_env!("KOGGE_COMMIT").unwrap_or("unknown")
}

fn client(cli: &Cli, spoken: &str) -> serde_json::Value {
    json!({
        "Version": env!("CARGO_PKG_VERSION"),
        "ApiVersion": spoken,
        "DefaultAPIVersion": api::VERSION,
        "GitCommit": commit(),
        "Os": std::env::consts::OS,
        "Arch": architecture(),
        "BuildTime": option_env!("KOGGE_BUILD_TIME").map(human::date).unwrap_or_default(),
        "Context": cli.context(),
    })
}

/// Go's name of the architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// A daemon that names no engine among its components is one.
fn completed(mut version: Version) -> Version {
    for component in version.components.iter_mut().filter(|component| component.name == "Engine") {
        if let Some(time) = component.details.get_mut("BuildTime") {
            *time = human::date(time);
        }
    }
    if !version.components.iter().any(|component| component.name == "Engine") {
        let details = [
            ("ApiVersion", version.api_version.clone()),
            ("MinAPIVersion", version.min_api_version.clone()),
            ("GitCommit", version.git_commit.clone()),
            ("GoVersion", version.go_version.clone()),
            ("Os", version.os.clone()),
            ("Arch", version.arch.clone()),
            ("BuildTime", human::date(&version.build_time)),
            ("Experimental", version.experimental.to_string()),
        ];
        version.components.push(api::system::Component {
            name: "Engine".into(),
            version: version.version.clone(),
            details: details.into_iter().map(|(key, value)| (key.into(), value)).collect(),
        });
    }
    version
}

/// Stands for the page that people get who ask for no template.
const LAYOUT: &str = "";

fn page(versions: &Value) -> Outcome<String> {
    let mut page =
        Template::parse(CLIENT_PAGE)?.execute_on_map(versions.field("Client").unwrap_or(&Value::Nil))?;
    if let Some(server) = versions.field("Server").filter(|server| !matches!(server, Value::Nil)) {
        page.push_str(&Template::parse(SERVER_PAGE)?.execute_on_map(server)?);
    }
    Ok(page)
}

/// Go's names of fields whose JSON differs.
const GO_NAMES: Skeleton = &[("Client.APIVersion", "=ApiVersion"), ("Server.APIVersion", "=ApiVersion")];

const CLIENT_PAGE: &str = "Client:
 Version:\t{{.Version}}
 API version:\t{{.ApiVersion}}{{if ne .ApiVersion .DefaultAPIVersion}} (downgraded from {{.DefaultAPIVersion}}){{end}}
 Git commit:\t{{.GitCommit}}
 Built:\t{{.BuildTime}}
 OS/Arch:\t{{.Os}}/{{.Arch}}
 Context:\t{{.Context}}";

const SERVER_PAGE: &str = r#"

Server:{{if .Platform.Name}} {{.Platform.Name}}{{end}}
{{- range .Components}}
 {{.Name}}:
  Version:	{{.Version}}
{{- if eq .Name "Engine"}}
  API version:	{{with index .Details "ApiVersion"}}{{.}}{{end}} (minimum version {{with index .Details "MinAPIVersion"}}{{.}}{{end}})
  Go version:	{{with index .Details "GoVersion"}}{{.}}{{end}}
  Git commit:	{{with index .Details "GitCommit"}}{{.}}{{end}}
  Built:	{{with index .Details "BuildTime"}}{{.}}{{end}}
  OS/Arch:	{{with index .Details "Os"}}{{.}}{{end}}/{{with index .Details "Arch"}}{{.}}{{end}}
  Experimental:	{{with index .Details "Experimental"}}{{.}}{{end}}
{{- else}}
{{- range $key, $value := .Details}}
  {{$key}}:	{{$value}}
{{- end}}
{{- end}}
{{- end}}"#;
