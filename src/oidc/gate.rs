//! Who may pass: tenants, users, e-mail domains, roles and groups.

use serde_json::Value;

use super::authorize::Expression;
use super::claims::Claims;

/// The authorization rules of one policy.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    tenants: Vec<String>,
    users: Vec<String>,
    domains: Vec<String>,
    roles_and_groups: Vec<String>,
    identifier_claim: String,
    role_claim: String,
    group_claim: String,
    claims: Option<Expression>,
    domains_by_verified_email: bool,
}

/// Why a user may not pass, in words for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// The tenant is not listed.
    Tenant,
    /// Neither the user nor the e-mail domain is listed.
    User,
    /// The domain is listed but the address is not verified.
    EmailNotVerified,
    /// None of the roles and groups is there.
    RolesAndGroups,
    /// The expression over claims is not true.
    Claims,
    /// The provider did not give the login that was asked for: `acr` or `auth_time` are not enough.
    Login,
}

impl Denial {
    /// A name for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tenant => "tenant not allowed",
            Self::User => "user not allowed",
            Self::EmailNotVerified => "email address not verified",
            Self::RolesAndGroups => "no allowed role or group",
            Self::Claims => "claims do not fit",
            Self::Login => "the login is not strong or recent enough",
        }
    }
}

/// What [`Gate::new`] needs: the options as configured.
#[derive(Debug, Clone, Default)]
pub struct GateSettings {
    /// Identifiers that may pass.
    pub users: Vec<String>,
    /// E-mail domains that may pass.
    pub domains: Vec<String>,
    /// Roles and groups, any of which is needed.
    pub roles_and_groups: Vec<String>,
    /// Claim that names the user.
    pub identifier_claim: String,
    /// Claim with the roles.
    pub role_claim: String,
    /// Claim with the groups.
    pub group_claim: String,
    /// What must be true of the claims.
    pub claims: Option<Expression>,
    /// Domains are those of `email`, which must be verified, whatever names the user.
    pub domains_by_verified_email: bool,
}

impl Gate {
    /// Folds case once. An empty name in a list matches nobody, but the list counts as configured.
    pub fn new(settings: &GateSettings) -> Self {
        let fold = |list: &[String]| list.iter().map(|name| fold_case(name.trim())).collect();
        Self {
            tenants: Vec::new(),
            users: fold(&settings.users),
            domains: fold(&settings.domains)
                .into_iter()
                .map(|d: String| d.trim_start_matches('@').to_owned())
                .collect(),
            roles_and_groups: settings.roles_and_groups.clone(),
            identifier_claim: settings.identifier_claim.clone(),
            role_claim: settings.role_claim.clone(),
            group_claim: settings.group_claim.clone(),
            claims: settings.claims.clone(),
            domains_by_verified_email: settings.domains_by_verified_email,
        }
    }

    /// The same gate for users of these tenants alone (`tid`); none, or `*`: of any. A login of another policy of the same
    /// client, which makes the same sessions, may have asked for others.
    #[must_use]
    pub fn for_tenants(self, tenants: &[String]) -> Self {
        let any = tenants.iter().any(|tenant| tenant == "*");
        Self { tenants: if any { Vec::new() } else { tenants.to_vec() }, ..self }
    }

    /// Whether the user with these claims may pass.
    ///
    /// # Errors
    /// The rule that denies. A claim that is missing denies.
    pub fn admit(&self, claims: &Claims) -> Result<(), Denial> {
        self.admit_tenant(claims)?;
        self.admit_user(claims)?;
        if !self.roles_and_groups.is_empty() && !self.has_role_or_group(claims) {
            return Err(Denial::RolesAndGroups);
        }
        match &self.claims {
            Some(expression) if !expression.admits(claims) => Err(Denial::Claims),
            _ => Ok(()),
        }
    }

    fn admit_tenant(&self, claims: &Claims) -> Result<(), Denial> {
        let tenant = claims.text("tid").unwrap_or_default();
        let is_listed = || self.tenants.iter().any(|allowed| allowed.eq_ignore_ascii_case(tenant));
        if self.tenants.is_empty() || is_listed() { Ok(()) } else { Err(Denial::Tenant) }
    }

    fn admit_user(&self, claims: &Claims) -> Result<(), Denial> {
        if self.users.is_empty() && self.domains.is_empty() {
            return Ok(());
        }
        let identifier = claims.identifier(&self.identifier_claim).unwrap_or_default();
        let identifier = fold_case(identifier);
        if !identifier.is_empty() && self.users.contains(&identifier) {
            return Ok(());
        }
        let (address, unverified) = match self.domains_by_verified_email {
            false => (identifier, is_unverified(claims)),
            true => {
                let unknown = claims.get("email_verified").is_none();
                (fold_case(claims.text("email").unwrap_or_default()), unknown || is_unverified(claims))
            }
        };
        match domain(&address) {
            Some(domain) if self.domains.iter().any(|allowed| allowed == domain) => {
                if unverified {
                    Err(Denial::EmailNotVerified)
                } else {
                    Ok(())
                }
            }
            _ => Err(Denial::User),
        }
    }

    fn has_role_or_group(&self, claims: &Claims) -> bool {
        let allowed = |name: &&str| !name.is_empty() && self.roles_and_groups.iter().any(|a| a == name);
        claims.strings(&self.role_claim).iter().any(allowed)
            || claims.strings(&self.group_claim).iter().any(allowed)
    }

    /// Claims that a verdict depends on.
    pub fn needed_claims(&self) -> Vec<&str> {
        let mut names = vec![self.identifier_claim.as_str()];
        if !self.roles_and_groups.is_empty() {
            names.extend([self.role_claim.as_str(), self.group_claim.as_str()]);
        }
        names
    }
}

