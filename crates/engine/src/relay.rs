//! Published ports on IPv6, of containers that have IPv4 only.
//!
//! ```text
//! client --IPv6--> [::]:8080 of the host --this--> IPv4 address of the container
//! ```
//!
//! The kernel translates addresses within IPv4, not from one family to the other, so bytes pass through the daemon: a
//! task a port, which costs nothing while nobody connects. They end with the daemon, and the next one serves the ports
//! again (decision 0061). The container sees the bridge's own address as its client's.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use network::{Endpoint, Proto, Relay};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{ContainerId, Engine};

/// The relays of all containers.
#[derive(Debug, Default)]
pub(crate) struct Relays(Mutex<BTreeMap<ContainerId, Vec<Running>>>);

/// A relay ends when its `stop` is dropped; nothing is ever sent through `ended`.
#[derive(Debug)]
struct Running {
    stop: watch::Sender<()>,
    ended: mpsc::Receiver<()>,
}

impl Relays {
    pub(crate) fn start(&self, engine: &Engine, id: &ContainerId, endpoint: &Endpoint, relays: Vec<Relay>) {
        for relay in relays {
            let target = SocketAddrV4::new(endpoint.address.addr(), relay.port.container);
            let (stop, mut stopped) = watch::channel(());
            let (ending, ended) = mpsc::channel::<()>();
            let mut engine_ends = engine.tasks().ending();
            engine.tasks().spawn(async move {
                let port = relay.port.clone();
                let served = tokio::select! {
                    served = serve(relay, target) => served,
                    _ = stopped.changed() => Ok(()),
                    _ = engine_ends.wait_for(|ends| *ends) => Ok(()),
                };
                if let Err(error) = served {
                    tracing::warn!(%error, port = port.host_port, "a port on IPv6 is no longer relayed");
                }
                drop(ending);
            });
            self.lock().entry(id.clone()).or_default().push(Running { stop, ended });
        }
    }

