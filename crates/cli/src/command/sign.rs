//! `kogge sign`: vouches for an image in its registry. The key stays here; the daemon carries the signatures.

use api::trust::Signatures;
use oci::{Digest, Reference};
use trust::{Form, PrivateKey, Signature};

use super::{Args, Command, keys};
use crate::cli::Cli;
use crate::exit::Outcome;
use crate::flags::{Flag, Matches};
use crate::terminal;

pub(crate) const COMMAND: Command = Command::new(
    "Sign an image in its registry",
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    Args::Exactly(1),
    |cli, matches| Box::pin(run(cli, matches)),
)
.flags(&[&[Flag::string("key", "File of the private key, as cosign keeps it")]]);

async fn run(cli: &Cli, matches: Matches) -> Outcome {
    let reference = Reference::parse(&matches.args[0])?.with_default_tag();
    let key = keys::private(matches.text("key")).await?;
    let auth = cli.credentials().for_image(&reference).unwrap_or_default();
    let (client, name) = (cli.client()?, reference.canonical());
    let found: Signatures<Signature> = client::trust::signatures(client, &name, &auth).await?;
    let digest = found.digest;
    let signatures = missing(&key, &reference, &digest, &found.signatures)?;
    let signed = reference.with_digest(digest.clone()).canonical();
    if signatures.is_empty() {
        return terminal::line(format!("{signed} is signed by this key already"));
    }
    client::trust::sign(client, &name, &Signatures { digest, signatures }, &auth).await?;
    terminal::line(format!("Signed {signed}"))
}

/// In the forms in which this key has not signed yet.
fn missing(
    key: &PrivateKey,
    reference: &Reference,
    digest: &Digest,
    known: &[Signature],
) -> Outcome<Vec<Signature>> {
    let public = [key.public()];
    let has = |form: Form| {
        known.iter().any(|one| {
            one.form == form
                && one.signer(&public).is_some()
                && one.digest().is_ok_and(|signed| signed == *digest)
        })
    };
    let made = Signature::create(key, &reference.repository(), digest)?;
    Ok(made.into_iter().filter(|one| !has(one.form)).collect())
}
