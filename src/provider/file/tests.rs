//! Real files, real changes; every wait is for an event, with a deadline.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::*;
use crate::config::static_config;

const PATIENCE: Duration = Duration::from_secs(20);

fn router(rule: &str) -> String {
    format!("http:\n  routers:\n    r:\n      rule: '{rule}'\n      service: s\n")
}

struct Running {
    events: mpsc::Receiver<Event>,
    reread: Arc<Notify>,
    _stop: channel::Sender<bool>,
}

fn source(path: &Path) -> Source {
    Source { path: path.to_owned(), also: Vec::new(), watch: true, log_template: false, key: "" }
}

fn start(path: &Path) -> Running {
    start_at(source(path), Duration::from_millis(10))
}

fn start_at(source: Source, throttle: Duration) -> Running {
    let reread = Arc::new(Notify::new());
    let provider = FileProvider::new(source, throttle, Arc::clone(&reread));
    let (sender, events) = mpsc::channel(4);
    let (stop, stopped) = channel::channel(false);
    tokio::spawn(provider.run(sender, stopped));
    Running { events, reread, _stop: stop }
}

impl Running {
    async fn next(&mut self) -> Result<String, String> {
        let event =
            tokio::time::timeout(PATIENCE, self.events.recv()).await.expect("an event").expect("a sender");
        let fragment = event.outcome.map_err(|errors| errors.to_string())?;
        Ok(fragment.config.http.routers.get("r").map(|r| r.value.rule.clone()).unwrap_or_default())
    }

    async fn until_ok(&mut self) -> String {
        loop {
            if let Some(rule) = self.next().await.ok().filter(|rule| !rule.is_empty()) {
                return rule;
            }
        }
    }

    /// Passes over what was seen half-way.
    async fn until(&mut self, rule: &str) {
        while self.next().await.ok().as_deref() != Some(rule) {}
    }
}

#[tokio::test]
async fn saves_of_every_kind_are_seen() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("dynamic.yml");
    fs::write(&file, router("Path(`/0`)")).unwrap();
    let mut running = start(&file);
    assert_eq!(running.next().await.unwrap(), "Path(`/0`)");

    fs::write(&file, router("Path(`/1`)")).unwrap();
    assert_eq!(running.next().await.unwrap(), "Path(`/1`)");

    let beside = folder.path().join(".dynamic.yml.swp");
    fs::write(&beside, router("Path(`/2`)")).unwrap();
    fs::rename(&beside, &file).unwrap();
    assert_eq!(running.next().await.unwrap(), "Path(`/2`)");

    fs::remove_file(&file).unwrap();
    fs::write(&file, router("Path(`/3`)")).unwrap();
    loop {
        match running.next().await {
            Ok(rule) => break assert_eq!(rule, "Path(`/3`)"),
            Err(gone) => assert!(gone.contains("No such file"), "{gone}"),
        }
    }
}

/// An access log beside the file would put each change off for as long as it may be.
#[tokio::test]
async fn what_is_written_beside_a_file_is_no_change() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("dynamic.yml"), router("Path(`/0`)")).unwrap();
    for path in [at("dynamic.yml"), folder.path().to_owned()] {
        let mut watcher = watch::Watcher::new();
        watcher.follow(&load::interest(&path));
        watcher.settle();
        for line in 0..50 {
            fs::write(at("access.log"), format!("{line}")).unwrap();
            fs::write(at("portcullis.db-wal"), format!("{line}")).unwrap();
        }
        fs::rename(at("access.log"), at("access.log.1")).unwrap();
        assert!(tokio::time::timeout(SETTLE, watcher.changed()).await.is_err(), "{}", path.display());
        fs::write(at("dynamic.yml"), router("Path(`/1`)")).unwrap();
        tokio::time::timeout(PATIENCE, watcher.changed()).await.expect("a change");
    }
}

#[tokio::test]
async fn a_truncated_file_is_not_believed_at_once() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("dynamic.yml");
    fs::write(&file, router("Path(`/0`)")).unwrap();
    let mut running = start(&file);
    assert_eq!(running.next().await.unwrap(), "Path(`/0`)");
    // Two saves: the first ends before the writer has the content, the second brings it.
    fs::write(&file, "").unwrap();
    fs::write(&file, router("Path(`/1`)")).unwrap();
    assert_eq!(running.next().await.unwrap(), "Path(`/1`)");
    fs::write(&file, " \n").unwrap();
    assert_eq!(running.next().await.unwrap(), "", "an empty file is an empty configuration in the end");
}

