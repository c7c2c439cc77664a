//! A file or standard output that request tasks write lines to without ever waiting.

mod rotation;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use prometheus::IntCounter;

pub(super) use rotation::Rotation;

/// Lines queued when the configuration says nothing.
const DEFAULT_CAPACITY: usize = 8192;
/// Bytes gathered before one write call.
const BATCH: usize = 64 * 1024;

/// Hands lines to a thread that writes them. When the thread cannot keep up, lines are dropped and counted:
/// a full disk or a stuck pipe must not stop the traffic.
#[derive(Debug, Clone)]
pub(super) struct Sink {
    lines: SyncSender<Message>,
    reopen: Arc<AtomicBool>,
    dropped: IntCounter,
}

enum Message {
    Line(Box<[u8]>),
    /// Look at the flags.
    Wake,
    /// Answer once everything before was written.
    Flush(SyncSender<()>),
}

/// Where the lines go.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Stdout,
    /// Appended to; created with its folders, mode 0664 before the umask, as Traefik does.
    File(PathBuf),
    /// The same, and begun anew when it is too large.
    Rotated(PathBuf, Rotation),
}

impl Target {
    /// `filePath` of a configuration block.
    pub(super) fn from_config(path: Option<&str>) -> Self {
        path.filter(|path| !path.is_empty()).map_or(Self::Stdout, |path| Self::File(path.into()))
    }

    /// A file is rotated.
    pub(super) fn rotated(self, rotation: Rotation) -> Self {
        match self {
            Self::File(path) => Self::Rotated(path, rotation),
            other => other,
        }
    }
}

impl Sink {
    /// Opens `target` and starts the writer, which ends with the last clone.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread not started.
    pub(super) fn open(name: &str, target: Target, capacity: usize, dropped: IntCounter) -> io::Result<Self> {
        let output = Output::open(target)?;
        Self::start(name, output, capacity, dropped)
    }

    fn start(name: &str, output: Output, capacity: usize, dropped: IntCounter) -> io::Result<Self> {
        let capacity = if capacity == 0 { DEFAULT_CAPACITY } else { capacity };
        let (lines, inbox) = sync_channel(capacity);
        let reopen = Arc::new(AtomicBool::new(false));
        let mut writer = Writer {
            output,
            reopen: Arc::clone(&reopen),
            dropped: dropped.clone(),
            batch: Vec::new(),
            batched: 0,
        };
        thread::Builder::new().name(name.to_owned()).spawn(move || writer.run(&inbox))?;
        Ok(Self { lines, reopen, dropped })
    }

    /// Queues one line, which must end in a line feed. Never blocks.
    pub(super) fn write(&self, line: &[u8]) {
        if self.lines.try_send(Message::Line(line.into())).is_err() {
            self.dropped.inc();
        }
    }

    /// Makes the writer open its file anew, after a rotation from outside. Never blocks.
    pub(super) fn reopen(&self) {
        self.reopen.store(true, Ordering::Release);
        // A full queue keeps the writer awake, which looks at the flag before each write.
        if let Err(TrySendError::Disconnected(_)) = self.lines.try_send(Message::Wake) {
            self.dropped.inc();
        }
    }

    /// Waits until every line queued so far was written, or for `limit`. True if all were.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        let mut message = Message::Flush(done);
        let step = Duration::from_millis(5);
        let mut left = limit;
        loop {
            match self.lines.try_send(message) {
                Ok(()) => break,
                Err(TrySendError::Full(back)) if left > step => {
                    message = back;
                    left -= step;
                    thread::sleep(step);
                }
                Err(_) => return false,
            }
        }
        !matches!(wait.recv_timeout(left), Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected))
    }
}

/// The thread's side.
struct Writer {
    output: Output,
    reopen: Arc<AtomicBool>,
    dropped: IntCounter,
    batch: Vec<u8>,
    batched: u64,
}

impl Writer {
    fn run(&mut self, inbox: &Receiver<Message>) {
        while let Ok(message) = inbox.recv() {
            let mut waiting = self.take(message);
            while waiting.is_none() && self.batch.len() < BATCH {
                match inbox.try_recv() {
                    Ok(message) => waiting = self.take(message),
                    Err(_) => break,
                }
            }
            self.write();
            if let Some(done) = waiting {
                // Whoever asked may have given up.
                let _ = done.try_send(());
            }
        }
    }

    /// Adds a line to the batch, or tells who waits for it to be written.
    fn take(&mut self, message: Message) -> Option<SyncSender<()>> {
        match message {
            Message::Line(line) => {
                self.batch.extend_from_slice(&line);
                self.batched += 1;
                None
            }
            Message::Wake => None,
            Message::Flush(done) => Some(done),
        }
    }

    fn write(&mut self) {
        if self.reopen.swap(false, Ordering::AcqRel) {
            self.output.reopen();
        }
        self.output.rotate(self.batch.len() as u64);
        if !self.batch.is_empty() && self.output.write_all(&self.batch).is_err() {
            self.dropped.inc_by(self.batched);
        }
        self.batch.clear();
        self.batched = 0;
    }
}

