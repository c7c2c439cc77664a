//! What single providers do in their own way. Which one it is, is configured, not guessed from a
//! host name; a provider that keeps to the specifications needs none of this.

/// A kind of provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// By the specifications: Keycloak, Auth0, Okta, dex, authentik, Zitadel and others.
    #[default]
    Standard,
    /// Microsoft Entra ID: tenants share metadata whose issuer holds `{tenantid}`.
    Entra,
    /// Google: refresh tokens by parameters, not by a scope.
    Google,
    /// Amazon Cognito: another name for where the browser lands after logout.
    Cognito,
}

/// What the issuer of Entra's shared metadata holds instead of a tenant.
const TENANT: &str = "{tenantid}";

impl Profile {
    /// The profile of that name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "standard" => Some(Self::Standard),
            "entra" => Some(Self::Entra),
            "google" => Some(Self::Google),
            "cognito" => Some(Self::Cognito),
            _ => None,
        }
    }

    /// Parameters of the authorization request without which there is no refresh token.
    pub fn auth_params(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Google => &[("access_type", "offline"), ("prompt", "consent")],
            _ => &[],
        }
    }

    /// Whether the scope `offline_access` may be sent.
    pub fn knows_offline_access(self) -> bool {
        self != Self::Google
    }

    /// The parameter of the end-session endpoint that says where the browser lands.
    pub fn landing_parameter(self) -> &'static str {
        match self {
            Self::Cognito => "logout_uri",
            _ => "post_logout_redirect_uri",
        }
    }

    /// Whether `found`, the issuer in metadata, is the one that many tenants share and `configured`
    /// belongs to.
    pub fn shares_issuer(self, configured: &str, found: &str) -> bool {
        let fits = |(before, after): (&str, &str)| {
            let tenant = configured.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
            tenant.is_some_and(|tenant| !tenant.is_empty() && !tenant.contains('/'))
        };
        self == Self::Entra && found.split_once(TENANT).is_some_and(fits)
    }
}

/// Whether metadata are shared by tenants, so that each token names its own.
pub fn is_shared(issuer: &str) -> bool {
    issuer.contains(TENANT)
}

/// Whether a token with these `iss` and `tid` comes from the issuer of the metadata.
pub fn is_issued_by(issuer: &str, iss: Option<&str>, tid: Option<&str>) -> bool {
    if !is_shared(issuer) {
        return iss == Some(issuer);
    }
    tid.filter(|tid| is_tenant(tid)).is_some_and(|tid| iss == Some(issuer.replace(TENANT, tid).as_str()))
}

/// Whether `text` is the identifier of a tenant: a GUID.
pub fn is_tenant(text: &str) -> bool {
    let groups = text.split('-').map(str::len);
    groups.eq([8, 4, 4, 4, 12]) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARED: &str = "https://login.microsoftonline.com/{tenantid}/v2.0";
    const TID: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

    #[test]
    fn a_shared_issuer_needs_the_profile_and_the_same_host() {
        let configured = "https://login.microsoftonline.com/common/v2.0";
        assert!(Profile::Entra.shares_issuer(configured, SHARED));
        assert!(!Profile::Standard.shares_issuer(configured, SHARED));
        for other in [
            "https://login.microsoftonline.com/v2.0",
            "https://evil.example/common/v2.0",
            "https://login.microsoftonline.com/a/b/v2.0",
        ] {
            assert!(!Profile::Entra.shares_issuer(other, SHARED), "{other}");
        }
    }

    #[test]
    fn tokens_name_their_tenant() {
        let iss = format!("https://login.microsoftonline.com/{TID}/v2.0");
        assert!(is_issued_by(SHARED, Some(&iss), Some(TID)));
        assert!(!is_issued_by(SHARED, Some(&iss), None), "no tid");
        assert!(!is_issued_by(SHARED, Some(SHARED), Some("{tenantid}")), "not a tenant");
        let other = "00000000-0000-0000-0000-000000000000";
        assert!(!is_issued_by(SHARED, Some(&iss), Some(other)), "another tenant");
        assert!(is_issued_by("https://x", Some("https://x"), None) && !is_issued_by("https://x", None, None));
    }
}
