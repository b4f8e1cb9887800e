//! A container's configuration over its image's, by Docker's rules. Pure.

use api::container::Config;
use api::image::Empty;
use fault::{Error, Result};

/// Fills what the request left open with what the image says.
pub(super) fn merge(mut config: Config, image: &oci::image::Config) -> Result<Config> {
    fill(&mut config.user, &image.user);
    fill(&mut config.working_dir, &image.working_dir);
    fill(&mut config.stop_signal, image.stop_signal.as_deref().unwrap_or_default());
    for port in &image.exposed_ports {
        config.exposed_ports.entry(port.parse()?).or_insert(Empty {});
    }
    let mut volumes = config.volumes.take().unwrap_or_default();
    volumes.extend(image.volumes.iter().map(|path| (path.clone(), Empty {})));
    config.volumes = (!volumes.is_empty()).then_some(volumes);
    for (key, value) in &image.labels {
        config.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    merge_env(&mut config, image);
    merge_command(&mut config, image);
    if config.shell.is_none() && !image.shell.is_empty() {
        config.shell = Some(image.shell.clone());
    }
    if config.healthcheck.is_none() {
        config.healthcheck.clone_from(&image.healthcheck);
    }
    if config.entrypoint.as_ref().is_some_and(|words| *words == [""]) {
        config.entrypoint = None;
    }
    let has_words = |words: &Option<Vec<String>>| words.as_ref().is_some_and(|words| !words.is_empty());
    if !has_words(&config.entrypoint) && !has_words(&config.cmd) {
        return Err(Error::invalid("no command specified"));
    }
    Ok(config)
}

fn fill(own: &mut String, image: &str) {
    if own.is_empty() {
        image.clone_into(own);
    }
}

/// Own variables first, then those of the image whose names are not taken.
fn merge_env(config: &mut Config, image: &oci::image::Config) {
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    let env = config.env.get_or_insert_default();
    for entry in &image.env {
        if !env.iter().any(|own| name(own) == name(entry)) {
            env.push(entry.clone());
        }
    }
}

/// An entrypoint of one's own takes the image's command away with the image's entrypoint.
fn merge_command(config: &mut Config, image: &oci::image::Config) {
    if config.entrypoint.as_ref().is_some_and(|words| !words.is_empty()) {
        return;
    }
    if config.cmd.as_ref().is_none_or(Vec::is_empty) {
        config.cmd.clone_from(&image.cmd);
        config.args_escaped = image.args_escaped;
    }
    if config.entrypoint.is_none() {
        config.entrypoint.clone_from(&image.entrypoint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> oci::image::Config {
        serde_json::from_str(
            r#"{"User":"www","Env":["PATH=/bin","A=1"],"Entrypoint":["/e"],"Cmd":["c"],"WorkingDir":"/w",
            "ExposedPorts":{"80/tcp":{}},"Volumes":{"/v":{}},"Labels":{"a":"image","b":"image"},"StopSignal":"QUIT"}"#,
        )
        .unwrap()
    }

    fn merged(json: &str) -> Config {
        merge(api::from_slice(json.as_bytes()).unwrap(), &image()).unwrap()
    }

    fn words(list: &[&str]) -> Option<Vec<String>> {
        Some(list.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn commands_follow_the_entrypoint() {
        let check = |json: &str, entrypoint: Option<Vec<String>>, cmd: Option<Vec<String>>| {
            let config = merged(json);
            assert_eq!((config.entrypoint, config.cmd), (entrypoint, cmd), "{json}");
        };
        check("{}", words(&["/e"]), words(&["c"]));
        check(r#"{"Cmd":["x"]}"#, words(&["/e"]), words(&["x"]));
        check(r#"{"Entrypoint":["/f"]}"#, words(&["/f"]), None);
        check(r#"{"Entrypoint":[""],"Cmd":["x"]}"#, None, words(&["x"]));
    }

    #[test]
    fn own_values_win() {
        let config =
            merged(r#"{"User":"me","Env":["A=2"],"Labels":{"a":"own"},"ExposedPorts":{"1/udp":{}}}"#);
        assert_eq!(config.user, "me");
        assert_eq!(config.env, words(&["A=2", "PATH=/bin"]));
        assert_eq!((config.labels["a"].as_str(), config.labels["b"].as_str()), ("own", "image"));
        assert_eq!(config.exposed_ports.len(), 2);
        assert_eq!((config.working_dir.as_str(), config.stop_signal.as_str()), ("/w", "QUIT"));
    }

    #[test]
    fn something_must_run() {
        let nothing = merge(Config::default(), &oci::image::Config::default());
        assert_eq!(nothing.unwrap_err().to_string(), "no command specified");
    }
}
