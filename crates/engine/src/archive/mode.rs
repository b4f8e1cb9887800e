//! Go's `os.FileMode`, which clients of `cp` expect: other bits for kinds than the kernel's.

use sys::fs::FileKind;

/// Go's bits for a `st_mode`.
pub(super) fn of_go(mode: u32) -> u32 {
    let kind = KINDS
        .iter()
        .find(|(kind, _)| *kind == FileKind::from_mode(mode))
        .map_or(IRREGULAR, |(_, bits)| *bits);
    let special = SPECIAL.iter().filter(|(bit, _)| mode & bit != 0).map(|(_, bits)| bits);
    special.fold(kind | (mode & 0o777), |all, bits| all | bits)
}

const DEVICE: u32 = 1 << 26;
const IRREGULAR: u32 = 1 << 19;

const KINDS: &[(FileKind, u32)] = &[
    (FileKind::Regular, 0),
    (FileKind::Directory, 1 << 31),
    (FileKind::Symlink, 1 << 27),
    (FileKind::BlockDevice, DEVICE),
    (FileKind::CharDevice, DEVICE | 1 << 21),
    (FileKind::Fifo, 1 << 25),
    (FileKind::Socket, 1 << 24),
];

/// setuid, setgid, sticky.
const SPECIAL: &[(u32, u32)] = &[(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_gos() {
        let table = [
            (0o100644, 0o644),
            (0o040755, 0x8000_0000 | 0o755),
            (0o041777, 0x8000_0000 | 0x0010_0000 | 0o777),
            (0o120777, 0x0800_0000 | 0o777),
            (0o104755, 0x0080_0000 | 0o755),
            (0o102755, 0x0040_0000 | 0o755),
            (0o020666, 0x0420_0000 | 0o666),
            (0o060660, 0x0400_0000 | 0o660),
            (0o010600, 0x0200_0000 | 0o600),
            (0o140755, 0x0100_0000 | 0o755),
        ];
        for (mode, expected) in table {
            assert_eq!(of_go(mode), expected, "{mode:o}");
        }
    }
}