/// What the writer writes to.
enum Output {
    Stdout,
    File {
        path: PathBuf,
        file: File,
        size: u64,
        rotation: Option<Rotation>,
    },
    #[cfg(test)]
    Test(Box<dyn Write + Send>),
}

impl Output {
    fn open(target: Target) -> io::Result<Self> {
        let (path, rotation) = match target {
            Target::Stdout => return Ok(Self::Stdout),
            Target::File(path) => (path, None),
            Target::Rotated(path, rotation) => (path, Some(rotation)),
        };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let (file, size) = append_to(&path)?;
        // A device or a pipe is not given another name.
        let rotation = rotation.filter(|_| path.is_file());
        if let Some(rotation) = &rotation {
            rotation.tidy_up_beside(&path);
        }
        Ok(Self::File { path, file, size, rotation })
    }

    /// Keeps the old file when the new one cannot be opened: lines in a renamed file beat no lines.
    fn reopen(&mut self) {
        let Self::File { path, file, size, .. } = self else { return };
        match append_to(path) {
            Ok(new) => (*file, *size) = new,
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "a log file cannot be opened anew; the old one is written on");
            }
        }
    }

    /// Begins a new file if these bytes would make it too large. What cannot be rotated goes on.
    fn rotate(&mut self, more: u64) {
        let Self::File { path, size, rotation: Some(rotation), .. } = self else { return };
        if *size == 0 || size.saturating_add(more) <= rotation.largest {
            return;
        }
        if Rotation::set_aside(path, Timestamp::now()).is_ok() {
            rotation.tidy_up_beside(path);
            self.reopen();
        }
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(bytes)?;
                stdout.flush()
            }
            Self::File { file, size, .. } => {
                *size = size.saturating_add(bytes.len() as u64);
                file.write_all(bytes)
            }
            #[cfg(test)]
            Self::Test(output) => output.write_all(bytes),
        }
    }
}

/// The file and its size.
fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().append(true).create(true).mode(0o664).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    fn dropped() -> IntCounter {
        IntCounter::new("dropped", "dropped").unwrap()
    }

    #[test]
    fn lines_follow_the_file_after_a_rotation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new").join("access.log");
        let sink = Sink::open("test", Target::File(path.clone()), 0, dropped()).unwrap();
        sink.write(b"one\n");
        assert!(sink.flush(LONG));
        let rotated = path.with_extension("1");
        fs::rename(&path, &rotated).unwrap();
        sink.write(b"two\n");
        assert!(sink.flush(LONG));
        sink.reopen();
        sink.write(b"three\n");
        assert!(sink.flush(LONG));
        assert_eq!(fs::read_to_string(rotated).unwrap(), "one\ntwo\n");
        assert_eq!(fs::read_to_string(path).unwrap(), "three\n");
    }

    #[test]
    fn a_file_that_cannot_be_opened_anew_is_written_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/access.log");
        let sink = Sink::open("test", Target::File(path), 0, dropped()).unwrap();
        let moved = folder.path().join("moved");
        fs::rename(folder.path().join("logs"), &moved).unwrap();
        sink.reopen();
        sink.write(b"one\n");
        assert!(sink.flush(LONG));
        assert_eq!(fs::read_to_string(moved.join("access.log")).unwrap(), "one\n");
    }

    #[test]
    fn a_file_that_is_too_large_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.log");
        let target = Target::File(path.clone()).rotated(Rotation::new(1, 0, 0, false));
        let sink = Sink::open("test", target, 0, dropped()).unwrap();
        let line = [vec![b'x'; 400 * 1024 - 1], b"\n".to_vec()].concat();
        for _ in 0..5 {
            sink.write(&line);
            assert!(sink.flush(LONG));
        }
        let mut sizes: Vec<_> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len() / 1024)
            .collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [400, 800, 800], "no line is cut or lost, and no file is larger than a megabyte");
        assert_eq!(fs::metadata(path).unwrap().len(), 400 * 1024);
    }

    #[test]
    fn a_device_is_not_rotated() {
        let rotation = Rotation::new(1, 0, 0, false);
        let device = Output::open(Target::Rotated("/dev/null".into(), rotation)).unwrap();
        assert!(matches!(device, Output::File { rotation: None, .. }));
    }

    /// Writes only once the test lets it.
    struct Gate(Receiver<()>, SyncSender<Vec<u8>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_output_drops_lines_and_counts_them() {
        let (open, gate) = sync_channel(16);
        let (written, seen) = sync_channel(16);
        let dropped = dropped();
        let sink =
            Sink::start("test", Output::Test(Box::new(Gate(gate, written))), 2, dropped.clone()).unwrap();
        // At most one batch is in the writer's hands and two lines in the queue.
        for _ in 0..100 {
            sink.write(b"x\n");
        }
        let lost = dropped.get();
        assert!(lost >= 90, "{lost}");
        drop(open);
        drop(seen);
        sink.flush(LONG);
        assert_eq!(dropped.get(), 100, "lines that could not be written count as dropped");
    }
}
