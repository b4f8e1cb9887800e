//! Trust in images: what the policy says of those that are here, and signatures that come from registries or go there.
//!
//! A pull judges by itself, before anything comes (`registry::client::pull`). What it found lies with the image, so that a
//! container's creation and each of its starts judge again, under the policy of their day and without a network. Private keys
//! never come here.

use std::collections::BTreeSet;

use api::registry::AuthConfig;
use api::trust::{Rule, Signatures, Trust, Vouched};
use fault::{Doing, Error, Kind, Result};
use oci::{Digest, Reference};
use registry::client::{Access, Key};
use store::{Image, ImageId, Signed};
use trust::{Naming, Policy, PublicKey, Requirement, Signature, Verdict};

use crate::image::credentials;
use crate::{Engine, Record};

/// Refuses an image that the policy does not let be used as it was asked for.
pub(crate) fn admit(engine: &Engine, asked: &str, image: &Image) -> Result<()> {
    let policy = engine.policy();
    if policy.is_empty() {
        return Ok(());
    }
    admit_as(&policy, asked, &Subject::of(image))
}

/// Refuses a further run of a container: no process of a refused image is begun, whoever wants it. The name by which
/// its image was asked for counts on, whatever it means by now.
pub(crate) fn admit_again(engine: &Engine, record: &Record) -> Result<()> {
    let policy = engine.policy();
    if policy.is_empty() {
        return Ok(());
    }
    let id: ImageId = record.image_id.parse()?;
    let subject = match engine.store().image(&id) {
        // It was removed by force: nothing speaks for it any more.
        Err(error) if error.kind() == Kind::NotFound => {
            Subject { id, names: BTreeSet::new(), signed: Signed::default() }
        }
        image => Subject::of(&image?),
    };
    admit_as(&policy, &record.config.image, &subject)
}

fn admit_as(policy: &Policy, asked: &str, subject: &Subject) -> Result<()> {
    let name = subject.named(asked);
    match subject.judge(policy, name.as_ref()) {
        // An image that was signed meanwhile, or was pulled before the policy came, is one pull away.
        Err(error)
            if subject.signed.signatures.is_empty() && subject.needs_signature(policy, name.as_ref()) =>
        {
            Err(Error::denied(format!(
                "{error}\nhint: signatures come with a `pull` of the name that was signed"
            )))
        }
        judged => judged.map(drop),
    }
}

/// What is judged.
struct Subject {
    id: ImageId,
    /// All that lead to it, if only by an index.
    names: BTreeSet<Reference>,
    signed: Signed,
}

impl Subject {
    fn of(image: &Image) -> Self {
        let names = image.tags.iter().chain(&image.digests).chain(&image.indexed_by).cloned().collect();
        let mut signed = image.signed.clone();
        signed.digests.push(image.manifest.digest.clone());
        Self { id: image.id.clone(), names, signed }
    }

    /// The name by which it was asked for, unless that was its id.
    fn named(&self, asked: &str) -> Option<Reference> {
        let name = Reference::parse(asked).ok()?;
        let is_known = self.names.contains(&store::lookup_key(&name));
        let is_id = self.id.0.hex().starts_with(asked.strip_prefix("sha256:").unwrap_or(asked));
        (is_known || !is_id).then_some(name)
    }

    fn needs_signature(&self, policy: &Policy, name: Option<&Reference>) -> bool {
        let asks = |name: &Reference| matches!(policy.requirement(name), Requirement::Signature(_));
        match name {
            Some(name) => asks(name),
            None => self.names.iter().any(asks),
        }
    }

    /// What the policy says of it by a name, or by its id.
    fn judge(&self, policy: &Policy, name: Option<&Reference>) -> Result<Verdict> {
        let (id, names) = (self.id.to_string(), Vec::from_iter(self.names.iter().cloned()));
        let naming = match name {
            Some(name) => Naming::Name(name),
            None => Naming::Id { id: &id, names: &names },
        };
        let Signed { digests, signatures } = &self.signed;
        policy.check(&trust::Image { naming, digests, signatures })
    }
}

/// What is shown of an image; `None` if nothing is asked of it and nothing speaks for it.
pub(crate) fn shown(policy: &Policy, image: &Image) -> Option<Trust> {
    let judged = Subject::of(image).judge(policy, None);
    if matches!(judged, Ok(Verdict::Unasked)) && image.signed.signatures.is_empty() {
        return None;
    }
    Some(told(policy, image, judged))
}

