//! `--health-*`: how the daemon finds out whether the container does its work.

use api::container::Healthcheck;

use super::Checked;
use crate::flags::Matches;

pub(super) fn check(matches: &Matches) -> Checked<Option<Healthcheck>> {
    let command = matches.text("health-cmd");
    let check = Healthcheck {
        test: if command.is_empty() { Vec::new() } else { vec!["CMD-SHELL".into(), command.into()] },
        interval: matches.span("health-interval"),
        timeout: matches.span("health-timeout"),
        start_period: matches.span("health-start-period"),
        start_interval: matches.span("health-start-interval"),
        retries: matches.int("health-retries"),
    };
    let is_asked = check != Healthcheck::default();
    if matches.is_on("no-healthcheck") {
        return match is_asked {
            true => Err("--no-healthcheck conflicts with --health-* options".into()),
            false => Ok(Some(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() })),
        };
    }
    for (flag, value) in [
        ("interval", check.interval),
        ("timeout", check.timeout),
        ("retries", check.retries),
        ("start-period", check.start_period),
        ("start-interval", check.start_interval),
    ] {
        if value < 0 {
            return Err(format!("--health-{flag} cannot be negative"));
        }
    }
    Ok(is_asked.then_some(check))
}