#[tokio::test]
async fn folders_that_come_later_are_followed() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("conf");
    let mut running = start(&root);
    assert!(running.next().await.unwrap_err().contains("No such file"));
    fs::create_dir(&root).unwrap();
    fs::write(root.join("a.yml"), router("Path(`/0`)")).unwrap();
    assert_eq!(running.until_ok().await, "Path(`/0`)");

    fs::create_dir_all(root.join("sub/deep")).unwrap();
    fs::rename(root.join("a.yml"), root.join("sub/deep/a.yml")).unwrap();
    fs::write(root.join("sub/deep/a.yml"), router("Path(`/1`)")).unwrap();
    running.until("Path(`/1`)").await;
    fs::write(root.join("sub/deep/a.yml"), router("Path(`/2`)")).unwrap();
    running.until("Path(`/2`)").await;

    // The whole folder is exchanged, and the new one is followed.
    let next = folder.path().join("next");
    fs::create_dir(&next).unwrap();
    fs::write(next.join("a.yml"), router("Path(`/3`)")).unwrap();
    fs::rename(&root, folder.path().join("old")).unwrap();
    fs::rename(&next, &root).unwrap();
    running.until("Path(`/3`)").await;
    fs::write(root.join("a.yml"), router("Path(`/4`)")).unwrap();
    running.until("Path(`/4`)").await;
}

/// Whoever listens to the one folder that was named would never hear of what mends it.
#[tokio::test]
async fn a_folder_that_cannot_be_read_whole_is_followed_all_the_same() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("a.yml"), router("Path(`/0`)")).unwrap();
    let deep = vec!["deep"; 20].join("/");
    fs::create_dir_all(at(&deep)).unwrap();
    let mut running = start(folder.path());
    let said = running.next().await.unwrap_err();
    assert!(said.contains("deep/deep: folders are nested too deeply"), "{said}");
    fs::remove_dir_all(at("deep")).unwrap();
    assert_eq!(running.until_ok().await, "Path(`/0`)");
}

#[test]
fn links_of_folders_are_followed_once() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("sub")).unwrap();
    fs::write(at("sub/a.yml"), router("Path(`/0`)")).unwrap();
    for (target, link) in [(".", "circle"), ("sub", "again"), ("..", "sub/up"), ("nowhere", "dangling")] {
        std::os::unix::fs::symlink(target, at(link)).unwrap();
    }
    let fragment = load(&source(folder.path())).outcome().unwrap();
    assert_eq!(fragment.config.http.routers.len(), 1);
    assert_eq!(fragment.warnings, []);
}

#[test]
fn endings_are_read_without_regard_to_case() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("A.YML"), router("Path(`/0`)")).unwrap();
    fs::write(folder.path().join("B.Toml"), "[http.routers.b]\nrule = \"Path(`/b`)\"\nservice = \"s\"\n")
        .unwrap();
    let fragment = load(&source(folder.path())).outcome().unwrap();
    assert_eq!(fragment.config.http.routers.keys().collect::<Vec<_>>(), ["b", "r"]);
}

#[tokio::test]
async fn the_file_behind_a_link_is_followed() {
    let folder = TempDir::new().unwrap();
    let elsewhere = TempDir::new().unwrap();
    let real = elsewhere.path().join("real.yml");
    fs::write(&real, router("Path(`/0`)")).unwrap();
    let link = folder.path().join("dynamic.yml");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let mut running = start(&link);
    assert_eq!(running.next().await.unwrap(), "Path(`/0`)");
    fs::write(&real, router("Path(`/1`)")).unwrap();
    assert_eq!(running.next().await.unwrap(), "Path(`/1`)");
}

#[tokio::test]
async fn it_ends_when_told_to() {
    let folder = TempDir::new().unwrap();
    let provider =
        FileProvider::new(source(folder.path()), Duration::from_secs(3600), Arc::new(Notify::new()));
    // Nobody takes the second event: even then a stop is heard.
    let (sender, _events) = mpsc::channel(1);
    let (stop, stopped) = channel::channel(false);
    let running = tokio::spawn(provider.run(sender, stopped));
    stop.send(true).unwrap();
    tokio::time::timeout(PATIENCE, running).await.expect("it ends").unwrap();
}

#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("..one")).unwrap();
    fs::write(at("..one/dynamic.yml"), router("Path(`/one`)")).unwrap();
    std::os::unix::fs::symlink("..one", at("..data")).unwrap();
    std::os::unix::fs::symlink("..data/dynamic.yml", at("dynamic.yml")).unwrap();
    let mut running = start(folder.path());
    assert_eq!(running.next().await.unwrap(), "Path(`/one`)");

    fs::create_dir(at("..two")).unwrap();
    fs::write(at("..two/dynamic.yml"), router("Path(`/two`)")).unwrap();
    std::os::unix::fs::symlink("..two", at("..data_tmp")).unwrap();
    fs::rename(at("..data_tmp"), at("..data")).unwrap();
    assert_eq!(running.next().await.unwrap(), "Path(`/two`)");
}