fn told(policy: &Policy, image: &Image, judged: Result<Verdict>) -> Trust {
    let keys = keys(policy);
    Trust {
        verdict: word(&judged).into(),
        reason: judged.err().map(|error| error.to_string()).unwrap_or_default(),
        signatures: image.signed.signatures.iter().filter_map(|one| vouched(one, &keys)).collect(),
    }
}

fn word(judged: &Result<Verdict>) -> &'static str {
    match judged {
        Ok(Verdict::Unasked) => "unasked",
        Ok(Verdict::Pinned) => "pinned",
        Ok(Verdict::Signed(_)) => "signed",
        Err(_) => "refused",
    }
}

fn vouched(signature: &Signature, keys: &[PublicKey]) -> Option<Vouched> {
    let key = signature.signer(keys).map(|key| key.fingerprint().to_string());
    Some(Vouched {
        digest: signature.digest().ok()?.to_string(),
        repository: signature.repository(),
        key: key.unwrap_or_default(),
    })
}

fn keys(policy: &Policy) -> Vec<PublicKey> {
    let keys = policy.rules().filter_map(|(_, requirement)| match requirement {
        Requirement::Signature(keys) => Some(keys.as_slice()),
        _ => None,
    });
    keys.flatten().cloned().collect()
}

/// The policy that counts now.
pub fn policy(engine: &Engine) -> api::trust::Policy {
    let policy = engine.policy();
    api::trust::Policy {
        rules: policy.rules().map(|(prefix, requirement)| rule(prefix, requirement)).collect(),
    }
}

fn rule(prefix: &str, requirement: &Requirement) -> Rule {
    let rule = |require: &str| Rule { prefix: prefix.into(), require: require.into(), ..Rule::default() };
    match requirement {
        Requirement::Nothing => rule("nothing"),
        Requirement::Digest => rule("digest"),
        Requirement::Signature(keys) => {
            let keys = keys.iter().map(|key| key.fingerprint().to_string()).collect();
            Rule { keys, ..rule("signature") }
        }
        Requirement::Reject(reason) => Rule { reason: reason.clone(), ..rule("reject") },
    }
}

/// What the policy says of an image that is here, by a name or an id.
pub async fn check(engine: &Engine, asked: &str) -> Result<Trust> {
    let asked = asked.to_owned();
    engine
        .blocking(move |engine| {
            let id = engine.store().resolve(&asked)?;
            let (policy, image) = (engine.policy(), engine.store().image(&id)?);
            let subject = Subject::of(&image);
            let judged = subject.judge(&policy, subject.named(&asked).as_ref());
            Ok(told(&policy, &image, judged))
        })
        .await
}

/// What a name stands for in its registry, and all signatures of that.
pub async fn signatures(engine: &Engine, name: &str, auth: &AuthConfig) -> Result<Signatures<Signature>> {
    let reference = Reference::parse(name)?.with_default_tag();
    let repository = engine.registries().repository(&reference, &credentials(auth), Access::Pull)?;
    let missing = || Error::not_found(format!("manifest for {} not found", reference.familiar()));
    let digest = repository.manifest_head(&Key::of(&reference)).await?.ok_or_else(missing)?.digest;
    let signatures = repository.signatures(&digest).await?;
    Ok(Signatures { digest, signatures })
}

/// Puts signatures beside a manifest in its registry, and beside the images that are here under that name.
pub async fn sign(
    engine: &Engine,
    name: &str,
    wanted: Signatures<Signature>,
    auth: &AuthConfig,
) -> Result<()> {
    let reference = Reference::parse(name)?;
    let Signatures { digest, signatures } = wanted;
    refuse_strays(&digest, &signatures).doing(|| format!("signing {}", reference.familiar()))?;
    let repository = engine.registries().repository(&reference, &credentials(auth), Access::Push)?;
    repository.sign(&digest, &signatures).await?;
    engine
        .blocking(move |engine| {
            let name = reference.with_digest(digest.clone());
            engine.store().vouch(&name, &Signed { digests: vec![digest], signatures })
        })
        .await
}

/// Whoever signs may not vouch for something else by mistake, nor fill a registry.
fn refuse_strays(digest: &Digest, signatures: &[Signature]) -> Result<()> {
    if signatures.is_empty() || signatures.len() > SIGNATURES_MAX {
        return Err(Error::invalid(format!("between 1 and {SIGNATURES_MAX} signatures are taken at once")));
    }
    for signature in signatures {
        let signed = signature.digest()?;
        if signed != *digest {
            return Err(Error::invalid(format!("the signature is of another image, {signed}")));
        }
    }
    Ok(())
}

/// Two forms for each of some keys.
const SIGNATURES_MAX: usize = 16;
