//! Any bytes as a `Cookie` header: nothing panics, and an edited header has none of our cookies left.
#![no_main]

use http::header::COOKIE;
use http::{HeaderMap, HeaderValue};
use libfuzzer_sys::fuzz_target;
use portcullis::oidc::cookie::{CookieEdit, Cookies, MAX_SAME_NAME, OwnCookies, values};

fuzz_target!(|data: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(data) else {
        return;
    };
    let request = HeaderMap::from_iter([(COOKIE, value)]);
    let cookies = Cookies::new("pc_", None, None).unwrap();
    let own = OwnCookies::of([&cookies]);
    assert!(values(&request, cookies.session_name(true)).count() <= MAX_SAME_NAME);
    for (id, value) in cookies.logins(&request, false) {
        let _ = cookies.set(&cookies.login_name(false, id), value, None, false);
    }
    if let CookieEdit::Replace(value) = own.edit(&request) {
        let edited = HeaderMap::from_iter([(COOKIE, value)]);
        assert_eq!(own.edit(&edited), CookieEdit::Keep);
        assert_eq!(values(&edited, cookies.session_name(false)).count(), 0);
    }
});
