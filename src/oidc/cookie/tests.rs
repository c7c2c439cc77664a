#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use proptest::prelude::*;

use super::*;
use crate::oidc::session::SessionId;

fn headers(cookies: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for cookie in cookies {
        headers.append(COOKIE, HeaderValue::from_str(cookie).unwrap());
    }
    headers
}

fn cookies() -> Cookies {
    Cookies::new("pc_", None, None).unwrap()
}

#[test]
fn names_say_what_browsers_may_assume() {
    let host = cookies();
    assert_eq!(host.session_name(true), "__Host-pc_session");
    assert_eq!(host.session_name(false), "pc_session");
    assert_eq!(host.login_name(true, "x1"), "__Host-pc_login_x1");
    for (domain, path) in
        [(Some("example.com"), None), (None, Some("/app")), (Some(".example.com"), Some("/"))]
    {
        let wide = Cookies::new("pc_", domain, path).unwrap();
        assert_eq!(wide.session_name(true), "__Secure-pc_session");
    }
}

#[test]
fn settings_that_cannot_be_cookies_are_refused() {
    for prefix in ["", "a b", "a;", "a=", "__Host-x", "__secure-x", "é"] {
        assert_eq!(Cookies::new(prefix, None, None).unwrap_err(), CookieError::Prefix, "{prefix}");
    }
    for domain in ["https://example.com", "example.com:80", "a..b", "a;b", "a b", "."] {
        assert_eq!(Cookies::new("p", Some(domain), None).unwrap_err(), CookieError::Domain, "{domain}");
    }
    for path in ["app", "/a;b", "/a\r\nb", "/é"] {
        assert_eq!(Cookies::new("p", None, Some(path)).unwrap_err(), CookieError::Path, "{path}");
    }
}

#[test]
fn set_and_clear_carry_the_same_attributes() {
    let set = cookies().set("__Host-pc_session", "v", Some(Duration::from_secs(60)), true).unwrap();
    assert_eq!(set, "__Host-pc_session=v; Path=/; Max-Age=60; HttpOnly; SameSite=Lax; Secure");
    let clear = cookies().clear("__Host-pc_session", true).unwrap();
    let expires = "Expires=Thu, 01 Jan 1970 00:00:00 GMT";
    assert_eq!(
        clear,
        format!("__Host-pc_session=; Path=/; Max-Age=0; {expires}; HttpOnly; SameSite=Lax; Secure")
    );
    let wide = Cookies::new("p", Some("example.com"), Some("/app")).unwrap();
    assert_eq!(
        wide.set("n", "v", None, false).unwrap(),
        "n=v; Path=/app; Domain=example.com; HttpOnly; SameSite=Lax"
    );
    assert_eq!(wide.set("n", "a b", None, false), Err(CookieError::Value));
    assert_eq!(wide.set("n;", "v", None, false), Err(CookieError::Value));
}

#[test]
fn garbage_counts_as_absent() {
    let id = SessionId::random().unwrap();
    let text = id.to_text();
    let name = "__Host-pc_session";
    let found = |list: &[&str]| values(&headers(list), name).filter_map(SessionId::parse).collect::<Vec<_>>();
    assert_eq!(found(&[&format!("{name}={text}")]), [id]);
    assert_eq!(found(&[&format!("a=1; {name}=junk ;{name}= {text} ; b=2")]), [id]);
    assert_eq!(found(&[&format!("{name}={}", &text[..40]), "x", ";;=;=="]), []);
    assert_eq!(found(&[&format!("pc_session={text}")]), [], "a plain name does not do under https");
    assert_eq!(found(&[&format!("__host-pc_session={text}")]), []);
    assert_eq!(found(&[&format!("{name}=x; ").repeat(4), &format!("{name}={text}")]), [], "bounded");
}

#[test]
fn login_attempts_are_listed() {
    let headers = headers(&["__Host-pc_login_a=1; x=2", "__Host-pc_login_b=3"]);
    assert_eq!(cookies().logins(&headers, true).collect::<Vec<_>>(), [("a", "1"), ("b", "3")]);
    assert_eq!(cookies().logins(&headers, false).count(), 0);
}