/// Lower case, but nothing beyond ASCII becomes ASCII: the Kelvin sign is not the letter `k`, and
/// who may choose its name must not become somebody else by it.
fn fold_case(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        let start = out.len();
        out.extend(c.to_lowercase());
        if !c.is_ascii() && out.get(start..).is_some_and(|folded| folded.is_ascii()) {
            out.truncate(start);
            out.push(c);
        }
    }
    out
}

/// What follows the only `@`.
fn domain(identifier: &str) -> Option<&str> {
    let (local, domain) = identifier.split_once('@')?;
    (!local.is_empty() && !domain.is_empty() && !domain.contains('@')).then_some(domain)
}

/// `email_verified` is a boolean; some providers send it as text.
fn is_unverified(claims: &Claims) -> bool {
    match claims.get("email_verified") {
        Some(Value::Bool(verified)) => !verified,
        Some(Value::String(text)) => !text.eq_ignore_ascii_case("true"),
        None => false,
        Some(_) => true,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(value: Value) -> Claims {
        Claims::new(value.as_object().unwrap().clone())
    }

    fn gate(users: &[&str], domains: &[&str], roles: &[&str]) -> Gate {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Gate::new(&GateSettings {
            users: own(users),
            domains: own(domains),
            roles_and_groups: own(roles),
            identifier_claim: "email".into(),
            role_claim: "roles".into(),
            group_claim: "groups".into(),
            claims: None,
            domains_by_verified_email: false,
        })
    }

    #[test]
    fn nothing_configured_admits() {
        assert_eq!(gate(&[], &[], &[]).admit(&claims(json!({"sub": "x"}))), Ok(()));
    }

    #[test]
    fn user_or_domain_suffices_without_regard_to_case() {
        let gate = gate(&["Bob@Other.example"], &["Example.COM"], &[]);
        assert_eq!(gate.admit(&claims(json!({"sub": "1", "email": "BOB@other.example"}))), Ok(()));
        assert_eq!(gate.admit(&claims(json!({"sub": "1", "email": "Alice@EXAMPLE.com"}))), Ok(()));
        assert_eq!(
            gate.admit(&claims(json!({"sub": "1", "email": "alice@sub.example.com"}))),
            Err(Denial::User)
        );
    }

    #[test]
    fn odd_addresses_are_denied() {
        let gate = gate(&[], &["company.com"], &[]);
        for email in [
            "a@evil@company.com",
            "\"x@company.com\"@evil.com",
            "a@company.com.",
            "@company.com",
            "company.com",
            "a@",
        ] {
            assert_eq!(
                gate.admit(&claims(json!({"sub": "1", "email": email}))),
                Err(Denial::User),
                "{email}"
            );
        }
        for verified in [json!(false), json!("false"), json!(0)] {
            let claims = claims(json!({"sub": "1", "email": "a@company.com", "email_verified": verified}));
            assert_eq!(gate.admit(&claims), Err(Denial::EmailNotVerified));
        }
        assert_eq!(
            gate.admit(&claims(json!({"sub": "1", "email": "a@company.com", "email_verified": true}))),
            Ok(())
        );
    }

    #[test]
    fn letters_that_only_fold_to_ascii_are_others() {
        let gate = gate(&["kevin@other.example", "Zoë@other.example"], &["bank.com"], &[]);
        for email in ["\u{212a}evin@other.example", "a@ban\u{212a}.com", "kevin@other.example\u{a0}"] {
            let claims = claims(json!({"sub": "1", "email": email}));
            assert_eq!(gate.admit(&claims), Err(Denial::User), "{email}");
        }
        assert_eq!(gate.admit(&claims(json!({"sub": "1", "email": "ZOË@other.example"}))), Ok(()));
    }

    #[test]
    fn roles_and_groups_any_of() {
        let gate = gate(&[], &[], &["admin", "ops", ""]);
        assert_eq!(gate.admit(&claims(json!({"sub": "1", "roles": ["admin"]}))), Ok(()));
        assert_eq!(gate.admit(&claims(json!({"sub": "1", "groups": "ops"}))), Ok(()));
        assert_eq!(
            gate.admit(&claims(json!({"sub": "1", "groups": ["Admin", "", 5]}))),
            Err(Denial::RolesAndGroups)
        );
        assert_eq!(gate.admit(&claims(json!({"sub": "1"}))), Err(Denial::RolesAndGroups));
    }

    #[test]
    fn an_expression_is_needed_beside_the_lists() {
        let settings = GateSettings {
            users: vec!["alice".into()],
            identifier_claim: "sub".into(),
            claims: Some(Expression::compile("Contains(`realm_access.roles`, `ops`)").unwrap()),
            ..GateSettings::default()
        };
        let gate = Gate::new(&settings);
        let with = |sub: &str, roles: Value| gate.admit(&claims(json!({"sub": sub, "realm_access": roles})));
        assert_eq!(with("alice", json!({"roles": ["ops"]})), Ok(()));
        assert_eq!(with("alice", json!({"roles": ["dev"]})), Err(Denial::Claims));
        assert_eq!(with("alice", json!(null)), Err(Denial::Claims));
        assert_eq!(with("bob", json!({"roles": ["ops"]})), Err(Denial::User));
    }

    #[test]
    fn an_empty_name_admits_nobody() {
        assert_eq!(gate(&[""], &[], &[]).admit(&claims(json!({"sub": "1", "email": ""}))), Err(Denial::User));
    }
}