#[tokio::test]
async fn a_broken_file_is_reported_and_a_mended_one_read() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("dynamic.yml");
    fs::write(&file, router("Path(`/0`)")).unwrap();
    let mut running = start(&file);
    running.next().await.unwrap();
    fs::write(&file, "http:\n  router: {}\n").unwrap();
    let said = running.next().await.unwrap_err();
    assert!(said.contains("dynamic.yml:2:3: http: unknown key `router`; did you mean `routers`?"), "{said}");
    fs::write(&file, router("Path(`/1`)")).unwrap();
    assert_eq!(running.next().await.unwrap(), "Path(`/1`)");
}

#[tokio::test]
async fn referenced_certificates_count_as_changes() {
    let folder = TempDir::new().unwrap();
    let certificates = TempDir::new().unwrap();
    let (cert, key) = (certificates.path().join("tls.crt"), certificates.path().join("tls.key"));
    fs::write(&cert, "one").unwrap();
    fs::write(&key, "one").unwrap();
    let file = folder.path().join("tls.toml");
    let text = format!("[[tls.certificates]]\ncertFile = {cert:?}\nkeyFile = {key:?}\n");
    fs::write(&file, text).unwrap();
    let mut running = start(&file);
    running.next().await.unwrap();
    fs::write(&cert, "two").unwrap();
    running.next().await.unwrap();
}

#[tokio::test]
async fn files_of_the_static_configuration_count_as_changes() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("conf")).unwrap();
    let also = vec![at("ca.pem")];
    let mut running = start_at(Source { also, ..source(&at("conf")) }, Duration::from_millis(10));
    running.next().await.unwrap();
    fs::write(at("ca.pem"), "one").unwrap();
    running.next().await.unwrap();
}

#[tokio::test]
async fn who_asks_while_a_change_waits_for_its_turn_gets_one_answer() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("dynamic.yml");
    fs::write(&file, router("Path(`/0`)")).unwrap();
    let mut running = start_at(source(&file), Duration::from_secs(1));
    running.next().await.unwrap();
    fs::write(&file, router("Path(`/1`)")).unwrap();
    running.reread.notify_one();
    assert_eq!(running.next().await.unwrap(), "Path(`/1`)");
    // The next is about the next change.
    fs::write(&file, router("Path(`/2`)")).unwrap();
    assert_eq!(running.next().await.unwrap(), "Path(`/2`)");
}

#[tokio::test]
async fn rereading_on_demand_sends_again() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("dynamic.yml");
    fs::write(&file, router("Path(`/0`)")).unwrap();
    let mut running = start(&file);
    running.next().await.unwrap();
    running.reread.notify_one();
    assert_eq!(running.next().await.unwrap(), "Path(`/0`)");
}

#[test]
fn a_folder_is_merged_in_name_order() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("sub")).unwrap();
    fs::write(folder.path().join("b.yml"), router("Path(`/b`)")).unwrap();
    fs::write(folder.path().join("a.toml"), "[http.routers.r]\nrule = \"Path(`/a`)\"\nservice = \"s\"\n")
        .unwrap();
    fs::write(folder.path().join("sub/c.yaml"), "http: {services: {s: {loadBalancer: {servers: []}}}}")
        .unwrap();
    fs::write(folder.path().join("ignored.txt"), "nonsense: {").unwrap();
    let loaded = load(&source(folder.path()));
    let fragment = loaded.outcome().unwrap();
    assert_eq!(fragment.config.http.routers["r"].value.rule, "Path(`/a`)");
    assert!(fragment.config.http.services.contains_key("s"));
    assert!(
        fragment.warnings[0].to_string().contains("b.yml: http.routers.r: is defined in an earlier file")
    );
}

#[test]
fn what_cannot_be_read_is_told_where_it_is_named() {
    let file = static_config::FileProvider { filename: Some("/nope.yml".into()), ..Default::default() };
    let providers = static_config::Providers { file: Some(file), ..Default::default() };
    let config = StaticConfig { providers, ..Default::default() };
    let said = load(&Source::new(&config).unwrap()).outcome().unwrap_err().to_string();
    assert!(said.starts_with("providers.file.filename: cannot read /nope.yml: No such file"), "{said}");
}
