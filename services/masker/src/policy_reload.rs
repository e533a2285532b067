//! Reads the policy and the keys again when their files are replaced.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::{mpsc, watch};
use veilpost_proto::v1::Target;
use veilpost_runtime::telemetry::OutageLog;
use veilpost_runtime::{
    Acceptance, Feature, FileStamps, Identity, Lifecycle, LinkSettings, ToWriter, run_link,
};

use crate::mask::Mask;
use crate::metrics;
use crate::policy::{Policy, warnings};
use crate::policy_in_force::PolicyInForce;
use crate::settings::Settings;
use crate::transform::KeyDigests;

/// How often the files are checked for a change.
const INTERVAL: Duration = Duration::from_secs(2);

/// A file that cannot be used is logged again after this time: somebody has to mend it.
const REPEAT_AFTER: Duration = Duration::from_secs(30);

/// Batches that wait for the link to take them. One is enough, because the tasks that bring them wait too.
const WAITING_BATCHES: usize = 1;

/// What the files hold: a policy that can be applied.
#[derive(Debug)]
pub(crate) struct LoadedPolicy {
    mask: Mask,
    target: Target,
    /// What a writer must know.
    needs: Vec<Feature>,
    /// Of the policy's text.
    digest: String,
    keys: KeyDigests,
    warnings: Vec<String>,
}

impl LoadedPolicy {
    /// Reads the files.
    ///
    /// # Errors
    /// When a file cannot be read or is wrong, or the policy names a key that is not there.
    pub(crate) fn load(settings: &Settings) -> anyhow::Result<Self> {
        let policy = Policy::load(settings.policy.policy.as_deref())?;
        let keys = settings.hmac_keys()?;
        Ok(Self {
            mask: Mask::new(&policy, &keys)?,
            target: policy.target(),
            needs: policy.needs(),
            digest: policy.digest.clone(),
            keys: keys.digests(),
            warnings: warnings(&policy).into_iter().collect(),
        })
    }
}

/// How policies get their link to the writers.
#[derive(Debug)]
pub(crate) struct Links {
    pub(crate) settings: LinkSettings,
    pub(crate) identity: Option<Identity>,
    pub(crate) life: Lifecycle,
}

impl Links {
    /// Starts the link for a target. It ends once the policies with its sender are gone and every batch that
    /// it got is answered.
    fn open(&self, loaded: LoadedPolicy) -> Candidate {
        let to_writer = ToWriter::new(loaded.target.clone(), loaded.needs.clone());
        let acceptance = to_writer.acceptance();
        let (link, to_send) = mpsc::channel(WAITING_BATCHES);
        let (settings, identity, life) = (self.settings.clone(), self.identity.clone(), self.life.clone());
        self.life
            .spawn("link", async move { run_link(to_writer, to_send, &settings, identity, &life).await });
        let LoadedPolicy { mask, target, needs, digest, keys, warnings } = loaded;
        let policy = PolicyInForce { mask, link, acceptance };
        Candidate { policy, description: Description { target, needs, digest, keys }, warnings }
    }
}

/// A policy whose target no writer has accepted yet.
#[derive(Debug)]
struct Candidate {
    policy: PolicyInForce,
    description: Description,
    warnings: Vec<String>,
}

/// What is remembered of the policy in force.
#[derive(Debug)]
struct Description {
    target: Target,
    needs: Vec<Feature>,
    digest: String,
    keys: KeyDigests,
}

/// Keeps the policy in force up to date with its files.
#[derive(Debug)]
pub(crate) struct PolicyReload {
    settings: Settings,
    links: Links,
    /// The files that were read last.
    stamps: Option<FileStamps>,
    current: watch::Sender<Arc<PolicyInForce>>,
    in_force: Description,
    /// Every key that was ever in force, by its id.
    known_keys: KeyDigests,
    candidate: Option<Candidate>,
    unusable: OutageLog,
}

