//! A network link that can be made slow, silent or cut, between the proxy and what it calls.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the link does with what is sent over it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Weather {
    /// Passes everything on.
    Fine,
    /// Each piece of an answer comes this much later.
    Slow(Duration),
    /// So many bytes of an answer at a time, each this much later.
    Trickle(usize, Duration),
    /// Nothing passes, in neither direction, until the weather changes; connections stand, and new ones are made.
    Hole,
    /// So many bytes of an answer pass, then the connection ends.
    Cut(usize),
}

/// A relay on a port of its own. Dropping it ends its connections.
pub struct Link {
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
    task: JoinHandle<()>,
}

impl Link {
    /// To a server of the tests.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let weather = watch::Sender::new(Weather::Fine);
        let seen = weather.subscribe();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(relay(client, target, seen.clone()));
            }
        });
        Self { address, weather, task }
    }

    /// From here on, also for connections that stand.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(client: TcpStream, target: SocketAddr, weather: watch::Receiver<Weather>) {
    let Ok(server) = TcpStream::connect(target).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // The end of either direction is the end of both.
    tokio::select! {
        () = requests(from_client, to_server, weather.clone()) => {}
        () = answers(from_server, to_client, weather) => {}
    }
}

async fn requests(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let _ = weather.wait_for(|weather| *weather != Weather::Hole).await;
        if to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
    }
}

async fn answers(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut weather: watch::Receiver<Weather>) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let now = match weather.wait_for(|weather| *weather != Weather::Hole).await {
            Ok(weather) => *weather,
            Err(_) => return,
        };
        let sent = match now {
            Weather::Fine | Weather::Hole => to.write_all(&buffer[..count]).await,
            Weather::Slow(delay) => {
                tokio::time::sleep(delay).await;
                to.write_all(&buffer[..count]).await
            }
            Weather::Trickle(size, delay) => trickle(&mut to, buffer[..count].chunks(size), delay).await,
            Weather::Cut(most) => {
                let _ = to.write_all(&buffer[..count.min(most)]).await;
                return;
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

async fn trickle(
    to: &mut OwnedWriteHalf,
    pieces: std::slice::Chunks<'_, u8>,
    delay: Duration,
) -> std::io::Result<()> {
    for piece in pieces {
        tokio::time::sleep(delay).await;
        to.write_all(piece).await?;
    }
    Ok(())
}
