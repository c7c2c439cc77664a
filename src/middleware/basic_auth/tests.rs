#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::middleware::testing::{Request, refused};

const USERS: &str =
    "users: ['test:$apr1$H6uskkkW$IgXLP6ewTrSuBkTrqE8wj/', 'sha:{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=']";

fn config(options: &str) -> String {
    format!("basicAuth: {{{USERS}{options}}}")
}

fn login(user: &str, password: &str) -> Request {
    let encoded = STANDARD.encode(format!("{user}:{password}"));
    Request::get("/").header("Authorization", &format!("Basic {encoded}"))
}

#[tokio::test]
async fn right_passwords_pass() {
    for (user, password) in [("test", "test"), ("sha", "password")] {
        let mut request = login(user, password);
        request.passes(&config("")).await;
        assert_eq!(request.state.user.as_deref(), Some(user));
        assert_eq!(request.headers("authorization").len(), 1);
    }
}

#[tokio::test]
async fn everything_else_is_challenged() {
    let requests = [
        Request::get("/"),
        login("test", "wrong"),
        login("test", ""),
        login("nobody", "test"),
        login("", ""),
        Request::get("/").header("Authorization", "Bearer x"),
        Request::get("/").header("Authorization", "Basic"),
        Request::get("/").header("Authorization", "Basic %%%"),
        Request::get("/").header("Authorization", &format!("Basic {}", STANDARD.encode("test"))),
        login("test", &"x".repeat(5000)),
    ];
    for mut request in requests {
        let answer = request.answered(&config("")).await;
        assert_eq!(answer.status, 401);
        assert_eq!(answer.headers["www-authenticate"], "Basic realm=\"traefik\"");
        assert_eq!(answer.body, "401 Unauthorized\n");
    }
}

#[tokio::test]
async fn the_log_learns_who_failed() {
    let mut request = login("nobody", "x");
    request.answered(&config("")).await;
    assert_eq!(request.state.user.as_deref(), Some("nobody"));
}

#[tokio::test]
async fn options() {
    let mut request = login("test", "test").header("X-User", "root").header("X-User", "admin");
    request.passes(&config(", removeHeader: true, headerField: X-User")).await;
    assert_eq!(request.headers("x-user"), ["test"]);
    assert!(request.headers("authorization").is_empty());

    let answer = Request::get("/").answered(&config(", realm: 'a \"b\"'")).await;
    assert_eq!(answer.headers["www-authenticate"], "Basic realm=\"a \\\"b\\\"\"");
}

#[tokio::test]
async fn other_spellings_of_the_header_field_go() {
    let mut request = login("test", "test").header("X_User", "root").header("x.user", "root");
    request.passes(&config(", headerField: X-User")).await;
    assert_eq!(request.headers("x-user"), ["test"]);
    assert!(request.headers("x_user").is_empty() && request.headers("x.user").is_empty());
}

#[tokio::test]
async fn users_come_from_a_file_too_and_later_ones_win() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "# comment\n\n  sha:{{SHA}}nope  \nfile:{{SHA}}W6ph5Mm5Pz8GgiULbPgzG37mj9g=").unwrap();
    let config = config(&format!(", usersFile: '{}'", file.path().display()));
    login("file", "password").passes(&config).await;
    login("sha", "password").passes(&config).await;
    login("#", "password").answered(&config).await;
}

#[test]
fn refusals_never_show_the_line() {
    assert!(refused("basicAuth: {users: []}").contains("no users"));
    for line in ["hunter2", "a:hunter2:c"] {
        let error = refused(&format!("basicAuth: {{users: ['{line}']}}"));
        assert!(error.contains("users[0]") && !error.contains("hunter2"), "{error}");
    }
    assert!(refused("basicAuth: {usersFile: /does/not/exist}").contains("/does/not/exist"));
    assert!(refused(&config(", headerField: 'a b'")).contains("headerField"));
}