    /// Afterwards the ports are free. Blocks.
    pub(crate) fn stop(&self, id: &ContainerId) {
        let running = self.lock().remove(id).unwrap_or_default();
        let ended: Vec<_> = running
            .into_iter()
            .map(|relay| {
                drop(relay.stop);
                relay.ended
            })
            .collect();
        for relay in ended {
            if relay.recv_timeout(STOP_PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                tracing::warn!(container = %id, "a relay takes long to end");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Vec<Running>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tasks end at their next turn; only a machine that is stuck takes longer.
const STOP_PATIENCE: Duration = Duration::from_secs(2);

async fn serve(relay: Relay, target: SocketAddrV4) -> io::Result<()> {
    match relay.port.proto {
        Proto::Tcp => tcp(TcpListener::from(relay.socket), target).await,
        Proto::Udp => udp(UdpSocket::from(relay.socket), target).await,
        Proto::Sctp => Err(io::ErrorKind::Unsupported.into()),
    }
}

async fn tcp(listener: TcpListener, target: SocketAddrV4) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((client, _)) => {
                    connections.spawn(pass(client, target));
                }
                // A client that went, or too many files open: both pass.
                Err(error) => {
                    tracing::debug!(%error, "not accepted");
                    tokio::time::sleep(BREATH).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Both ways, until both ends are closed. A container that does not take the connection has ours closed.
async fn pass(mut client: TcpStream, target: SocketAddrV4) {
    let Ok(Ok(mut server)) = timeout(CONNECT_PATIENCE, TcpStream::connect(target)).await else { return };
    let fast = client.set_nodelay(true).and_then(|()| server.set_nodelay(true));
    let passed = match fast {
        Ok(()) => tokio::io::copy_bidirectional(&mut client, &mut server).await.map(drop),
        failed => failed,
    };
    if let Err(error) = passed {
        tracing::debug!(%error, %target, "a relayed connection broke off");
    }
}

/// Whoever sends gets a socket of its own towards the container for as long as there are answers.
async fn udp(socket: UdpSocket, target: SocketAddrV4) -> io::Result<()> {
    let socket = Arc::new(tokio::net::UdpSocket::from_std(socket)?);
    let mut senders: HashMap<SocketAddr, Arc<tokio::net::UdpSocket>> = HashMap::new();
    let mut answering = JoinSet::new();
    let mut packet = vec![0; PACKET_MAX];
    loop {
        tokio::select! {
            received = socket.recv_from(&mut packet) => {
                let Ok((length, sender)) = received else {
                    tokio::time::sleep(BREATH).await;
                    continue;
                };
                if !senders.contains_key(&sender) && senders.len() < SENDERS_MAX {
                    match towards(target).await.map(Arc::new) {
                        Ok(server) => {
                            senders.insert(sender, Arc::clone(&server));
                            answering.spawn(answer(Arc::clone(&socket), server, sender));
                        }
                        // Too many files open: the packet is lost, and the next one may pass.
                        Err(error) => tracing::debug!(%error, %target, "not relayed"),
                    }
                }
                if let Some(server) = senders.get(&sender) {
                    // As on any way a packet may be lost: the container does not listen, say.
                    drop(server.send(&packet[..length]).await);
                }
            }
            Some(ended) = answering.join_next() => {
                if let Ok(sender) = ended {
                    senders.remove(&sender);
                }
            }
        }
    }
}

async fn towards(target: SocketAddrV4) -> io::Result<tokio::net::UdpSocket> {
    let server = tokio::net::UdpSocket::bind("0.0.0.0:0").await?;
    server.connect(target).await?;
    Ok(server)
}

/// The sender, when there has been no answer for long.
async fn answer(
    socket: Arc<tokio::net::UdpSocket>,
    server: Arc<tokio::net::UdpSocket>,
    sender: SocketAddr,
) -> SocketAddr {
    while let Ok(Ok(())) = timeout(ANSWER_PATIENCE, server.readable()).await {
        // No buffer while nothing comes: there may be many that wait.
        let mut packet = vec![0; PACKET_MAX];
        // Nobody listens in the container yet, perhaps.
        let Ok(length) = server.try_recv(&mut packet) else { continue };
        drop(socket.send_to(&packet[..length], sender).await);
    }
    sender
}

/// Of one port; each takes two descriptors. Who comes later waits to be accepted.
const CONNECTIONS_MAX: usize = 4096;
/// Of one port; each takes a descriptor. Packets of others are lost.
const SENDERS_MAX: usize = 1024;
/// As dockerd's own proxy has it.
const ANSWER_PATIENCE: Duration = Duration::from_secs(90);
/// Longer than a container on the same machine ever needs.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
const BREATH: Duration = Duration::from_millis(50);
const PACKET_MAX: usize = 64 << 10;

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// Relays between free ports of the loopback until the test is through.
    async fn check<S, R>(relaying: impl Future<Output = io::Result<R>>, test: impl Future<Output = S>) -> S {
        tokio::select! {
            _ = relaying => panic!("a relay does not end by itself"),
            result = test => result,
        }
    }

    fn v4(address: SocketAddr) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, address.port())
    }

    #[tokio::test]
    async fn connections_pass_both_ways_and_close_each_for_itself() {
        let listener = TcpListener::bind("[::1]:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let place = listener.local_addr().unwrap();
        let container = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = v4(container.local_addr().unwrap());
        let test = async {
            let mut client = TcpStream::connect(place).await.unwrap();
            let (mut server, _) = container.accept().await.unwrap();
            client.write_all(b"question").await.unwrap();
            client.shutdown().await.unwrap();
            let mut asked = String::new();
            server.read_to_string(&mut asked).await.unwrap();
            server.write_all(b"answer").await.unwrap();
            drop(server);
            let mut answered = String::new();
            client.read_to_string(&mut answered).await.unwrap();
            (asked, answered)
        };
        let texts = check(tcp(listener, target), test).await;
        assert_eq!(texts, ("question".into(), "answer".into()));
    }

    #[tokio::test]
    async fn packets_come_back_to_whoever_sent() {
        let socket = UdpSocket::bind("[::1]:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let place = socket.local_addr().unwrap();
        let container = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = v4(container.local_addr().unwrap());
        let test = async {
            let mut packet = [0; 16];
            for word in [b"one", b"two"] {
                let client = tokio::net::UdpSocket::bind("[::1]:0").await.unwrap();
                client.send_to(word, place).await.unwrap();
                let (length, from) = container.recv_from(&mut packet).await.unwrap();
                container.send_to(&packet[..length], from).await.unwrap();
                let (length, _) = client.recv_from(&mut packet).await.unwrap();
                assert_eq!(&packet[..length], word);
            }
        };
        check(udp(socket, target), test).await;
    }
}
