//! Any bytes as what speaks for an image, and as the policy that asks for it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use trust::{Payload, Policy, PrivateKey, PublicKey, Signature};

fuzz_target!(|bytes: &[u8]| {
    drop(Payload::decode(bytes));
    if let Ok(signature) = Signature::from_bundle(bytes) {
        drop(signature.digest());
        assert_eq!(Signature::from_bundle(&signature.to_bundle()).expect("what was written is read"), signature);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        drop(PublicKey::from_pem(text));
        PrivateKey::is_sealed(text);
        drop(Policy::parse(text, &mut |_| Ok(KEY.into())));
        drop(Signature::from_layer(bytes.to_vec(), text).map(|signature| signature.digest()));
    }
});

const KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAvJ1IMXZv389uoW/phvK11F72q5L+eOBClIZQVK5sPOM=
-----END PUBLIC KEY-----
";
