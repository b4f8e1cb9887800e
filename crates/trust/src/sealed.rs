//! A private key sealed with a password, as cosign keeps it: JSON in PEM, scrypt for the password, NaCl's secretbox for
//! the bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::Aead;
use crypto_secretbox::{KeyInit, XSalsa20Poly1305};
use fault::{Error, Result};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};

/// The JSON of a sealed key. Field names are cosign's.
#[derive(Debug, Serialize, Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

/// Seals bytes with a password.
pub(crate) fn seal(plain: &[u8], password: &[u8]) -> Result<Vec<u8>> {
    let (salt, nonce): ([u8; 32], [u8; NONCE_BYTES]) = (random()?, random()?);
    let params = Params { n: 1 << LOG_N, r: R, p: P };
    let ciphertext = cipher(password, &salt, &params)?
        .encrypt(&nonce.into(), plain)
        .map_err(|_| Error::internal("sealing the private key failed"))?;
    let sealed = Sealed {
        kdf: Kdf { name: KDF.into(), params, salt: STANDARD.encode(salt) },
        cipher: Cipher { name: CIPHER.into(), nonce: STANDARD.encode(nonce) },
        ciphertext: STANDARD.encode(ciphertext),
    };
    Ok(serde_json::to_vec(&sealed).expect("plain structs are always JSON"))
}

/// Opens what was sealed. `Denied` for a wrong password, `Invalid` for what is not such a seal.
pub(crate) fn open(sealed: &[u8], password: &[u8]) -> Result<Vec<u8>> {
    let sealed: Sealed = serde_json::from_slice(sealed)
        .map_err(|error| Error::invalid("the sealed private key is not JSON").with_source(error))?;
    if sealed.kdf.name != KDF || sealed.cipher.name != CIPHER {
        let (kdf, cipher) = (sealed.kdf.name, sealed.cipher.name);
        return Err(Error::unsupported(format!("private keys sealed with {kdf} and {cipher}")));
    }
    let nonce: [u8; NONCE_BYTES] = decoded(&sealed.cipher.nonce)?
        .try_into()
        .map_err(|_| Error::invalid("the sealed private key's nonce has a wrong length"))?;
    cipher(password, &decoded(&sealed.kdf.salt)?, &sealed.kdf.params)?
        .decrypt(&nonce.into(), decoded(&sealed.ciphertext)?.as_slice())
        .map_err(|_| Error::denied("the private key does not open with this password"))
}

fn cipher(password: &[u8], salt: &[u8], params: &Params) -> Result<XSalsa20Poly1305> {
    let log_n = params.n.checked_ilog2().filter(|log_n| 1 << log_n == params.n);
    let log_n = log_n.and_then(|log_n| u8::try_from(log_n).ok()).filter(|log_n| *log_n <= LOG_N_MAX);
    let (Some(log_n), true) = (log_n, params.r <= R_MAX && params.p <= P_MAX) else {
        return Err(Error::invalid("the sealed private key asks for senseless scrypt parameters"));
    };
    let params = scrypt::Params::new(log_n, params.r, params.p, KEY_BYTES)
        .map_err(|error| Error::invalid(format!("the sealed private key's scrypt parameters: {error}")))?;
    let mut key = [0; KEY_BYTES];
    scrypt::scrypt(password, salt, &params, &mut key)
        .map_err(|error| Error::internal(format!("scrypt: {error}")))?;
    Ok(XSalsa20Poly1305::new(&key.into()))
}

fn decoded(text: &str) -> Result<Vec<u8>> {
    STANDARD
        .decode(text)
        .map_err(|error| Error::invalid("the sealed private key is not base64").with_source(error))
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| Error::unavailable("no random bytes from the system"))?;
    Ok(bytes)
}

const KDF: &str = "scrypt";
const CIPHER: &str = "nacl/secretbox";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;
/// What cosign takes for a new key: 64 MiB of memory.
const LOG_N: u8 = 16;
const R: u32 = 8;
const P: u32 = 1;
/// A gigabyte; a key file must not take all of a machine's memory.
const LOG_N_MAX: u8 = 20;
const R_MAX: u32 = 8;
const P_MAX: u32 = 16;
