//! Which values are not written, because absent means the same.

use std::path::Path;

pub(super) fn is_false(value: &bool) -> bool {
    !*value
}

pub(super) fn is_zero(value: &u64) -> bool {
    *value == 0
}

pub(super) fn is_zero_i32(value: &i32) -> bool {
    *value == 0
}

pub(super) fn is_zero_i64(value: &i64) -> bool {
    *value == 0
}

pub(super) fn path_is_empty(path: &Path) -> bool {
    path.as_os_str().is_empty()
}