impl PolicyReload {
    /// Reads the files for the first time, and opens the link to the writers.
    ///
    /// # Errors
    /// As [`LoadedPolicy::load`].
    pub(crate) fn start(settings: Settings, links: Links) -> anyhow::Result<Self> {
        let stamps = FileStamps::of(files(&settings)).ok();
        let Candidate { policy, description, warnings } = links.open(LoadedPolicy::load(&settings)?);
        warn(&warnings);
        metrics::show_policy(&description.digest, true);
        metrics::show_policy_unusable(false);
        Ok(Self {
            settings,
            links,
            stamps,
            current: watch::Sender::new(Arc::new(policy)),
            known_keys: description.keys.clone(),
            in_force: description,
            candidate: None,
            unusable: OutageLog::repeated_after(REPEAT_AFTER),
        })
    }

    /// The policy in force.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<PolicyInForce>> {
        self.current.subscribe()
    }

    /// Checks the files every two seconds, until the service drains.
    ///
    /// # Errors
    /// When reading them panics.
    pub(crate) async fn run(mut self) -> anyhow::Result<()> {
        let life = self.links.life.clone();
        loop {
            tokio::select! {
                () = tokio::time::sleep(INTERVAL) => self.look().await?,
                () = life.draining() => return Ok(()),
            }
            self.settle_candidate();
        }
    }

    async fn look(&mut self) -> anyhow::Result<()> {
        let stamps = FileStamps::of(files(&self.settings)).ok();
        if stamps.is_some() && stamps == self.stamps {
            return Ok(());
        }
        let settings = self.settings.clone();
        let loading = tokio::task::spawn_blocking(move || LoadedPolicy::load(&settings));
        let loaded = loading.await.context("reading the policy panicked")?;
        match loaded.and_then(|loaded| Ok(self.known_keys.check(&loaded.keys).map(|()| loaded)?)) {
            Ok(loaded) => {
                self.stamps = stamps;
                self.take(loaded);
            }
            // The files are read again with each check: a half written one is whole by then.
            Err(error) => self.refuse(&format!("{error:#}")),
        }
        Ok(())
    }

    /// A policy with the same target takes effect with the next batch; another target needs a writer first.
    fn take(&mut self, loaded: LoadedPolicy) {
        self.candidate = None;
        if loaded.digest == self.in_force.digest && loaded.keys == self.in_force.keys {
            self.accept();
        } else if loaded.target == self.in_force.target && loaded.needs == self.in_force.needs {
            let current = Arc::clone(&self.current.borrow());
            let LoadedPolicy { mask, target, needs, digest, keys, warnings } = loaded;
            let (link, acceptance) = (current.link.clone(), current.acceptance.clone());
            let policy = PolicyInForce { mask, link, acceptance };
            let description = Description { target, needs, digest, keys };
            self.replace(Candidate { policy, description, warnings });
        } else {
            tracing::info!(
                policy = loaded.digest,
                "the new policy waits for a writer to accept its table and columns"
            );
            self.candidate = Some(self.links.open(loaded));
        }
    }

    fn settle_candidate(&mut self) {
        let Some(candidate) = self.candidate.take() else { return };
        let found = candidate.policy.acceptance.borrow().clone();
        match found {
            Acceptance::Accepted => self.replace(candidate),
            Acceptance::Unknown => self.candidate = Some(candidate),
            Acceptance::Refused(reason) => {
                self.refuse(&format!("no writer accepts its table and columns: {reason}"));
                self.candidate = Some(candidate);
            }
        }
    }

    fn replace(&mut self, next: Candidate) {
        let Candidate { policy, description, warnings } = next;
        warn(&warnings);
        self.known_keys.add(&description.keys);
        metrics::show_policy(&self.in_force.digest, false);
        metrics::show_policy(&description.digest, true);
        tracing::info!(policy = description.digest, "policy and keys replaced");
        self.in_force = description;
        self.current.send_replace(Arc::new(policy));
        self.accept();
    }

    fn accept(&self) {
        metrics::show_policy_unusable(false);
        // "policy and keys replaced" is the line that says so.
        let _replaced = self.unusable.note_success();
    }

    fn refuse(&self, error: &str) {
        metrics::show_policy_unusable(true);
        if self.unusable.note_failure(error) {
            tracing::error!(error, "new policy or keys cannot be used; keeping those in force");
        }
    }
}

fn files(settings: &Settings) -> Vec<PathBuf> {
    settings.policy.policy.iter().chain(&settings.hmac_keys_file).cloned().collect()
}

fn warn(warnings: &[String]) {
    for warning in warnings {
        tracing::warn!("{warning}");
    }
}
