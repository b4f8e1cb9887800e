//! Places beneath a container's cgroup, for processes that are executed there later.

use std::path::{Component, Path, PathBuf};

use fault::{Error, Result};

use super::Layout;

/// A place beneath a cgroup, in all hierarchies or in those of some controllers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubCgroup {
    /// Of v1; none for all hierarchies.
    controllers: Vec<String>,
    path: PathBuf,
}

impl SubCgroup {
    /// `PATH` or `CONTROLLER,CONTROLLER:PATH`, as runc's `exec --cgroup` has it.
    pub fn parse(text: &str) -> Result<Self> {
        let (controllers, path) = text.split_once(':').unwrap_or(("", text));
        let controllers: Vec<_> =
            controllers.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let layout = Layout::of_this_machine()?;
        if let Some(unknown) = controllers.iter().find(|name| !layout.has_v1(name)) {
            return Err(Error::invalid(format!("unknown controller {unknown} in --cgroup")));
        }
        let path = Path::new(path);
        let path = path.strip_prefix("/").unwrap_or(path);
        if !path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(Error::invalid(format!("bad sub cgroup path: {}", path.display())));
        }
        Ok(Self { controllers, path: path.to_owned() })
    }
}

/// The place in the hierarchy of these controllers. What names one of them wins over what is for all.
pub(super) fn path_in<'a>(nested: &'a [SubCgroup], controllers: &[String]) -> &'a Path {
    let named = nested.iter().find(|sub| sub.controllers.iter().any(|name| controllers.contains(name)));
    let general = || nested.iter().find(|sub| sub.controllers.is_empty());
    named.or_else(general).map_or(Path::new(""), |sub| &sub.path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_controllers_own_place_wins() {
        let sub = |controllers: &[&str], path: &str| SubCgroup {
            controllers: controllers.iter().map(|name| (*name).to_owned()).collect(),
            path: path.into(),
        };
        let nested = [sub(&[], "all"), sub(&["cpu", "cpuacct"], "cpu")];
        assert_eq!(path_in(&nested, &["cpuacct".to_owned()]), Path::new("cpu"));
        assert_eq!(path_in(&nested, &["memory".to_owned()]), Path::new("all"));
        assert_eq!(path_in(&nested[1..], &[]), Path::new(""));
    }

    #[test]
    fn a_place_is_beneath() {
        assert_eq!(SubCgroup::parse("/").unwrap().path, Path::new(""));
        let message = |text| SubCgroup::parse(text).unwrap_err().to_string();
        assert_eq!(message(".."), "bad sub cgroup path: ..");
        assert_eq!(message("whaaat:/"), "unknown controller whaaat in --cgroup");
    }
}