#[test]
fn services_get_all_cookies_but_ours() {
    let own = OwnCookies::of(&[cookies(), Cookies::new("other.", None, None).unwrap()]);
    let edit = |list: &[&str]| own.edit(&headers(list));
    let replace = |value: &str| CookieEdit::Replace(HeaderValue::from_str(value).unwrap());
    assert_eq!(edit(&[]), CookieEdit::Keep);
    assert_eq!(edit(&["a=1; ; b=2; c="]), CookieEdit::Keep);
    assert_eq!(edit(&["a=1", "pc_sessions=1; pc_=2; pc_other=3"]), CookieEdit::Keep);
    assert_eq!(edit(&["__Host-pc_session=x"]), CookieEdit::Drop);
    assert_eq!(edit(&["pc_session=x; ", "__Secure-other.login_1=y"]), CookieEdit::Drop);
    assert_eq!(edit(&["a=1; ; pc_session=x;b=2; c="]), replace("a=1; ;b=2; c="));
    assert_eq!(edit(&["pc_session=x;  a=1;b"]), replace("a=1;b"));
    assert_eq!(edit(&["a=1;  __HOST-pc_session = x"]), replace("a=1"));
    assert_eq!(edit(&["a=1", "pc_login_q=x", "b=2"]), replace("a=1; b=2"));
    assert_eq!(edit(&["a=\"1; pc_session=x; 2\""]), replace("a=\"1; 2\""));
    assert_eq!(edit(&["pc_session"]), CookieEdit::Drop);
}

#[test]
fn clients_have_names_of_their_own() {
    let (a, b) = (cookies().for_client("aaaa1111"), cookies().for_client("bbbb2222"));
    assert_eq!(a.session_name(true), "__Host-pc_session_aaaa1111");
    assert_eq!(a.login_name(false, "x1"), "pc_login_aaaa1111_x1");
    assert_eq!(a.plain_session_name(true), "__Host-pc_session");
    let wide = Cookies::new("p", None, Some("/app")).unwrap().for_client("aaaa1111");
    assert_eq!(wide.session_name(true), "__Secure-psession_aaaa1111");
    let both = headers(&["pc_login_aaaa1111_x=1; pc_login_bbbb2222_y=2"]);
    assert_eq!(b.logins(&both, false).collect::<Vec<_>>(), [("y", "2")]);

    // Those of a Portcullis behind us pass, ours do not, those of before neither.
    let own = OwnCookies::of([&a]);
    let edit = own.edit(&headers(&["__Host-pc_session_aaaa1111=1; pc_session=2; pc_login_aaaa1111_x=3"]));
    assert_eq!(edit, CookieEdit::Drop);
    let chunks = "pc_session_aaaa1111_0=1; __Host-pc_session_aaaa1111_1=2; pc_session_aaaa1111_1000000000=3";
    assert_eq!(own.edit(&headers(&[chunks])), CookieEdit::Drop);
    assert_eq!(own.edit(&headers(&["pc_session_aaaa1111_x=1; pc_session_aaaa11110=2"])), CookieEdit::Keep);
    assert_eq!(own.edit(&headers(&["pc_session_bbbb2222=1; pc_login_bbbb2222_y=2"])), CookieEdit::Keep);
}

/// Headers as browsers and others write them, ours among them or not.
fn any_header() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[ a-z]{0,4}=?[a-z0-9\"= ]{0,6}",
        Just(" pc_session=secret".to_owned()),
        Just("__Host-pc_session=secret".to_owned()),
        Just(" __secure-pc_login_7 =secret".to_owned()),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.join(";"))
}

proptest! {
    #[test]
    fn no_edit_lets_ours_through_or_loses_another(list in prop::collection::vec(any_header(), 0..3)) {
        let own = OwnCookies::of(&[cookies()]);
        let mut request = HeaderMap::new();
        for header in &list {
            request.append(COOKIE, HeaderValue::from_str(header).unwrap());
        }
        let others: Vec<(String, String)> = pairs(&request)
            .filter(|(_, value)| *value != "secret")
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let edited = match own.edit(&request) {
            CookieEdit::Keep => request,
            CookieEdit::Drop => HeaderMap::new(),
            CookieEdit::Replace(value) => HeaderMap::from_iter([(COOKIE, value)]),
        };
        let left: Vec<(String, String)> =
            pairs(&edited).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        prop_assert_eq!(left, others);
        prop_assert_eq!(own.edit(&edited), CookieEdit::Keep);
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(value) = HeaderValue::from_bytes(&bytes) {
            let request = HeaderMap::from_iter([(COOKIE, value)]);
            let cookies = cookies();
            prop_assert!(values(&request, cookies.session_name(true)).count() <= MAX_SAME_NAME);
            let _ = cookies.logins(&request, false).count();
            let _ = OwnCookies::of(&[cookies]).edit(&request);
        }
    }
}
