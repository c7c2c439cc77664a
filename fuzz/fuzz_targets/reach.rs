//! Where a provider may send us: any URL whose host is an address. What may be called is https and public; what the
//! URL parser makes of odd spellings (`0x7f.1`, `[::ffff:10.0.0.1]`) is judged, not the spelling.
#![no_main]

use std::net::IpAddr;

use futures_util::FutureExt;
use libfuzzer_sys::fuzz_target;
use portcullis::oidc::reach::Reach;
use url::{Host, Url};

fuzz_target!(|text: &str| {
    let Ok(url) = Url::parse(text) else { return };
    let address = match url.host() {
        Some(Host::Ipv4(v4)) => IpAddr::V4(v4),
        Some(Host::Ipv6(v6)) => IpAddr::V6(v6).to_canonical(),
        _ => return,
    };
    let reach = Reach::new(false);
    let checked = reach.check(&url).now_or_never().expect("an address needs no look-up");
    assert_eq!(reach.check_front(&url).now_or_never(), Some(checked.clone()));
    if checked.is_err() {
        return;
    }
    assert_eq!(url.scheme(), "https");
    let outside = match address {
        IpAddr::V4(v4) => !(v4.is_private() || v4.is_link_local() || v4.is_broadcast()),
        IpAddr::V6(v6) => !(v6.is_unique_local() || v6.is_unicast_link_local()),
    };
    assert!(outside && !address.is_loopback() && !address.is_unspecified() && !address.is_multicast());
});
