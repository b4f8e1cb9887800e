//! Packing a path of a container: its tree, then those that are mounted below it.

use std::io::Write;
use std::path::{Path, PathBuf};

use archive::Pack;
use archive::ignore::Matcher;
use archive::tar::Writer;
use fault::Result;

use super::place::Place;
use super::view::View;

/// Appends what is at a place under a new name.
pub(super) fn pack(view: &View, place: &Place<'_>, name: &Path, tar: &mut Writer<impl Write>) -> Result<()> {
    pack_tree(view, place, name, tar)?;
    for tree in view.trees_below(&place.path) {
        let inside = tree.at.strip_prefix(&place.path).unwrap_or(&tree.at);
        let mounted = Place { tree, path: tree.at.clone() };
        pack_tree(view, &mounted, &name.join(inside), tar)?;
    }
    Ok(())
}

/// One tree, without what others hide in it.
fn pack_tree(view: &View, place: &Place<'_>, name: &Path, tar: &mut Writer<impl Write>) -> Result<()> {
    let rules = left_out(view, &place.path);
    let rules = Matcher::new(rules.iter().map(String::as_str))?;
    let inner = place.inner();
    let how = Pack { path: &inner, name, ignore: Some(&rules), ..Pack::default() };
    archive::pack(place.root(), &how, tar).map(drop)
}

/// Patterns for what is mounted below a path; of the kernel's file systems only the content.
fn left_out(view: &View, path: &Path) -> Vec<String> {
    let mounted = view.trees_below(path).into_iter().map(|tree| (&tree.at, ""));
    let kernels = view.kernel_mounts.iter().map(|at| (at, "/*"));
    let inside = |(at, content): (&PathBuf, &str)| {
        let relative = at.strip_prefix(path).ok().filter(|relative| !relative.as_os_str().is_empty())?;
        Some(literal(relative) + content)
    };
    mounted.chain(kernels).filter_map(inside).collect()
}

/// A pattern that matches this path only.
fn literal(path: &Path) -> String {
    let mut pattern = String::from("/");
    for character in path.to_string_lossy().chars() {
        if "*?[]\\!".contains(character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}
