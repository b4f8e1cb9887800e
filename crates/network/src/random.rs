//! Random names. From the kernel, because ids are handed out as if nobody could guess them.

use std::fs::File;
use std::io::Read;

use fault::{Call, Result};

/// An id as Docker makes them: 64 hex digits.
pub(crate) fn id() -> Result<String> {
    Ok(hex(&bytes::<32>()?))
}

/// A name for the host's end of a pair: `veth` and seven hex digits.
pub(crate) fn veth() -> Result<String> {
    Ok(format!("veth{}", &hex(&bytes::<4>()?)[..7]))
}

/// A locally administered hardware address with Docker's prefix.
pub(crate) fn mac() -> Result<[u8; 6]> {
    let [a, b, c, d] = bytes()?;
    Ok([0x02, 0x42, a, b, c, d])
}

fn bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .call(|| "read /dev/urandom")?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
