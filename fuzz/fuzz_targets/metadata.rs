//! Discovery documents: any bytes. A document that is accepted is the configured issuer's.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use portcullis::oidc::metadata::Metadata;
use portcullis::oidc::profile::Profile;
use portcullis::oidc::settings::ProviderSettings;
use portcullis_fuzz::ISSUER;

static STANDARD: LazyLock<ProviderSettings> = LazyLock::new(ProviderSettings::default);
static ENTRA: LazyLock<ProviderSettings> =
    LazyLock::new(|| ProviderSettings { profile: Profile::Entra, ..ProviderSettings::default() });

fuzz_target!(|json: &[u8]| {
    let standard = Metadata::parse(json, ISSUER, &STANDARD);
    let entra = Metadata::parse(json, "https://op.example/common/v2.0", &ENTRA);
    if let Ok(metadata) = &standard {
        assert_eq!(metadata.issuer.strip_suffix('/').unwrap_or(&metadata.issuer), ISSUER);
    }
    if let Ok(metadata) = entra {
        assert!(metadata.issuer.starts_with("https://op.example/"), "{}", metadata.issuer);
        assert!(standard.is_err());
    }
});
