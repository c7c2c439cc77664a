//! The session database fails under the running proxy: readiness says why, and live sessions go on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use portcullis::demo::provider::ProviderOptions;
use rusqlite::OpenFlags;

use crate::harness::client::Browser;
use crate::harness::eventually;
use crate::harness::idp::{Plan, TELLS, World};

/// Life of the first tokens.
const LIFE: Duration = Duration::from_secs(4);

fn short_lived() -> Plan {
    let mut plan = Plan::new().plugin("refreshGracePeriodSeconds: 1").plugin(TELLS);
    plan.provider = ProviderOptions { access_token_ttl: LIFE, ..ProviderOptions::default() };
    plan
}

async fn not_ready_because(world: &World, why: &str) {
    eventually(why, || async {
        matches!(world.proxy.admin("/readyz").await, Some((503, text)) if text.contains("session store") && text.contains(why))
    })
    .await;
}

async fn ready(world: &World) {
    eventually("readiness", || async {
        world.proxy.admin("/readyz").await.is_some_and(|(status, _)| status == 200)
    })
    .await;
}

/// The tokens end, and the page comes all the same, by one refresh more.
async fn goes_on_by_a_refresh(world: &World, browser: &Browser) {
    let before = world.grants("refresh_token");
    world.tokens_over(&browser.cookie_line("localhost")).await;
    let page = browser.fetch(&world.at("/x")).await;
    assert!(World::is_from_service(&page), "{page:?}");
    assert_eq!(world.origin.last().get("x-forwarded-user"), Some("alice@example.test"));
    assert_eq!(world.grants("refresh_token"), before + 1);
}

/// After the repair the tokens are in the store: another process finds them.
async fn survives_a_restart(mut world: World, browser: &Browser) {
    let (logins, refreshed) = (world.grants("authorization_code"), world.grants("refresh_token"));
    eventually("what the store could not take is written", || async {
        generation(&database(&world)).is_some_and(|generation| generation >= refreshed)
    })
    .await;
    world.proxy.kill_and_restart().await;
    let page = browser.fetch(&world.at("/after")).await;
    assert!(World::is_from_service(&page), "{page:?}");
    assert_eq!(world.grants("authorization_code"), logins);
    assert_eq!(world.grants("refresh_token"), refreshed);
}

/// How often the only session in the file was refreshed.
fn generation(database: &Path) -> Option<u64> {
    let file = rusqlite::Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_WRITE).ok()?;
    let newest: i64 = file.query_row("SELECT max(generation) FROM sessions", [], |row| row.get(0)).ok()?;
    u64::try_from(newest).ok()
}

fn database(world: &World) -> PathBuf {
    world.proxy.folder().join("state/sessions.sqlite")
}

/// The database and its log.
fn files(database: &Path) -> [PathBuf; 2] {
    [database.to_owned(), PathBuf::from(format!("{}-wal", database.display()))]
}

#[tokio::test]
async fn a_damaged_database_ends_no_session() {
    let world = short_lived().start().await;
    let browser = world.browser_of("alice").await;
    let database = database(&world);
    let whole = files(&database).map(|file| fs::read(file).unwrap());
    for (file, whole) in files(&database).iter().zip(&whole) {
        fs::write(file, vec![0x5a; whole.len()]).unwrap();
    }
    not_ready_because(&world, "damaged").await;
    assert_eq!(Browser::new().log_in(&world.at("/"), "bob").await.status, 503, "no new login meanwhile");
    goes_on_by_a_refresh(&world, &browser).await;
    world.idp.set_access_token_ttl(Duration::from_secs(600));
    goes_on_by_a_refresh(&world, &browser).await;
    // The log first: the database must not be found whole without it.
    let [file, log] = files(&database);
    let _ = fs::remove_file(format!("{}-shm", database.display()));
    fs::write(log, &whole[1]).unwrap();
    let next = database.with_extension("next");
    fs::write(&next, &whole[0]).unwrap();
    fs::rename(next, file).unwrap();
    ready(&world).await;
    survives_a_restart(world, &browser).await;
}

/// A small file system of its own; unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// None where that is not permitted.
    fn mount(at: &Path) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let mount =
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs"]).arg(at).output();
        mount.is_ok_and(|output| output.status.success()).then(|| Self(at.to_owned()))
    }

    /// Takes all that is left.
    fn fill(&self) -> PathBuf {
        let ballast = self.0.join("ballast");
        let mut file = fs::File::create(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        ballast
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
        // The folder of the test could not be removed while this was in it.
        let _ = self.0.parent().map(fs::remove_dir_all);
    }
}

#[tokio::test]
async fn a_full_disk_ends_no_session() {
    let plan = short_lived();
    let Some(disk) = SmallDisk::mount(&plan.folder().join("state")) else {
        println!("skipped: a_full_disk_ends_no_session needs to mount a tmpfs");
        return;
    };
    let world = plan.start().await;
    let browser = world.browser_of("alice").await;
    let ballast = disk.fill();
    not_ready_because(&world, "full").await;
    goes_on_by_a_refresh(&world, &browser).await;
    world.idp.set_access_token_ttl(Duration::from_secs(600));
    goes_on_by_a_refresh(&world, &browser).await;
    fs::remove_file(ballast).unwrap();
    ready(&world).await;
    survives_a_restart(world, &browser).await;
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_at_first_is_tried_again() {
    let plan = Plan::new();
    // A file where the folder should be.
    let state = plan.folder().join("state");
    fs::write(&state, "").unwrap();
    let world = plan.start_unready().await;
    not_ready_because(&world, "state/sessions.sqlite").await;
    fs::remove_file(&state).unwrap();
    ready(&world).await;
    world.browser_of("alice").await;
}
