//! The news that the daemon ends, for everybody who waits for something else as well.

use tokio::sync::watch;

/// Says it.
#[derive(Debug)]
pub(crate) struct End(watch::Sender<bool>);

/// Hears it, also when it was said before. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Ending(watch::Receiver<bool>);

pub(crate) fn channel() -> (End, Ending) {
    let (sender, receiver) = watch::channel(false);
    (End(sender), Ending(receiver))
}

impl End {
    pub(crate) fn say(&self) {
        self.0.send_replace(true);
    }
}

impl Ending {
    /// Resolves when the end was said, or whoever could say it is gone.
    pub(crate) async fn wait(&mut self) {
        drop(self.0.wait_for(|said| *said).await);
    }
}
