//! `kogge verify`: whether the holder of a key has signed an image in its registry. The daemon fetches, we judge.

use api::trust::Signatures;
use fault::Error;
use oci::{Digest, Reference};
use serde_json::{Value, json};
use trust::{Form, PREDICATE_TYPE, PublicKey, Signature};

use super::{Args, Command, keys};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Verify the signatures of an image in its registry",
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    Args::Exactly(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.flags(&[&[Flag::list("key", "File of a public key; any one of several is enough")]]);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let reference = Reference::parse(&matches.args[0])?.with_default_tag();
    let keys = keys::public(&matches.list("key"))?;
    let auth = cli.credentials().for_image(&reference).unwrap_or_default();
    let found: Signatures<Signature> =
        client::trust::signatures(cli.client()?, &reference.canonical(), &auth).await?;
    let good = verified(&reference, &found, &keys)?;
    let claims: Vec<Value> =
        good.iter().map(|signature| claim(&reference, &found.digest, signature)).collect();
    terminal::line(Value::Array(claims).to_string())
}

/// The signatures that these keys made of this image; an error says why there are none.
fn verified<'s>(
    reference: &Reference,
    found: &'s Signatures<Signature>,
    keys: &[PublicKey],
) -> Outcome<Vec<&'s Signature>> {
    let by_key: Vec<&Signature> =
        found.signatures.iter().filter(|signature| signature.signer(keys).is_some()).collect();
    let is_own = |signature: &&&Signature| signature.digest().is_ok_and(|digest| digest == found.digest);
    let good: Vec<&Signature> = by_key.iter().filter(is_own).copied().collect();
    let what = match (found.signatures.is_empty(), by_key.first(), good.is_empty()) {
        (_, _, false) => return Ok(good),
        (true, ..) => "is not signed".to_owned(),
        (false, None, _) => "is signed, but by no such key".to_owned(),
        (false, Some(stray), _) => match stray.digest() {
            Ok(digest) => format!("has only signatures of another image, {digest}"),
            Err(error) => format!("has only signatures of something else: {error}"),
        },
    };
    let name = reference.with_digest(found.digest.clone()).familiar();
    Err(Error::denied(format!("{name} {what}")).into())
}

/// What was signed, as cosign shows it.
fn claim(reference: &Reference, digest: &Digest, signature: &Signature) -> Value {
    match signature.form {
        Form::Claim => serde_json::from_slice(&signature.payload).unwrap_or_default(),
        Form::Statement => json!({
            "critical": {
                "identity": { "docker-reference": reference.canonical() },
                "image": { "docker-manifest-digest": digest },
                "type": PREDICATE_TYPE,
            },
            "optional": {},
        }),
    }
}

#[cfg(test)]
mod tests {
    use trust::PrivateKey;

    use super::*;

    #[test]
    fn each_way_of_not_being_signed_has_its_words() {
        let (key, other) = (PrivateKey::generate().unwrap(), PrivateKey::generate().unwrap());
        let (name, digest) = (Reference::parse("a/b:1").unwrap(), Digest::sha256(b"manifest"));
        let check = |signatures: &[Signature]| {
            let found = Signatures { digest: digest.clone(), signatures: signatures.to_vec() };
            verified(&name, &found, &[key.public()]).map(|good| good.len()).map_err(|exit| exit.message)
        };
        let of = |key: &PrivateKey, digest: &Digest| Signature::create(key, &name, digest).unwrap();
        let image = format!("a/b@{digest}");
        assert_eq!(check(&of(&key, &digest)), Ok(2));
        assert_eq!(check(&[]), Err(format!("{image} is not signed")));
        assert_eq!(check(&of(&other, &digest)), Err(format!("{image} is signed, but by no such key")));
        let stray = Digest::sha256(b"another");
        let words = format!("{image} has only signatures of another image, {stray}");
        assert_eq!(check(&of(&key, &stray)), Err(words));
    }
}
